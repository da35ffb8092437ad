//! A number of places, and a queue of those who wait for one.
//!
//! Strictly first come, first served: a place that is left is handed to the first in the queue and is never free in between, so nobody can
//! overtake. (A mutex lets newcomers overtake because its critical sections are short. Tasks are not, and each costs a spawn anyway.)
//!
//! Invariants, under the lock:
//! - G1: `taken` counts the places of those who are in, and of waiters that have been handed one and are on their way. It never exceeds
//!   `places`.
//! - G2: if somebody waits, and his wait has not been ended otherwise, then `taken == places`.
//! - G3: a waiter that was handed a place has it, cancelled or not: a claim cannot be undone. One that was cancelled before is passed over.

#![forbid(unsafe_code)]

use std::fmt;
use std::num::NonZero;
use std::pin::pin;

use crate::cancel::check;
use crate::cancelled::Cancelled;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Heeds, arm};
use crate::waitq::{Entry, WaitQueue};

pub(super) struct Gate {
    places: usize,
    state: SpinLock<State>,
}

struct State {
    taken: usize,
    waiters: WaitQueue<()>,
}

impl Gate {
    pub(super) fn new(places: NonZero<usize>) -> Gate {
        Gate { places: places.get(), state: SpinLock::new(State { taken: 0, waiters: WaitQueue::new() }) }
    }

    /// Takes a place if one is free.
    pub(super) fn try_enter(&self) -> bool {
        let mut state = self.state.lock();
        let free = state.taken < self.places;
        state.taken += usize::from(free);
        free
    }

    /// Waits for a place and takes it. Refused to a cancelled task even if one is free: a loop that starts tasks must come to its end.
    pub(super) fn enter(&self) -> Result<(), Cancelled> {
        check()?;
        let mut state = self.state.lock();
        if state.taken < self.places {
            state.taken += 1;
            return Ok(());
        }
        local::with(|local| {
            let wait = match arm(local, Heeds::Everything) {
                Ok(wait) => wait,
                Err(cancelled) => {
                    drop(state);
                    return Err(cancelled);
                }
            };
            let mut entry = pin!(Entry::new(&self.state, |state| &mut state.waiters, ()));
            entry.as_mut().enqueue(&mut state, wait.ticket(), 0);
            drop(state);
            match wait.park(None) {
                Ok(_) => {
                    entry.claimed();
                    Ok(())
                }
                Err(cancelled) => {
                    entry.dequeue();
                    Err(cancelled)
                }
            }
        })
    }

    /// Gives a place up: to the first who waits, if somebody does.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        let next = state.waiters.claim(|()| ());
        if next.is_none() {
            state.taken -= 1;
        }
        drop(state);
        // The wake.
        drop(next);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = self.state.lock().taken;
        f.debug_struct("Gate").field("places", &self.places).field("taken", &taken).finish_non_exhaustive()
    }
}
