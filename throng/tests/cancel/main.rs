//! Cancellation reaches every call that parks, and loses nothing whatever it races with.
//!
//! `cancel_delivered_at_every_park` tries each entry of the table under `parks/`, which says how to add one. `api` holds the table to the
//! sources: a public call that parks and has no entry fails it. `races`, `jobs`, `outcomes`, `scopes` and `trees` are about tasks and
//! scopes as a whole.
//!
//! A failure names its case, its runtime and its seed. `THRONG_CANCEL_SEED` (a decimal number) chooses other dice.

#![allow(clippy::unneeded_struct_pattern, reason = "an error that says nothing more today may say why tomorrow")]

#[path = "../common/mod.rs"]
mod common;

mod api;
mod cancel_delivered_at_every_park;
mod jobs;
mod objects;
mod outcomes;
mod parks;
mod races;
mod scopes;
mod sources;
mod trees;

/// What the dice of a test are made from: the test's own number, or with `THRONG_CANCEL_SEED` others.
fn seed(own: u64) -> u64 {
    let chosen = std::env::var("THRONG_CANCEL_SEED").map_or(0, |text| text.parse::<u64>().expect("THRONG_CANCEL_SEED is a number"));
    own.wrapping_add(chosen.wrapping_mul(0x9e37_79b9))
}

/// Kinds of runtimes: how many workers, and what they are shaken with.
type Kind = (usize, Option<u64>);

/// Those of `common::on_runtimes`.
const ALL_KINDS: [Kind; 7] = [(1, None), (2, None), (8, None), (2, Some(1)), (2, Some(0x5eed)), (8, Some(2)), (8, Some(0xfeed))];

/// Runs `body` on each. A failure says all that it takes to repeat it: `what`, and the runtime.
fn on_kinds(kinds: &[Kind], what: &str, mut body: impl FnMut(&throng::Runtime)) {
    for &(workers, shake) in kinds {
        common::watched(&format!("{what}, {workers} workers, shake({shake:x?})"), || {
            body(&common::runtimes::builder(workers, shake).build().expect("a runtime"));
        });
    }
}

/// Gives way until `reached`. The watchdog is the bound.
fn until(reached: impl Fn() -> bool) {
    while !reached() {
        throng::yield_now().expect("not the one that is cancelled");
    }
}

/// Keeps the thread for a moment that depends on `n`.
fn stall(n: u64) {
    for _ in 0..n {
        std::hint::spin_loop();
    }
}
