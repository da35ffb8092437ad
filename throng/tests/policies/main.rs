//! Policies: on one worker the exact order in which named tasks run, under each of them and for each thing that can be chosen; on several, that nothing is lost and nobody starved.

#[path = "../common/mod.rs"]
mod common;

mod building;
mod global;
mod log;
mod orders;
mod slots;
mod workers;
mod yields;
