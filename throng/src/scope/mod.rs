//! Stretches of code that are not left before the goroutines they started have ended.
//!
//! **Why children may borrow.** `scope` runs the body in the calling frame and does not return, by value or by panic, before `Children::wait` has seen every child end. The frame
//! cannot be forgotten while it runs, so what it borrows outlives the children: that is the whole argument, and it is why the interface is a closure and not a guard.
//!
//! **What comes out** of a `scope`: the first failure, be it the body's or a child's, `Err` or panic; those that come later are kept beside it (`failures.rs`). What is a failure: a panic, always; an `Err`,
//! unless the code that returned it had been cancelled and had met that. Of a `supervisor`: the body's own failure only.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | opening, running, closing; `scope`, `scope_all`, `Scope` |
//! | `supervisor.rs` | `supervisor`, `Supervisor`: children fail alone |
//! | `failures.rs` | what is kept of failures |
//! | `child.rs` | starting a child, what its result means to the scope |
//! | `handle.rs` | a child's handle |
//! | `on.rs` | a closure run elsewhere: a scope with one child |

mod child;
mod failures;
mod handle;
mod on;
mod supervisor;

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr;

use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::home::local::{self, Local};
use crate::job::Job;
use crate::join::Panic;
use crate::panics::Caught;
use crate::sched::{on_caller, on_worker};
use crate::task::Ran;
use crate::task::children::{Children, cause_here};
use crate::waiter::unwinding;
pub use child::{Outcomes, ScopeTask, ScopedCompletable};
use failures::Store;
pub use failures::{ChildFailure, Failures, HowFailed};
pub use handle::{ScopedJoinHandle, ScopedJoining};
pub use on::{OnError, on};
pub use supervisor::{Fallible, Supervisor, SupervisorTask, supervisor};

/// Runs `f` with a [`Scope`] to start goroutines in, which may borrow from the calling frame, and returns when `f` *and all of them* have ended.
///
/// The first failure ends it all: when `f` or a goroutine of the scope returns `Err` or panics, the others are cancelled (and `f` too, at its next call
/// that parks), all are waited for, and then that failure is returned, or the panic goes on. Failures that come after it are dropped: as a rule they are its consequences.
/// [`scope_all`] returns them, too.
///
/// A cancelled goroutine that has met its cancellation (a call of it returned [`Cancelled`], or [`is_cancelled`](crate::is_cancelled) was true) and then returns `Err` has ended by it: that is no
/// failure of the scope.
///
/// The goroutines run on the runtime of the caller, wherever they are started from. Works inside [`blocking`](crate::blocking) calls, and from plain threads too: there they run on the default runtime.
///
/// # Errors
/// The first failure; or `E::from(`[`Cancelled`]`)` if the caller is cancelled while the scope waits, in which case the children have been
/// cancelled too, and the value of `f` is lost. (A scope without children that could be cancelled returns its value: nothing of it is missing.)
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
#[track_caller]
pub fn scope<'env, T, E, F>(f: F) -> Result<T, E>
where
    E: From<Cancelled> + Send,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, E>) -> Result<T, E>,
{
    match run(f, Location::caller()) {
        Ok(value) => Ok(value),
        Err(Ended::Cancelled(cancelled)) => Err(cancelled.into()),
        Err(Ended::Failed(failures)) => first_of(*failures),
    }
}

/// The failure that comes out.
#[cold]
fn first_of<T, E>(failures: Failures<E>) -> Result<T, E> {
    match failures.into_first().into_how() {
        HowFailed::Error(error) => Err(error),
        HowFailed::Panicked(panic) => panic.resume(),
    }
}

