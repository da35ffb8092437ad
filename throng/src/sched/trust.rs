//! Whether the owner of a queue is trusted to come for a few tasks itself, so that nobody is woken for them.
//!
//! To wake a sleeper costs the pusher some 10 µs and the sleeper 30 more, who then finds, more often than not, that the owner has run what it was woken for: a goroutine that handles a request
//! and starts one more is done long before. So a queue learns: if [`NEEDLESS`] wake-ups in a row led to no theft, the next pushes wake nobody while no more than [`FEW`] tasks wait.
//!
//! ```text
//!            NEEDLESS wake-ups in a row, and nothing stolen
//!   eager ─────────────────────────────────────────────────> trusting
//!     ^                                                          │
//!     ├── the monitor finds a task that has waited for 5 ms ─────┤      four times as many are asked for the next time
//!     └── others, who were awake, have stolen ───────────────────┘
//! ```
//! What it costs to be wrong: a task waits for the monitor, 5 to 10 ms, behind an owner that for once computes instead of coming back to its loop; and rarely, as the owner is trusted less each time.
//!
//! Only where there is a monitor to notice, and for throng's own order.

#![forbid(unsafe_code)]

/// So many tasks may wait for a trusted owner.
const FEW: usize = 32;

const NEEDLESS: u32 = 8;
const NEEDLESS_AT_MOST: u32 = 8 << 10;

#[derive(Debug)]
pub(super) struct Trust {
    trusted: bool,
    /// Wake-ups in a row that led to nothing.
    needless: u32,
    /// So many make the owner trusted. `None`: nothing does.
    wanted: Option<u32>,
}

impl Trust {
    /// `earned`: it may be.
    pub(super) fn new(earned: bool) -> Trust {
        Trust { trusted: false, needless: 0, wanted: earned.then_some(NEEDLESS) }
    }

    /// Whether the owner will come by itself for as many tasks as there are.
    #[inline]
    pub(super) fn covers(&self, tasks: usize) -> bool {
        self.trusted && tasks <= FEW
    }

    /// Others have taken tasks, and are to be woken for the next.
    pub(super) fn note_stolen(&mut self) {
        (self.trusted, self.needless) = (false, 0);
    }

    /// Somebody is woken for what has been pushed.
    #[cold]
    pub(super) fn note_wake(&mut self) {
        // (Trusted with fewer, it stays so.)
        if let Some(wanted) = self.wanted
            && !self.trusted
        {
            self.needless += 1;
            self.trusted = self.needless >= wanted;
        }
    }

    /// A task has waited in vain. `true`: for a trusted owner, which is not, from now on.
    pub(super) fn lose(&mut self) -> bool {
        let trusted = std::mem::replace(&mut self.trusted, false);
        if trusted {
            self.needless = 0;
            self.wanted = self.wanted.map(|wanted| (wanted * 4).min(NEEDLESS_AT_MOST));
        }
        trusted
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_earned_by_needless_wake_ups_in_a_row() {
        let mut trust = Trust::new(true);
        for _ in 0..3 {
            (1..NEEDLESS).for_each(|_| trust.note_wake());
            trust.note_stolen();
            assert!(!trust.covers(1), "the last one was not needless");
        }
        (0..NEEDLESS).for_each(|_| trust.note_wake());
        assert!(trust.covers(1) && trust.covers(FEW) && !trust.covers(FEW + 1));
        // So somebody is woken.
        trust.note_wake();
        assert!(trust.covers(FEW));
    }

    #[test]
    fn it_is_lost_to_thieves() {
        let mut trust = Trust::new(true);
        for _ in 0..3 {
            (0..NEEDLESS).for_each(|_| trust.note_wake());
            assert!(trust.covers(1));
            trust.note_stolen();
            assert!(!trust.covers(1));
        }
    }

    #[test]
    fn it_is_lost_at_once_and_harder_to_earn_again() {
        let mut trust = Trust::new(true);
        let mut wanted = NEEDLESS;
        for _ in 0..10 {
            (1..wanted).for_each(|_| trust.note_wake());
            assert!(!trust.covers(1) && !trust.lose());
            trust.note_wake();
            assert!(trust.covers(1) && trust.lose() && !trust.covers(1));
            wanted = (wanted * 4).min(NEEDLESS_AT_MOST);
        }
    }

    #[test]
    fn it_may_be_out_of_the_question() {
        let mut trust = Trust::new(false);
        (0..100_000).for_each(|_| trust.note_wake());
        assert!(!trust.covers(1));
    }
}
