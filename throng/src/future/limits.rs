//! Limits of time, and shields, for parts of a future.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::cancel::{Elapsed, shield};
use crate::task::ShieldedPart;
use crate::time::{Sleeping, sleep_async};

/// Awaits `future` for at most `limit`; when that is over, drops it where it is. Kotlin's `withTimeout`, tokio's `timeout`.
///
/// The time counts from this call. A future that is ready is taken, whatever the time. Cancellation of the coroutine is `future`'s to notice, and is never taken for an elapsed time, nor the other way round.
///
/// # Errors
/// [`Elapsed`] if the time was over first.
///
/// ```
/// use std::time::Duration;
/// use throng::{Elapsed, timeout_async};
///
/// throng::run(|| {
///     let (_tx, rx) = throng::bounded::<u32>(1);
///     let coroutine = throng::launch(async move { timeout_async(Duration::from_millis(5), rx.recv_async()).await });
///     assert!(matches!(coroutine.join().unwrap(), Err(Elapsed { .. })));
/// });
/// ```
pub fn timeout_async<F: Future>(limit: Duration, future: F) -> Timed<F> {
    Timed { future, time: sleep_async(limit) }
}

pin_project! {
    /// See [`timeout_async`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Timed<F> {
        #[pin]
        future: F,
        #[pin]
        time: Sleeping,
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        match this.time.poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(Elapsed {})),
            // Cancelled: the future has been told, or is cut off by its task.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for Timed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").field("time", &self.time).finish_non_exhaustive()
    }
}

/// Awaits `future` with the cancellation of its coroutine masked: what it awaits waits as if the task had not been cancelled, and it is not cut off. For clean-up. Kotlin's `withContext(NonCancellable)`.
///
/// Limits of time inside of it work as usual. A coroutine of another executor is none of ours to cancel: there it does nothing.
///
/// ```
/// use std::time::Duration;
/// use throng::{bounded, launch, shield_async, sleep_async};
///
/// throng::run(|| {
///     let (tx, rx) = bounded(1);
///     let worker = launch(async move {
///         let _ = sleep_async(Duration::from_secs(60)).await; // ended by the cancellation
///         shield_async(async { tx.send_async("cleaned up").await }).await
///     });
///     throng::yield_now().unwrap();
///     worker.cancel();
///     assert_eq!(rx.recv(), Ok("cleaned up"));
/// });
/// ```
pub fn shield_async<F: Future>(future: F) -> Shielded<F> {
    Shielded { future, part: None }
}

pin_project! {
    /// See [`shield_async`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Shielded<F> {
        #[pin]
        future: F,
        // Of the coroutine that has polled it last.
        part: Option<ShieldedPart>,
    }
}

impl<F: Future> Future for Shielded<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = shield(|| this.future.poll(cx));
        if polled.is_ready() {
            *this.part = None;
        } else if !this.part.as_ref().is_some_and(ShieldedPart::is_of_current) {
            *this.part = ShieldedPart::of_current();
        }
        polled
    }
}

impl<F> fmt::Debug for Shielded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shielded").finish_non_exhaustive()
    }
}
