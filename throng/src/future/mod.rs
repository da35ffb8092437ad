//! Futures among goroutines: waiting for one, giving way in one, limits and shields for parts of one.
//!
//! | to do this | in a goroutine | in a coroutine |
//! |---|---|---|
//! | wait for a future | [`wait`](Wait::wait) | `.await` |
//! | wait for a task | [`join`](crate::JoinHandle::join) | `.await` on its handle |
//! | receive, send, lock, sleep | `recv`, `send`, `lock`, `sleep` | `recv_async`, `send_async`, `lock_async`, `sleep_async` |
//! | give way | [`yield_now`](crate::yield_now) | [`yield_now_async`] |
//! | limit the time | [`timeout`](crate::timeout) | [`timeout_async`] |
//! | mask cancellation | [`shield`](crate::shield) | [`shield_async`] |
//!
//! The calls of the middle column may be used in a coroutine, too: its turn then keeps a stack while it is parked, as a goroutine does. The worker goes on.

#![forbid(unsafe_code)]

mod limits;
mod wait;
mod yielding;

pub use limits::{Shielded, Timed, shield_async, timeout_async};
pub use wait::Wait;
pub use yielding::{Yielding, yield_now_async};
