//! Counting tasks that are futures: as they park, and as they are dropped.
//!
//! A peer's task has parked when its future is pending and has left its waker somewhere, and has ended when its future is gone.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

/// Awaits `wait`, and counts itself in `parked` when that is pending.
pub(super) async fn counted<F: Future>(parked: &AtomicU64, wait: F) -> F::Output {
    let mut wait = pin!(wait);
    poll_fn(|cx| {
        let polled = wait.as_mut().poll(cx);
        if polled.is_pending() {
            // Release pairs with the Acquire of the one who waits for the count.
            parked.fetch_add(1, Ordering::Release);
        }
        polled
    })
    .await
}

/// Lies in a task's future: counts when that is dropped, and calls `full` at the `n`th.
pub(super) struct End {
    pub(super) ended: &'static AtomicU64,
    pub(super) n: u64,
    pub(super) full: fn(),
}

impl Drop for End {
    fn drop(&mut self) {
        // AcqRel: the last one comes after all others.
        if self.ended.fetch_add(1, Ordering::AcqRel) + 1 == self.n {
            (self.full)();
        }
    }
}
