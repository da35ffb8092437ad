//! Changing from one fiber of a thread to another.
//!
//! To switch is to set `next` and suspend to the *trunk*, the thread's own stack, which resumes `next`. Of the fibers of a thread one runs; the others are suspended in a
//! parked goroutine (its waiter knows which), or as idle loops of the scheduler, listed here. A park goes straight to the next ready goroutine if there is one, but only
//! [`STRAIGHT`] times in a row (never under a policy that is not throng's own): then an idle loop is resumed, which decides who is next.
//!
//! Everything from a call that parks down to the switch is inlined into that call. A processor predicts a return from the calls made before it, and after
//! a switch those are another fiber's: each return between the switch and the user's code costs more than the switch itself (measured: a yield 34 ns with three, 7 with none).
//!
//! Invariants:
//! - S1: there is an idle loop whenever a goroutine runs, so a park never lacks one. (The scheduler starts a goroutine only if it leaves one behind.)
//! - S2: nothing is borrowed over a switch: all is cells, and shared with whoever runs next.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};

use super::local::Local;
use crate::fiber::Fiber;
use crate::rng;
use crate::waiter::Waiter;

/// How many parks in a row may go straight to the next ready goroutine, past the loop.
const STRAIGHT: u32 = 16;

/// The fibers of a worker's thread; none on a plain one.
pub(crate) struct Fibers {
    running: Cell<Option<NonNull<Fiber>>>,
    /// Whom the trunk resumes next.
    next: Cell<Option<NonNull<Fiber>>>,
    /// Suspended loops. Borrowed for single calls only.
    idle: UnsafeCell<Vec<NonNull<Fiber>>>,
    straight: Cell<u32>,
    /// How many parks in a row may do that.
    most_straight: Cell<u32>,
    parked: Cell<u64>,
    /// For tests: goroutines that have been woken give way at random.
    shaken: Cell<bool>,
}

impl Fibers {
    pub(super) fn new() -> Fibers {
        Fibers {
            running: Cell::new(None),
            next: Cell::new(None),
            idle: UnsafeCell::new(Vec::new()),
            straight: Cell::new(0),
            most_straight: Cell::new(STRAIGHT),
            parked: Cell::new(0),
            shaken: Cell::new(false),
        }
    }

    /// Woken goroutines are to give way at random from now on.
    pub(crate) fn shake(&self) {
        self.shaken.set(true);
    }

    /// From now on each park goes to the loop, which decides who is next.
    pub(crate) fn always_to_loop(&self) {
        self.most_straight.set(0);
    }

    /// How often a goroutine has given up the thread.
    pub(crate) fn parked(&self) -> u64 {
        self.parked.get()
    }

    /// The fiber that runs, if the thread has some.
    pub(crate) fn present(&self) -> Option<NonNull<Fiber>> {
        self.running.get()
    }

    /// The fiber that runs, or that ran last.
    #[inline(always)]
    pub(crate) fn running(&self) -> NonNull<Fiber> {
        let Some(fiber) = self.running.get() else { unreachable!("called on a fiber") };
        fiber
    }

    /// Whether the thread has fibers.
    #[inline]
    pub(crate) fn has_run(&self) -> bool {
        self.running.get().is_some()
    }

    /// Whom the trunk resumes next.
    #[inline]
    pub(crate) fn next(&self) -> &Cell<Option<NonNull<Fiber>>> {
        &self.next
    }

    /// The trunk is about to resume `fiber`.
    #[inline]
    pub(crate) fn runs(&self, fiber: NonNull<Fiber>) {
        self.running.set(Some(fiber));
    }

    /// The idle loops, for one call on them.
    #[inline]
    pub(crate) fn with_idle<R>(&self, f: impl FnOnce(&mut Vec<NonNull<Fiber>>) -> R) -> R {
        // SAFETY: one thread's (L1), and `f` is a single call on the vector.
        f(unsafe { &mut *self.idle.get() })
    }

    /// Suspends the running fiber in favour of `fiber`.
    #[inline(always)]
    pub(crate) fn switch_to(&self, fiber: NonNull<Fiber>) {
        let running = self.running();
        self.next.set(Some(fiber));
        // SAFETY: the running fiber suspends itself.
        unsafe { Fiber::suspend(running) };
    }
}

