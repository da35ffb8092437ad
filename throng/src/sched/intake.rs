//! How new goroutines come to a worker.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::next::detour;
use super::worker::{Worker, on_worker};
use super::{Scheduler, Unstarted};
use crate::task::children::Children;
use crate::task::{Header, Schedule, Why};

impl Worker {
    /// Takes a new goroutine in, as a child of `owner` or, without one, of this worker's root, and queues it.
    ///
    /// # Safety
    /// The task is new and the caller's; `owner` waits for it.
    #[inline]
    pub(crate) unsafe fn spawn(&self, task: NonNull<Header>, owner: Option<&Children>) {
        // SAFETY: by contract.
        unsafe { self.adopt(task, owner) };
        self.enqueue(task);
    }

    /// `spawn`, without queueing it.
    ///
    /// # Safety
    /// As for `spawn`.
    #[inline]
    pub(crate) unsafe fn adopt(&self, task: NonNull<Header>, owner: Option<&Children>) {
        let owner = owner.unwrap_or_else(|| {
            if !self.root_counted.get() {
                // A running task, whose own root is counted, starts another while the runtime closes.
                self.root_counted.set(true);
                self.scheduler().open.fetch_add(1, Ordering::AcqRel);
            }
            &self.root
        });
        // SAFETY: by contract.
        unsafe { owner.adopt(task, self.local()) };
    }

    /// Starts a new goroutine at once: the running one steps aside, and goes on when that parks or ends. Where that cannot be, it is queued.
    pub(crate) fn start_here(&self, task: NonNull<Header>) {
        if self.local().is_thread() || crate::waiter::unwinding() {
            return self.enqueue(task);
        }
        self.at_once.set(Some(task));
        self.detour(detour::AT_ONCE);
        if let Some(order) = self.order() {
            return self.step_aside_by_policy(order);
        }
        self.detour(detour::READY_FIRST);
        self.local().step_aside();
    }

    #[inline]
    pub(crate) fn enqueue(&self, task: NonNull<Header>) {
        if let Some(order) = self.order() {
            self.put(order, task);
        } else if self.peer().queue.push(Unstarted(task)) {
            self.scheduler().wake_one();
        }
    }
}

impl Worker {
    /// A coroutine has been woken on this thread, or gives way.
    #[inline]
    pub(super) fn enqueue_woken(&self, task: NonNull<Header>) {
        if let Some(order) = self.order() {
            return self.put(order, task);
        }
        let woken = &self.peer().woken;
        // Between two tasks, as when an alarm rings, this worker comes for it itself. A task that runs may take its time.
        let unwatched = if self.local().is_thread() { woken.push_own(Unstarted(task)) } else { woken.push(Unstarted(task)) };
        if unwatched {
            self.scheduler().wake_one();
        }
    }
}

/// Queues a task at a scheduler, from wherever.
///
/// # Safety
/// The schedule is a scheduler's, and the task its own and the caller's to queue.
pub(super) unsafe fn queue(task: NonNull<Header>, schedule: NonNull<Schedule>, why: Why) {
    // SAFETY: by contract.
    let scheduler = unsafe { schedule.cast::<Scheduler>().as_ref() };
    on_worker(|worker| match worker {
        Some(worker) if std::ptr::eq(worker.scheduler(), scheduler) => match why {
            Why::Started => worker.enqueue(task),
            Why::Woken => worker.enqueue_woken(task),
        },
        _ => scheduler.queue_outside(task),
    });
}
