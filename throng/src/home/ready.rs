//! The tasks of a thread that are ready to run: first come, first served, linked through the waiters' messages.
//!
//! **Cold lists.** When a great many are woken at once (a scope of a hundred thousand is cancelled), what each needs first has left the cache and the TLB when its turn comes, and costs several times
//! what running it does. So a long list is fetched ahead of its end, in batches, so that the page walks of a batch overlap: the fibers' records two batches ahead, and what those point to, the
//! frames, one batch ahead, and the rest of the tasks with them. A short one is fetched as it is filled.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::Message;
use crate::shim::prefetch_lines;
use crate::waiter::Waiter;

/// How many are fetched together.
const BATCH: usize = 16;
/// Up to here a list is short.
const SHORT: usize = 2 * BATCH;

pub(super) struct Ready {
    oldest: Cell<*const Message>,
    newest: Cell<*const Message>,
    len: Cell<usize>,
}

impl Ready {
    pub(super) fn new() -> Ready {
        Ready { oldest: Cell::new(ptr::null()), newest: Cell::new(ptr::null()), len: Cell::new(0) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.oldest.get().is_null()
    }

    /// Appends a waiter, which is in no list (L2).
    #[inline]
    pub(super) fn push(&self, waiter: &Waiter) {
        if self.count() <= SHORT {
            fetch_record(waiter);
        }
        let message: *const Message = waiter.message();
        waiter.message().next().set(ptr::null());
        match NonNull::new(self.newest.replace(message).cast_mut()) {
            // SAFETY: a waiter in the list is parked, so it is alive.
            Some(last) => unsafe { last.as_ref() }.next().set(message),
            None => self.oldest.set(message),
        }
    }

    /// Puts a waiter, which is in no list, before the others.
    #[cfg(not(loom))]
    pub(super) fn push_first(&self, waiter: &Waiter) {
        self.count();
        let message: *const Message = waiter.message();
        let oldest = self.oldest.replace(message);
        waiter.message().next().set(oldest);
        if oldest.is_null() {
            self.newest.set(message);
        }
    }

    #[inline]
    fn count(&self) -> usize {
        let len = self.len.get() + 1;
        self.len.set(len);
        len
    }

    /// The waiter that will be taken next.
    #[inline]
    pub(super) fn peek(&self) -> Option<NonNull<Waiter>> {
        NonNull::new(self.oldest.get().cast_mut()).map(Waiter::of_message)
    }

    /// Takes the waiter that was pushed first.
    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Waiter>> {
        let oldest = NonNull::new(self.oldest.get().cast_mut())?;
        // SAFETY: as in `push`.
        let next = unsafe { oldest.as_ref() }.next().get();
        self.oldest.set(next);
        if next.is_null() {
            self.newest.set(ptr::null());
        }
        let len = self.len.get() - 1;
        self.len.set(len);
        if len >= SHORT && len.is_multiple_of(BATCH) {
            self.look_ahead();
        }
        Some(Waiter::of_message(oldest))
    }

    #[cold]
    fn look_ahead(&self) {
        let mut at = self.oldest.get();
        for place in 0..SHORT {
            // SAFETY: as in `push`; there are that many.
            let message = unsafe { &*at };
            // SAFETY: as above.
            let waiter = unsafe { Waiter::of_message(NonNull::from(message)).as_ref() };
            if place < BATCH {
                fetch_stack(waiter);
                fetch_task(waiter);
            } else {
                fetch_record(waiter);
            }
            at = message.next().get();
        }
    }
}

/// A goroutine's waiter is the beginning of its task, which is likely to end soon.
#[inline]
fn fetch_task(waiter: &Waiter) {
    prefetch_lines(ptr::from_ref(waiter).addr() + 64, 2);
}

#[cfg(not(loom))]
#[inline]
fn fetch_record(waiter: &Waiter) {
    waiter.prefetch_fiber();
}

#[cfg(not(loom))]
fn fetch_stack(waiter: &Waiter) {
    if let Some(fiber) = waiter.fiber().get() {
        // SAFETY: its goroutine is parked, or about to be, so it is there; where it was suspended last may be out of date, which does no harm to a prefetch.
        unsafe { crate::fiber::Fiber::prefetch_all(fiber) };
    }
}

// In a model every waiter is a thread.
#[cfg(loom)]
fn fetch_record(_: &Waiter) {}
#[cfg(loom)]
fn fetch_stack(_: &Waiter) {}
