//! Selects: Go's own tests, what the macro promises, the builder, cancellation.

#[path = "../common/mod.rs"]
mod common;
#[path = "../channels/ways.rs"]
mod ways;

mod builder;
mod cancelling;
mod go_suite;
mod language;
mod table;
