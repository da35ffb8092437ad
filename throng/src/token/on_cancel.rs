//! Goroutines that are started by a cancellation: Go's `context.AfterFunc`.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use super::CancelToken;
use super::node::{Hook, Leftover};
use crate::context::{Context, inherited, within};
use crate::spawn::task;

impl CancelToken {
    /// Has `f` run in a goroutine of its own when the token is cancelled: at once if it is already. Go's `context.AfterFunc`.
    ///
    /// `f` runs once, unless [`stop`](OnCancel::stop) comes before the cancellation. Dropping what is returned leaves it registered, and so
    /// does dropping the token: `f` then waits for those above it, or for its deadline. It is dropped without having run when nobody is
    /// left who could cancel the token. (If `f` itself holds a clone of the token, that is never.)
    ///
    /// The goroutine is started as by [`go`](crate::go) where the token is cancelled: on the runtime of the canceller, for threads and
    /// deadlines on the default one, whose end may cancel it before it runs. It inherits the [`context_local!`](crate::context_local)
    /// values of the one who called `on_cancel`, and its panics end where those of a goroutine do that nobody joins.
    ///
    /// If no goroutine can be started, `f` is run by the canceller, before his `cancel` returns, when all below the token has been
    /// cancelled; for the clock, by a thread of its own, if that can be had. A panic of it is then the panic hook's alone.
    ///
    /// Never parks.
    ///
    /// ```
    /// use throng::{CancelToken, rendezvous};
    ///
    /// throng::run(|| {
    ///     let token = CancelToken::new();
    ///     let (tx, rx) = rendezvous();
    ///     token.on_cancel(move || tx.send("cleaned up").unwrap());
    ///     let other = token.on_cancel(|| unreachable!("it is stopped"));
    ///     assert!(other.stop());
    ///     token.cancel();
    ///     assert_eq!(rx.recv(), Ok("cleaned up"));
    /// });
    /// ```
    #[track_caller]
    pub fn on_cancel(&self, f: impl FnOnce() + Send + 'static) -> OnCancel {
        let (context, site) = (inherited(), Location::caller());
        self.look_at_clock();
        OnCancel { hook: self.node.hook(Box::new(move |_| launch(f, context, site))) }
    }
}

/// Runs `f` in a goroutine. If there is none to be had, what is left to do.
fn launch(f: impl FnOnce() + Send + 'static, context: Context, site: &'static Location<'static>) -> Option<Leftover> {
    let slot = Mutex::new(Some(f));
    let leftover: Leftover = Arc::new(move || {
        let f = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(f) = f {
            f();
        }
    });
    // A closure that is refused is lost, so it has a copy only.
    let copy = leftover.clone();
    let started = within(context.clone(), || task().name(format!("on_cancel at {site}")).try_go(move || copy()));
    if started.is_ok() {
        return None;
    }
    Some(Arc::new(move || within(context.clone(), || leftover())))
}

/// A closure that waits for a cancellation: what [`CancelToken::on_cancel`] returns.
///
/// Dropping it leaves the closure registered.
pub struct OnCancel {
    hook: Hook,
}

impl OnCancel {
    /// Keeps the closure from running: `true` if it was this call that did. `false`: the token has been cancelled, so that it runs, has
    /// run, or is about to; or it has been stopped before; or nobody was left to cancel the token. Does not wait for a closure that runs.
    /// Never parks, and takes a constant time.
    ///
    /// The `stop` that Go's `context.AfterFunc` returns.
    ///
    /// ```
    /// let token = throng::CancelToken::new();
    /// let (first, second) = (token.on_cancel(|| ()), token.on_cancel(|| ()));
    /// assert!(first.stop() && !first.stop());
    /// token.cancel();
    /// assert!(!second.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.hook.remove()
    }
}

impl fmt::Debug for OnCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnCancel").field(&self.hook).finish()
    }
}

// As for the token.
impl UnwindSafe for OnCancel {}
impl RefUnwindSafe for OnCancel {}
