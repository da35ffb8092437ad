//! With how many tasks the owner of a queue is trusted, so that nobody is woken for them.
//!
//! To wake a sleeper costs the pusher some 10 µs and the sleeper 30 more, who then finds, more often than not, that the owner has run what it was woken for: a goroutine that handles a request
//! and starts one more is done long before. So a queue learns: if [`NEEDLESS`] wake-ups in a row led to no theft, the next pushes wake nobody while no more than [`FEW`] tasks wait; after as many
//! again, for more than that, twice as many; and so on up to [`MANY`].
//!
//! ```text
//!   trusted with   0 ──> FEW ──> 2 FEW ──> .. ──> MANY         NEEDLESS wake-ups in a row each
//!                  0 <── FEW <── 2 FEW <── .. <── MANY         others, who were awake, have stolen
//!                  0 <────────────────────────────             the monitor finds a task that has waited for 5 ms:
//!                                                              the first step up takes four times as many from then on
//! ```
//! What it costs to be wrong: a task waits for the monitor, 5 to 10 ms, behind an owner that for once computes instead of coming back to its loop; and rarely, as the owner is trusted less each time.
//!
//! Only where there is a monitor to notice, and for throng's own order.

#![forbid(unsafe_code)]

const FEW: usize = 8;
const MANY: usize = 256;

const NEEDLESS: u32 = 8;
const NEEDLESS_AT_MOST: u32 = 8 << 10;

#[derive(Debug)]
pub(super) struct Trust {
    /// So many tasks may wait without anybody's being woken.
    with: usize,
    /// Wake-ups in a row that led to nothing, since the last step.
    needless: u32,
    /// So many are the first step. `None`: it cannot be taken.
    wanted: Option<u32>,
}

impl Trust {
    /// `earned`: it may be.
    pub(super) fn new(earned: bool) -> Trust {
        Trust { with: 0, needless: 0, wanted: earned.then_some(NEEDLESS) }
    }

    /// Whether the owner will come by itself for as many tasks as there are.
    #[inline]
    pub(super) fn covers(&self, tasks: usize) -> bool {
        tasks <= self.with
    }

    /// Somebody is woken for tasks that it did not cover.
    #[cold]
    pub(super) fn note_wake(&mut self) {
        let Some(wanted) = self.wanted else { return };
        self.needless += 1;
        if self.needless >= if self.with == 0 { wanted } else { NEEDLESS } {
            self.needless = 0;
            self.with = (2 * self.with).clamp(FEW, MANY);
        }
    }

    /// Others have taken tasks.
    pub(super) fn note_stolen(&mut self) {
        self.needless = 0;
        self.with = if self.with > FEW { self.with / 2 } else { 0 };
    }

    /// A task has waited in vain. `true`: for a trusted owner, which is not, from now on.
    pub(super) fn lose(&mut self) -> bool {
        let trusted = self.with > 0;
        if trusted {
            (self.with, self.needless) = (0, 0);
            self.wanted = self.wanted.map(|wanted| (wanted * 4).min(NEEDLESS_AT_MOST));
        }
        trusted
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn wake(trust: &mut Trust, times: u32) {
        (0..times).for_each(|_| trust.note_wake());
    }

    #[test]
    fn it_is_earned_by_needless_wake_ups_in_a_row() {
        let mut trust = Trust::new(true);
        for _ in 0..3 {
            wake(&mut trust, NEEDLESS - 1);
            trust.note_stolen();
            assert!(!trust.covers(1), "the last one was not needless");
        }
        let mut with = FEW;
        while with < 2 * MANY {
            wake(&mut trust, NEEDLESS);
            assert!(trust.covers(with.min(MANY)) && !trust.covers(with.min(MANY) + 1));
            with *= 2;
        }
    }

    #[test]
    fn thieves_take_back_a_step() {
        let mut trust = Trust::new(true);
        wake(&mut trust, 2 * NEEDLESS);
        trust.note_stolen();
        assert!(trust.covers(FEW) && !trust.covers(FEW + 1));
        trust.note_stolen();
        assert!(!trust.covers(1));
        wake(&mut trust, NEEDLESS);
        assert!(trust.covers(FEW));
    }

    #[test]
    fn it_is_lost_at_once_and_harder_to_earn_again() {
        let mut trust = Trust::new(true);
        let mut wanted = NEEDLESS;
        for _ in 0..10 {
            wake(&mut trust, wanted - 1);
            assert!(!trust.covers(1) && !trust.lose());
            wake(&mut trust, 1 + NEEDLESS);
            assert!(trust.covers(2 * FEW) && trust.lose() && !trust.covers(1));
            wanted = (wanted * 4).min(NEEDLESS_AT_MOST);
        }
    }

    #[test]
    fn it_may_be_out_of_the_question() {
        let mut trust = Trust::new(false);
        wake(&mut trust, 100_000);
        assert!(!trust.covers(1));
    }
}
