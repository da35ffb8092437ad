//! Why a send or a receive did not happen. Those of a send give the item back.

use std::error::Error;
use std::fmt;

use super::shared::Missed;
use crate::cancelled::Cancelled;

/// A [`send`](super::Sender::send) did not happen; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The channel is closed.
    Closed(T),
    /// The task was cancelled while it would have waited.
    Cancelled(T),
}

/// A [`try_send`](super::Sender::try_send) did not happen; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The buffer is full, or nobody waits to receive.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

/// A [`send_timeout`](super::Sender::send_timeout) did not happen; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The time was over first.
    Timeout(T),
    /// The channel is closed.
    Closed(T),
    /// The task was cancelled while it would have waited.
    Cancelled(T),
}

/// A [`recv`](super::Receiver::recv) did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvError {
    /// The channel is closed and empty.
    Closed,
    /// The task was cancelled while it would have waited.
    Cancelled,
}

/// A [`try_recv`](super::Receiver::try_recv) did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// The buffer is empty and nobody waits to send.
    Empty,
    /// The channel is closed and empty.
    Closed,
}

/// A [`recv_timeout`](super::Receiver::recv_timeout) did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvTimeoutError {
    /// The time was over first.
    Timeout,
    /// The channel is closed and empty.
    Closed,
    /// The task was cancelled while it would have waited.
    Cancelled,
}

impl<T> SendError<T> {
    /// The item that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Closed(item) | SendError::Cancelled(item) => item,
        }
    }

    /// Whether the task was cancelled. (Otherwise the channel is closed.)
    pub fn is_cancelled(&self) -> bool {
        matches!(self, SendError::Cancelled(_))
    }
}

impl<T> TrySendError<T> {
    /// The item that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(item) | TrySendError::Closed(item) => item,
        }
    }

    /// Whether it was for lack of room or of a receiver. (Otherwise the channel is closed.)
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// The item that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(item) | SendTimeoutError::Closed(item) | SendTimeoutError::Cancelled(item) => item,
        }
    }

    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, SendTimeoutError::Cancelled(_))
    }
}

impl RecvError {
    /// Whether the task was cancelled. (Otherwise the channel is closed.)
    pub fn is_cancelled(&self) -> bool {
        *self == RecvError::Cancelled
    }
}

impl RecvTimeoutError {
    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        *self == RecvTimeoutError::Timeout
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self == RecvTimeoutError::Cancelled
    }
}

impl From<Cancelled> for RecvError {
    fn from(_: Cancelled) -> RecvError {
        RecvError::Cancelled
    }
}

impl From<Cancelled> for RecvTimeoutError {
    fn from(_: Cancelled) -> RecvTimeoutError {
        RecvTimeoutError::Cancelled
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> RecvTimeoutError {
        match error {
            RecvError::Closed => RecvTimeoutError::Closed,
            RecvError::Cancelled => RecvTimeoutError::Cancelled,
        }
    }
}

impl<T> SendTimeoutError<T> {
    pub(super) fn of(missed: Missed, item: T) -> SendTimeoutError<T> {
        match missed {
            Missed::TimedOut => SendTimeoutError::Timeout(item),
            Missed::Closed => SendTimeoutError::Closed(item),
            Missed::Cancelled => SendTimeoutError::Cancelled(item),
        }
    }
}

impl From<Missed> for RecvTimeoutError {
    fn from(missed: Missed) -> RecvTimeoutError {
        match missed {
            Missed::TimedOut => RecvTimeoutError::Timeout,
            Missed::Closed => RecvTimeoutError::Closed,
            Missed::Cancelled => RecvTimeoutError::Cancelled,
        }
    }
}

const CLOSED: &str = "the channel is closed";
const CANCELLED: &str = "the task was cancelled";
const TIMEOUT: &str = "the time was over";

// By hand, since the derived ones would ask it of the item too.
macro_rules! show {
    ($error:ident { $($variant:ident => $text:expr),+ }) => {
        impl<T> fmt::Debug for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($error::$variant(_) => concat!(stringify!($variant), "(..)")),+ })
            }
        }
        impl<T> fmt::Display for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($error::$variant(_) => $text),+ })
            }
        }
        impl<T> Error for $error<T> {}
    };
    (plain $error:ident { $($variant:ident => $text:expr),+ }) => {
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($error::$variant => $text),+ })
            }
        }
        impl Error for $error {}
    };
}

show!(SendError { Closed => CLOSED, Cancelled => CANCELLED });
show!(TrySendError { Full => "the channel is full", Closed => CLOSED });
show!(SendTimeoutError { Timeout => TIMEOUT, Closed => CLOSED, Cancelled => CANCELLED });
show!(plain RecvError { Closed => CLOSED, Cancelled => CANCELLED });
show!(plain TryRecvError { Empty => "the channel is empty", Closed => CLOSED });
show!(plain RecvTimeoutError { Timeout => TIMEOUT, Closed => CLOSED, Cancelled => CANCELLED });
