//! Starting goroutines, and waiting for what comes of them.

mod completable;
mod error;
mod handle;
mod options;

use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::home::local;
use crate::job::root_path;
use crate::panics::Caught;
use crate::rt;
use crate::sched::{Scheduler, Worker, on_caller, on_worker};
use crate::task::children::Children;
use crate::task::record::Launch;
use crate::task::{self, Header, Outcome, Ran, Report};
use crate::unseen::drop_unseen;
pub use completable::{Completable, completable};
pub(crate) use completable::{Promise, promise};
use error::Refusal;
pub use error::SpawnError;
pub use handle::JoinHandle;
pub(crate) use options::{Options, Start, task_options};

/// Starts a goroutine: queues `f` to run on the runtime, and returns at once. Go's `go f()`.
///
/// It runs on the runtime of the calling task, also from inside a [`blocking`](crate::blocking) call; called from a plain thread, on the default runtime, which starts by itself. It hangs off the root of the
/// runtime: nothing waits for it but its [`JoinHandle`] and the runtime's shutdown, which cancels it. To start goroutines that
/// borrow, or that are waited for, use [`scope`](crate::scope).
///
/// `f` may park in any of throng's calls, giving its thread to others meanwhile. Until its first instruction any worker may
/// take it; from then on it stays on its thread, so it may keep `Rc`s and thread-locals over a park.
///
/// `go` never parks and never runs `f` itself.
///
/// # Panics
/// When the runtime has no stack left for another goroutine, or no memory, or has been shut down; [`try_go`] returns these as errors.
/// A panic of `f` is returned by [`JoinHandle::join`]; if the handle is gone it is reported on stderr with the goroutine's name and place, and harms nobody else.
///
/// ```
/// throng::run(|| {
///     let answer = throng::go(|| 6 * 7);
///     assert_eq!(answer.join().unwrap(), 42);
/// });
/// ```
#[track_caller]
pub fn go<T, F>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    task().go(f)
}

/// [`go`], with failure to start as an error.
///
/// # Errors
/// [`SpawnError`] when the runtime has no stack left, no memory, or has been shut down.
#[track_caller]
pub fn try_go<T, F>(f: F) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    task().try_go(f)
}

/// Begins the description of a goroutine: `task().name("reader").go(|| ..)`.
pub fn task() -> Task {
    Task { options: Options::default() }
}

/// A goroutine to be: what [`task`] returns.
#[derive(Clone, Debug)]
#[must_use = "it is started by `go`"]
pub struct Task {
    options: Options,
}

impl Task {
    task_options!();

    /// Starts it: [`go`].
    ///
    /// # Panics
    /// As for [`go`].
    #[track_caller]
    pub fn go<T, F>(self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_go(f).unwrap_or_else(|error| error.refuse())
    }

    /// Starts it: [`try_go`].
    ///
    /// # Errors
    /// As for [`try_go`].
    #[track_caller]
    pub fn try_go<T, F>(self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { start(self.options, Location::caller(), NoScope::new(), f, None, Place::Here) }
    }
}

/// On which runtime a task is to run.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The present one, or the default one.
    Here,
    On(&'a Scheduler),
    Default,
}

/// Makes a task and hands it to the scheduler: as a child of `owner`, else of the root of the runtime at `place`.
///
/// # Safety
/// `owner`, if any, waits for the task before anything `F` and `R` borrow is gone, and before the runtime at `place` can be shut down.
#[inline]
pub(crate) unsafe fn start<F, R>(
    options: Options,
    site: &'static Location<'static>,
    report: R,
    f: F,
    owner: Option<&Children>,
    place: Place<'_>,
) -> Result<JoinHandle<R::Value>, SpawnError>
where
    F: FnOnce() -> R::Returned,
    R: Report,
{
    on_worker(|worker| {
        let how = options.how();
        let spec = options.spec(site);
        if let Some(worker) = worker.filter(|worker| place.is_at(worker.scheduler())) {
            if let Some(refused) = worker.scheduler().out_of_stacks() {
                return Err(SpawnError(Refusal::Stacks(refused)));
            }
            // SAFETY: by contract.
            let task = unsafe { task::create(spec, report, f) }?;
            // SAFETY: new, so this is its one handle.
            let handle = unsafe { JoinHandle::new(task) };
            if how == Start::Queued {
                // SAFETY: new.
                unsafe { worker.spawn(task, owner) };
            } else {
                // SAFETY: new.
                unsafe { start_otherwise(task, how, owner, worker) };
            }
            return Ok(handle);
        }
        place.outside(|scheduler| {
            let scheduler = scheduler.map_err(|error| SpawnError(Refusal::Runtime(error)))?;
            if let Some(refused) = scheduler.out_of_stacks() {
                return Err(SpawnError(Refusal::Stacks(refused)));
            }
            // SAFETY: by contract.
            let task = unsafe { task::create(spec, report, f) }?;
            // SAFETY: new, so this is its one handle.
            let handle = unsafe { JoinHandle::new(task) };
            if how.is_put_off() {
                set_launch(task, scheduler);
            }
            match owner {
                // SAFETY: new; the owner waits for it.
                Some(owner) => local::with(|local| unsafe { owner.adopt(task, local) }),
                // SAFETY: new.
                None => unsafe { scheduler.admit(task) }.inspect_err(|_| {
                    // SAFETY: never queued: it is run here, without its closure, so that its handle can let go of it.
                    unsafe { task::discard(task) };
                })?,
            }
            if !how.is_put_off() {
                scheduler.queue_outside(task);
            }
            Ok(handle)
        })
    })
}

