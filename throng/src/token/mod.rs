//! Cancellation that is handed around by value: Go's `context`, without its values.
//!
//! [`node`] has the tree, [`slab`] what hangs on a node, [`clock`] the thread that cancels by deadline, [`on_cancel`] the goroutines that a
//! cancellation starts. Here is what the user sees: a token is one use of its node.

#![forbid(unsafe_code)]

pub(crate) mod clock;
#[cfg(all(test, not(loom)))]
mod clock_tests;
#[cfg(not(loom))]
mod links;
#[cfg(all(test, loom))]
mod loom_tests;
mod node;
// A model has no goroutines to start.
#[cfg(not(loom))]
mod on_cancel;
mod slab;
#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::channel::Receiver;
use node::{Hook, Node};

#[cfg(not(loom))]
pub use on_cancel::OnCancel;

/// A cancellation to be handed around: whoever holds a clone can cancel, ask, or wait for it in a [`select!`](macro@crate::select).
///
/// It cancels no task by itself: tasks that heed it watch [`done`](CancelToken::done), or [`check`](CancelToken::check) now and then. To
/// cancel tasks, see [`Scope::cancel`](crate::Scope::cancel) and [`JoinHandle::cancel`](crate::JoinHandle::cancel). Cancelling a token
/// cancels what was made from it by [`child`](CancelToken::child), [`child_with_timeout`](CancelToken::child_with_timeout) and the like,
/// but not its parent.
///
/// When one has been cancelled it has a [`cause`](CancelToken::cause), the first that was given; those below it get the same. Who sees a
/// token cancelled, in whatever way, finds its cause, and whatever its canceller did before.
///
/// Nothing here ever parks. A token works on plain threads and in goroutines of any runtime. A child that is dropped leaves its parent, so
/// a token may have any number of short-lived ones. What hangs below a token is cancelled with it even if the tokens in between have been
/// dropped.
///
/// Go's `context.Context`, for cancellation. Values travel by [`context_local!`](crate::context_local) instead.
///
/// ```
/// use throng::channel::{RecvError, never};
/// use throng::{CancelToken, select};
///
/// let token = CancelToken::new();
/// let part = token.child();
/// token.cancel_with("out of memory");
/// assert!(part.is_cancelled());
/// assert_eq!(part.cause().unwrap().to_string(), "out of memory");
/// let stopped = select! {
///     recv(part.done()) -> end => end == Err(RecvError::Closed),
///     recv(never::<()>()) -> _ => false,
/// }?;
/// assert!(stopped);
/// # Ok::<(), throng::Cancelled>(())
/// ```
pub struct CancelToken {
    node: Arc<Node>,
}

