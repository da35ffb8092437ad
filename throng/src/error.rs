//! One error for code that does many things.

use std::fmt;

use crate::cancel::Elapsed;
use crate::cancelled::Cancelled;
use crate::channel::{RecvError, RecvTimeoutError, SendError, SendTimeoutError};
use crate::core::{SuspendError, WaitError};
use crate::join::JoinError;
use crate::scope::OnError;
use crate::spawn::SpawnError;

/// What can end a stretch of code that parks, in one type: everything the calls of this crate return converts into it with `?`.
///
/// For goroutines and scopes that send, receive, sleep and join, and whose caller wants to know no more than why they stopped. Code with failures of its own has an error type of
/// its own: all a [`scope`](crate::scope) asks of it is `From<Cancelled>`.
///
/// ```
/// use throng::{Error, bounded, scope};
///
/// let result = throng::run(|| scope(|s| {
///     let (tx, rx) = bounded(1);
///     let double = s.go(move || Ok(2 * rx.recv()?));
///     tx.send(21)?;
///     Ok::<i32, Error>(double.join()?)
/// }));
/// assert_eq!(result.unwrap(), 42);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The task was cancelled.
    Cancelled,
    /// A channel was closed, or another thing that was waited for.
    Closed,
    /// A time limit was reached.
    Elapsed,
    /// A joined task has no value.
    Join(JoinError),
    /// A dispatcher took no new task.
    Refused(SpawnError),
    /// Nobody was left who could have resumed a [`suspend`](crate::core::suspend).
    Abandoned,
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Error {
        Error::Cancelled
    }
}

impl From<Elapsed> for Error {
    fn from(_: Elapsed) -> Error {
        Error::Elapsed
    }
}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Error {
        match error {
            RecvError::Closed => Error::Closed,
            RecvError::Cancelled => Error::Cancelled,
        }
    }
}

impl From<RecvTimeoutError> for Error {
    fn from(error: RecvTimeoutError) -> Error {
        match error {
            RecvTimeoutError::Timeout => Error::Elapsed,
            RecvTimeoutError::Closed => Error::Closed,
            RecvTimeoutError::Cancelled => Error::Cancelled,
        }
    }
}

/// The item is dropped.
impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Error {
        match error {
            SendError::Closed(_) => Error::Closed,
            SendError::Cancelled(_) => Error::Cancelled,
        }
    }
}

/// The item is dropped.
impl<T> From<SendTimeoutError<T>> for Error {
    fn from(error: SendTimeoutError<T>) -> Error {
        match error {
            SendTimeoutError::Timeout(_) => Error::Elapsed,
            SendTimeoutError::Closed(_) => Error::Closed,
            SendTimeoutError::Cancelled(_) => Error::Cancelled,
        }
    }
}

/// A [`JoinError::Cancelled`], the caller's own, is just [`Error::Cancelled`].
impl From<JoinError> for Error {
    fn from(error: JoinError) -> Error {
        match error {
            JoinError::Cancelled => Error::Cancelled,
            other => Error::Join(other),
        }
    }
}

impl From<OnError> for Error {
    fn from(error: OnError) -> Error {
        match error {
            OnError::Cancelled => Error::Cancelled,
            OnError::Refused(refused) => Error::Refused(refused),
        }
    }
}

impl From<SuspendError> for Error {
    fn from(error: SuspendError) -> Error {
        match error {
            SuspendError::Cancelled => Error::Cancelled,
            SuspendError::Abandoned => Error::Abandoned,
        }
    }
}

/// The value is dropped.
impl<V> From<WaitError<V>> for Error {
    fn from(error: WaitError<V>) -> Error {
        match error {
            WaitError::Closed(_) => Error::Closed,
            WaitError::Cancelled(_) => Error::Cancelled,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cancelled => Cancelled::new().fmt(f),
            Error::Closed => f.write_str("the channel is closed"),
            Error::Elapsed => f.write_str("the time limit was reached"),
            Error::Join(error) => error.fmt(f),
            Error::Refused(error) => error.fmt(f),
            Error::Abandoned => SuspendError::Abandoned.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Join(error) => Some(error),
            Error::Refused(error) => Some(error),
            _ => None,
        }
    }
}
