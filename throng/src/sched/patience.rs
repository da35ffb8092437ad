//! How long a worker with nothing to do looks at its inbox before it goes to sleep.
//!
//! To sleep and be woken costs some 30 µs: a third on the thread that wakes, which has other things to do, the rest until the woken one runs. Two goroutines that talk
//! and live on two workers would pay that for each word. So a worker whose last sleep was ended by a message before it had lasted that long looks for [`PATIENCE`] the next time, as long as a sleep costs:
//! if the message comes, nobody pays for a sleep; if it does not, as much again is lost as the sleep costs, and the next rest is short.
//!
//! | | last sleep was short: a message ended it soon | it was not |
//! |---|---|---|
//! | **looked in vain for long before it** | once more; after [`TRIES`] of these in a row, not for a [`PAUSE`] | short rests |
//! | **had not** | long rests, unless it is a pause | short rests |
//!
//! The pause is for where long rests cannot help: the one who would send the message waits for the processor that we look from.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::home::Woken;

/// About what it costs to sleep and be woken.
pub(super) const PATIENCE: Duration = Duration::from_micros(30);

/// A sleep that looking for long might have saved: what was missed by a little before counts.
const SHORT: Duration = Duration::from_micros(60);

const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Patience {
    long: Cell<bool>,
    /// So many long rests in a row were followed by short sleeps.
    in_vain: Cell<u32>,
    not_before: Cell<Option<Instant>>,
}

impl Patience {
    pub(super) fn is_long(&self) -> bool {
        self.long.get()
    }

    /// A long rest was ended by what it waited for.
    pub(super) fn was_worth_it(&self) {
        self.in_vain.set(0);
    }

    /// It was in vain, or there was none, and the worker has slept.
    pub(super) fn slept(&self, from: Instant, to: Instant, woken: Woken) {
        let short = woken == Woken::Message && to.saturating_duration_since(from) < SHORT;
        let in_vain = if self.long.get() && short { self.in_vain.get() + 1 } else { 0 };
        self.in_vain.set(in_vain);
        if in_vain == TRIES {
            self.in_vain.set(0);
            self.not_before.set(Some(to + PAUSE));
        }
        self.long.set(short && self.not_before.get().is_none_or(|at| at <= to));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Sleeps one after the other: whether each was ended by a message, and after how long.
    fn after(patience: &Patience, at: &mut Instant, sleeps: &[(Woken, u64)]) -> bool {
        for &(woken, micros) in sleeps {
            let from = *at;
            *at += Duration::from_micros(micros);
            patience.slept(from, *at, woken);
        }
        patience.is_long()
    }

    #[test]
    fn a_short_sleep_makes_the_next_rest_long_and_a_long_one_short() {
        let (patience, mut at) = (Patience::default(), Instant::now());
        assert!(!patience.is_long());
        assert!(after(&patience, &mut at, &[(Woken::Message, 20)]));
        assert!(!after(&patience, &mut at, &[(Woken::Message, 2000)]));
        assert!(!after(&patience, &mut at, &[(Woken::Deadline, 20)]), "an alarm is no message");
    }

    #[test]
    fn long_rests_in_vain_are_given_up_for_a_while() {
        let (patience, mut at) = (Patience::default(), Instant::now());
        let short = (Woken::Message, 20);
        assert!(after(&patience, &mut at, &[short]));
        for _ in 1..TRIES {
            assert!(after(&patience, &mut at, &[short]));
        }
        assert!(!after(&patience, &mut at, &[short]));
        assert!(!after(&patience, &mut at, &[short; 10]));
        at += PAUSE;
        assert!(after(&patience, &mut at, &[short]));
    }

    #[test]
    fn one_that_was_worth_it_makes_up_for_those_in_vain() {
        let (patience, mut at) = (Patience::default(), Instant::now());
        let short = (Woken::Message, 20);
        for _ in 0..10 * TRIES {
            assert!(after(&patience, &mut at, &[short]));
            patience.was_worth_it();
        }
    }
}
