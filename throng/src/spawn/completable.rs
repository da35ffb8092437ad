//! Promises: tasks without a body, whose value somebody else provides.
//!
//! A promise is a lazy task that is never started: it has a place in the tree, its parent waits for it, and cancelling it ends it. The word's `decide` settles who provides its
//! outcome: the one who completes it, with `put`; or its canceller, who has it queued and ended without running, as any task that is cancelled before it began.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::{self, NonNull};

use super::{JoinHandle, NoScope, Options, Place, SpawnError, Start, start};
use crate::cause::Cause;
use crate::job::Job;
use crate::sched::{Scheduler, on_worker};
use crate::task::children::Children;
use crate::task::record::TaskRef;
use crate::task::{self, Header, Outcome, Ran, Report};

/// Makes a value that is still to come: the [`Completable`] to provide it, and the handle to wait for it.
///
/// For bridges from callbacks and foreign threads. It belongs to the runtime as a goroutine does, and to nobody else; [`Scope::completable`](crate::Scope::completable) makes one that is a child of
/// a scope. When the `Completable` is dropped without a value, it is cancelled, so nobody waits in vain.
///
/// # Panics
/// As [`go`](crate::go) does.
///
/// Kotlin's `CompletableDeferred`, JavaScript's `Promise.withResolvers`.
///
/// ```
/// throng::run(|| {
///     let (promise, value) = throng::completable();
///     std::thread::spawn(move || promise.complete(42));
///     assert_eq!(value.join().unwrap(), 42);
/// });
/// ```
#[track_caller]
pub fn completable<T: Send + 'static>() -> (Completable<T>, JoinHandle<T>) {
    // SAFETY: nothing is borrowed.
    let made = unsafe { promise(Location::caller(), NoScope::new(), None, Place::Here) };
    let (promise, handle) = made.unwrap_or_else(|error| error.refuse());
    (Completable { promise }, handle)
}

/// The side of a [`completable`] that provides the value.
#[must_use = "dropping it cancels what waits for it"]
pub struct Completable<T> {
    promise: Promise<NoScope<T>>,
}

impl<T: Send> Completable<T> {
    /// Provides the value. Never parks; from any thread. Handlers of its job run here.
    ///
    /// # Errors
    /// The value comes back if it was completed or cancelled before.
    pub fn complete(&self, value: T) -> Result<(), T> {
        self.promise.complete(value)
    }

    /// Cancels it, for this reason: it ends without a value. No effect if it was completed before.
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        self.promise.cancel(cause.into());
    }

    /// The promise as a node of the task tree.
    #[must_use]
    pub fn job(&self) -> Job {
        self.promise.job()
    }
}

impl<T> fmt::Debug for Completable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completable").field(&self.promise.task).finish()
    }
}

/// A promise with a task's report.
pub(crate) struct Promise<R: Report> {
    task: TaskRef,
    scheduler: *const Scheduler,
    _value: PhantomData<R::Value>,
}

// SAFETY: what is reached through it is atomic or under a lock; a value goes to whoever joins.
unsafe impl<R: Report> Send for Promise<R> where R::Value: Send {}
// SAFETY: as above.
unsafe impl<R: Report> Sync for Promise<R> where R::Value: Send {}

/// What stands for the closure of a promise.
type Never<R> = fn() -> <R as Report>::Returned;

/// Makes a promise with both its sides.
///
/// # Safety
/// As for `start`.
pub(crate) unsafe fn promise<R: Report>(
    site: &'static Location<'static>,
    report: R,
    owner: Option<&Children>,
    place: Place<'_>,
) -> Result<(Promise<R>, JoinHandle<R::Value>), SpawnError> {
    let mut options = Options::default();
    options.start(Start::Promise);
    let never: Never<R> = || unreachable!("a promise is not run");
    // SAFETY: by contract.
    let handle = unsafe { start(options, site, report, never, owner, place) }?;
    let scheduler = on_worker(|worker| match (place, worker) {
        (Place::On(scheduler), _) => ptr::from_ref(scheduler),
        (Place::Here, Some(worker)) => ptr::from_ref(worker.scheduler()),
        (place, _) => place.with_scheduler(|scheduler| scheduler.map_or(ptr::null(), ptr::from_ref)),
    });
    Ok((Promise { task: TaskRef::new(handle.header()), scheduler, _value: PhantomData }, handle))
}

impl<R: Report> Promise<R> {
    pub(crate) fn header(&self) -> &Header {
        self.task.header()
    }

    pub(crate) fn job(&self) -> Job {
        Job::of_task(self.task.clone())
    }

    pub(crate) fn cancel(&self, cause: Cause) {
        self.header().cancel_alone(cause);
    }

    pub(crate) fn complete(&self, value: R::Value) -> Result<(), R::Value> {
        if !self.decide() {
            return Err(value);
        }
        self.settle(Outcome::Value(value), Ran::Well);
        Ok(())
    }

    /// Whether the outcome is the caller's to provide.
    pub(crate) fn decide(&self) -> bool {
        self.header().waiter.word().decide()
    }

    /// Provides the outcome, after `decide`.
    pub(crate) fn settle(&self, outcome: Outcome<R::Value>, ran: Ran) {
        let task = NonNull::from(self.header());
        // SAFETY: made by `promise` with these types, and decided by the caller.
        unsafe { task::put::<Never<R>, R>(task, outcome) };
        if self.header().owner().is_some() {
            // SAFETY: the outcome is in place.
            unsafe { task::finish_away(task, ran) };
        } else {
            // SAFETY: the runtime waits for the task, which has not ended.
            let scheduler = unsafe { &*self.scheduler };
            // SAFETY: the outcome is in place; it is the runtime's outside task.
            unsafe { scheduler.finish_outside(task, ran, || ()) };
        }
    }
}

impl<R: Report> Drop for Promise<R> {
    fn drop(&mut self) {
        if self.header().waiter.word().is_undecided() {
            self.cancel("its promise was dropped".into());
        }
    }
}
