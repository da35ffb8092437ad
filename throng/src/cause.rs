//! Why a task was cancelled.
//!
//! [`Cancelled`](crate::Cancelled) itself is a bare value, so that the results of calls that park stay small and `Copy`; the reason is asked for where it is
//! wanted: [`cause`](crate::cause) in the cancelled task, [`Job::cause`](crate::Job::cause) from outside. Go draws the same line between `ctx.Err()` and `context.Cause`.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Why something was cancelled: the first reason it was given, which later ones do not replace.
///
/// Cheap to clone. `Display` gives a sentence for a log. Go's `context.Cause`; the cause of Kotlin's `CancellationException`.
///
/// ```
/// use throng::{CancelToken, Cause};
///
/// let token = CancelToken::new();
/// token.cancel_with("the client hung up");
/// assert_eq!(token.cause().unwrap().to_string(), "the client hung up");
/// assert_eq!(Cause::default().to_string(), "cancelled on request");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody called a `cancel` and gave no reason.
    #[default]
    Asked,
    /// Somebody gave this reason.
    Reason(Arc<str>),
    /// Somebody gave this error as the reason.
    Error(Arc<dyn Error + Send + Sync>),
    /// A time limit was reached.
    Elapsed,
    /// A task whose failure ends those around it has failed.
    Failed(Arc<Failed>),
    /// The runtime is being shut down.
    Shutdown,
}

/// How a job ended.
///
/// What [`Job::on_completion`](crate::Job::on_completion) is called with. Kotlin's `cause` of a completion handler: none, a cancellation, a failure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Completion {
    /// With a value of its own.
    Completed,
    /// By its cancellation, or cancelled before it began.
    Cancelled(Cause),
    /// With an error or a panic: the cause tells whose.
    Failed(Cause),
}

/// Which task failed, and how: what [`Cause::Failed`] tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The name of the task that failed, if it has one.
    pub name: Option<Box<str>>,
    /// Where it was started.
    pub site: &'static Location<'static>,
    /// What it panicked with; `None` if it returned an error.
    pub panic: Option<Box<str>>,
}

impl Cause {
    /// An error as the reason.
    ///
    /// ```
    /// use throng::Cause;
    ///
    /// let cause = Cause::error(std::io::Error::other("disk full"));
    /// assert_eq!(cause.to_string(), "disk full");
    /// ```
    pub fn error(error: impl Error + Send + Sync + 'static) -> Cause {
        Cause::Error(Arc::new(error))
    }
}

impl From<&str> for Cause {
    fn from(reason: &str) -> Cause {
        Cause::Reason(reason.into())
    }
}

impl From<String> for Cause {
    fn from(reason: String) -> Cause {
        Cause::Reason(reason.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Asked => f.write_str("cancelled on request"),
            Cause::Reason(reason) => f.write_str(reason),
            Cause::Error(error) => error.fmt(f),
            Cause::Elapsed => f.write_str("the time limit was reached"),
            Cause::Failed(failed) => failed.fmt(f),
            Cause::Shutdown => f.write_str("the runtime is being shut down"),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "'{name}' (spawned at {})", self.site)?,
            None => write!(f, "a task spawned at {}", self.site)?,
        }
        match &self.panic {
            Some(message) => write!(f, " panicked: {message}"),
            None => f.write_str(" failed with an error"),
        }
    }
}
