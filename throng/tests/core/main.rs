//! `throng::core`: what those build on who make waiting calls, channels and locks of their own.

#[path = "../common/mod.rs"]
mod common;

mod built;
mod lists;
mod races;
mod suspending;
mod suspending_async;
