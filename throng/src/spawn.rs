//! Starting goroutines, and waiting for what comes of them.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::pin;
use std::ptr::{self, NonNull};
use std::sync::Mutex;

use crate::cancelled::Cancelled;
use crate::fiber::OutOfStacks;
use crate::home::local;
use crate::rt;
use crate::sched::{Scheduler, on_worker};
use crate::task::children::Children;
use crate::task::{self, Header, NoScope, Outcome, Report, Spec, payload_text};
use crate::waiter::{Heeds, arm};
use crate::waitq::Entry;

/// Starts a goroutine: queues `f` to run on the runtime, and returns at once. Go's `go f()`.
///
/// It runs on the runtime of the calling task; called from a plain thread, on the default runtime, which starts by itself. It hangs off the root of the
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
    Task { name: None }
}

/// A goroutine to be: what [`task`] returns.
#[derive(Clone, Debug)]
#[must_use = "it is started by `go`"]
pub struct Task {
    name: Option<Box<str>>,
}

impl Task {
    /// Gives it a name, for reports.
    pub fn name(mut self, name: impl Into<String>) -> Task {
        self.name = Some(name.into().into_boxed_str());
        self
    }

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
        let spec = Spec { site: Location::caller(), name: self.name };
        // SAFETY: nothing is borrowed.
        unsafe { start(spec, NoScope::new(), f, None, Place::Here) }
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
    spec: Spec,
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
        if let Some(worker) = worker.filter(|worker| place.is_at(worker.scheduler())) {
            if let Some(refused) = worker.scheduler().out_of_stacks() {
                return Err(SpawnError(Refusal::Stacks(refused)));
            }
            // SAFETY: by contract.
            let task = unsafe { task::create(spec, report, f) }?;
            // SAFETY: new.
            unsafe { worker.spawn(task, owner) };
            // SAFETY: new, so this is its one handle.
            return Ok(unsafe { JoinHandle::new(task) });
        }
        let scheduler = match place {
            Place::On(scheduler) => scheduler,
            Place::Here | Place::Default => rt::default_runtime().map_err(|error| SpawnError(Refusal::Runtime(error)))?.scheduler(),
        };
        if let Some(refused) = scheduler.out_of_stacks() {
            return Err(SpawnError(Refusal::Stacks(refused)));
        }
        // SAFETY: by contract.
        let task = unsafe { task::create(spec, report, f) }?;
        // SAFETY: new, so this is its one handle.
        let handle = unsafe { JoinHandle::new(task) };
        match owner {
            Some(owner) => {
                // SAFETY: new; the owner waits for it.
                local::with(|local| unsafe { owner.adopt(task, local) });
                scheduler.queue_outside(task);
            }
            // SAFETY: new.
            None => unsafe { scheduler.submit(task) }.inspect_err(|_| {
                // SAFETY: never queued: it is run here, without its closure, so that its handle can let go of it.
                unsafe { task::discard(task) };
            })?,
        }
        Ok(handle)
    })
}

impl Place<'_> {
    #[inline]
    fn is_at(self, present: &Scheduler) -> bool {
        match self {
            Place::Here => true,
            Place::On(scheduler) => ptr::eq(scheduler, present),
            Place::Default => rt::is_default(present),
        }
    }
}

/// Why a goroutine could not be started. `Display` names the limit that was met.
#[derive(Clone, Debug)]
pub struct SpawnError(Refusal);

#[derive(Clone, Debug)]
enum Refusal {
    Stacks(OutOfStacks),
    Memory(usize),
    ShutDown,
    Runtime(std::sync::Arc<std::io::Error>),
}

impl SpawnError {
    pub(crate) fn out_of_memory(size: usize) -> SpawnError {
        SpawnError(Refusal::Memory(size))
    }

    pub(crate) fn shut_down() -> SpawnError {
        SpawnError(Refusal::ShutDown)
    }

    #[cold]
    #[track_caller]
    pub(crate) fn refuse(&self) -> ! {
        panic!("a goroutine could not be started: {self}")
    }

    /// Whether the runtime has been shut down. Everything else is a lack of resources, which may pass.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self.0, Refusal::ShutDown)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Refusal::Stacks(refused) => refused.fmt(f),
            Refusal::Memory(size) => write!(f, "out of memory: the allocator refused {size} bytes for a task"),
            Refusal::ShutDown => f.write_str("the runtime has been shut down"),
            Refusal::Runtime(error) => write!(f, "the default runtime could not be started: {error}"),
        }
    }
}

impl Error for SpawnError {}

/// A goroutine's handle: to wait for its value, and to cancel it.
///
/// Dropping it detaches the goroutine, which runs on. (`scope` is the way to be sure that something is waited for.)
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    taken: bool,
    _value: PhantomData<T>,
}

