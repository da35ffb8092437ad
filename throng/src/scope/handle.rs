//! The handle of a scope's goroutine.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cause::Cause;
use crate::job::Job;
use crate::join::JoinError;
use crate::spawn::{JoinHandle, Joining};
use crate::task::Header;

/// The handle of a scope's goroutine. Dropping it changes nothing: the scope waits.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

impl<'scope, T> ScopedJoinHandle<'scope, T> {
    pub(super) fn new(handle: JoinHandle<T>) -> ScopedJoinHandle<'scope, T> {
        ScopedJoinHandle { handle, _scope: PhantomData }
    }

    pub(crate) fn header(&self) -> &Header {
        self.handle.header()
    }

    /// Parks until the goroutine has ended, and returns its value; see [`JoinHandle::join`].
    ///
    /// # Errors
    /// As [`JoinHandle::join`]; [`JoinError::Failed`] if it failed: its error or panic comes out of the scope.
    pub fn join(self) -> Result<T, JoinError> {
        self.handle.join()
    }

    /// Starts it, if it is lazy and has not been started; see [`JoinHandle::start`].
    pub fn start(&self) -> bool {
        self.handle.start()
    }

    /// Cancels the goroutine, and only it; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Cancels the goroutine, and only it, with a reason; see [`JoinHandle::cancel_with`].
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        self.handle.cancel_with(cause);
    }

    /// [`cancel`](ScopedJoinHandle::cancel), then [`join`](ScopedJoinHandle::join).
    ///
    /// # Errors
    /// As for [`join`](ScopedJoinHandle::join).
    pub fn cancel_and_join(self) -> Result<T, JoinError> {
        self.handle.cancel_and_join()
    }

    /// The goroutine as a node of the task tree; see [`JoinHandle::job`].
    #[must_use]
    pub fn job(&self) -> Job {
        self.handle.job()
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

impl<'scope, T> IntoFuture for ScopedJoinHandle<'scope, T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = ScopedJoining<'scope, T>;

    /// To [`join`](ScopedJoinHandle::join) in a future. Kotlin's `await`.
    fn into_future(self) -> ScopedJoining<'scope, T> {
        ScopedJoining { joining: Joining::new(self.handle), _scope: PhantomData }
    }
}

pin_project_lite::pin_project! {
    /// A [`ScopedJoinHandle`] that is awaited: what its `IntoFuture` makes of it.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ScopedJoining<'scope, T> {
        #[pin]
        joining: Joining<T>,
        _scope: PhantomData<&'scope ()>,
    }
}

impl<T> Future for ScopedJoining<'_, T> {
    /// What [`ScopedJoinHandle::join`] returns.
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().joining.poll(cx)
    }
}

impl<T> fmt::Debug for ScopedJoining<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.joining.fmt(f)
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
