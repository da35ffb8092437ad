//! Dispatchers: where tasks run, and how many at a time.

#[path = "../common/mod.rs"]
mod common;

mod closing;
mod external;
mod limits;
mod pools;