impl CancelToken {
    /// A token with nothing above it. Go's `context.WithCancel(context.Background())`.
    ///
    /// ```
    /// let token = throng::CancelToken::new();
    /// assert!(!token.is_cancelled() && token.deadline().is_none());
    /// ```
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken { node: Node::root() }
    }

    /// A token that is cancelled with this one, or by itself. (Cancelled from the start if this one is.) Go's `context.WithCancel`.
    ///
    /// ```
    /// let token = throng::CancelToken::new();
    /// let (left, right) = (token.child(), token.child());
    /// left.cancel();
    /// assert!(!token.is_cancelled() && !right.is_cancelled());
    /// token.cancel();
    /// assert!(right.is_cancelled());
    /// ```
    #[must_use]
    pub fn child(&self) -> CancelToken {
        CancelToken { node: self.node.child(None) }
    }

    /// A child that is also cancelled by the clock, `timeout` from now, with [`Cause::Elapsed`]. Go's `context.WithTimeout`.
    ///
    /// See [`child_with_deadline`](CancelToken::child_with_deadline). A timeout of zero: cancelled at once. One beyond what an `Instant`
    /// can tell: a plain child.
    ///
    /// ```
    /// use std::time::Duration;
    /// use throng::{CancelToken, Cause};
    ///
    /// let token = CancelToken::new();
    /// let request = token.child_with_timeout(Duration::from_millis(2));
    /// assert!(request.done().recv().is_err()); // closed
    /// assert!(matches!(request.cause(), Some(Cause::Elapsed)));
    /// assert!(!token.is_cancelled());
    /// ```
    #[must_use]
    pub fn child_with_timeout(&self, timeout: Duration) -> CancelToken {
        match Instant::now().checked_add(timeout) {
            Some(at) => self.child_with_deadline(at),
            None => self.child(),
        }
    }

    /// A child that is also cancelled by the clock, at `at` and never earlier, with [`Cause::Elapsed`]. Go's `context.WithDeadline`.
    ///
    /// If that is past, the child is cancelled at once. If this token has an earlier [`deadline`](CancelToken::deadline), that is the
    /// child's too.
    ///
    /// The clock is one thread for all tokens of the process, started when it is needed. If it cannot be started, tokens with a deadline
    /// still see that it has come whenever they are asked (by [`is_cancelled`](CancelToken::is_cancelled), [`cause`](CancelToken::cause),
    /// [`check`](CancelToken::check), [`done`](CancelToken::done)), but nobody who waits is woken by it; the next token with a deadline
    /// tries to start the clock again.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use throng::CancelToken;
    ///
    /// let soon = Instant::now() + Duration::from_secs(60);
    /// let token = CancelToken::new().child_with_deadline(soon);
    /// let part = token.child_with_timeout(Duration::from_secs(3600));
    /// assert_eq!(part.deadline(), Some(soon));
    /// assert!(part.check().is_ok());
    /// ```
    #[must_use]
    pub fn child_with_deadline(&self, at: Instant) -> CancelToken {
        CancelToken { node: self.node.child(Some(at)) }
    }

    /// A token that nothing above cancels, and that has no deadline: for what has to be done although, or because, this one is cancelled.
    /// Go's `context.WithoutCancel`.
    ///
    /// Where Go's keeps the context's values, there is nothing to keep: values travel by [`context_local!`](crate::context_local), not by
    /// tokens. So it is a new token, under a name that says what is meant.
    ///
    /// ```
    /// let request = throng::CancelToken::new();
    /// let log = request.without_cancel();
    /// request.cancel();
    /// assert!(log.check().is_ok());
    /// ```
    #[must_use]
    pub fn without_cancel(&self) -> CancelToken {
        CancelToken::new()
    }

    /// Cancels the token and all below it, with [`Cause::Asked`]: their [`done`](CancelToken::done) receivers are closed. `true` if it was
    /// not cancelled before.
    ///
    /// A token is cancelled before its children, and these in the order they were made. All that this call cancels is cancelled when it
    /// returns. What another call is just cancelling (that of a child, say) may follow a moment later.
    ///
    /// ```
    /// use throng::{CancelToken, Cause};
    ///
    /// let token = CancelToken::new();
    /// assert!(token.cancel() && !token.cancel());
    /// assert!(matches!(token.cause(), Some(Cause::Asked)));
    /// ```
    pub fn cancel(&self) -> bool {
        self.cancel_with(Cause::Asked)
    }

    /// [`cancel`](CancelToken::cancel), with a reason, which [`cause`](CancelToken::cause) returns. If the token is cancelled already, it
    /// keeps the cause it has. Go's `context.WithCancelCause`.
    ///
    /// ```
    /// use throng::{CancelToken, Cause};
    ///
    /// let token = CancelToken::new();
    /// assert!(token.cancel_with(Cause::error(std::io::Error::other("disk full"))));
    /// assert!(!token.cancel_with("too late"));
    /// assert_eq!(token.child().cause().unwrap().to_string(), "disk full");
    /// ```
    pub fn cancel_with(&self, cause: impl Into<Cause>) -> bool {
        self.node.cancel(cause.into())
    }

    /// Whether the token was cancelled, by itself or with one above it. Looks at the clock only if the token has a deadline.
    ///
    /// ```
    /// use throng::{CancelToken, go};
    ///
    /// let token = CancelToken::new();
    /// let stop = token.clone();
    /// let counter = go(move || (0_u64..).find(|_| stop.is_cancelled()).unwrap());
    /// token.cancel();
    /// println!("counted to {}", counter.join().unwrap());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.look_at_clock();
        self.node.is_cancelled()
    }

    /// Why the token was cancelled; `None` while it is not. Go's `context.Cause`.
    ///
    /// The first cause wins. A token that was cancelled with one above it has that one's cause.
    ///
    /// ```
    /// let token = throng::CancelToken::new();
    /// let (first, second) = (token.child(), token.child());
    /// assert!(first.cause().is_none());
    /// first.cancel_with("not needed any more");
    /// token.cancel_with("the client hung up");
    /// assert_eq!(first.cause().unwrap().to_string(), "not needed any more");
    /// assert_eq!(second.cause().unwrap().to_string(), "the client hung up");
    /// ```
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        if self.is_cancelled() { self.node.cause() } else { None }
    }

    /// [`is_cancelled`](CancelToken::is_cancelled) to be used with `?`. Go's `ctx.Err()`.
    ///
    /// # Errors
    /// [`Cancelled`] if the token was cancelled.
    ///
    /// ```
    /// use throng::{CancelToken, Cancelled};
    ///
    /// fn sum(numbers: &[u64], stop: &CancelToken) -> Result<u64, Cancelled> {
    ///     numbers.chunks(1000).try_fold(0, |sum, chunk| {
    ///         stop.check()?;
    ///         Ok(sum + chunk.iter().sum::<u64>())
    ///     })
    /// }
    ///
    /// let stop = CancelToken::new();
    /// assert_eq!(sum(&[1, 2, 3], &stop), Ok(6));
    /// stop.cancel();
    /// assert_eq!(sum(&[1, 2, 3], &stop), Err(Cancelled::new()));
    /// ```
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled::new()) } else { Ok(()) }
    }

    /// When the clock cancels the token: the nearest of its own deadline and of those above it. Go's `ctx.Deadline()`.
    ///
    /// It stays when the token is cancelled before.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use throng::CancelToken;
    ///
    /// let at = Instant::now() + Duration::from_secs(60);
    /// let request = CancelToken::new().child_with_deadline(at);
    /// let left = request.child().deadline().map(|at| at - Instant::now()); // for a call that takes a timeout, say
    /// assert!(left.is_some_and(|left| left <= Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// A receiver that never receives anything and is closed when the token is cancelled. Go's `ctx.Done()`.
    ///
    /// It does not keep the token: when the last clone is gone, and nothing below needs it either, the receiver is closed, too. So keep the
    /// token while you wait; in the operand of a `select!` it lives long enough. (Closing the receiver by hand is seen by all who wait for
    /// the token, and cancels nothing.)
    ///
    /// ```
    /// use std::time::Duration;
    /// use throng::{CancelToken, select, sleep};
    ///
    /// throng::run(|| {
    ///     let token = CancelToken::new();
    ///     let stop = token.clone();
    ///     let work = throng::go(move || {
    ///         select! {
    ///             recv(stop.done()) -> _ => "stopped",
    ///             after(Duration::from_secs(60)) => "done",
    ///         }
    ///     });
    ///     token.cancel();
    ///     assert_eq!(work.join().unwrap(), Ok("stopped"));
    /// });
    /// ```
    #[must_use]
    pub fn done(&self) -> Receiver<()> {
        self.look_at_clock();
        self.node.done()
    }

    /// Has `f` called with the cause when the token is cancelled, by the canceller, before his `cancel` returns: at once if it is already.
    /// `f` must neither park nor panic. All else is as with `on_cancel`.
    pub(crate) fn on_cancel_now(&self, f: impl FnOnce(&Cause) + Send + 'static) -> Hook {
        self.look_at_clock();
        self.node.hook(Box::new(|cause| {
            f(cause);
            None
        }))
    }

    /// Does what the clock should have done. (It may be late, or may not be there.)
    #[inline]
    fn look_at_clock(&self) {
        if !self.node.is_cancelled() && self.node.is_overdue() {
            self.node.cancel(Cause::Elapsed);
        }
    }
}

impl Clone for CancelToken {
    fn clone(&self) -> CancelToken {
        self.node.add_use();
        CancelToken { node: self.node.clone() }
    }
}

impl Drop for CancelToken {
    fn drop(&mut self) {
        self.node.end_use();
    }
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it is: to look must not cancel.
        f.debug_struct("CancelToken").field("cause", &self.node.cause()).field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

// A `Drop` of the user's that panics in here finds every node whole.
impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}
