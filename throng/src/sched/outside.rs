//! Goroutines started from outside the runtime: by plain threads, or by another runtime's tasks.
//!
//! They have no home to keep their list, so it is kept under a lock. This is also where a runtime refuses new ones once it closes.
//!
//! Invariant O1: the list, and the sibling links of the tasks in it, are touched under the lock.

use std::ptr::NonNull;

use super::{Scheduler, Unstarted};
use crate::spawn::SpawnError;
use crate::task::record::TaskRef;
use crate::task::{self, Header, Ran};

pub(super) struct Outside {
    tasks: task::List,
    closed: bool,
    /// Closed, and empty since: no longer counted in `open`.
    counted_out: bool,
}

impl Outside {
    pub(super) fn new() -> Outside {
        Outside { tasks: task::List::new(), closed: false, counted_out: false }
    }
}

impl Scheduler {
    /// Takes a new task in, which is to be queued.
    ///
    /// # Safety
    /// The task is new and the caller's.
    pub(crate) unsafe fn admit(&self, task: NonNull<Header>) -> Result<(), SpawnError> {
        let outside = self.outside.lock();
        if outside.closed {
            return Err(SpawnError::shut_down());
        }
        // SAFETY: new, so in no list; under the lock (O1).
        unsafe { outside.tasks.link(task) };
        Ok(())
    }

    /// Queues a task, from a thread that is no worker of ours.
    pub(crate) fn queue_outside(&self, task: NonNull<Header>) {
        let _unwatched = self.global.push(Unstarted(task));
        // Always, watched or not: a watcher's nap is too long for somebody who waits outside.
        self.wake_one();
    }

    /// An outside task has run and is to be completed. `end_of_run` is called when the last of its own code has run.
    ///
    /// # Safety
    /// Called once, after its run, still as the current waiter.
    pub(crate) unsafe fn finish_outside(&self, task: NonNull<Header>, ran: Ran, end_of_run: impl FnOnce()) {
        // SAFETY: run, completed once.
        unsafe { task::complete(task, ran, task::LINKED) };
        end_of_run();
        let mut outside = self.outside.lock();
        // SAFETY: in the list since `submit` (O1).
        unsafe { outside.tasks.unlink(task) };
        let last = outside.closed && outside.tasks.is_empty() && !std::mem::replace(&mut outside.counted_out, true);
        drop(outside);
        // SAFETY: completed above, out of the list.
        if unsafe { task::release(task) } {
            // SAFETY: nobody refers to it any more.
            unsafe { task::free(task) };
        }
        if last {
            self.root_closed();
        }
    }

    /// Cancels the outside tasks and refuses new ones. `true`: there were none left.
    pub(super) fn close_outside(&self) -> bool {
        let mut outside = self.outside.lock();
        outside.closed = true;
        let mut tasks = Vec::new();
        outside.tasks.for_each(|task| tasks.push(TaskRef::new(task)));
        let none = outside.tasks.is_empty() && !std::mem::replace(&mut outside.counted_out, true);
        drop(outside);
        // Outside of the lock: who is told of the cancellation may start a task, and be refused.
        for task in tasks {
            task.header().cancel(false);
        }
        none
    }
}
