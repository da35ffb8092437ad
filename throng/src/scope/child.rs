//! Starting a scope's child, and what its result means to the scope.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

use super::ScopedJoinHandle;
use super::failures::{ChildFailure, HowFailed, Store};
use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::job::{Job, path};
use crate::join::Panic;
use crate::panics::Caught;
use crate::sched::Scheduler;
use crate::spawn::{Options, Place, Promise, SpawnError, promise, start, start_future, task_options};
use crate::task::children::Children;
use crate::task::{Header, Outcome, Ran, Report};
use crate::unseen::{drop_unseen, forget_panics};

/// The runtime of a scope's children, wherever they are started: the present one might end before the scope does.
pub(super) fn place(children: &Children) -> Place<'_> {
    // SAFETY: the scope's task runs on that runtime, which waits for it; and the scope does not return before we do (C2).
    unsafe { children.runtime().cast::<Scheduler>().as_ref() }.map_or(Place::Default, Place::On)
}

/// A goroutine of a scope to be.
#[must_use = "it is started by `go`"]
pub struct ScopeTask<'scope, E> {
    scope: ScopeRef<'scope, E>,
    options: Options,
}

impl<'scope, E> ScopeTask<'scope, E>
where
    E: From<Cancelled> + Send,
{
    #[inline]
    pub(super) fn new(children: &'scope Children, failures: &'scope Store<E>) -> ScopeTask<'scope, E> {
        ScopeTask { scope: ScopeRef { children, failures }, options: Options::default() }
    }

    task_options!();

    /// Starts it: [`Scope::go`](crate::Scope::go).
    ///
    /// # Panics
    /// As for [`Scope::go`](crate::Scope::go).
    #[track_caller]
    #[inline]
    pub fn go<F, R>(self, f: F) -> ScopedJoinHandle<'scope, R::Value>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        self.try_go(f).unwrap_or_else(|error| error.refuse())
    }

    /// Starts it, with failure to start as an error.
    ///
    /// # Errors
    /// As for [`try_go`](crate::try_go).
    #[track_caller]
    #[inline]
    pub fn try_go<F, R>(self, f: F) -> Result<ScopedJoinHandle<'scope, R::Value>, SpawnError>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        let report = ScopeReport::<E, R> { scope: self.scope, _returned: PhantomData };
        let children = self.scope.children;
        // SAFETY: the scope does not return before its children have ended, and what `f` borrows outlives it.
        let handle = unsafe { start(self.options, Location::caller(), report, f, Some(children), place(children)) }?;
        Ok(ScopedJoinHandle::new(handle))
    }

    /// Starts it as a coroutine: [`Scope::launch`](crate::Scope::launch).
    ///
    /// # Panics
    /// As for [`Scope::launch`](crate::Scope::launch).
    #[track_caller]
    #[inline]
    pub fn launch<F>(self, future: F) -> ScopedJoinHandle<'scope, <F::Output as Outcomes<E>>::Value>
    where
        F: Future + Send + 'scope,
        F::Output: Outcomes<E> + 'scope,
        <F::Output as Outcomes<E>>::Value: Send + 'scope,
    {
        self.try_launch(future).unwrap_or_else(|error| error.refuse())
    }

    /// Starts it as a coroutine, with failure to start as an error.
    ///
    /// # Errors
    /// As for [`try_go`](crate::try_go).
    #[track_caller]
    #[inline]
    pub fn try_launch<F>(self, future: F) -> Result<ScopedJoinHandle<'scope, <F::Output as Outcomes<E>>::Value>, SpawnError>
    where
        F: Future + Send + 'scope,
        F::Output: Outcomes<E> + 'scope,
        <F::Output as Outcomes<E>>::Value: Send + 'scope,
    {
        let report = ScopeReport::<E, F::Output> { scope: self.scope, _returned: PhantomData };
        let children = self.scope.children;
        // SAFETY: as in `try_go`: a coroutine's future is dropped before it has ended.
        let handle = unsafe { start_future(self.options, Location::caller(), report, future, Some(children), place(children)) }?;
        Ok(ScopedJoinHandle::new(handle))
    }
}

impl<E> fmt::Debug for ScopeTask<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeTask").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What a goroutine needs of its scope.
pub(crate) struct ScopeRef<'scope, E> {
    pub(super) children: &'scope Children,
    pub(super) failures: &'scope Store<E>,
}

impl<E> Clone for ScopeRef<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for ScopeRef<'_, E> {}

