//! What the systems share in `compute_mix`: the computation, and the timer's wish.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What the timer sleeps.
pub(super) const NAP: Duration = Duration::from_millis(1);

/// Steps of a computation: about a millisecond on the machines this was written on.
const STEPS: u64 = 700_000;

/// A piece of computation that neither parks nor looks about.
pub(super) fn compute() {
    let mut x = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..STEPS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

/// How late one is who wanted to sleep for [`NAP`] at `start`. `None`: early.
pub(super) fn lateness(start: Instant) -> Option<Duration> {
    start.elapsed().checked_sub(NAP)
}
