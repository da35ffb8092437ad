//! Putting a policy together.

#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use super::{
    GlobalBatch, GlobalCheck, Knobs, LocalOrder, Overflow, Policy, SearcherCap, SlotBudget, SlotSteal, StealAmount, Wake, YieldTo,
};

/// A policy to be. Begins with all that Go does, or all that Kotlin does; each method changes one thing.
///
/// ```
/// use throng::policy::{SlotBudget, SlotSteal, YieldTo};
/// use throng::{Policy, Runtime};
///
/// // As Go, but with the slot of tokio.
/// let policy = Policy::builder().slot_budget(SlotBudget::Tasks(3)).slot_steal(SlotSteal::Never).yield_to(YieldTo::LocalTail).build()?;
/// let runtime = Runtime::builder().workers(2).policy(policy).build()?;
/// assert_eq!(runtime.run(|| 1 + 1), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is made by `build`"]
pub struct PolicyBuilder {
    knobs: Knobs,
}

impl PolicyBuilder {
    /// Begins with what [`Policy::go`] does.
    pub fn go() -> PolicyBuilder {
        PolicyBuilder { knobs: Knobs::go() }
    }

    /// Begins with what [`Policy::kotlin`] does.
    pub fn kotlin() -> PolicyBuilder {
        PolicyBuilder { knobs: Knobs::kotlin() }
    }

    /// Whether each worker has a slot, for the one that was made ready last, which runs next. Both have.
    ///
    /// Who wakes another usually parks soon, and what they share is in the cache.
    pub fn slot(mut self, slot: bool) -> PolicyBuilder {
        self.knobs.slot = slot;
        self
    }

    /// For how long the slot goes before others. Go: 10 ms. Kotlin: 16 tasks (see `docs/policies.md`).
    pub fn slot_budget(mut self, budget: SlotBudget) -> PolicyBuilder {
        self.knobs.slot_budget = budget;
        self
    }

    /// Whether others take new goroutines out of the slot. Go: on the last pass, after 3 µs. Kotlin: after 100 µs.
    pub fn slot_steal(mut self, steal: SlotSteal) -> PolicyBuilder {
        self.knobs.slot_steal = steal;
        self
    }

    /// Which end of its own queue a worker takes from. Both: the old one.
    pub fn local_order(mut self, order: LocalOrder) -> PolicyBuilder {
        self.knobs.local_order = order;
        self
    }

    /// How many goroutines a worker's own queue holds, those that have started and those that have not. Go: 256. Kotlin: 127.
    pub fn local_capacity(mut self, capacity: usize) -> PolicyBuilder {
        self.knobs.local_capacity = capacity;
        self
    }

    /// What goes to the global queue when that is full. Go: half. Kotlin: the newcomer.
    pub fn overflow(mut self, overflow: Overflow) -> PolicyBuilder {
        self.knobs.overflow = overflow;
        self
    }

    /// When the global queue goes first. Go: every 61st turn. Kotlin: at random, one time in twice the workers.
    pub fn global_check(mut self, check: GlobalCheck) -> PolicyBuilder {
        self.knobs.global_check = check;
        self
    }

    /// How many are taken from there by a worker that has none. Go: its share, up to 128. Kotlin: one.
    pub fn global_batch(mut self, batch: GlobalBatch) -> PolicyBuilder {
        self.knobs.global_batch = batch;
        self
    }

    /// How many a thief takes. Go: half. Kotlin: one.
    pub fn steal_amount(mut self, amount: StealAmount) -> PolicyBuilder {
        self.knobs.steal_amount = amount;
        self
    }

    /// How often a worker that runs dry goes round the others before it rests. Go: four times. Kotlin: once.
    pub fn steal_passes(mut self, passes: u32) -> PolicyBuilder {
        self.knobs.steal_passes = passes;
        self
    }

    /// How many may do so at the same time. Go: half as many as are busy. Kotlin: all.
    pub fn searcher_cap(mut self, cap: SearcherCap) -> PolicyBuilder {
        self.knobs.searcher_cap = cap;
        self
    }

    /// When a goroutine that others could take wakes one of them. Go: if none searches. Kotlin: always.
    pub fn wake(mut self, wake: Wake) -> PolicyBuilder {
        self.knobs.wake = wake;
        self
    }

    /// Where one that yields goes. Go: to the end of the global queue. Kotlin: to the end of its worker's own.
    pub fn yield_to(mut self, to: YieldTo) -> PolicyBuilder {
        self.knobs.yield_to = to;
        self
    }

    /// Every how many turns a worker that has work looks at the clock for its timers. Go: each. Kotlin, which keeps its timers elsewhere: throng's 64.
    pub fn poll_every(mut self, turns: u32) -> PolicyBuilder {
        self.knobs.poll_every = turns;
        self
    }

    /// Makes the random checks of the global queue repeat: the same seed on one worker gives the same choices. For tests.
    pub fn seed(mut self, seed: u64) -> PolicyBuilder {
        self.knobs.seed = Some(seed);
        self
    }

    /// Makes the policy.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for what cannot be meant, such as a queue for no goroutine. The message names it.
    pub fn build(self) -> io::Result<Policy> {
        let knobs = &self.knobs;
        // Half of one is none: the newcomer would never find room.
        let smallest = if knobs.overflow == Overflow::Half { 2 } else { 1 };
        let wrong = if knobs.local_capacity < smallest {
            Some(format!("local_capacity must be at least {smallest}"))
        } else if knobs.steal_passes == 0 {
            Some("steal_passes must be at least 1".to_owned())
        } else if knobs.poll_every == 0 {
            Some("poll_every must be at least 1".to_owned())
        } else if matches!(knobs.global_check, GlobalCheck::Every(0) | GlobalCheck::Random(0)) {
            Some("global_check must be a number of at least 1".to_owned())
        } else if knobs.global_batch == GlobalBatch::Share(0) {
            Some("global_batch must be at least 1".to_owned())
        } else if matches!(knobs.slot_budget, SlotBudget::Tasks(0) | SlotBudget::Time(Duration::ZERO)) {
            Some("slot_budget must be more than nothing; a worker without a slot is had by slot(false)".to_owned())
        } else {
            None
        };
        match wrong {
            Some(message) => Err(io::Error::new(io::ErrorKind::InvalidInput, message)),
            None => Ok(Policy { knobs: Some(self.knobs) }),
        }
    }
}