// SAFETY: the handle's side of a task is atomic or under its lock; the value goes to whoever joins.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: by reference one can cancel and look, which is atomic.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The task's value is a `T`, and this is its one handle.
    unsafe fn new(task: NonNull<Header>) -> JoinHandle<T> {
        JoinHandle { task, taken: false, _value: PhantomData }
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps it.
        unsafe { self.task.as_ref() }
    }

    /// Parks until the goroutine has ended, and returns its value. From a plain thread it blocks the thread.
    ///
    /// A goroutine that has ended already is joined without a look at the caller's own cancellation.
    ///
    /// # Errors
    /// - [`JoinError::Cancelled`]: the *caller* was cancelled while it waited. The goroutine runs on, detached.
    /// - [`JoinError::TaskCancelled`]: the goroutine was cancelled before it ran.
    /// - [`JoinError::Panicked`]: with its payload.
    /// - [`JoinError::Itself`]: a goroutine waits for itself.
    pub fn join(self) -> Result<T, JoinError> {
        self.join_heeding(Heeds::Everything)
    }

    pub(crate) fn join_heeding(mut self, heeds: Heeds) -> Result<T, JoinError> {
        self.wait(heeds)?;
        self.taken = true;
        // SAFETY: it is done; `taken` says that the outcome is gone.
        match unsafe { task::take::<T>(self.task) } {
            Outcome::Value(value) => Ok(value),
            Outcome::Panicked(payload) => Err(JoinError::Panicked(Panic::new(payload))),
            Outcome::Cancelled => Err(JoinError::TaskCancelled),
            Outcome::Failed => Err(JoinError::Failed),
        }
    }

    fn wait(&self, heeds: Heeds) -> Result<(), JoinError> {
        local::with(|local| {
            let header = self.header();
            let mut guard = header.join.lock();
            if Header::is_done_locked(&mut guard) {
                return Ok(());
            }
            if ptr::eq(local.current(), &header.waiter) {
                return Err(JoinError::Itself);
            }
            let wait = arm(local, heeds)?;
            let mut entry = pin!(Entry::new(&header.join, |waiters| waiters, ()));
            entry.as_mut().enqueue(&mut guard, wait.ticket(), 0);
            drop(guard);
            match wait.park(None) {
                Ok(_) => {
                    entry.claimed();
                    Ok(())
                }
                Err(cancelled) => {
                    entry.dequeue();
                    Err(cancelled.into())
                }
            }
        })
    }

    /// Cancels the goroutine, for good: its present and each further call that parks returns [`Cancelled`]; if it has not started it never will.
    /// Never parks: to wait for its end, `join` it.
    pub fn cancel(&self) {
        self.header().waiter.cancel();
    }

    /// Whether it has ended, so that `join` would not park.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.header().is_done()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.header().name()
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the one handle, dropped once.
        unsafe { task::drop_handle(self.task, self.taken) };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle").field(self.header()).finish()
    }
}

/// What a goroutine panicked with. `Display` gives the message, if it was one.
pub struct Panic {
    /// In a mutex for `Sync`'s sake only: errors are expected to be `Send + Sync`, payloads are just `Send`.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Panic {
        Panic { payload: Mutex::new(payload) }
    }

    /// The payload, as `std::panic::catch_unwind` gives it.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Goes on with the panic, here.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.into_payload())
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.payload.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        f.write_str(payload_text(&**payload))
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panic({:?})", self.to_string())
    }
}

/// Why a [`join`](JoinHandle::join) did not return the goroutine's value.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The caller was cancelled while it waited.
    Cancelled,
    /// The goroutine was cancelled before it ran, or ended because it was cancelled.
    TaskCancelled,
    /// The goroutine panicked, with this payload.
    Panicked(Panic),
    /// The goroutine, a scope's child, failed: its error or panic comes out of the scope.
    Failed,
    /// A goroutine would have waited for itself.
    Itself,
}

impl JoinError {
    /// Goes on with the goroutine's panic, if it was one.
    ///
    /// ```should_panic
    /// throng::run(|| throng::go(|| panic!("at the disco")).join().map_err(throng::JoinError::resume_panic));
    /// ```
    pub fn resume_panic(self) -> JoinError {
        match self {
            JoinError::Panicked(panic) => panic.resume(),
            other => other,
        }
    }
}

impl From<Cancelled> for JoinError {
    fn from(_: Cancelled) -> JoinError {
        JoinError::Cancelled
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Cancelled => Cancelled::new().fmt(f),
            JoinError::TaskCancelled => f.write_str("the joined task was cancelled"),
            JoinError::Panicked(panic) => write!(f, "the joined task panicked: {panic}"),
            JoinError::Failed => f.write_str("the joined task failed its scope"),
            JoinError::Itself => f.write_str("a task cannot join itself"),
        }
    }
}

impl Error for JoinError {}
