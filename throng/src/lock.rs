//! The spin lock under channels, queues and wait lists.
//!
//! It guards a few loads and stores, never user code and never a park: no `Drop`, `Clone` or waker of a user runs inside. Taking it is one compare-and-swap and releasing it one store, half of what a lock that can sleep costs; that
//! is the whole reason it exists. A thread that finds it taken spins briefly and then yields the processor, since the holder
//! may have been descheduled.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr;

use crate::shim::{LockWord, UnsafeCell};

/// How a lock is taken and given back, and the flags that go with it. The lowest bit is the word's own, which others leave as it is; the rest are the user's: the holder changes them, and they are
/// written with the release, so that whoever sees a flag without the lock knows that its writer has let go. (`pub` as an entry of a wait queue is, which has it in its type.)
pub trait Word {
    fn new(flags: u32) -> Self;
    /// The flags as the last holder left them.
    fn flags(&self) -> u32;
    /// Takes the lock and returns the flags.
    fn acquire(&self) -> u32;
    /// Releases it, with these flags.
    fn release(&self, flags: u32);
}

/// The plain one: a single word, whose lowest bit says whether the lock is taken. (`biased_lock.rs` has another.)
impl Word for LockWord {
    fn new(flags: u32) -> LockWord {
        LockWord::new(flags)
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        self.flags()
    }

    #[inline(always)]
    fn acquire(&self) -> u32 {
        self.acquire()
    }

    #[inline(always)]
    fn release(&self, flags: u32) {
        self.release(flags);
    }
}

impl fmt::Debug for LockWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockWord").finish_non_exhaustive()
    }
}

pub(crate) struct SpinLock<T, W = LockWord> {
    word: W,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one thread at a time, so `Send` is all that sharing it asks of `T`.
unsafe impl<T: Send, W: Sync> Sync for SpinLock<T, W> {}
// SAFETY: a lock that nobody holds is its value.
unsafe impl<T: Send, W: Send> Send for SpinLock<T, W> {}

impl<T, W: Word> SpinLock<T, W> {
    pub(crate) fn new(value: T) -> Self {
        Self::with_flags(value, 0)
    }

    /// A lock with some flags up. The lowest bit is not for flags.
    pub(crate) fn with_flags(value: T, flags: u32) -> Self {
        debug_assert_eq!(flags & 1, 0);
        Self { word: W::new(flags), value: UnsafeCell::new(value) }
    }

    /// The flags as the last holder left them.
    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        self.word.flags()
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T, W> {
        SpinGuard { flags: self.word.acquire(), lock: self }
    }

    /// The guard again, if it was this lock's.
    #[inline]
    pub(crate) fn resume<'a>(&'a self, held: Held<'a, W>) -> Result<SpinGuard<'a, T, W>, Held<'a, W>> {
        if !ptr::eq(held.word, &self.word) {
            return Err(held);
        }
        let flags = held.flags;
        mem::forget(held);
        Ok(SpinGuard { lock: self, flags })
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn word(&self) -> &W {
        &self.word
    }
}

impl<T, W> fmt::Debug for SpinLock<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinLock").finish_non_exhaustive()
    }
}

#[must_use = "the lock is released when the guard is dropped"]
pub(crate) struct SpinGuard<'a, T, W: Word = LockWord> {
    lock: &'a SpinLock<T, W>,
    flags: u32,
}

impl<'a, T, W: Word> SpinGuard<'a, T, W> {
    /// The flags; what is set here becomes visible to others with the release.
    #[inline]
    pub(crate) fn flags(&mut self) -> &mut u32 {
        &mut self.flags
    }

    /// The lock this guard holds.
    #[inline]
    pub(crate) fn owner(&self) -> &'a SpinLock<T, W> {
        self.lock
    }

    /// Keeps the lock and forgets what it guards, until [`SpinLock::resume`].
    #[inline]
    pub(crate) fn suspend(self) -> Held<'a, W> {
        let held = Held { word: &self.lock.word, flags: self.flags };
        mem::forget(self);
        held
    }
}

/// A lock that is held, whatever it guards: a select keeps the locks of channels of many types in one list. Dropping it releases the lock.
///
/// It is the one proof that the lock is held, since the guard it came from is gone; it borrows the lock, so that no other can come to lie at its address; and
/// two locks never share the word it points to. So the guard that `resume` makes of it is the guard it was.
#[must_use = "the lock is released when this is dropped"]
pub(crate) struct Held<'a, W: Word = LockWord> {
    word: &'a W,
    flags: u32,
}

impl<W: Word> fmt::Debug for Held<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl<W: Word> Drop for Held<'_, W> {
    #[inline]
    fn drop(&mut self) {
        self.word.release(self.flags);
    }
}

impl<T, W: Word> Deref for SpinGuard<'_, T, W> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.lock.value.with_mut(|value| {
            // SAFETY: this guard is the proof that this thread holds the lock; the borrow ends with the guard's.
            unsafe { &*value }
        })
    }
}

impl<T, W: Word> DerefMut for SpinGuard<'_, T, W> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.lock.value.with_mut(|value| {
            // SAFETY: as in `deref`, and `&mut self` makes this the only borrow through the guard.
            unsafe { &mut *value }
        })
    }
}

impl<T, W: Word> Drop for SpinGuard<'_, T, W> {
    #[inline]
    fn drop(&mut self) {
        self.lock.word.release(self.flags);
    }
}
