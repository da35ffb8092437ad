//! Locks and counters whose waiting parks the goroutine, not the thread. From plain threads they block the thread.
//!
//! Channels are for handing values over; these are for values that stay where they are. None of them is poisoned by a panic.

#[cfg(not(loom))]
mod locking;
#[cfg(all(test, loom))]
mod loom_tests;
mod mutex;
mod wait_group;

#[cfg(not(loom))]
pub use locking::Locking;
pub use mutex::{Mutex, MutexGuard};
pub use wait_group::WaitGroup;
