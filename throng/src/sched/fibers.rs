//! The fibers of a worker: making them, running them from the trunk, giving them back.

use std::ptr::{self, NonNull};

use super::worker::Worker;
use crate::fiber::{Fiber, Resumed, Stack};
use crate::memory;

/// How many stacks a worker takes from the slab at once.
const STACKS_AT_ONCE: usize = 16;
/// How many idle fibers a worker keeps when it tidies up.
const KEEP_FIBERS: usize = 64;

impl Worker {
    /// The worker's life, on its thread's own stack: resumes one fiber after the other, until none is left.
    pub(super) fn trunk(&self, stack: Stack) {
        let fibers = self.local().fibers();
        fibers.next().set(Some(self.new_fiber(stack)));
        while let Some(fiber) = fibers.next().take() {
            fibers.runs(fiber);
            // SAFETY: suspended (it was idle, its goroutine parked, or new), and this is the thread's own stack.
            if unsafe { Fiber::resume(fiber) } == Resumed::Finished {
                // SAFETY: finished, and nobody refers to it.
                self.put_by(unsafe { Fiber::into_stack(fiber) });
                if self.exiting.get() && fibers.next().get().is_none() {
                    fibers.next().set(fibers.with_idle(Vec::pop));
                }
            }
        }
        self.give_stacks_back();
        // A nudge that is under way must not find the thread gone (I1).
        while !self.scheduler().idle.retire(self.id()) {
            self.local().read_mail();
        }
    }

    fn new_fiber(&self, stack: Stack) -> NonNull<Fiber> {
        let worker = ptr::from_ref(self);
        Fiber::new(stack, move || {
            // SAFETY: the worker outlives its fibers: the trunk ends when they have.
            unsafe { &*worker }.run_loop();
        })
    }

    /// Whether there is an idle loop to go on with when the running one parks (S1).
    #[inline]
    pub(super) fn has_spare(&self) -> bool {
        self.local().fibers().with_idle(|idle| !idle.is_empty()) || self.make_spare()
    }

    #[cold]
    fn make_spare(&self) -> bool {
        let stack = match self.with_stacks(Vec::pop) {
            Some(stack) => stack,
            // A few at once, to take the slab's lock seldom.
            None => {
                let taken = self.with_stacks(|stacks| self.scheduler().slab.take_many(STACKS_AT_ONCE, stacks));
                match taken.ok().and_then(|_| self.with_stacks(Vec::pop)) {
                    Some(stack) => stack,
                    None => return false,
                }
            }
        };
        let fiber = self.new_fiber(stack);
        self.local().fibers().with_idle(|idle| idle.push(fiber));
        true
    }

    fn with_stacks<R>(&self, f: impl FnOnce(&mut Vec<Stack>) -> R) -> R {
        // SAFETY: the worker's own (F1), and `f` is a single call on the vector.
        f(unsafe { &mut *self.stacks.get() })
    }

    /// Keeps a stack that is not needed any more, to give back many at once.
    fn put_by(&self, stack: Stack) {
        let kept = self.with_stacks(|stacks| {
            stacks.push(stack);
            stacks.len()
        });
        if kept >= 4 * STACKS_AT_ONCE {
            self.give_stacks_back();
        }
    }

    fn give_stacks_back(&self) {
        self.scheduler().slab.give_many(self.with_stacks(std::mem::take));
    }

    /// Gives back what a burst has left: fibers, stacks, blocks.
    pub(super) fn tidy(&self) {
        let fibers = self.local().fibers();
        let running = fibers.running();
        while fibers.with_idle(|idle| idle.len()) > KEEP_FIBERS && !self.local().home().has_mail() {
            let Some(fiber) = fibers.with_idle(Vec::pop) else { break };
            self.retire_to.set(Some(running));
            // Its loop ends, its stack goes to the slab, and the trunk comes back to us.
            fibers.switch_to(fiber);
        }
        // What a deep goroutine touched of a stack, the loop that sleeps on it now does not need.
        fibers.with_idle(|idle| {
            for &fiber in &*idle {
                // SAFETY: idle, so suspended.
                unsafe { Fiber::trim(fiber) };
            }
        });
        memory::tidy();
        self.give_stacks_back();
        self.scheduler().slab.trim(KEEP_FIBERS);
    }
}
