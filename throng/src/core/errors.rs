//! Why a wait did not come to what it waited for.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

use crate::cancelled::Cancelled;

/// A [`suspend`](super::suspend) was not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SuspendError {
    /// The task was cancelled first.
    Cancelled,
    /// The [`Continuation`](super::Continuation) was dropped: nobody is left who could resume it.
    Abandoned,
}

impl fmt::Display for SuspendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SuspendError::Cancelled => Cancelled::new().fmt(f),
            SuspendError::Abandoned => f.write_str("the continuation was dropped without being resumed"),
        }
    }
}

impl Error for SuspendError {}

impl From<Cancelled> for SuspendError {
    fn from(_: Cancelled) -> SuspendError {
        SuspendError::Cancelled
    }
}

/// A wait in a [`WaitList`](super::WaitList) was not ended by a claim; the value that was waited with comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError<V> {
    /// The task was cancelled first.
    Cancelled(V),
    /// The list was closed.
    Closed(V),
}

impl<V> WaitError<V> {
    /// The value.
    #[must_use]
    pub fn into_value(self) -> V {
        match self {
            WaitError::Cancelled(value) | WaitError::Closed(value) => value,
        }
    }
}

impl<V> fmt::Debug for WaitError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::Cancelled(_) => "Cancelled(..)",
            WaitError::Closed(_) => "Closed(..)",
        })
    }
}

impl<V> fmt::Display for WaitError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Cancelled(_) => Cancelled::new().fmt(f),
            WaitError::Closed(_) => f.write_str("what was waited for is closed"),
        }
    }
}

impl<V> Error for WaitError<V> {}
