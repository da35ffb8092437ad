//! Scopes whose children fail alone.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

use super::child::place;
use super::{HowFailed, ScopedJoinHandle, begin, within};
use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::handler::What;
use crate::home::local;
use crate::job::{Job, path};
use crate::panics::Caught;
use crate::spawn::{Options, SpawnError, start, start_future, task_options};
use crate::task::children::Children;
use crate::task::{Header, Outcome, Ran, Report};
use crate::unseen::{drop_unseen, forget_panics, report};

/// Runs `f` with a [`Supervisor`] to start goroutines in, and returns when `f` and all of them have ended: a [`scope`](crate::scope) in which the failure of one goroutine is nobody
/// else's.
///
/// What a goroutine returns, an error or a panic included, is for the one that [joins](ScopedJoinHandle::join) it. A failure whose handle was dropped goes to the
/// [`ExceptionHandler`](crate::ExceptionHandler) in its context; by default it is printed. Neither the supervisor nor the other goroutines are cancelled.
///
/// That holds for failures of children only, and for direct ones: cancellation of the caller cancels them all, and so does a failure of `f` itself, which is returned when they have
/// ended; and what a goroutine starts in a scope of its own can fail that scope, and so the goroutine.
///
/// # Errors
/// What `f` returns; or `E::from(`[`Cancelled`]`)` if the caller was cancelled while there were children, which have been cancelled, too.
///
/// # Panics
/// With the panic of `f`, after all have ended.
///
/// Kotlin's `supervisorScope`.
///
/// ```
/// use throng::{Cancelled, supervisor};
///
/// let served = throng::run(|| supervisor(|s| {
///     let bad = s.go(|| "seven".parse::<u32>());
///     let good = s.go(|| "7".parse::<u32>());
///     assert!(bad.join().unwrap().is_err()); // its failure is its own
///     Ok::<_, Cancelled>(good.join().unwrap().unwrap())
/// }));
/// assert_eq!(served, Ok(7));
/// ```
#[track_caller]
pub fn supervisor<'env, T, E, F>(f: F) -> Result<T, E>
where
    E: From<Cancelled>,
    F: for<'scope> FnOnce(&'scope Supervisor<'scope, 'env>) -> Result<T, E>,
{
    let site = Location::caller();
    local::with(|local| {
        let runtime = begin(local)?;
        let supervisor = Supervisor { children: Children::of_scope(local, runtime, site), _env: PhantomData, _scope: PhantomData };
        let mut failure = None;
        let (value, waited) = within(&supervisor.children, local, || f(&supervisor), |how, consequence| failure = Some((how, consequence)));
        let ran = match &failure {
            Some((_, false)) => Ran::Failed,
            None if waited.is_ok() => Ran::Well,
            _ => Ran::Cancelled,
        };
        supervisor.children.close(local, ran, || supervisor.children.failed(None));
        match (failure, value) {
            (Some((HowFailed::Error(error), _)), _) => Err(error),
            (Some((HowFailed::Panicked(panic), _)), _) => panic.resume(),
            (None, Some(value)) => Ok(waited.map(|()| value)?),
            (None, None) => unreachable!("a body without a value has failed"),
        }
    })
}

/// Where a [`supervisor`]'s goroutines are started. It may be shared with them, so that they start others.
pub struct Supervisor<'scope, 'env: 'scope> {
    children: Children,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Supervisor<'scope, '_> {
    /// Starts a goroutine. It may borrow what outlives the supervisor.
    ///
    /// `f` returns a `Result`, whose error is a failure if nobody joins, or `()`. Never parks. In a supervisor that is being cancelled the goroutine is cancelled before it runs, and still
    /// waited for.
    ///
    /// # Panics
    /// As [`go`](crate::go) does, when there is no stack or no memory left; [`try_go`](SupervisorTask::try_go) returns that as an error.
    #[track_caller]
    #[inline]
    pub fn go<F, R>(&'scope self, f: F) -> ScopedJoinHandle<'scope, R>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Fallible + Send + 'scope,
    {
        self.task().go(f)
    }

    /// Starts a coroutine, which may borrow what outlives the supervisor, and fails alone. [`launch`](crate::launch) tells what that is.
    ///
    /// # Panics
    /// As for [`go`](Supervisor::go).
    #[track_caller]
    #[inline]
    pub fn launch<F>(&'scope self, future: F) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Fallible + Send + 'scope,
    {
        self.task().launch(future)
    }

    /// Begins the description of a goroutine or coroutine: `s.task().name("reader").go(|| ..)`.
    pub fn task(&'scope self) -> SupervisorTask<'scope> {
        SupervisorTask { children: &self.children, options: Options::default() }
    }

    /// Cancels the goroutines, those still to be started included, and the supervisor's own code at its next call that parks. Never parks.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Asked);
    }

    /// [`cancel`](Supervisor::cancel), with a reason for [`cause`](crate::cause) to tell. The first reason stays.
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        self.children.cancel_from_anywhere(Some(&cause.into()));
    }

    /// The supervisor as a node of the task tree.
    #[must_use]
    pub fn job(&self) -> Job {
        Job::of_scope(self.children.record())
    }
}

impl fmt::Debug for Supervisor<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("children", &self.children).finish_non_exhaustive()
    }
}

