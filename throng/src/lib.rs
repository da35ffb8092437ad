//! Goroutines and structured concurrency on one work-stealing scheduler.

// Layer 0
mod lock;
mod rng;
mod shim;
// Layer 1
mod cancelled;
mod home;
mod timer;
mod waiter;
mod waitq;
// Layer 6
pub mod channel;
pub mod select;
pub mod sync;
mod token;

pub use cancelled::Cancelled;
