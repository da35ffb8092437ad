//! Channels: Go's own tests, what becomes of items, order, closing, clocks, linearizability.

#[path = "../common/mod.rs"]
mod common;
mod ways;

mod clocks;
mod go_suite;
mod histories;
mod items;
mod order;
