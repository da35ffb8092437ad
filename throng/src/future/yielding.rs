//! Giving way in a future.

#![forbid(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::task::gives_way;

/// [`yield_now`](crate::yield_now) as a future: the coroutine's next turn comes after those that are queued on its worker. tokio's `yield_now`.
///
/// # Errors
/// [`Cancelled`] if the coroutine that polls it is cancelled, before or meanwhile.
///
/// ```
/// throng::run(|| {
///     let coroutine = throng::launch(async {
///         for _ in 0..10 {
///             throng::yield_now_async().await.unwrap();
///         }
///     });
///     coroutine.join().unwrap();
/// });
/// ```
pub fn yield_now_async() -> Yielding {
    Yielding { gave_way: false }
}

/// See [`yield_now_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Yielding {
    gave_way: bool,
}

impl Future for Yielding {
    type Output = Result<(), Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        local::with(|local| {
            let checked = local.current().check(local);
            if self.gave_way || checked.is_err() {
                return Poll::Ready(checked);
            }
            self.gave_way = true;
            if !gives_way(cx.waker(), local) {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }
}