/// [`scope`], with all failures: the first, and those that came while the others were being ended. Panics, too, are returned, not resumed.
///
/// # Errors
/// [`Failures`]. If the caller is cancelled and nothing failed: with `E::from(`[`Cancelled`]`)` as the first.
///
/// Kotlin's suppressed exceptions, Python's exception groups.
///
/// ```
/// use throng::{Cancelled, scope_all};
///
/// # #[derive(Debug, PartialEq)]
/// enum Failure { Left, Right, Cancelled }
/// impl From<Cancelled> for Failure {
///     fn from(_: Cancelled) -> Failure { Failure::Cancelled }
/// }
///
/// let result = throng::run(|| scope_all(|s| {
///     s.task().undispatched().go(|| -> Result<(), Failure> {
///         let _ = throng::shield(|| throng::yield_now()); // busy when the other fails
///         Err(Failure::Left)
///     });
///     s.task().undispatched().go(|| -> Result<(), Failure> { Err(Failure::Right) });
///     Ok(())
/// }));
/// let failures = result.unwrap_err();
/// assert_eq!(failures.first().error(), Some(&Failure::Right));
/// assert_eq!(failures.later()[0].error(), Some(&Failure::Left));
/// ```
#[track_caller]
pub fn scope_all<'env, T, E, F>(f: F) -> Result<T, Failures<E>>
where
    E: From<Cancelled> + Send,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, E>) -> Result<T, E>,
{
    let site = Location::caller();
    run(f, site).map_err(|ended| match ended {
        Ended::Failed(failures) => *failures,
        Ended::Cancelled(cancelled) => Failures::of_scope(cancelled.into(), site),
    })
}

/// How a scope ends that does not end well.
enum Ended<E> {
    Failed(Box<Failures<E>>),
    /// Cancelled from outside, and nothing failed.
    Cancelled(Cancelled),
}

fn run<'env, T, E, F>(f: F, site: &'static Location<'static>) -> Result<T, Ended<E>>
where
    E: From<Cancelled> + Send,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, E>) -> Result<T, E>,
{
    local::with(|local| {
        let runtime = begin(local).map_err(Ended::Cancelled)?;
        let scope =
            Scope { children: Children::of_scope(local, runtime, site), failures: Store::new(), _env: PhantomData, _scope: PhantomData };
        let fail = |how, consequence| scope.failures.add(ChildFailure::new(None, site, how), consequence);
        let (value, waited) = within(&scope.children, local, || f(&scope), fail);
        let failures = scope.failures.take();
        let ran = match &failures {
            Some(failures) if !failures.is_cancellation() => Ran::Failed,
            None if waited.is_ok() => Ran::Well,
            _ => Ran::Cancelled,
        };
        scope.children.close(local, ran, || failures.as_ref().map_or(Cause::Asked, |failures| failures.cause()));
        match (failures, value) {
            (Some(failures), _) => Err(Ended::Failed(failures)),
            (None, Some(value)) => waited.map(|()| value).map_err(Ended::Cancelled),
            (None, None) => unreachable!("a body without a value has failed the scope"),
        }
    })
}

/// The runtime of the scope to be. `Err`: a goroutine that is unwinding cannot wait, so its scopes must not begin.
fn begin(local: &Local) -> Result<*const (), Cancelled> {
    if unwinding() && !local.is_thread() {
        return Err(Cancelled::new());
    }
    let none = || on_caller(|caller| caller.map_or(ptr::null(), |caller| ptr::from_ref(caller).cast()));
    Ok(on_worker(|worker| worker.map_or_else(none, |worker| ptr::from_ref(worker.scheduler()).cast())))
}

/// Runs the body with the scope open, and waits for the children. A failure of the body is given to `fail`, with whether it is a consequence of an earlier cancellation.
fn within<T, E>(
    children: &Children,
    local: &Local,
    body: impl FnOnce() -> Result<T, E>,
    fail: impl FnOnce(HowFailed<E>, bool),
) -> (Option<T>, Result<(), Cancelled>) {
    // SAFETY: closed by the caller, which cannot unwind before: the body's panics are caught.
    unsafe { children.open(local) };
    let met = children.deliveries();
    let value = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            returned(children, local, met, error, fail);
            None
        }
        Err(payload) => {
            panicked(children, payload, fail);
            None
        }
    };
    if value.is_none() {
        children.cancel(local, None);
    }
    (value, children.wait(local))
}

/// The body has failed with an error. (Apart, as `panicked` is: scopes nest, and their frames should be small.)
#[cold]
fn returned<E>(children: &Children, local: &Local, met: u32, error: E, fail: impl FnOnce(HowFailed<E>, bool)) {
    let cause = cause_here(local);
    let consequence = (children.is_cancelled() || cause.is_some()) && children.deliveries() != met;
    children.note_cause(cause.filter(|_| consequence).unwrap_or_else(|| children.failed(None)));
    fail(HowFailed::Error(error), consequence);
}

