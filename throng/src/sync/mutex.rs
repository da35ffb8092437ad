//! Mutual exclusion.
//!
//! A spin lock guards the word that says whether the mutex is held, and the queue of those who wait for it; it is let go of at once, the mutex is what is kept.
//! Both taking and releasing cost one atomic read-modify-write when nobody waits.
//!
//! **Who is next**, after Go's: an unlock wakes the first in the queue, but whoever comes in the meantime may take the mutex first (*barging*: much quicker under
//! load, since the one who runs goes on). A waiter that has been woken in vain and has waited for longer than a millisecond goes back to
//! the head of the queue as *starving*; the next unlock hands the mutex to it, and nobody can come between.
//!
//! **Invariants**, under the gate:
//! - M1: `held` says whether there is a guard, or one on its way to the waiter it was handed to.
//! - M2: if the mutex is not held and somebody waits, then one that waited is on its way (`coming`). The one that comes takes the mutex, or finds
//!   it held, and then its holder's unlock sees to the queue.
//! - M3: a waiter that was handed the mutex has it, cancelled or not: a claim cannot be undone.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::time::Instant;

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::lock::{SpinGuard, SpinLock};
use crate::shim::{STARVING_AFTER, UnsafeCell};
use crate::waiter::{Heeds, arm};
use crate::waitq::{Entry, WaitQueue};

/// A value that one task at a time can use. Waiting for it parks the goroutine.
///
/// As Go's `sync.Mutex` it is quick rather than strictly first come, first served, but nobody is passed over for much longer than a millisecond. It is not
/// reentrant, and not poisoned by a panic. It may be held while its goroutine is parked; where that is not so, std's `Mutex` does as well.
///
/// ```
/// use throng::sync::Mutex;
///
/// let total = Mutex::new(0);
/// std::thread::scope(|s| {
///     for i in 1..=4 {
///         let total = &total;
///         s.spawn(move || *total.lock().unwrap() += i);
///     }
/// });
/// assert_eq!(total.into_inner(), 10);
/// ```
pub struct Mutex<T> {
    gate: SpinLock<Gate>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a guard only, there is one guard at a time (M1), and the gate orders one holder's accesses before the next one's.
unsafe impl<T: Send> Sync for Mutex<T> {}

pub(super) struct Gate {
    held: bool,
    /// A waiter has been woken to try again and has not come yet: no need to wake another.
    coming: bool,
    waiters: WaitQueue<Want>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// To be woken and to try again.
    Chance,
    /// To be handed the mutex.
    Mutex,
}

impl<T> Mutex<T> {
    /// A mutex around `value`, not held.
    pub fn new(value: T) -> Mutex<T> {
        Mutex { gate: SpinLock::new(Gate { held: false, coming: false, waiters: WaitQueue::new() }), value: UnsafeCell::new(value) }
    }

    /// Waits until nobody holds the mutex and takes it. Dropping the guard releases it.
    ///
    /// Waits for ever if its own task holds it.
    ///
    /// # Errors
    /// [`Cancelled`] if the task is cancelled while it waits, or was before and would have to wait. A clean-up that must have the lock belongs into a
    /// [`shield`](crate::shield).
    #[inline]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, Cancelled> {
        let mut gate = self.gate.lock();
        if gate.held {
            self.wait(gate)?;
        } else {
            gate.held = true;
        }
        Ok(MutexGuard { mutex: self, _value: PhantomData })
    }