/// A goroutine of a supervisor to be.
#[must_use = "it is started by `go`"]
pub struct SupervisorTask<'scope> {
    children: &'scope Children,
    options: Options,
}

impl<'scope> SupervisorTask<'scope> {
    task_options!();

    /// Starts it: [`Supervisor::go`].
    ///
    /// # Panics
    /// As for [`Supervisor::go`].
    #[track_caller]
    #[inline]
    pub fn go<F, R>(self, f: F) -> ScopedJoinHandle<'scope, R>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Fallible + Send + 'scope,
    {
        self.try_go(f).unwrap_or_else(|error| error.refuse())
    }

    /// Starts it, with failure to start as an error.
    ///
    /// # Errors
    /// As for [`try_go`](crate::try_go).
    #[track_caller]
    #[inline]
    pub fn try_go<F, R>(self, f: F) -> Result<ScopedJoinHandle<'scope, R>, SpawnError>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Fallible + Send + 'scope,
    {
        let report = Alone::<R>(PhantomData);
        // SAFETY: the supervisor does not return before its children have ended, and what `f` borrows outlives it.
        let handle = unsafe { start(self.options, Location::caller(), report, f, Some(self.children), place(self.children)) }?;
        Ok(ScopedJoinHandle::new(handle))
    }

    /// Starts it as a coroutine: [`Supervisor::launch`].
    ///
    /// # Panics
    /// As for [`Supervisor::launch`].
    #[track_caller]
    #[inline]
    pub fn launch<F>(self, future: F) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Fallible + Send + 'scope,
    {
        self.try_launch(future).unwrap_or_else(|error| error.refuse())
    }

    /// Starts it as a coroutine, with failure to start as an error.
    ///
    /// # Errors
    /// As for [`try_go`](crate::try_go).
    #[track_caller]
    #[inline]
    pub fn try_launch<F>(self, future: F) -> Result<ScopedJoinHandle<'scope, F::Output>, SpawnError>
    where
        F: Future + Send + 'scope,
        F::Output: Fallible + Send + 'scope,
    {
        let report = Alone::<F::Output>(PhantomData);
        // SAFETY: as in `try_go`: a coroutine's future is dropped before it has ended.
        let handle = unsafe { start_future(self.options, Location::caller(), report, future, Some(self.children), place(self.children)) }?;
        Ok(ScopedJoinHandle::new(handle))
    }
}

impl fmt::Debug for SupervisorTask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorTask").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What a supervisor's goroutine may return: a `Result`, or nothing.
///
/// Sealed: the two are all there is.
pub trait Fallible: sealed::Sealed {
    #[doc(hidden)]
    fn failure(&self) -> Option<&dyn fmt::Debug>;
}

impl<T, E: fmt::Debug> Fallible for Result<T, E> {
    fn failure(&self) -> Option<&dyn fmt::Debug> {
        self.as_ref().err().map(|error| error as &dyn fmt::Debug)
    }
}

impl Fallible for () {
    fn failure(&self) -> Option<&dyn fmt::Debug> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
    impl Sealed for () {}
}

struct Alone<R>(PhantomData<fn() -> R>);

impl<R: Fallible> Report for Alone<R> {
    type Returned = R;
    type Value = R;

    #[inline]
    fn returned(&self, result: R, task: &Header) -> (Outcome<R>, Ran) {
        let ran = match result.failure() {
            None => Ran::Well,
            Some(_) if task.has_ended_by_cancellation() => Ran::Cancelled,
            Some(_) => {
                task.note_failure(&task.failed(None));
                Ran::Failed
            }
        };
        (Outcome::Value(result), ran)
    }

    fn panicked(&self, caught: Caught, task: &Header) -> (Outcome<R>, Ran) {
        task.note_failure(&task.failed(Some(caught.text())));
        (Outcome::Panicked(caught), Ran::Failed)
    }

    #[inline]
    fn unseen(&self, outcome: Outcome<R>, task: &Header) {
        if let Outcome::Value(value) = &outcome
            && let Some(error) = value.failure()
            && !task.has_ended_by_cancellation()
        {
            forget_panics(|| report(task, path(task), What::Error(error)));
        }
        drop_unseen(outcome, task, || path(task));
    }
}