impl Local {
    /// Gives the thread to a goroutine that is ready, the running fiber being parked or idle. Returns when that is resumed.
    #[inline(always)]
    pub(crate) fn go_to(&self, waiter: NonNull<Waiter>) {
        // SAFETY: ready, so parked, so alive.
        let waiter = unsafe { waiter.as_ref() };
        debug_assert!(waiter.is_at(self.home()), "a started goroutine never changes thread");
        self.set_current(waiter);
        let Some(fiber) = waiter.fiber().get() else { unreachable!("a ready goroutine has started") };
        if self.fibers().running() != fiber {
            self.fibers().switch_to(fiber);
        }
    }

    /// Takes the goroutine that became ready first.
    #[inline(always)]
    pub(crate) fn next_ready(&self) -> Option<NonNull<Waiter>> {
        let waiter = self.pop_ready();
        // The one after it: its stack is likely to have left the cache, and there is time to fetch it while this one runs.
        if let Some(next) = self.peek_ready() {
            // SAFETY: ready, so parked, so alive.
            let fiber = unsafe { next.as_ref() }.fiber().get();
            if let Some(fiber) = fiber
                && self.fibers().running() != fiber
            {
                // SAFETY: parked, and not the one that is about to park, so suspended.
                unsafe { Fiber::prefetch(fiber) };
            }
        }
        waiter
    }

    /// The running goroutine has nothing to do for now: gives the thread to another. Returns when it has been woken.
    #[inline(always)]
    pub(crate) fn switch_away(&self) {
        let fibers = self.fibers();
        fibers.parked.set(fibers.parked.get() + 1);
        let straight = fibers.straight.get();
        if straight < fibers.most_straight.get()
            && let Some(waiter) = self.next_ready()
        {
            fibers.straight.set(straight + 1);
            self.go_to(waiter);
        } else {
            self.switch_to_loop();
        }
        if fibers.shaken.get() {
            self.give_way_at_random();
        }
    }

    #[inline(always)]
    fn switch_to_loop(&self) {
        let fibers = self.fibers();
        fibers.straight.set(0);
        self.set_current(ptr::null());
        let Some(fiber) = fibers.with_idle(Vec::pop) else { unreachable!("a goroutine runs, so there is an idle loop (S1)") };
        fibers.switch_to(fiber);
    }

    #[cold]
    fn give_way_at_random(&self) {
        if rng::below(8) == 0 {
            self.step_back_to_loop();
        }
    }

    /// The running goroutine goes to the end of the ready ones, and the next of them runs; if there is none, and has not been for a while, the loop gets a turn.
    #[inline(always)]
    pub(crate) fn step_back(&self) {
        let fibers = self.fibers();
        let straight = fibers.straight.get();
        if self.has_ready() {
            self.push_ready(self.current());
            self.switch_away();
        } else if straight < fibers.most_straight.get() {
            fibers.straight.set(straight + 1);
            fibers.parked.set(fibers.parked.get() + 1);
        } else {
            self.step_back_to_loop();
        }
    }

    /// The running goroutine becomes the first of the ready ones, and the loop decides what is done before.
    pub(crate) fn step_aside(&self) {
        let fibers = self.fibers();
        fibers.parked.set(fibers.parked.get() + 1);
        self.push_ready_first(self.current());
        self.switch_to_loop();
    }

    /// The running goroutine gives up the thread, and the loop decides who is next. The scheduler has noted that it is ready, or will be told.
    pub(crate) fn leave_to_loop(&self) {
        let fibers = self.fibers();
        fibers.parked.set(fibers.parked.get() + 1);
        self.switch_to_loop();
    }

    /// The running goroutine goes to the end of the ready ones, and the loop decides who is next.
    #[inline(always)]
    pub(crate) fn step_back_to_loop(&self) {
        let fibers = self.fibers();
        fibers.parked.set(fibers.parked.get() + 1);
        self.push_ready(self.current());
        self.switch_to_loop();
    }
}

impl fmt::Debug for Fibers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fibers").field("parked", &self.parked).finish_non_exhaustive()
    }
}