impl<E> ScopeRef<'_, E> {
    /// A child has failed, which ends the scope.
    fn fail(&self, how: HowFailed<E>, task: &Header) {
        let panic = match &how {
            HowFailed::Panicked(panic) => Some(panic.message()),
            HowFailed::Error(_) => None,
        };
        let cause = task.failed(panic);
        task.note_failure(&cause);
        self.children.note_cause(cause);
        self.failures.add(ChildFailure::new(task.own_name(), task.site(), how), false);
    }

    /// The value of a child of type `T` that has failed.
    pub(crate) fn error<T>(&self, error: E, task: &Header) -> (Outcome<T>, Ran) {
        // Ended by its own cancellation, which is no failure?
        if task.has_ended_by_cancellation() {
            forget_panics(|| drop(error));
            return (Outcome::Cancelled(task.cause().unwrap_or_default()), Ran::Cancelled);
        }
        self.fail(HowFailed::Error(error), task);
        (Outcome::Failed, Ran::FailedScope)
    }
}

/// What a scope's goroutine may return: a `Result` whose error is the scope's, or nothing.
///
/// Sealed: the two are all there is.
pub trait Outcomes<E>: sealed::Sealed {
    /// What [`join`](ScopedJoinHandle::join) gives.
    type Value;

    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Value, E>;
}

impl<T, E> Outcomes<E> for Result<T, E> {
    type Value = T;

    #[inline]
    fn into_result(self) -> Result<T, E> {
        self
    }
}

impl<E> Outcomes<E> for () {
    type Value = ();

    #[inline]
    fn into_result(self) -> Result<(), E> {
        Ok(())
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
    impl Sealed for () {}
}

pub(crate) struct ScopeReport<'scope, E, R> {
    scope: ScopeRef<'scope, E>,
    _returned: PhantomData<fn() -> R>,
}

/// The side of a [`Scope::completable`](crate::Scope::completable) that provides the value.
#[must_use = "dropping it cancels what waits for it"]
pub struct ScopedCompletable<'scope, T, E> {
    promise: Promise<ScopeReport<'scope, E, Result<T, E>>>,
    scope: ScopeRef<'scope, E>,
}

impl<'scope, T: Send + 'scope, E: From<Cancelled> + Send> ScopedCompletable<'scope, T, E> {
    pub(super) fn new(
        children: &'scope Children,
        failures: &'scope Store<E>,
        site: &'static Location<'static>,
    ) -> Result<(Self, ScopedJoinHandle<'scope, T>), SpawnError> {
        let scope = ScopeRef { children, failures };
        let report = ScopeReport { scope, _returned: PhantomData };
        // SAFETY: the scope does not return before its children have ended, and this is one.
        let (promise, handle) = unsafe { promise(site, report, Some(children), place(children)) }?;
        Ok((ScopedCompletable { promise, scope }, ScopedJoinHandle::new(handle)))
    }

    /// Provides the value. Never parks; from any thread. Handlers of its job run here.
    ///
    /// # Errors
    /// The value comes back if it was completed, failed or cancelled before.
    pub fn complete(&self, value: T) -> Result<(), T> {
        self.promise.complete(value)
    }

    /// Fails it, and so the scope. Never parks; from any thread.
    ///
    /// # Errors
    /// The error comes back if it was completed, failed or cancelled before.
    pub fn fail(&self, error: E) -> Result<(), E> {
        if !self.promise.decide() {
            return Err(error);
        }
        self.scope.fail(HowFailed::Error(error), self.promise.header());
        self.promise.settle(Outcome::Failed, Ran::FailedScope);
        Ok(())
    }

    /// Cancels it, for this reason: it ends without a value, and the scope goes on. No effect if it was completed or failed before.
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        self.promise.cancel(cause.into());
    }

    /// The promise as a node of the task tree.
    #[must_use]
    pub fn job(&self) -> Job {
        self.promise.job()
    }
}

impl<T, E> fmt::Debug for ScopedCompletable<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedCompletable").finish_non_exhaustive()
    }
}

impl<E, R: Outcomes<E>> Report for ScopeReport<'_, E, R> {
    type Returned = R;
    type Value = R::Value;

    #[inline]
    fn returned(&self, result: R, task: &Header) -> (Outcome<R::Value>, Ran) {
        match result.into_result() {
            Ok(value) => (Outcome::Value(value), Ran::Well),
            Err(error) => self.scope.error(error, task),
        }
    }

    fn panicked(&self, caught: Caught, task: &Header) -> (Outcome<R::Value>, Ran) {
        self.scope.fail(HowFailed::Panicked(Panic::new(caught)), task);
        (Outcome::Failed, Ran::FailedScope)
    }

    #[inline]
    fn unseen(&self, outcome: Outcome<R::Value>, task: &Header) {
        drop_unseen(outcome, task, || path(task));
    }
}
