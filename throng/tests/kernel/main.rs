//! The kernel from outside: tasks, scopes, cancellation, time, blocking calls, scheduling, shutdown, and what happens at the limits of the process.

#[path = "../common/mod.rs"]
mod common;

mod blocking;
mod cancellation;
mod crashes;
mod goroutines;
mod joining;
mod limits;
mod runtimes;
mod scheduling;
mod scope_edges;
mod scopes;
mod shutdown;
mod timeouts;
mod unwinding;
