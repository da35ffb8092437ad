//! Waiting for time to pass.

use std::time::{Duration, Instant};

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::waiter::{Heeds, arm};

/// Parks the calling task for at least `duration`. Never early; how late depends on what else the worker has to do.
///
/// Zero gives way to others once, like [`yield_now`](crate::yield_now). From a plain thread it blocks the thread.
///
/// # Errors
/// [`Cancelled`] if the task is cancelled, before or meanwhile.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// throng::run(|| {
///     let start = Instant::now();
///     throng::sleep(Duration::from_millis(5)).unwrap();
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
pub fn sleep(duration: Duration) -> Result<(), Cancelled> {
    if duration.is_zero() {
        return crate::yield_now();
    }
    // Further away than the clock can tell: until cancelled.
    sleep_to(Instant::now().checked_add(duration))
}

/// Parks the calling task until `deadline`; see [`sleep`].
///
/// # Errors
/// [`Cancelled`] if the task is cancelled, before or meanwhile.
pub fn sleep_until(deadline: Instant) -> Result<(), Cancelled> {
    if deadline <= Instant::now() {
        return crate::yield_now();
    }
    sleep_to(Some(deadline))
}

fn sleep_to(deadline: Option<Instant>) -> Result<(), Cancelled> {
    local::with(|local| arm(local, Heeds::Everything)?.park(deadline).map(drop))
}
