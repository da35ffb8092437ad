//! Coroutines: futures as tasks, and the ways between them and goroutines.

#[path = "../common/mod.rs"]
mod common;

mod cancelling;
mod channels;
mod running;
mod waiting;
mod wakers;
