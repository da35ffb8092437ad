//! Starting goroutines, and waiting for what comes of them.

mod completable;
mod dispatched;
mod error;
mod handle;
mod joining;
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
use crate::task::{self, Header, Outcome, Ran, Report, Schedule, Spec};
use crate::unseen::drop_unseen;
pub use completable::{Completable, completable};
pub(crate) use completable::{Promise, promise};
use error::Refusal;
pub use error::SpawnError;
pub use handle::JoinHandle;
pub use joining::Joining;
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

/// Starts a coroutine: queues `future` to be polled on the runtime, and returns at once. Kotlin's `launch` and `async`, tokio's `spawn`.
///
/// It is a task as a goroutine is, with the same place in the tree, the same handle and the same rules; only that it has no stack of its own while it waits, and may go on on another worker after
/// an `await`. [`go`] tells where it runs and hangs.
///
/// In its turns it may call whatever parks: then it keeps a stack until that turn is over, and its worker runs others meanwhile. And it may await whatever is a future, of this crate or not.
///
/// **Cancellation.** Once it is cancelled, the calls and futures of this crate that would wait return [`Cancelled`](crate::Cancelled). Where it waits for another crate's future, it is cut off: the future is dropped
/// at that `await`, and the task has ended by its cancellation. [`shield_async`](crate::shield_async) masks that for clean-up.
///
/// # Panics
/// As for [`go`]. A panic of the future is returned by [`JoinHandle::join`].
///
/// ```
/// use throng::{launch, rendezvous};
///
/// throng::run(|| {
///     let (tx, rx) = rendezvous();
///     let doubler = launch(async move {
///         let mut sum = 0;
///         while let Ok(n) = rx.recv_async().await {
///             sum += 2 * n;
///         }
///         sum
///     });
///     for n in 1..=3 {
///         tx.send(n).unwrap();
///     }
///     drop(tx);
///     assert_eq!(doubler.join().unwrap(), 12);
/// });
/// ```
#[track_caller]
pub fn launch<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    task().launch(future)
}

/// [`launch`], with failure to start as an error.
///
/// # Errors
/// As for [`try_go`].
#[track_caller]
pub fn try_launch<F>(future: F) -> Result<JoinHandle<F::Output>, SpawnError>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    task().try_launch(future)
}

/// Begins the description of a goroutine or coroutine: `task().name("reader").go(|| ..)`.
pub fn task() -> Task {
    Task { options: Options::default() }
}

/// A task to be: what [`task`] returns.
#[derive(Clone, Debug)]
#[must_use = "it is started by `go` or `launch`"]
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

    /// Starts it as a coroutine: [`launch`].
    ///
    /// # Panics
    /// As for [`launch`].
    #[track_caller]
    pub fn launch<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.try_launch(future).unwrap_or_else(|error| error.refuse())
    }

    /// Starts it as a coroutine: [`try_launch`].
    ///
    /// # Errors
    /// As for [`try_launch`].
    #[track_caller]
    pub fn try_launch<F>(self, future: F) -> Result<JoinHandle<F::Output>, SpawnError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { start_future(self.options, Location::caller(), NoScope::new(), future, None, Place::Here) }
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

/// Makes a goroutine and hands it to the scheduler: as a child of `owner`, else of the root of the runtime at `place`.
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
    // SAFETY: by contract.
    let make = |spec, _| unsafe { task::create(spec, report, f) };
    // SAFETY: by contract.
    unsafe { start_made(options, site, owner, place, Kind::Goroutine, make) }
}

/// `start`, of a coroutine.
///
/// # Safety
/// As for `start`.
#[inline]
pub(crate) unsafe fn start_future<F, R>(
    options: Options,
    site: &'static Location<'static>,
    report: R,
    future: F,
    owner: Option<&Children>,
    place: Place<'_>,
) -> Result<JoinHandle<R::Value>, SpawnError>
where
    F: Future<Output = R::Returned>,
    R: Report,
{
    // SAFETY: by contract.
    let make = |spec, schedule| unsafe { task::create_coroutine(spec, report, future, schedule) };
    // SAFETY: by contract.
    unsafe { start_made(options, site, owner, place, Kind::Coroutine, make) }
}

/// The two kinds of task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Goroutine,
    Coroutine,
}

/// Has a task made and hands it to the scheduler.
///
/// # Safety
/// As for `start`; `make` makes a new task with a value of type `T`.
#[inline(always)]
unsafe fn start_made<T>(
    options: Options,
    site: &'static Location<'static>,
    owner: Option<&Children>,
    place: Place<'_>,
    kind: Kind,
    make: impl FnOnce(Spec, NonNull<Schedule>) -> Result<NonNull<Header>, SpawnError>,
) -> Result<JoinHandle<T>, SpawnError> {
    let how = options.how();
    let (spec, dispatcher) = options.spec(site);
    if let Some(dispatcher) = dispatcher {
        // SAFETY: by contract.
        return unsafe { dispatched::start(spec, how, kind, owner, &dispatcher, make) };
    }
    on_worker(|worker| {
        if let Some(worker) = worker.filter(|worker| place.is_at(worker.scheduler())) {
            if let Some(refused) = worker.scheduler().out_of_stacks() {
                return Err(SpawnError(Refusal::Stacks(refused)));
            }
            let task = make(spec, worker.scheduler().schedule())?;
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
        place.with_scheduler(|scheduler| {
            let scheduler = scheduler.map_err(|error| SpawnError(Refusal::Runtime(error)))?;
            if let Some(refused) = scheduler.out_of_stacks() {
                return Err(SpawnError(Refusal::Stacks(refused)));
            }
            let task = make(spec, scheduler.schedule())?;
            // SAFETY: new, so this is its one handle.
            let handle = unsafe { JoinHandle::new(task) };
            if how.is_put_off() {
                set_launch(task, scheduler.schedule());
            }
            match owner {
                // SAFETY: new; the owner waits for it.
                Some(owner) => local::with(|local| unsafe { owner.adopt(task, local) }),
                // SAFETY: new.
                None => unsafe { scheduler.outside().admit(task) }.inspect_err(|_| {
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
            set_launch(task, worker.scheduler().schedule());
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
fn set_launch(task: NonNull<Header>, schedule: NonNull<Schedule>) {
    // SAFETY: new, so alive.
    unsafe { task.as_ref() }.set_launch(schedule);
}

impl Place<'_> {
    /// Calls `f` with the scheduler that is meant by a thread that is none of its workers.
    fn with_scheduler<R>(self, f: impl FnOnce(Result<&Scheduler, Arc<io::Error>>) -> R) -> R {
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
