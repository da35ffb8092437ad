//! What only few tasks have: jobs that refer to them, somebody who wants to be told, a cause, a start that is still to come.
//!
//! A record (`about.rs`) is made the first time one of these is wanted; this is its state.
//!
//! - A [`TaskRef`] is a counted reference: while there is one, `JOBS` is up and the block stays.
//! - *Handlers* are told once, when the task has ended (`Completion`), or when it is cancelled (`Cause`).
//! - A *launch* queues a task that was made without being queued: a lazy one, or a promise that is cancelled. Who wins the word's `decide` calls it.
//!
//! How a task is cancelled is in `cancelling.rs`.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use super::{DONE, FAILED, HANDLE, HANDLERS, Header, JOBS, LOST, OTHERS, REFERENCES, RUNTIME, Ran, Schedule, WATCHED, Why, free};
use crate::cause::{Cause, Completion, Failed};

/// See the module's header.
#[derive(Default)]
pub(crate) struct State {
    jobs: usize,
    /// Why it was cancelled alone; when it is done: why it was lost.
    pub(super) cause: Option<Cause>,
    pub(super) handlers: Handlers,
    /// Where a task that is not queued yet gets queued. It is there until the task has ended.
    launch: Option<NonNull<Schedule>>,
}

// SAFETY: what queues tasks does so from anywhere; all else is Send.
unsafe impl Send for State {}

/// Who wants to be told, in the order they came.
#[derive(Default)]
pub(crate) struct Handlers {
    last: u64,
    list: Vec<(u64, Handler)>,
}

pub(crate) enum Handler {
    Completion(Box<dyn FnOnce(&Completion) + Send>),
    Cancelling(Box<dyn FnOnce(&Cause) + Send>),
}

impl Handlers {
    /// Returns the number it can be removed by.
    pub(crate) fn add(&mut self, handler: Handler) -> u64 {
        self.last += 1;
        self.list.push((self.last, handler));
        self.last
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Handler> {
        let at = self.list.iter().position(|(present, _)| *present == number)?;
        Some(self.list.remove(at).1)
    }

    /// Takes those out that are to be told of a cancellation.
    pub(crate) fn take_cancelling(&mut self) -> Handlers {
        let list = self.list.extract_if(.., |(_, handler)| matches!(handler, Handler::Cancelling(_))).collect();
        Handlers { last: 0, list }
    }

    /// Outside of every lock: tells those that wait for a cancellation.
    pub(crate) fn cancelling(self, cause: &Cause) {
        for (_, handler) in self.list {
            if let Handler::Cancelling(f) = handler {
                tell(|| f(cause));
            }
        }
    }

    /// Outside of every lock: tells all of the end. One that waits for a cancellation hears of it as one.
    pub(crate) fn completed(self, completion: &Completion) {
        for (_, handler) in self.list {
            match handler {
                Handler::Completion(f) => tell(|| f(completion)),
                Handler::Cancelling(f) => drop(f),
            }
        }
    }
}

/// A handler that panics is reported and harms nobody. (The panic hook has told the message.)
fn tell(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        eprintln!("throng: a completion handler panicked: {}", crate::panics::payload_text(&*payload));
        // A payload whose own drop panics could go on for ever.
        mem::forget(payload);
    }
}

