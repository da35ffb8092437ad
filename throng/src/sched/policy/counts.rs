//! What is counted where the runtime has a policy of its own.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Written by their worker only, read by anyone at any time: Relaxed throughout.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) from_slot: AtomicU64,
    pub(crate) from_ring: AtomicU64,
    pub(crate) from_global: AtomicU64,
    pub(crate) global_checks: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) steals: AtomicU64,
}

/// How a worker came by what it ran, under a policy that is not throng's own; zeroes under that one, which does not count.
///
/// A goroutine counts each time it gets the thread: when it starts, and whenever it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PolicyMetrics {
    /// From its slot.
    pub from_slot: u64,
    /// From its own queue.
    pub from_local: u64,
    /// From the global queue, one by one or as the first of a batch.
    pub from_global: u64,
    /// Of these: those that were taken because it was the global queue's turn, before the worker's own.
    pub global_checks: u64,
    /// How often its own queue was full.
    pub overflows: u64,
    /// How often it took from another worker. How many it took is in [`WorkerMetrics::stolen`](crate::WorkerMetrics::stolen).
    pub steals: u64,
}

impl Counts {
    pub(crate) fn read(&self) -> PolicyMetrics {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PolicyMetrics {
            from_slot: read(&self.from_slot),
            from_local: read(&self.from_ring),
            from_global: read(&self.from_global),
            global_checks: read(&self.global_checks),
            overflows: read(&self.overflows),
            steals: read(&self.steals),
        }
    }
}
