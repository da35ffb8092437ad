//! Where in a task's stack a cancellation counts: levels, the scopes that are open, and the points that interrupts go to.
//!
//! ```text
//!   task            base level: its own cancellation counts here
//!    └ scope A      link A, level base
//!       └ timeout   point: level base, scopes A          its interrupt cancels the scopes inside of it: B
//!          └ scope B      link B, level base
//!             └ shield    a level of its own: what comes from outside does not count inside of it
//!                └ scope C    link C, level of the shield
//! ```
//! A cancellation ends the parks of its level, and it ends the children of the scopes that were opened at its level, whatever their own code is doing: a body that waits in a blocking call, or
//! inside a `shield`, does not keep its children from being told.
//!
//! Invariants:
//! - V1: levels and links lie in frames of the task's own stack, and are taken out before those frames end.
//! - V2: everything here is the home's (W4), but for whether `scopes` is null.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;

use super::Waiter;
use crate::cause::Cause;
use crate::home::local::Local;

/// A stretch of a task's stack in which the same interrupts count: the task itself, or the inside of one `shield`.
#[derive(Debug)]
pub(crate) struct Level {
    /// How many scopes and timeouts opened at this level want its parks to return `Cancelled`.
    interrupts: Cell<u32>,
    /// How often a park at this level has returned `Cancelled`, doubled: lets a timeout know whether it was its own interrupt that was heeded. The lowest bit says whether the code has met a
    /// cancellation at all, by a park or by asking.
    deliveries: Cell<u32>,
}

/// How an open scope is told that its children are to end: of the cause, or of none if it is the task's own.
pub(crate) type CancelScope = unsafe fn(NonNull<Link>, &Local, Option<&Cause>);

/// An open scope or shield, as its task knows it. That of a scope is the first thing in whatever it stands for.
#[derive(Debug)]
pub(crate) struct Link {
    outer: Cell<*const Link>,
    /// The level inside of it.
    level: Cell<*const Level>,
    /// None: a shield.
    cancel: Option<CancelScope>,
}

impl Level {
    pub(super) fn new() -> Level {
        Level { interrupts: Cell::new(0), deliveries: Cell::new(0) }
    }

    pub(super) fn deliver(&self) {
        self.deliveries.set(self.deliveries.get().wrapping_add(2) | 1);
    }

    fn meet(&self) {
        self.deliveries.set(self.deliveries.get() | 1);
    }
}

impl Link {
    pub(crate) fn new(cancel: CancelScope) -> Link {
        Link { outer: Cell::new(ptr::null()), level: Cell::new(ptr::null()), cancel: Some(cancel) }
    }

    /// This link, or the first outside of it that is a scope's.
    fn or_outer_scope(link: *const Link) -> *const Link {
        let mut at = link;
        // SAFETY: V1.
        while let Some(link) = unsafe { at.as_ref() } {
            if link.cancel.is_some() {
                break;
            }
            at = link.outer.get();
        }
        at
    }

    /// Where the code inside of the scope is interrupted. While the scope is open in that waiter's task.
    pub(crate) fn interrupt_point(&self, waiter: NonNull<Waiter>) -> InterruptPoint {
        let level = NonNull::new(self.level.get().cast_mut());
        let Some(level) = level else { unreachable!("an open scope has a level") };
        InterruptPoint { waiter, level, scopes: self }
    }

    /// The scope around this one in the same task; null: none.
    pub(crate) fn outer(&self) -> *const Link {
        Link::or_outer_scope(self.outer.get())
    }
}

impl Waiter {
    #[inline]
    pub(super) fn level(&self) -> &Level {
        // SAFETY: V1.
        let Some(link) = (unsafe { self.innermost().as_ref() }) else { return &self.base };
        // SAFETY: V1; set when the link was entered.
        unsafe { &*link.level.get() }
    }

    /// Whether the running code is inside of a shield.
    #[inline]
    pub(super) fn is_shielded(&self) -> bool {
        !ptr::eq(self.level(), &self.base)
    }

    fn innermost(&self) -> *const Link {
        // Relaxed: our own.
        self.scopes.load(Ordering::Relaxed)
    }

    /// Outside of every scope, and with no interrupt: only the word says whether a park would return `Cancelled`.
    #[inline(always)]
    pub(super) fn heeds_plainly(&self) -> bool {
        self.innermost().is_null() && self.base.interrupts.get() == 0
    }

