//! A scope that starts tasks a few at a time: errgroup's `SetLimit`, `Go` and `TryGo`.
//!
//! A place is taken by whoever starts a task, before that exists, and goes with the closure: it is left when the closure has returned or
//! panicked, or is dropped unrun. So it cannot be lost, and tasks that wait to be started are not tasks yet: they cost a place in a queue.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use super::gate::Gate;
use super::places;
use crate::cancelled::Cancelled;
use crate::scope::{Outcomes, Scope, ScopeTask, ScopedJoinHandle};

impl<'scope, 'env, E> Scope<'scope, 'env, E>
where
    E: From<Cancelled> + Send,
{
    /// A way to start goroutines in this scope of which at most `n` run at once: [`Limited::go`] parks until there is room.
    ///
    /// The limit holds for what is started through the value returned and its clones. Each call makes a new one, and the scope's own
    /// [`go`](Scope::go) knows of none.
    ///
    /// # Panics
    /// If `n` is 0: nothing could ever run.
    ///
    /// Go's `errgroup.Group.SetLimit`, Kotlin's `Dispatchers.IO.limitedParallelism` and `Semaphore`. For a collection there is
    /// [`Group::map`](crate::Group::map).
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use throng::{Cancelled, scope, yield_now};
    ///
    /// throng::run(|| {
    ///     let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    ///     scope(|s| {
    ///         let few = s.limit(3);
    ///         for _ in 0..100 {
    ///             few.go(|| {
    ///                 most.fetch_max(1 + running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    ///                 yield_now()?;
    ///                 running.fetch_sub(1, Ordering::SeqCst);
    ///                 Ok::<_, Cancelled>(())
    ///             })?; // parks while three run
    ///         }
    ///         Ok::<_, Cancelled>(())
    ///     })
    ///     .unwrap();
    ///     assert!((1..=3).contains(&most.into_inner()));
    /// });
    /// ```
    #[track_caller]
    pub fn limit(&'scope self, n: usize) -> Limited<'scope, 'env, E> {
        Limited { scope: self, gate: Arc::new(Gate::new(places(n))), name: None }
    }
}

/// Starts a scope's goroutines, at most so many at once: what [`Scope::limit`] returns.
///
/// Clones share the limit. A clone may be moved into a goroutine of the scope, to start others from there.
///
/// ```
/// use throng::{Error, scope};
///
/// throng::run(|| scope(|s| {
///     let few = s.limit(2).name("fetch");
///     let first = few.go(|| Ok(1))?;
///     let rest = few.clone();
///     let second = s.go(move || Ok(rest.go(|| Ok(2))?.join()?));
///     assert_eq!(first.join()? + second.join()?, 3);
///     Ok::<_, Error>(())
/// }))
/// .unwrap();
/// ```
#[must_use = "goroutines are started by its `go`"]
pub struct Limited<'scope, 'env, E> {
    scope: &'scope Scope<'scope, 'env, E>,
    gate: Arc<Gate>,
    name: Option<Arc<str>>,
}

impl<'scope, E> Limited<'scope, '_, E>
where
    E: From<Cancelled> + Send,
{
    /// Gives the goroutines that are started through this value a name, for reports. (Those of other clones keep theirs.)
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// Parks until fewer than the limit run, then starts a goroutine as [`Scope::go`] does. Those who wait are served in the order they
    /// came.
    ///
    /// There is room again when the goroutine's closure has returned, or panicked, or was dropped because the goroutine had been cancelled
    /// before it ran. If it has just failed, who waited may start one more before the failure is known; that one is cancelled as the others
    /// are.
    ///
    /// A goroutine that waits here while it fills one of the places, like all the others that do, waits until it is cancelled.
    ///
    /// # Errors
    /// [`Cancelled`] if the caller is cancelled while it waits, or was before, even if there is room: a loop that starts one goroutine
    /// after the other ends by it. (The body of a scope that fails is cancelled in this sense.) `f` is dropped then, and no place is lost.
    ///
    /// # Panics
    /// As [`Scope::go`].
    ///
    /// Go's `errgroup.Group.Go`.
    #[track_caller]
    pub fn go<F, R>(&self, f: F) -> Result<ScopedJoinHandle<'scope, R::Value>, Cancelled>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        self.gate.enter()?;
        Ok(self.start(f))
    }

    /// Starts a goroutine if fewer than the limit run. Never parks, and does not look at the caller's cancellation.
    ///
    /// # Errors
    /// `f` itself, if there is no room.
    ///
    /// # Panics
    /// As [`Scope::go`].
    ///
    /// Go's `errgroup.Group.TryGo`.
    ///
    /// ```
    /// use throng::{Error, rendezvous, scope};
    ///
    /// throng::run(|| scope(|s| {
    ///     let one = s.limit(1);
    ///     let (tx, rx) = rendezvous::<()>();
    ///     one.go(move || Ok(rx.recv()?))?;
    ///     let Err(task) = one.try_go(|| Ok("later")) else { panic!("the place is taken") };
    ///     tx.send(())?;
    ///     assert_eq!(one.go(task)?.join()?, "later");
    ///     Ok::<_, Error>(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn try_go<F, R>(&self, f: F) -> Result<ScopedJoinHandle<'scope, R::Value>, F>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        if self.gate.try_enter() { Ok(self.start(f)) } else { Err(f) }
    }

    /// The caller has taken a place for it.
    #[track_caller]
    fn start<F, R>(&self, f: F) -> ScopedJoinHandle<'scope, R::Value>
    where
        F: FnOnce() -> R + Send + 'scope,
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        let place = Place(Arc::clone(&self.gate));
        named(self.scope.task(), self.name.as_deref()).go(move || {
            let _place = place;
            f()
        })
    }
}

pub(super) fn named<'scope, E>(task: ScopeTask<'scope, E>, name: Option<&str>) -> ScopeTask<'scope, E>
where
    E: From<Cancelled> + Send,
{
    match name {
        Some(name) => task.name(name),
        None => task,
    }
}

/// A place that has been taken. Dropping it leaves it.
struct Place(Arc<Gate>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<E> Clone for Limited<'_, '_, E> {
    fn clone(&self) -> Self {
        Limited { scope: self.scope, gate: Arc::clone(&self.gate), name: self.name.clone() }
    }
}

impl<E> fmt::Debug for Limited<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("name", &self.name).field("gate", &self.gate).finish_non_exhaustive()
    }
}
