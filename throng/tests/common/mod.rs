//! What the tests share. Each test binary uses some of it.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

pub mod processes;
pub mod runtimes;

pub use runtimes::{Aviary, Canary, Dice, OnPurpose, on_runtime, on_runtimes, panic_on_purpose, scaled, watched};
