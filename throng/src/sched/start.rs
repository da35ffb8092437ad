//! Starting a task on a worker, or giving a coroutine a turn: from the queue to its end, or to where it waits.

use std::ptr::NonNull;

use super::add;
use super::next::detour;
use super::worker::Worker;
use crate::task::{self, Header, Ran};

/// What came of starting a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Started {
    /// It may be gone.
    Ended,
    /// A coroutine that waits. Somebody else may have it by now.
    Waits,
    /// A coroutine that is to be queued again.
    Again,
}

impl Worker {
    /// Starts a goroutine on the running fiber, its home from now on, and returns when it has ended; or gives a coroutine a turn.
    #[inline]
    pub(super) fn start(&self, task: NonNull<Header>) {
        // SAFETY: taken from a queue, so it is ours to start.
        let header = unsafe { task.as_ref() };
        if header.is_dispatched() {
            self.start_dispatched(task, header);
        } else if self.start_plainly(task, header) == Started::Again {
            self.gave_way.set(Some(task));
            self.detour(detour::GAVE_WAY);
        }
    }

    /// Starts one that was sent here by a dispatcher.
    #[cold]
    fn start_dispatched(&self, task: NonNull<Header>, header: &Header) {
        let visitor = header.is_visitor();
        let mut started = Started::Ended;
        let mut start = || started = self.start_apart(task, header);
        match header.permits() {
            Some(permits) => permits.hold(&self.local, start),
            None => start(),
        }
        match started {
            Started::Ended if visitor => self.scheduler.visitor_left(task),
            // SAFETY: ours to queue.
            Started::Again => unsafe { task::queue_again(task) },
            Started::Ended | Started::Waits => {}
        }
    }

    /// `start_plainly`, out of the way of those that are not dispatched.
    #[inline(never)]
    fn start_apart(&self, task: NonNull<Header>, header: &Header) -> Started {
        self.start_plainly(task, header)
    }

    #[inline(always)]
    fn start_plainly(&self, task: NonNull<Header>, header: &Header) -> Started {
        let first = header.waiter.settle(self.local.home());
        if first {
            add(&self.counters().started, 1);
        }
        header.waiter.fiber().set(Some(self.local.fibers().running()));
        let skip = first && header.is_to_be_skipped();
        self.local.set_current(&header.waiter);
        // SAFETY: started once, or a coroutine's turn, on its fiber, as the current waiter.
        let ran = unsafe { task::run(task, skip) };
        if ran == Ran::Pending {
            self.local.clear_current();
            // SAFETY: the turn was ours.
            return if unsafe { task::pause(task) } { Started::Again } else { Started::Waits };
        }
        header.end_turns();
        let end_of_run = || self.local.clear_current();
        match header.owner() {
            // SAFETY: it has run; still as the current waiter.
            Some(_) => unsafe { task::finish(task, ran, &self.local, &self.outgoing, end_of_run) },
            // SAFETY: as above.
            None => unsafe { self.scheduler.finish_outside(task, ran, end_of_run) },
        }
        Started::Ended
    }
}
