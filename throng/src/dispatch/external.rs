//! Threads that are none of ours: tasks are handed out as [`Runnable`]s, to be run by whoever has them.
//!
//! A task that is run there is called: it has no stack of its own, and parks the thread. So a coroutine's turn should not park, and a goroutine runs only where the thread's owner has agreed to that.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::ThreadId;

use super::{Dispatcher, Kind};
use crate::home::local::{self, Caller, Local};
use crate::sched::Outside;
use crate::task::{self, Header, Outgoing, Ran, Schedule, Why};

/// `repr(C)`: the schedule comes first.
#[repr(C)]
pub(crate) struct External {
    schedule: Schedule,
    /// Takes what is to be run.
    submit: Box<dyn Fn(Runnable) + Send + Sync>,
    /// The thread that runs everything, if it is one: whole goroutines may run there, too.
    thread: Option<ThreadId>,
    outside: Outside,
}

/// A task, or a turn of one, to be run by an executor: what [`Dispatcher::from_executor`] hands out.
///
/// Dropped without having been run it ends its task as cancelled, there and then: nothing waits for ever for an executor that has been shut down.
#[must_use = "dropping it cancels its task"]
pub struct Runnable {
    task: NonNull<Header>,
    /// Kept by the task's context; and here, as the task may end while this is still used.
    external: Arc<External>,
}

// SAFETY: whoever has it is the one to run the task, which has not started or may move.
unsafe impl Send for Runnable {}

impl External {
    pub(super) fn new(submit: impl Fn(Runnable) + Send + Sync + 'static, thread: Option<ThreadId>) -> Arc<External> {
        Arc::new(External { schedule: Schedule { queue }, submit: Box::new(submit), thread, outside: Outside::new() })
    }

    pub(super) fn schedule(self: &Arc<Self>) -> NonNull<Schedule> {
        // Counted, so what it points to stays where it is.
        NonNull::from(&**self).cast()
    }

    pub(crate) fn takes_goroutines(&self) -> bool {
        self.thread.is_some()
    }

    /// Whether it is the calling thread that runs its tasks: then nobody else will.
    pub(super) fn is_this_thread(&self) -> bool {
        self.thread == Some(std::thread::current().id())
    }

    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    pub(super) fn close(&self) {
        self.outside.close();
    }
}

impl Dispatcher {
    /// The threads of another executor, for coroutines: `submit` is called with each turn that is to be run, from whichever thread wakes the coroutine, and must see to it that it is
    /// [run](Runnable::run) soon. It must not run it itself, and must not block.
    ///
    /// A panic in `submit` cancels the task. Goroutines are refused there.
    ///
    /// Kotlin's `Executor.asCoroutineDispatcher`.
    ///
    /// ```
    /// use throng::{Dispatcher, task};
    ///
    /// let (tx, rx) = std::sync::mpsc::channel::<throng::dispatch::Runnable>();
    /// let executor = std::thread::spawn(move || rx.into_iter().for_each(throng::dispatch::Runnable::run));
    /// let dispatcher = Dispatcher::from_executor(move |runnable| tx.send(runnable).unwrap());
    /// let thread = executor.thread().id();
    /// throng::run(|| {
    ///     let handle = task().on(&dispatcher).launch(async { std::thread::current().id() });
    ///     assert_eq!(handle.join().unwrap(), thread);
    /// });
    /// ```
    #[must_use]
    pub fn from_executor(submit: impl Fn(Runnable) + Send + Sync + 'static) -> Dispatcher {
        Dispatcher(Kind::External(External::new(submit, None)))
    }
}

/// # Safety
/// The schedule is an external's, counted, which the task's context keeps; the task is the caller's to queue.
unsafe fn queue(task: NonNull<Header>, schedule: NonNull<Schedule>, _: Why) {
    let external = schedule.cast::<External>().as_ptr().cast_const();
    // SAFETY: by contract it is the inside of an `Arc` that is kept.
    unsafe { Arc::increment_strong_count(external) };
    // SAFETY: the count that was just added.
    let external = unsafe { Arc::from_raw(external) };
    let runnable = Runnable { task, external: Arc::clone(&external) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (external.submit)(runnable))) {
        // The panic hook has told; the runnable was dropped, which ended the task.
        std::mem::forget(payload);
    }
}

impl Runnable {
    /// Runs the task until it ends, or the coroutine until it waits. What parks in it parks this thread.
    pub fn run(self) {
        self.start(false);
    }

    fn start(self, skip: bool) {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: not used again, and `this` is not dropped.
        let external = unsafe { std::ptr::read(&this.external) };
        external.start(this.task, skip);
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        // SAFETY: the task has not ended.
        unsafe { self.task.as_ref() }.cancel_alone(crate::cause::Cause::Shutdown);
        self.external.start(self.task, true);
    }
}

impl External {
    /// Runs a task, or a turn of one, on this thread; or, with `skip`, only drops what is left of it.
    fn start(&self, task: NonNull<Header>, skip: bool) {
        // SAFETY: handed out once, so it is ours to run.
        let header = unsafe { task.as_ref() };
        let visitor = header.is_visitor();
        let again = local::with(|local| {
            let caller = local.call(&header.waiter);
            let mut again = None;
            let mut run = || again = self.run_here(task, header, skip, local, &caller);
            match header.permits() {
                Some(permits) => permits.hold(local, run),
                None => run(),
            }
            local.returned(caller);
            again
        });
        match again {
            // SAFETY: ours to queue.
            Some(true) => unsafe { task::queue_again(task) },
            None if visitor => _ = self.outside.visitor_left(task),
            Some(false) | None => {}
        }
    }

    /// `None`: it has ended. Else whether it is to be queued again.
    fn run_here(&self, task: NonNull<Header>, header: &Header, skip: bool, local: &Local, caller: &Caller) -> Option<bool> {
        let first = header.waiter.settle(local.home());
        header.waiter.fiber().set(local.fibers().present());
        let skip = skip || first && header.is_to_be_skipped();
        // SAFETY: started once, or a coroutine's turn, as the current waiter.
        let ran = unsafe { task::run(task, skip) };
        if ran == Ran::Pending {
            local.return_to(caller);
            // SAFETY: the turn was ours.
            return Some(unsafe { task::pause(task) });
        }
        header.end_turns();
        let (outgoing, end_of_run) = (Outgoing::new(), || local.return_to(caller));
        match header.owner() {
            // SAFETY: it has run; still as the current waiter.
            Some(_) => unsafe { task::finish(task, ran, local, &outgoing, end_of_run) },
            // SAFETY: as above.
            None => _ = unsafe { self.outside.finish(task, ran, end_of_run) },
        }
        outgoing.flush();
        None
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").field("thread", &self.thread).field("outside", &self.outside).finish_non_exhaustive()
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: not run yet, so it has not ended.
        f.debug_tuple("Runnable").field(unsafe { self.task.as_ref() }).finish()
    }
}
