//! Goroutines started from outside the runtime: by plain threads, or by another runtime's tasks. And visitors: children of another runtime's scopes, sent here by a dispatcher.
//!
//! They have no home to keep their list, so it is kept under a lock. This is also where a runtime refuses new ones once it closes.
//!
//! Invariant O1: the list, and the sibling links of the tasks in it, are touched under the lock. (A visitor's links are its owner's: visitors are kept in a map.)

use std::collections::HashMap;
use std::ptr::NonNull;

use super::{Scheduler, Unstarted};
use crate::lock::SpinLock;
use crate::spawn::SpawnError;
use crate::task::record::TaskRef;
use crate::task::{self, Header, Ran, cancel_all};

/// The tasks of a scheduler, or of something else that runs tasks, that belong to no worker.
pub(crate) struct Outside(SpinLock<State>);

struct State {
    tasks: task::List,
    /// By address. Each is kept until it has left, so that no other comes to lie there.
    visitors: HashMap<usize, TaskRef>,
    closed: bool,
    /// Closed, and empty since: no longer counted in `open`.
    counted_out: bool,
}

impl State {
    /// Whether it has just become true that there are none and will be none.
    fn is_over(&mut self) -> bool {
        self.closed && self.tasks.is_empty() && self.visitors.is_empty() && !std::mem::replace(&mut self.counted_out, true)
    }
}

impl Outside {
    pub(crate) fn new() -> Outside {
        Outside(SpinLock::new(State { tasks: task::List::new(), visitors: HashMap::new(), closed: false, counted_out: false }))
    }

    /// Takes a new task in, which is to be queued.
    ///
    /// # Safety
    /// The task is new and the caller's.
    pub(crate) unsafe fn admit(&self, task: NonNull<Header>) -> Result<(), SpawnError> {
        let state = self.0.lock();
        if state.closed {
            return Err(SpawnError::shut_down());
        }
        // SAFETY: new, so in no list; under the lock (O1).
        unsafe { state.tasks.link(task) };
        Ok(())
    }

    /// Takes a new task in whose owner is elsewhere.
    pub(crate) fn admit_visitor(&self, task: &Header) -> Result<(), SpawnError> {
        let visitor = TaskRef::new(task);
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            return Err(SpawnError::shut_down());
        }
        state.visitors.insert(std::ptr::from_ref(task).addr(), visitor);
        Ok(())
    }

    /// A visitor has ended. `true`: it was the last of all.
    pub(crate) fn visitor_left(&self, task: NonNull<Header>) -> bool {
        let mut state = self.0.lock();
        let visitor = state.visitors.remove(&task.addr().get());
        let last = state.is_over();
        drop(state);
        drop(visitor);
        last
    }

    /// A task that was admitted has run and is to be completed. `end_of_run` is called when the last of its own code has run. `true`: it was the last of all.
    ///
    /// # Safety
    /// Called once, after its run, still as the current waiter.
    pub(crate) unsafe fn finish(&self, task: NonNull<Header>, ran: Ran, end_of_run: impl FnOnce()) -> bool {
        // SAFETY: run, completed once.
        unsafe { task::complete(task, ran, task::LINKED) };
        end_of_run();
        let mut state = self.0.lock();
        // SAFETY: in the list since `admit` (O1).
        unsafe { state.tasks.unlink(task) };
        let last = state.is_over();
        drop(state);
        // SAFETY: completed above, out of the list.
        if unsafe { task::release(task) } {
            // SAFETY: nobody refers to it any more.
            unsafe { task::free(task) };
        }
        last
    }

    /// Cancels the tasks and refuses new ones. `true`: there were none left.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.0.lock();
        state.closed = true;
        let mut tasks: Vec<_> = state.visitors.values().cloned().collect();
        state.tasks.for_each(|task| tasks.push(TaskRef::new(task)));
        let none = state.is_over();
        drop(state);
        // Outside of the lock: who is told of the cancellation may start a task, and be refused.
        cancel_all(false, |cancel| tasks.iter().for_each(|task| cancel(task.header())));
        none
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Outside").field("visitors", &state.visitors.len()).field("closed", &state.closed).finish_non_exhaustive()
    }
}

impl Scheduler {
    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Queues a task, from a thread that is no worker of ours.
    pub(crate) fn queue_outside(&self, task: NonNull<Header>) {
        let _unwatched = self.global.push(Unstarted(task));
        // Always, watched or not: a watcher's nap is too long for somebody who waits outside.
        self.wake_one();
    }

    /// An outside task has run and is to be completed, as by `Outside::finish`.
    ///
    /// # Safety
    /// As for `Outside::finish`.
    pub(crate) unsafe fn finish_outside(&self, task: NonNull<Header>, ran: Ran, end_of_run: impl FnOnce()) {
        // SAFETY: by contract.
        if unsafe { self.outside.finish(task, ran, end_of_run) } {
            self.root_closed();
        }
    }

    pub(super) fn visitor_left(&self, task: NonNull<Header>) {
        if self.outside.visitor_left(task) {
            self.root_closed();
        }
    }
}
