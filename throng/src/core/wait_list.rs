//! A list of those who wait, for channels, locks and pools made elsewhere: the wait queues of this crate behind a lock of their own.
//!
//! The thing that is waited for has a state, and that is the user's, under a `std::sync::Mutex`. Whoever has to wait enters the list while it holds that; whoever changes the state claims while it holds that.
//! So nobody enters in between. Who waits may leave at any time, when it is cancelled; the list's own lock decides between that and a claim.
//!
//! Invariants:
//! - L1: no user code runs under the list's lock: values are moved, never dropped there.
//! - L2: between arming a wait and parking nothing is called but the release of a std mutex, which neither parks nor runs others' code.
//! - L3: in a closed list nobody waits.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::pin::pin;
use std::sync::MutexGuard;

use super::errors::WaitError;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Cause, Heeds, arm};
use crate::waitq::{Entry, WaitQueue, Woken, WokenAll};

/// What waits: the value is there while it does.
pub(super) type Slot<V> = Option<V>;

/// What the lock guards.
pub(super) struct List<V> {
    pub(super) closed: bool,
    pub(super) queue: WaitQueue<Slot<V>>,
}

/// Goroutines, threads and futures that wait, first come first served, each with a value.
///
/// The value is what is handed over: a claim exchanges it. A list of receivers is a `WaitList<Option<T>>`, in which one waits with `None` and is claimed with `Some(item)`; in a list of
/// senders one waits with `Some(item)` and is claimed with `None`; who waits for a permit waits with `()`.
///
/// The state that decides whether one has to wait stands beside the list, in a `std::sync::Mutex`, and is locked whenever one enters or claims: [`wait`](WaitList::wait) takes the guard and
/// releases it when it has its place, as a condition variable does. A claim is final: who was claimed returns with the value that it was given, cancelled or not. Who leaves because
/// it was cancelled does so without that lock; a claim just does not find it.
///
/// A claimed waiter is woken when the [`Wake`] is dropped. Do that after the lock is released.
///
/// ```
/// use std::sync::Mutex;
/// use throng::core::{WaitError, WaitList};
///
/// /// Opens once.
/// struct Latch {
///     open: Mutex<bool>,
///     waiting: WaitList<()>,
/// }
///
/// impl Latch {
///     fn wait(&self) -> Result<(), WaitError<()>> {
///         let open = self.open.lock().unwrap();
///         if *open { Ok(()) } else { self.waiting.wait(open, ()) }
///     }
///
///     fn open(&self) {
///         let mut open = self.open.lock().unwrap();
///         *open = true;
///         let woken = self.waiting.claim_all();
///         drop(open);
///         drop(woken);
///     }
/// }
///
/// let latch = Latch { open: Mutex::new(false), waiting: WaitList::new() };
/// std::thread::scope(|s| {
///     s.spawn(|| latch.wait().unwrap());
///     s.spawn(|| latch.open());
/// });
/// ```
pub struct WaitList<V> {
    lock: SpinLock<List<V>>,
}

impl<V> WaitList<V> {
    /// An empty list.
    pub fn new() -> WaitList<V> {
        WaitList { lock: SpinLock::new(List { closed: false, queue: WaitQueue::new() }) }
    }

    pub(super) fn lock(&self) -> &SpinLock<List<V>> {
        &self.lock
    }

