//! The conformance suite: what Kotlin's structured concurrency says of jobs, statement by statement, and what throng does.
//!
//! A test is named after its statement and asserts the whole trace of what happened. Where throng differs on purpose the test says so (`DIFFERS:`), and pins what
//! throng does instead.

#[path = "../common/mod.rs"]
mod common;

mod trace;

mod attaching;
mod cancellation;
mod checks;
mod combinations;
mod completion;
mod deferred;
mod ending;
mod exceptions;
mod finality;
mod lazy;
mod scopes;
mod shields;
mod states;
mod timeouts;
mod traps;
mod tree;
