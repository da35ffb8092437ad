//! Locks, wait groups and tokens.

#[path = "../common/mod.rs"]
mod common;
#[path = "../channels/ways.rs"]
mod ways;

mod locks;
mod tokens;
