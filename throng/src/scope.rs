//! A stretch of code that is not left before the goroutines it started have ended.
//!
//! **Why children may borrow.** `scope` runs the body in the calling frame and does not return, by value or by panic, before `Children::wait` has seen every child end. The frame
//! cannot be forgotten while it runs, so what it borrows outlives the children: that is the whole argument, and it is why the interface is a closure and not a guard.
//!
//! **What comes out**: the first failure, be it the body's or a child's, `Err` or panic. It is put into `failure` by whoever fails first; everything after is a consequence and is dropped
//! (a panic has been reported by the panic hook when it happened).

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr;

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::lock::SpinLock;
use crate::sched::{Scheduler, on_worker};
use crate::spawn::{JoinError, JoinHandle, Place, SpawnError, start};
use crate::task::children::Children;
use crate::task::{Outcome, Ran, Report, Spec};
use crate::waiter::unwinding;

/// Runs `f` with a [`Scope`] to start goroutines in, which may borrow from the calling frame, and returns when `f` *and all of them* have ended.
///
/// The first failure ends it all: when `f` or a goroutine of the scope returns `Err` or panics, the others are cancelled (and `f` too, at its next call
/// that parks), all are waited for, and then that failure is returned, or the panic goes on. Later failures are dropped.
///
/// A goroutine that returns `Err` because it was itself [cancelled](ScopedJoinHandle::cancel) does not fail the scope.
///
/// The goroutines run on the runtime of the caller, wherever they are started from. Works from plain threads too: there they run on the default runtime.
///
/// # Errors
/// The first failure; or `E::from(`[`Cancelled`]`)` if the caller is cancelled while the scope waits, in which case the children have been
/// cancelled too, and the value of `f` is lost.
///
/// # Panics
/// With the first panic of a goroutine or of `f`, after all have ended.
///
/// Kotlin's `coroutineScope`, `std::thread::scope`, Go's `errgroup`.
///
/// ```
/// use throng::{Cancelled, scope};
///
/// throng::run(|| {
///     let words = vec!["share", "memory", "by", "communicating"];
///     let mut lengths = [0; 4];
///     scope(|s| {
///         for (word, length) in words.iter().zip(&mut lengths) {
///             s.go(move || *length = word.len());
///         }
///         Ok::<_, Cancelled>(())
///     })
///     .unwrap();
///     assert_eq!(lengths, [5, 6, 2, 13]);
/// });
/// ```
///
/// The first error comes out, the others are cancelled:
/// ```
/// use std::time::Duration;
/// use throng::{Cancelled, scope, sleep};
///
/// # #[derive(Debug, PartialEq)]
/// enum Failure { NoRoute, Cancelled }
/// impl From<Cancelled> for Failure {
///     fn from(_: Cancelled) -> Failure { Failure::Cancelled }
/// }
///
/// let result = throng::run(|| scope(|s| {
///     s.go(|| -> Result<(), Failure> { Ok(sleep(Duration::from_secs(3600))?) });
///     s.go(|| -> Result<(), Failure> { Err(Failure::NoRoute) });
///     Ok(())
/// }));
/// assert_eq!(result, Err(Failure::NoRoute));
/// ```
///
/// A goroutine of the scope cannot outlive what it borrows:
/// ```compile_fail,E0597
/// # use throng::{Cancelled, scope};
/// scope(|s| {
///     let local = 1;
///     s.go(|| println!("{local}")); // `local` ends before the scope
///     Ok::<_, Cancelled>(())
/// }).unwrap();
/// ```
/// nor may two of them share mutably:
/// ```compile_fail,E0499
/// # use throng::{Cancelled, scope};
/// let mut counter = 0;
/// scope(|s| {
///     s.go(|| counter += 1);
///     s.go(|| counter += 1);
///     Ok::<_, Cancelled>(())
/// }).unwrap();
/// ```
/// nor may it take along what must stay on its thread:
/// ```compile_fail,E0277
/// # use throng::{Cancelled, scope};
/// let shared = std::rc::Rc::new(1);
/// scope(|s| {
///     s.go(move || drop(shared));
///     Ok::<_, Cancelled>(())
/// }).unwrap();
/// ```
pub fn scope<'env, T, E, F>(f: F) -> Result<T, E>
where
    E: From<Cancelled> + Send,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, E>) -> Result<T, E>,
{
    local::with(|local| {
        // A scope has to wait for its children, and a goroutine that is unwinding cannot wait: it must not begin.
        if unwinding() && !local.is_thread() {
            return Err(E::from(Cancelled::new()));
        }
        let runtime = on_worker(|worker| worker.map_or(ptr::null(), |worker| ptr::from_ref(worker.scheduler()).cast()));
        let scope =
            Scope { children: Children::new(local.home(), runtime), failure: SpinLock::new(None), _env: PhantomData, _scope: PhantomData };
        scope.children.interrupts(local.current().interrupt_point());
        let value = match catch_unwind(AssertUnwindSafe(|| f(&scope))) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                scope.fail(Failure::Error(error));
                None
            }
            Err(payload) => {
                scope.fail(Failure::Panic(payload));
                None
            }
        };
        if value.is_none() {
            scope.children.cancel(local);
        }
        let waited = scope.children.wait(local);
        let failure = scope.failure.lock().take();
        match (failure, value) {
            (Some(Failure::Error(error)), _) => Err(error),
            (Some(Failure::Panic(payload)), _) => resume_unwind(payload),
            (None, Some(value)) => waited.map(|()| value).map_err(E::from),
            (None, None) => unreachable!("a body without a value has failed the scope"),
        }
    })
}