    /// A place in the list, not yet queued.
    #[cfg(not(loom))]
    pub(super) fn place(&self, value: V) -> Entry<'_, List<V>, Slot<V>> {
        Entry::new(&self.lock, |list| &mut list.queue, Some(value))
    }

    /// Enters the list with `value`, releases `guard`, and parks until somebody claims it; a plain thread blocks. Returns the value that the claim has given for it.
    ///
    /// `guard` is that of the state beside the list; it is released in any case.
    ///
    /// # Errors
    /// [`WaitError`], with `value`, if the task is cancelled before it is claimed, or was before, or the list is closed.
    pub fn wait<S>(&self, guard: MutexGuard<'_, S>, value: V) -> Result<V, WaitError<V>> {
        local::with(|local| {
            let mut list = self.lock.lock();
            if list.closed {
                drop(list);
                return Err(WaitError::Closed(value));
            }
            let Ok(wait) = arm(local, Heeds::Everything) else {
                drop(list);
                return Err(WaitError::Cancelled(value));
            };
            let mut place = pin!(Entry::new(&self.lock, |list: &mut List<V>| &mut list.queue, Some(value)));
            place.as_mut().enqueue(&mut list, wait.ticket(), 0);
            drop(list);
            drop(guard);
            let ended = wait.park(None);
            match ended {
                Ok(_) => place.as_mut().claimed(),
                Err(_) => place.as_mut().dequeue(),
            }
            let value = place.value().take().expect("a claim exchanges the value");
            match ended {
                Ok(cause) => delivered(cause.0, value),
                Err(_) => Err(WaitError::Cancelled(value)),
            }
        })
    }

    /// Claims the one that has waited longest, and exchanges its value for `value`. `None` if nobody waits. Never parks.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use throng::core::WaitList;
    ///
    /// let (state, list) = (Mutex::new(()), WaitList::new());
    /// std::thread::scope(|s| {
    ///     let waiter = s.spawn(|| list.wait(state.lock().unwrap(), "question"));
    ///     let mut value = "answer";
    ///     while list.claim(&mut value).is_none() {
    ///         std::thread::yield_now();
    ///     }
    ///     assert_eq!(value, "question");
    ///     assert_eq!(waiter.join().unwrap(), Ok("answer"));
    /// });
    /// ```
    pub fn claim(&self, value: &mut V) -> Option<Wake> {
        let mut list = self.lock.lock();
        let claimed = list.queue.claim(|slot| {
            if let Some(slot) = slot {
                mem::swap(slot, value);
            }
        });
        drop(list);
        claimed.map(|((), woken)| Wake { _woken: woken })
    }

    /// Claims all that wait now; each returns with the value that it waited with. Never parks.
    pub fn claim_all(&self) -> WakeAll<V> {
        let mut list = self.lock.lock();
        let woken = list.queue.claim_all(0, |_| {});
        drop(list);
        WakeAll { _woken: woken }
    }

    /// Closes the list for good: those that wait, and all that come later, get [`WaitError::Closed`]. Never parks.
    pub fn close(&self) -> WakeAll<V> {
        let mut list = self.lock.lock();
        list.closed = true;
        let woken = list.queue.claim_all(Cause::CLOSED, |_| {});
        drop(list);
        WakeAll { _woken: woken }
    }

    /// Whether it has been closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock.lock().closed
    }

    /// Whether nobody is in the list. Who is in it may be about to leave; while the lock of the state beside it is held, nobody comes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock.lock().queue.is_empty()
    }
}

/// How a wait has ended that was claimed with this cause.
pub(super) fn delivered<V>(cause: u16, value: V) -> Result<V, WaitError<V>> {
    if cause & Cause::CLOSED == 0 { Ok(value) } else { Err(WaitError::Closed(value)) }
}

impl<V> Default for WaitList<V> {
    fn default() -> WaitList<V> {
        WaitList::new()
    }
}

impl<V> fmt::Debug for WaitList<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.lock.lock();
        let (closed, empty) = (list.closed, list.queue.is_empty());
        drop(list);
        f.debug_struct("WaitList").field("is_closed", &closed).field("is_empty", &empty).finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for List<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// One that has been claimed in a [`WaitList`]: dropping this wakes it. Forgotten, it waits for ever.
#[must_use = "drop it after the lock: that is the wake"]
pub struct Wake {
    _woken: Woken,
}

/// All that have been claimed in a [`WaitList`], in the order they came: dropping this wakes them.
#[must_use = "drop it after the lock: that is the wake"]
pub struct WakeAll<V> {
    _woken: WokenAll<Slot<V>>,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for WakeAll<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeAll").finish_non_exhaustive()
    }
}