    /// Whether a park would return `Cancelled` now. On the home's thread.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.level().interrupts.get() != 0 || self.word.is_cancelled() && !self.is_shielded()
    }

    /// `is_cancelled`, asked by the code itself, which so has met its cancellation.
    pub(crate) fn asks(&self) -> bool {
        let cancelled = self.is_cancelled();
        if cancelled {
            self.level().meet();
        }
        cancelled
    }

    /// The code has learned of a failure that cancels its scope: as good as having met the cancellation.
    #[cold]
    pub(crate) fn meet_failure(&self) {
        self.level().deliver();
    }

    /// Whether the task's own code has met a cancellation outside of every `shield`.
    pub(crate) fn has_met_cancellation(&self) -> bool {
        self.base.deliveries.get() & 1 != 0
    }

    /// The innermost open scope; null: none. On the home's thread.
    pub(crate) fn scopes(&self) -> *const Link {
        Link::or_outer_scope(self.innermost())
    }

    /// The running code opens a scope.
    ///
    /// # Safety
    /// The link stays where it is until `leave`, which comes before the frames around it end (V1).
    pub(crate) unsafe fn enter(&self, link: &Link) {
        let level: *const Level = self.level();
        self.push(link, level);
    }

    fn push(&self, link: &Link, level: *const Level) {
        link.outer.set(self.innermost());
        link.level.set(level);
        // Release pairs with the Acquire of `home_of_scopes`.
        self.scopes.store(ptr::from_ref(link).cast_mut(), Ordering::Release);
    }

    /// The innermost scope or shield has ended.
    pub(crate) fn leave(&self, link: &Link) {
        debug_assert!(ptr::eq(self.innermost(), link), "scopes nest");
        // Relaxed: nothing is published.
        self.scopes.store(link.outer.get().cast_mut(), Ordering::Relaxed);
    }

    /// The task has been cancelled: so are the children of the scopes it has opened outside of every `shield`. On the home's thread, holding no lock.
    #[cold]
    pub(crate) fn cancel_scopes(&self, local: &Local) {
        self.each_scope(ptr::null(), &self.base, local, None);
    }

    /// Cancels the scopes opened at `level` inside of `until`.
    fn each_scope(&self, until: *const Link, level: *const Level, local: &Local, cause: Option<&Cause>) {
        let mut at = self.innermost();
        while !ptr::eq(at, until) {
            // SAFETY: V1.
            let Some(link) = (unsafe { at.as_ref() }) else { return };
            at = link.outer.get();
            if let Some(cancel) = link.cancel
                && ptr::eq(link.level.get(), level)
            {
                // SAFETY: the link is the first thing of what `cancel` was made for.
                unsafe { cancel(NonNull::from(link), local, cause) };
            }
        }
    }

    /// The place where an interrupt would count now. On the home's thread, by the running task.
    pub(crate) fn interrupt_point(&self) -> InterruptPoint {
        InterruptPoint { waiter: NonNull::from(self), level: NonNull::from(self.level()), scopes: self.innermost() }
    }

    /// Runs `f` in a level of its own: cancellation and the interrupts of scopes and timeouts outside do not reach it.
    pub(crate) fn shielded<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Waiter, &'a Link);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.leave(self.1);
            }
        }
        let level = Level::new();
        let link = Link { outer: Cell::new(ptr::null()), level: Cell::new(ptr::null()), cancel: None };
        self.push(&link, &level);
        let _leave = Leave(self, &link);
        f()
    }
}

/// Where a scope or a timeout interrupts its task: at the level it was opened at, so that a `shield` inside it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterruptPoint {
    waiter: NonNull<Waiter>,
    level: NonNull<Level>,
    /// The innermost scope outside of the interrupted code.
    scopes: *const Link,
}

impl InterruptPoint {
    /// Makes the parks at this level return `Cancelled` from now on, the present one included, and cancels the scopes that the interrupted code has opened.
    ///
    /// # Safety
    /// On the task's home thread, the task being inside the frame that took the point.
    pub(crate) unsafe fn interrupt(&self, local: &Local, cause: Option<&Cause>) {
        // SAFETY: the caller's frame, and so the task and its level, are there.
        let waiter = unsafe { self.waiter.as_ref() };
        // SAFETY: as above.
        let level = unsafe { self.level.as_ref() };
        level.interrupts.set(level.interrupts.get() + 1);
        waiter.each_scope(self.scopes, level, local, cause);
        if ptr::eq(waiter.level(), level) && waiter.word.interrupt() {
            local.push_ready(waiter);
        }
    }

    /// Whether the task itself was cancelled, at this level.
    ///
    /// # Safety
    /// As for `interrupt`.
    pub(crate) unsafe fn is_task_cancelled(&self) -> bool {
        // SAFETY: as in `interrupt`.
        let waiter = unsafe { self.waiter.as_ref() };
        ptr::eq(self.level.as_ptr(), &waiter.base) && waiter.word.is_cancelled()
    }

    /// How often `Cancelled` has been returned at this level.
    ///
    /// # Safety
    /// As for `interrupt`.
    pub(crate) unsafe fn deliveries(&self) -> u32 {
        // SAFETY: as in `interrupt`.
        unsafe { self.level.as_ref() }.deliveries.get() >> 1
    }

    /// Takes one `interrupt` back.
    ///
    /// # Safety
    /// As for `interrupt`.
    pub(crate) unsafe fn resume(&self) {
        // SAFETY: as in `interrupt`.
        let level = unsafe { self.level.as_ref() };
        level.interrupts.set(level.interrupts.get() - 1);
    }
}