/// Where a [`scope`]'s goroutines are started. It may be shared with them, so that they start others.
pub struct Scope<'scope, 'env: 'scope, E> {
    children: Children,
    failure: SpinLock<Option<Failure<E>>>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<'scope, E> Scope<'scope, '_, E>
where
    E: From<Cancelled> + Send,
{
    /// Starts a goroutine in the scope. It may borrow what outlives the scope.
    ///
    /// `f` returns `Result<V, E>`, whose error fails the scope, or `()`. Never parks. In a scope that is being cancelled the goroutine is cancelled
    /// before it runs, and still waited for.
    ///
    /// # Panics
    /// As [`go`](crate::go) does, when there is no stack or no memory left; [`Task::try_go`](ScopeTask::try_go) returns that as an error.
    #[track_caller]
    #[inline]
    pub fn go<F, R>(&'scope self, f: F) -> ScopedJoinHandle<'scope, R::Value>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        self.task().go(f)
    }

    /// Begins the description of a goroutine: `s.task().name("reader").go(|| ..)`.
    pub fn task(&'scope self) -> ScopeTask<'scope, E> {
        ScopeTask { scope: ScopeRef { children: &self.children, failure: &self.failure }, name: None }
    }

    /// Cancels the goroutines of the scope, those still to be started included, and the scope's own code at its next call that parks, without failing it: what the
    /// body returns is what comes out.
    pub fn cancel(&self) {
        self.children.cancel_from_anywhere();
    }

    fn fail(&self, failure: Failure<E>) {
        ScopeRef { children: &self.children, failure: &self.failure }.fail(failure);
    }
}

impl<E> fmt::Debug for Scope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("children", &self.children).finish_non_exhaustive()
    }
}

/// What a goroutine needs of its scope.
struct ScopeRef<'scope, E> {
    children: &'scope Children,
    failure: &'scope SpinLock<Option<Failure<E>>>,
}

impl<E> Clone for ScopeRef<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for ScopeRef<'_, E> {}

impl<E> ScopeRef<'_, E> {
    fn fail(&self, failure: Failure<E>) {
        let mut first = self.failure.lock();
        let late = if first.is_none() { first.replace(failure) } else { Some(failure) };
        drop(first);
        // Outside the lock: it is user code.
        drop_unseen(late);
    }
}

/// Drops what nobody will see. A panic of that goes no further than to the panic hook: there are goroutines to be waited for.
fn drop_unseen<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // A payload whose own drop panics could go on for ever.
        mem::forget(payload);
    }
}

/// A goroutine of a scope to be.
#[must_use = "it is started by `go`"]
pub struct ScopeTask<'scope, E> {
    scope: ScopeRef<'scope, E>,
    name: Option<Box<str>>,
}

impl<'scope, E> ScopeTask<'scope, E>
where
    E: From<Cancelled> + Send,
{
    /// Gives it a name, for reports.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// Starts it: [`Scope::go`].
    ///
    /// # Panics
    /// As for [`Scope::go`].
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
        let spec = Spec { site: Location::caller(), name: self.name };
        let report = ScopeReport::<E, R> { scope: self.scope, _returned: PhantomData };
        let children = self.scope.children;
        // The runtime of the scope, wherever this is called: the present one might end before the scope does.
        // SAFETY: the scope's task runs on that runtime, which waits for it; and the scope does not return before we do (C2).
        let place = unsafe { children.runtime().cast::<Scheduler>().as_ref() }.map_or(Place::Default, Place::On);
        // SAFETY: the scope does not return before its children have ended, and what `f` borrows outlives it.
        let handle = unsafe { start(spec, report, f, Some(children), place) }?;
        Ok(ScopedJoinHandle { handle, _scope: PhantomData })
    }
}

impl<E> fmt::Debug for ScopeTask<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeTask").field("name", &self.name).finish_non_exhaustive()
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

struct ScopeReport<'scope, E, R> {
    scope: ScopeRef<'scope, E>,
    _returned: PhantomData<fn() -> R>,
}

impl<E, R: Outcomes<E>> Report for ScopeReport<'_, E, R> {
    type Returned = R;
    type Value = R::Value;

    #[inline]
    fn returned(&self, result: R, cancelled: bool) -> (Outcome<R::Value>, Ran) {
        match result.into_result() {
            Ok(value) => (Outcome::Value(value), Ran::Well),
            Err(error) if cancelled => {
                drop_unseen(error);
                (Outcome::Cancelled, Ran::Well)
            }
            Err(error) => {
                self.scope.fail(Failure::Error(error));
                (Outcome::Failed, Ran::Failed)
            }
        }
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) -> (Outcome<R::Value>, Ran) {
        self.scope.fail(Failure::Panic(payload));
        (Outcome::Failed, Ran::Failed)
    }
}

/// The handle of a scope's goroutine. Dropping it changes nothing: the scope waits.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Parks until the goroutine has ended, and returns its value; see [`JoinHandle::join`].
    ///
    /// # Errors
    /// As [`JoinHandle::join`]; [`JoinError::Failed`] if it failed: its error or panic comes out of the scope.
    pub fn join(self) -> Result<T, JoinError> {
        self.handle.join()
    }

    /// Cancels the goroutine, and only it; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.handle.name()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