/// # Safety
/// The task is new; `owner`, if any, waits for it.
#[cold]
unsafe fn start_otherwise(task: NonNull<Header>, how: Start, owner: Option<&Children>, worker: &Worker) {
    match how {
        // SAFETY: by contract.
        Start::Queued | Start::Atomic => unsafe { worker.spawn(task, owner) },
        Start::Lazy | Start::Promise => {
            set_launch(task, worker.scheduler());
            // SAFETY: by contract.
            unsafe { worker.adopt(task, owner) };
        }
        Start::Undispatched => {
            // SAFETY: by contract.
            unsafe { worker.adopt(task, owner) };
            worker.start_here(task);
        }
    }
}

/// The task is to be queued when somebody wants it.
fn set_launch(task: NonNull<Header>, scheduler: &Scheduler) {
    // SAFETY: new, so alive.
    unsafe { task.as_ref() }.set_launch(Launch { start: launch, on: ptr::from_ref(scheduler).cast() });
}

/// # Safety
/// The task has not been queued, and `scheduler` is its own, which is there until it has ended.
pub(crate) unsafe fn launch(task: NonNull<Header>, scheduler: *const ()) {
    // SAFETY: by contract.
    let scheduler = unsafe { &*scheduler.cast::<Scheduler>() };
    on_worker(|worker| match worker {
        Some(worker) if ptr::eq(worker.scheduler(), scheduler) => worker.enqueue(task),
        _ => scheduler.queue_outside(task),
    });
}

impl Place<'_> {
    /// Calls `f` with the scheduler that is meant by a thread that is none of its workers.
    fn outside<R>(self, f: impl FnOnce(Result<&Scheduler, Arc<io::Error>>) -> R) -> R {
        on_caller(|caller| match (self, caller) {
            (Place::On(scheduler), _) => f(Ok(scheduler)),
            (Place::Here, Some(caller)) => f(Ok(caller)),
            _ => f(rt::default_runtime().map(rt::Runtime::scheduler)),
        })
    }

    #[inline]
    fn is_at(self, present: &Scheduler) -> bool {
        match self {
            Place::Here => true,
            Place::On(scheduler) => ptr::eq(scheduler, present),
            Place::Default => rt::is_default(present),
        }
    }
}

/// A task on its own: what it returns is its value, and its panic is its handle's, or its handler's.
pub(crate) struct NoScope<T>(PhantomData<fn() -> T>);

impl<T> NoScope<T> {
    pub(crate) fn new() -> NoScope<T> {
        NoScope(PhantomData)
    }
}

impl<T> Report for NoScope<T> {
    type Returned = T;
    type Value = T;

    #[inline]
    fn returned(&self, result: T, _: &Header) -> (Outcome<T>, Ran) {
        (Outcome::Value(result), Ran::Well)
    }

    fn panicked(&self, caught: Caught, task: &Header) -> (Outcome<T>, Ran) {
        task.note_failure(&task.failed(Some(caught.text())));
        (Outcome::Panicked(caught), Ran::Failed)
    }

    fn unseen(&self, outcome: Outcome<T>, task: &Header) {
        // It may be long after its end: only what is its own is there.
        drop_unseen(outcome, task, || root_path(task));
    }
}