/// A counted reference to a task, as a job.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: what is reached through it is atomic or under the `join` lock.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// The caller knows the task to be there.
    pub(crate) fn new(header: &Header) -> TaskRef {
        header.with_record(|record, flags| {
            record.jobs += 1;
            *flags |= JOBS;
        });
        TaskRef(NonNull::from(header))
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the reference keeps it.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> TaskRef {
        TaskRef::new(self.header())
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        let last = self.header().with_record(|record, flags| {
            record.jobs -= 1;
            if record.jobs == 0 {
                *flags &= !JOBS;
            }
            *flags & REFERENCES == 0
        });
        if last {
            // SAFETY: nobody refers to it any more.
            unsafe { free(self.0) };
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt(f)
    }
}

impl Header {
    /// The state of the record, made if there is none, and the flags.
    pub(super) fn with_record<R>(&self, f: impl FnOnce(&mut State, &mut u32) -> R) -> R {
        let mut join = self.join.lock();
        if self.about.state(&mut join).is_none() {
            // Allocated outside of the lock.
            drop(join);
            let spare = self.about.spare();
            join = self.join.lock();
            self.about.set(spare, &mut join);
        }
        let mut flags = *join.flags();
        let Some(state) = self.about.state(&mut join) else { unreachable!("it has just been set") };
        let result = f(state, &mut flags);
        *join.flags() = flags;
        result
    }

    /// What is found in the record, if there is one.
    pub(super) fn in_record<R>(&self, f: impl FnOnce(&mut State) -> Option<R>) -> Option<R> {
        f(self.about.state(&mut self.join.lock())?)
    }

    /// Before the task is known to others: what queues it later.
    pub(crate) fn set_launch(&self, launch: NonNull<Schedule>) {
        self.with_record(|record, _| record.launch = Some(launch));
    }

    /// Queues a lazy task, unless somebody else has. The caller knows it to be there.
    #[inline]
    pub(crate) fn launch_if_lazy(&self) -> bool {
        self.waiter.word().is_undecided() && !self.is_promise() && self.launch()
    }

    /// Queues a task that was not queued yet, if nobody else does. The caller knows it to be there.
    #[cold]
    pub(crate) fn launch(&self) -> bool {
        if !self.waiter.word().decide() {
            return false;
        }
        if let Some(schedule) = self.in_record(|record| record.launch.take()) {
            // SAFETY: it is there until the task has ended.
            let queue = unsafe { schedule.as_ref() }.queue;
            // SAFETY: set for this task; whoever wins `decide` calls it, once.
            unsafe { queue(NonNull::from(self), schedule, Why::Started) };
        }
        true
    }

    /// Why it is cancelled, if it is, or, when it is done, why it was lost.
    pub(crate) fn cause(&self) -> Option<Cause> {
        let mut join = self.join.lock();
        let done = *join.flags() & DONE != 0;
        let kept = self.about.state(&mut join).and_then(|record| record.cause.clone());
        if done || self.waiter.word().is_cancelled_alone() {
            let lost = *join.flags() & LOST != 0 || !done;
            return lost.then(|| kept.unwrap_or_default());
        }
        // The owner is there while the task is not done, which the lock sees to.
        let inherited = self.owner().and_then(|owner| owner.cause());
        inherited.or_else(|| self.waiter.is_task_cancelled().then_some(Cause::Shutdown))
    }

    /// Looks at the owner, if there is one and the task has not ended. `f` runs under the lock.
    pub(crate) fn with_owner<R>(&self, f: impl FnOnce(&super::children::Children) -> R) -> Option<R> {
        let mut join = self.join.lock();
        // The owner is there while the runtime uses the task, which the lock sees to.
        if *join.flags() & RUNTIME == 0 { None } else { self.owner().map(f) }
    }

    /// Tells `handler` of the end, or, if it wants that, of the cancellation; gives it back if that has been.
    pub(crate) fn tell(&self, handler: Handler) -> Result<u64, Handler> {
        let cancelling = matches!(handler, Handler::Cancelling(_));
        if cancelling && !self.waiter.word().watch() {
            return Err(handler);
        }
        self.with_record(|record, flags| {
            // Cancelled meanwhile, and its handlers taken: too late for this one.
            if *flags & DONE != 0 || cancelling && self.waiter.is_task_cancelled() {
                return Err(handler);
            }
            *flags |= HANDLERS;
            Ok(record.handlers.add(handler))
        })
    }

    pub(crate) fn untell(&self, number: u64) -> Option<Handler> {
        self.in_record(|record| record.handlers.remove(number))
    }

    /// How it ended, if it has.
    pub(crate) fn completion(&self) -> Option<Completion> {
        let mut join = self.join.lock();
        let flags = *join.flags();
        let cause = self.about.state(&mut join).and_then(|record| record.cause.clone());
        (flags & DONE != 0).then(|| completion(flags, cause))
    }

    /// Whether it has ended, and not with a value.
    pub(crate) fn is_lost(&self) -> bool {
        self.join.flags() & LOST != 0
    }
}

fn completion(flags: u32, cause: Option<Cause>) -> Completion {
    match flags & (LOST | FAILED) {
        0 => Completion::Completed,
        LOST => Completion::Cancelled(cause.unwrap_or_default()),
        // (It has a cause.)
        _ => Completion::Failed(cause.unwrap_or_default()),
    }
}

/// `super::complete`, for a task whose end somebody may want to know more of: one that is a job, or that ends without a value and has a handle.
///
/// # Safety
/// As for `super::complete`.
#[cold]
pub(super) unsafe fn complete(task: NonNull<Header>, ran: Ran, unlink: Option<impl FnOnce()>) -> bool {
    // SAFETY: by contract.
    unsafe { complete_late(task, ran, unlink, false) }
}

/// `complete`, with the outcome `dropped` already or not.
///
/// # Safety
/// As for `super::complete`; `dropped` only if there is no handle.
#[cold]
pub(super) unsafe fn complete_late(task: NonNull<Header>, ran: Ran, unlink: Option<impl FnOnce()>, dropped: bool) -> bool {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    finish(header, ran, dropped);
    match unlink {
        // SAFETY: by contract.
        Some(unlink) => unsafe { let_go(task, ran, unlink) },
        None => false,
    }
}

/// Marks it done, tells the handlers, and wakes those who wait.
fn finish(header: &Header, ran: Ran, dropped: bool) {
    let cause = why(header, ran);
    if let Some(cause) = &cause {
        header.with_record(|record, _| record.cause = Some(cause.clone()));
    }
    let mut join = header.join.lock();
    if !dropped && *join.flags() & HANDLE == 0 {
        drop(join);
        // SAFETY: no handle, and there will be none, so the outcome is still ours (K1, K2).
        unsafe { (header.vtable.drop_outcome)(NonNull::from(header)) };
        join = header.join.lock();
    }
    *join.flags() |= ran.flags();
    *join.flags() &= !HANDLERS;
    let flags = *join.flags();
    let handlers = header.about.state(&mut join).map(|record| mem::take(&mut record.handlers));
    let woken = join.claim_all(0, |()| {});
    drop(join);
    // First the handlers: who waited for the end and goes on may expect them to have been told.
    if let Some(handlers) = handlers {
        handlers.completed(&completion(flags, cause));
    }
    drop(woken);
}

/// Why it did not end with a value. While its owner is there.
fn why(header: &Header, ran: Ran) -> Option<Cause> {
    match ran {
        Ran::Well | Ran::Pending => None,
        Ran::Cancelled => Some(header.cause().unwrap_or_default()),
        Ran::Failed | Ran::FailedScope => {
            let kept = header.in_record(|record| record.cause.clone());
            // Whoever saw it fail has left word of how.
            Some(match kept {
                Some(failed @ Cause::Failed(_)) => failed,
                _ => header.failed(None),
            })
        }
    }
}

impl Header {
    /// That it failed: as a cause for others.
    pub(crate) fn failed(&self, panic: Option<&str>) -> Cause {
        Cause::Failed(std::sync::Arc::new(Failed { name: self.name().map(Box::from), site: self.site(), panic: panic.map(Box::from) }))
    }

    /// Notes, for its jobs, how it failed.
    pub(crate) fn note_failure(&self, cause: &Cause) {
        if self.join.flags() & (HANDLE | WATCHED) != 0 {
            self.with_record(|record, _| record.cause = Some(cause.clone()));
        }
    }
}

/// Takes the task out of its owner's list and lets go of the runtime's reference. Returns whether the block is the caller's to free.
///
/// # Safety
/// Completed but for this, on its owner's home, where `unlink` takes it out of the list.
#[inline]
pub(super) unsafe fn let_go(task: NonNull<Header>, ran: Ran, unlink: impl FnOnce()) -> bool {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    if header.join.flags() & (HANDLE | WATCHED) == 0 {
        unlink();
        return true;
    }
    // What dropped the outcome has made a job of it.
    if header.join.flags() & DONE == 0 {
        finish(header, ran, true);
    }
    let mut join = header.join.lock();
    unlink();
    *join.flags() &= !RUNTIME;
    *join.flags() & OTHERS == 0
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("jobs", &self.jobs).field("cause", &self.cause).finish_non_exhaustive()
    }
}