/// The body has failed with a panic.
#[cold]
fn panicked<E>(children: &Children, payload: Box<dyn Any + Send>, fail: impl FnOnce(HowFailed<E>, bool)) {
    let caught = Caught::new(payload);
    children.note_cause(children.failed(Some(caught.text())));
    fail(HowFailed::Panicked(Panic::new(caught)), false);
}

/// Where a [`scope`]'s goroutines are started. It may be shared with them, so that they start others.
pub struct Scope<'scope, 'env: 'scope, E> {
    children: Children,
    failures: Store<E>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
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
    /// As [`go`](crate::go) does, when there is no stack or no memory left; [`try_go`](ScopeTask::try_go) returns that as an error.
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

    /// Starts a coroutine, which may borrow what outlives the scope. [`launch`](crate::launch) tells what that is; its result means to the scope what a goroutine's does.
    ///
    /// # Panics
    /// As for [`go`](Scope::go).
    ///
    /// ```
    /// use throng::{Error, rendezvous, scope};
    ///
    /// throng::run(|| {
    ///     let factor = 2;
    ///     let (tx, rx) = rendezvous();
    ///     let sum = scope(|s| {
    ///         let sum = s.launch(async {
    ///             let mut sum = 0;
    ///             while let Ok(n) = rx.recv_async().await {
    ///                 sum += factor * n; // borrowed
    ///             }
    ///             Ok(sum)
    ///         });
    ///         for n in 1..=3 {
    ///             tx.send(n)?;
    ///         }
    ///         tx.close();
    ///         Ok::<_, Error>(sum.join()?)
    ///     });
    ///     assert_eq!(sum.unwrap(), 12);
    /// });
    /// ```
    ///
    /// It cannot outlive what it borrows:
    /// ```compile_fail,E0597
    /// # use throng::{Cancelled, scope};
    /// scope(|s| {
    ///     let local = 1;
    ///     s.launch(async { println!("{}", &local) }); // `local` ends before the scope
    ///     Ok::<_, Cancelled>(())
    /// }).unwrap();
    /// ```
    #[track_caller]
    #[inline]
    pub fn launch<F>(&'scope self, future: F) -> ScopedJoinHandle<'scope, <F::Output as Outcomes<E>>::Value>
    where
        F: Future + Send + 'scope,
        F::Output: Outcomes<E> + 'scope,
        <F::Output as Outcomes<E>>::Value: Send + 'scope,
    {
        self.task().launch(future)
    }

    /// Begins the description of a goroutine: `s.task().name("reader").go(|| ..)`.
    pub fn task(&'scope self) -> ScopeTask<'scope, E> {
        ScopeTask::new(&self.children, &self.failures)
    }

    /// Makes a child that is a value still to come: the [`ScopedCompletable`] to provide it, and the handle to wait for it. The scope waits for it, and cancels it.
    ///
    /// # Panics
    /// As for [`go`](Scope::go).
    ///
    /// ```
    /// use throng::{Error, scope};
    ///
    /// let sum = throng::run(|| scope(|s| {
    ///     let (promise, value) = s.completable();
    ///     s.go(move || {
    ///         promise.complete(40).unwrap();
    ///     });
    ///     Ok::<_, Error>(value.join()? + 2)
    /// }));
    /// assert_eq!(sum.unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn completable<T: Send + 'scope>(&'scope self) -> (ScopedCompletable<'scope, T, E>, ScopedJoinHandle<'scope, T>) {
        ScopedCompletable::new(&self.children, &self.failures, Location::caller()).unwrap_or_else(|error| error.refuse())
    }

    /// Cancels the goroutines of the scope, those still to be started included, and the scope's own code at its next call that parks, without failing it: what the
    /// body returns is what comes out. Never parks.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Asked);
    }

    /// [`cancel`](Scope::cancel), with a reason for [`cause`](crate::cause) to tell. The first reason stays.
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        self.children.cancel_from_anywhere(Some(&cause.into()));
    }

    /// The scope as a node of the task tree.
    #[must_use]
    pub fn job(&self) -> Job {
        Job::of_scope(self.children.record())
    }
}

impl<E> fmt::Debug for Scope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("children", &self.children).finish_non_exhaustive()
    }
}
