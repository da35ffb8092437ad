//! The spin lock under channels, queues and wait lists.
//!
//! It guards a few loads and stores, never user code, never a park, never a system call: no `Drop`, `Clone` or waker of a
//! user runs inside. Taking it is one compare-and-swap and releasing it one store, half of what a lock that can sleep costs; that
//! is the whole reason it exists. A thread that finds it taken spins briefly and then yields the processor, since the holder
//! may have been descheduled.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

use crate::shim::{AtomicBool, UnsafeCell, spin_loop, yield_now};

pub(crate) struct SpinLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one thread at a time, so `Send` is all that sharing it asks of `T`.
unsafe impl<T: Send> Sync for SpinLock<T> {}
// SAFETY: a lock that nobody holds is its value.
unsafe impl<T: Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        // Acquire pairs with the Release store in the guard's drop: what the last holder wrote is seen.
        if self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_contended();
        }
        SpinGuard { lock: self }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        // Acquire: as in `lock`.
        match self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Some(SpinGuard { lock: self }),
            Err(_) => None,
        }
    }

    #[cold]
    fn lock_contended(&self) {
        let mut round = 0_u32;
        loop {
            // Spin on a plain load: a compare-and-swap would steal the cache line from the holder each time.
            while self.locked.load(Ordering::Relaxed) {
                if round < 6 {
                    for _ in 0..1_u32 << round {
                        spin_loop();
                    }
                    round += 1;
                } else {
                    yield_now();
                }
            }
            // Acquire: as in `lock`.
            if self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinLock").finish_non_exhaustive()
    }
}

#[must_use = "the lock is released when the guard is dropped"]
pub(crate) struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<'a, T> SpinGuard<'a, T> {
    /// The lock this guard holds.
    #[inline]
    pub(crate) fn owner(&self) -> &'a SpinLock<T> {
        self.lock
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.lock.value.with_mut(|value| {
            // SAFETY: this guard is the proof that this thread holds the lock; the borrow ends with the guard's.
            unsafe { &*value }
        })
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.lock.value.with_mut(|value| {
            // SAFETY: as in `deref`, and `&mut self` makes this the only borrow through the guard.
            unsafe { &mut *value }
        })
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release pairs with the Acquire in `lock`, `try_lock` and `lock_contended`.
        self.lock.locked.store(false, Ordering::Release);
    }
}
