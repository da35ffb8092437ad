//! The parts of a [`Policy`]: what can be chosen of the order in which goroutines run, of how work is found elsewhere, and of who is woken for it.
//!
//! The methods of [`PolicyBuilder`] take them, and say what Go and Kotlin have chosen.

#![forbid(unsafe_code)]

pub use crate::sched::policy::{
    GlobalBatch, GlobalCheck, LocalOrder, Overflow, Policy, PolicyBuilder, SearcherCap, SlotBudget, SlotSteal, StealAmount, Wake, YieldTo,
};