    /// [`lock`](Mutex::lock) as a future, for coroutines and for other executors: waits without a stack. The guard may be held over an `await`.
    ///
    /// It is served in its turn and does not barge. Dropped before it is ready, it passes its turn on.
    ///
    /// # Errors
    /// As for [`lock`](Mutex::lock): cancelled with the coroutine that polls it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use throng::{Mutex, launch};
    ///
    /// throng::run(|| {
    ///     let count = Arc::new(Mutex::new(0));
    ///     let adders: Vec<_> = (0..4)
    ///         .map(|n| {
    ///             let count = Arc::clone(&count);
    ///             launch(async move { *count.lock_async().await.unwrap() += n })
    ///         })
    ///         .collect();
    ///     adders.into_iter().for_each(|adder| adder.join().unwrap());
    ///     assert_eq!(*count.lock().unwrap(), 6);
    /// });
    /// ```
    #[cfg(not(loom))]
    pub fn lock_async(&self) -> super::Locking<'_, T> {
        super::Locking::new(self)
    }

    #[cfg(not(loom))]
    pub(super) fn gate(&self) -> &SpinLock<Gate> {
        &self.gate
    }

    /// A place in the queue, not yet queued.
    #[cfg(not(loom))]
    pub(super) fn place(&self, want: Want) -> Entry<'_, Gate, Want> {
        Entry::new(&self.gate, |gate| &mut gate.waiters, want)
    }

    /// Takes the mutex if nobody holds it. Never waits.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let mut gate = self.gate.lock();
        if gate.held {
            return None;
        }
        gate.held = true;
        drop(gate);
        Some(MutexGuard { mutex: self, _value: PhantomData })
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// The value, without locking: there is no guard while the mutex is borrowed mutably.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.with_mut(|value| {
            // SAFETY: `&mut self`: there is no guard.
            unsafe { &mut *value }
        })
    }

    #[cold]
    #[inline(never)]
    fn wait<'a>(&'a self, mut gate: SpinGuard<'a, Gate>) -> Result<(), Cancelled> {
        local::with(|local| {
            let since = Instant::now();
            let mut want = Want::Chance;
            let mut first_time = true;
            loop {
                let wait = match arm(local, Heeds::Everything) {
                    Ok(wait) => wait,
                    Err(cancelled) => {
                        drop(gate);
                        return Err(cancelled);
                    }
                };
                let mut place = pin!(Entry::new(&self.gate, |gate| &mut gate.waiters, want));
                if first_time {
                    place.as_mut().enqueue(&mut gate, wait.ticket(), 0);
                } else {
                    place.as_mut().enqueue_first(&mut gate, wait.ticket(), 0);
                }
                first_time = false;
                drop(gate);
                if let Err(cancelled) = wait.park(None) {
                    place.dequeue();
                    return Err(cancelled);
                }
                place.claimed();
                if want == Want::Mutex {
                    return Ok(());
                }
                gate = self.gate.lock();
                gate.coming = false;
                if !gate.held {
                    gate.held = true;
                    return Ok(());
                }
                if since.elapsed() >= STARVING_AFTER {
                    want = Want::Mutex;
                }
            }
        })
    }

    #[inline]
    pub(super) fn unlock(&self) {
        let mut gate = self.gate.lock();
        gate.held = false;
        if !gate.waiters.is_empty() && !gate.coming {
            self.wake_next(gate);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_next<'a>(&'a self, mut gate: SpinGuard<'a, Gate>) {
        let next = gate.waiters.claim(|want| *want);
        if let Some((want, woken)) = next {
            gate.held = want == Want::Mutex;
            gate.coming = want == Want::Chance;
            drop(gate);
            drop(woken);
        }
    }
}

impl Gate {
    /// Takes the mutex if nobody holds it. `true`: there is to be a guard.
    #[cfg(not(loom))]
    pub(super) fn take(&mut self) -> bool {
        !std::mem::replace(&mut self.held, true)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        match self.try_lock() {
            Some(guard) => shown.field("value", &*guard),
            None => shown.field("value", &format_args!("<held>")),
        };
        shown.finish()
    }
}

/// The right to use the value of a [`Mutex`]. Dropping it releases the mutex.
#[must_use = "the mutex is released when the guard is dropped"]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// For the auto traits: sharing a guard shares the value.
    _value: PhantomData<&'a mut T>,
}

#[cfg(not(loom))]
impl<'a, T> MutexGuard<'a, T> {
    /// The guard of a mutex that the caller has taken or was handed.
    pub(super) fn of(mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        MutexGuard { mutex, _value: PhantomData }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.mutex.value.with_mut(|value| {
            // SAFETY: there is one guard at a time (M1), and its borrow bounds this one.
            unsafe { &*value }
        })
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.mutex.value.with_mut(|value| {
            // SAFETY: as in `deref`, and `&mut self` makes this the only borrow through it.
            unsafe { &mut *value }
        })
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
