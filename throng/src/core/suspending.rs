//! Waiting for one answer in a future. The protocol is that of `continuation.rs`; the waker lies in the shared state.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::continuation::{Continuation, Left, Shared};
use super::errors::SuspendError;
use crate::home::local;
use crate::task::spend;

/// [`suspend`](super::suspend) as a future, for coroutines and for other executors: waits without a stack.
///
/// `setup` is called by the first poll. A future that is dropped gives the wait up, and calls the hook: with the value, if it has been resumed since it was last polled.
///
/// # Errors
/// As for [`suspend`](super::suspend): cancelled with the coroutine that polls it.
///
/// ```
/// use throng::core::suspend_async;
///
/// throng::run(|| {
///     let coroutine = throng::launch(suspend_async(|continuation| {
///         std::thread::spawn(|| continuation.resume(7));
///     }));
///     assert_eq!(coroutine.join().unwrap(), Ok(7));
/// });
/// ```
pub fn suspend_async<T, F: FnOnce(Continuation<T>)>(setup: F) -> Suspending<T, F> {
    Suspending { stage: Stage::New(setup) }
}

/// A wait for one answer that is awaited: see [`suspend_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Suspending<T, F> {
    stage: Stage<T, F>,
}

enum Stage<T, F> {
    New(F),
    Waiting(Arc<Shared<T>>),
    Over,
}

// Nothing in it is pinned.
impl<T, F> Unpin for Suspending<T, F> {}

impl<T, F: FnOnce(Continuation<T>)> Future for Suspending<T, F> {
    type Output = Result<T, SuspendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !spend() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Stage::New(_) = self.stage {
            let shared = Shared::new();
            let continuation = Continuation::new(&shared);
            // First, so that a panic of `setup` gives it up.
            if let Stage::New(setup) = mem::replace(&mut self.stage, Stage::Waiting(shared)) {
                setup(continuation);
            }
        }
        let Stage::Waiting(shared) = &self.stage else { panic!("polled after it was resumed") };
        let left = ready!(look(shared, cx));
        self.stage = Stage::Over;
        Poll::Ready(left.deliver())
    }
}

/// Whether the wait is over.
fn look<T>(shared: &Shared<T>, cx: &Context<'_>) -> Poll<Left<T>> {
    let mut state = shared.state.lock();
    if !state.is_settled() {
        drop(state);
        // Others' code, so not under the lock.
        let cancelled = local::with(|local| local.current().check(local)).is_err();
        let mut waker = (!cancelled).then(|| cx.waker().clone());
        state = shared.state.lock();
        if !cancelled && !state.is_settled() {
            mem::swap(&mut state.waker, &mut waker);
            drop(state);
            drop(waker);
            return Poll::Pending;
        }
    }
    let (left, waker) = (state.leave(), state.waker.take());
    drop(state);
    drop(waker);
    Poll::Ready(left)
}

impl<T, F> Drop for Suspending<T, F> {
    fn drop(&mut self) {
        if let Stage::Waiting(shared) = &self.stage {
            let mut state = shared.state.lock();
            let (left, waker) = (state.leave(), state.waker.take());
            drop(state);
            drop(waker);
            left.discard();
        }
    }
}

impl<T, F> fmt::Debug for Suspending<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::New(_) => "new",
            Stage::Waiting(_) => "waiting",
            Stage::Over => "over",
        };
        f.debug_struct("Suspending").field("stage", &stage).finish_non_exhaustive()
    }
}
