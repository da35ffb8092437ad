//! For those who build on this crate what it does not have: calls that wait for something outside of it, and channels, locks and pools of their own.
//!
//! | for | see |
//! |---|---|
//! | a call that waits for one answer: of a callback, a completion queue, another runtime | [`suspend`], [`Continuation`]; [`suspend_async`] in futures |
//! | a thing that several wait at, in their order: a channel, a lock, a pool | [`WaitList`] |
//!
//! What waits by these is as good a citizen as what this crate brings along: goroutines park, plain threads block, futures wait without a stack; cancellation, time limits and
//! shields apply. The guide `docs/core.md` builds a mailbox and a semaphore with it.
//!
//! Kotlin's `suspendCancellableCoroutine` is the model of the first, and the wait queues under this crate's own channels and locks are what the second is made of.

#![forbid(unsafe_code)]

mod continuation;
mod errors;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(not(loom))]
mod suspending;
mod wait_list;
#[cfg(not(loom))]
mod waiting;

pub use continuation::{Continuation, suspend};
pub use errors::{SuspendError, WaitError};
#[cfg(not(loom))]
pub use suspending::{Suspending, suspend_async};
pub use wait_list::{WaitList, Wake, WakeAll};
#[cfg(not(loom))]
pub use waiting::Waiting;
