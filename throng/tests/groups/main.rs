//! Limits, maps and races: many tasks of one kind.

#[path = "../common/mod.rs"]
mod common;

mod balance;
mod iterators;
mod limits;
mod maps;
mod places;
mod races;
mod reports;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, Group, JoinError, group, yield_now};

use common::OnPurpose;

const FOREVER: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Own(usize),
    Cancelled,
}

impl From<Cancelled> for Failure {
    fn from(_: Cancelled) -> Failure {
        Failure::Cancelled
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Failure {
        match error {
            JoinError::Cancelled => Failure::Cancelled,
            other => panic!("{other}"),
        }
    }
}

/// Whether a joined task has no value since it was cancelled, which the message tells whatever else the error holds.
fn was_cancelled<T>(joined: Result<T, JoinError>) -> bool {
    joined.is_err_and(|error| error.to_string().starts_with("the joined task was cancelled"))
}

/// Runs `f`, which must panic on purpose, and returns with what.
fn panics<R>(f: impl FnOnce() -> R) -> u32 {
    match catch_unwind(AssertUnwindSafe(f)) {
        Err(payload) => payload.downcast_ref::<OnPurpose>().expect("the payload as it was").0,
        Ok(_) => panic!("it did not panic"),
    }
}

/// Without a limit and with some.
fn groups() -> [(usize, Group); 4] {
    [(usize::MAX, group()), (1, group().limit(1)), (3, group().limit(3).name("three")), (64, group().limit(64))]
}

/// Lets others run for a while that depends on `i`.
fn dawdle(i: usize) -> Result<(), Cancelled> {
    for _ in 0..i % 4 {
        yield_now()?;
    }
    Ok(())
}

/// Counts who is inside, and how many were at most.
#[derive(Debug, Default)]
struct Room {
    inside: AtomicUsize,
    most: AtomicUsize,
    visits: AtomicUsize,
}

impl Room {
    fn visit<R>(&self, f: impl FnOnce() -> R) -> R {
        let inside = 1 + self.inside.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(inside, Ordering::SeqCst);
        let result = f();
        self.visits.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}
