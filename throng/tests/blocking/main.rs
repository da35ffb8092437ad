//! Threads that are blocked or hogged, and the threads that come to help: elastic pools, spare workers, the monitor.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod elastic;
mod gate;
mod limits;
mod reports;
mod spare;
mod trust;
