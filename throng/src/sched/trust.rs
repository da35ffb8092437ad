//! With how many tasks the owner of a queue is trusted, so that nobody is woken for them.
//!
//! To wake a sleeper costs the pusher some 10 µs and the sleeper 30 more, who finds, where there is little to do, that the owner has run what it was woken for: a goroutine that handles a request
//! and starts one more is done long before. So a queue learns: if [`NEEDLESS`] wake-ups in a row led to no theft, the next pushes wake nobody while no more than [`FEW`] tasks wait; after as many
//! again, for more than that, twice as many; and so on up to [`MANY`]. Every [`PROBE`]th time somebody is woken all the same, to see whether there is something to steal by now.
//!
//! ```text
//!   trusted with   0 ──> FEW ──> 2 FEW ──> .. ──> MANY         NEEDLESS wake-ups in a row each
//!                  0 <────────────────────────────             others have stolen
//!                  0 <────────────────────────────             the monitor sees tasks wait at two looks, and no rest in between:
//!                                                              the first step up takes four times as many from then on
//! ```
//! What it costs to be wrong: tasks that others could run wait for the monitor, 5 to 10 ms, behind an owner that for once has more to do than it used to have, or computes instead of coming back to its loop; and rarely, as
//! trust is harder to earn each time.
//!
//! Only where there is a monitor to notice, and for throng's own order.

#![forbid(unsafe_code)]

const FEW: usize = 8;
const MANY: usize = 256;

const PROBE: u32 = 32;

const NEEDLESS: u32 = 8;
const NEEDLESS_AT_MOST: u32 = 8 << 10;

#[derive(Debug)]
pub(super) struct Trust {
    /// So many tasks may wait without anybody's being woken.
    with: usize,
    /// How often it was relied on.
    times: u32,
    /// Wake-ups in a row that led to nothing, since the last step.
    needless: u32,
    /// So many are the first step. `None`: it cannot be taken.
    wanted: Option<u32>,
}

impl Trust {
    /// `earned`: it may be.
    pub(super) fn new(earned: bool) -> Trust {
        Trust { with: 0, times: 0, needless: 0, wanted: earned.then_some(NEEDLESS) }
    }

    /// Whether it is left to the owner to come for as many tasks as there are. `first`: it is asked for the first of them.
    #[inline]
    pub(super) fn covers(&mut self, tasks: usize, first: bool) -> bool {
        if tasks > 0 && first && tasks <= self.with {
            self.times = self.times.wrapping_add(1);
            return !self.times.is_multiple_of(PROBE);
        }
        tasks <= self.with
    }

    /// Somebody is woken for so many tasks.
    #[cold]
    pub(super) fn note_wake(&mut self, tasks: usize) {
        let Some(wanted) = self.wanted else { return };
        if tasks <= self.with {
            // A probe says nothing about more.
            return;
        }
        self.needless += 1;
        if self.needless >= if self.with == 0 { wanted } else { NEEDLESS } {
            self.needless = 0;
            self.with = (2 * self.with).clamp(FEW, MANY);
        }
    }

    /// Others have taken tasks.
    pub(super) fn note_stolen(&mut self) {
        (self.with, self.needless) = (0, 0);
    }

    /// Tasks have waited in vain. `true`: for a trusted owner, which is not, from now on.
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

    fn covers(trust: &mut Trust, tasks: usize) -> bool {
        trust.covers(tasks, false)
    }

    fn wake(trust: &mut Trust, times: u32) {
        (0..times).for_each(|_| trust.note_wake(1000));
    }

    #[test]
    fn it_is_earned_by_needless_wake_ups_in_a_row() {
        let mut trust = Trust::new(true);
        for _ in 0..3 {
            wake(&mut trust, NEEDLESS - 1);
            trust.note_stolen();
            assert!(!covers(&mut trust, 1), "the last one was not needless");
        }
        let mut with = FEW;
        while with < 2 * MANY {
            wake(&mut trust, NEEDLESS);
            assert!(covers(&mut trust, with.min(MANY)) && !covers(&mut trust, with.min(MANY) + 1));
            with *= 2;
        }
    }

    #[test]
    fn it_is_lost_to_thieves_and_earned_again() {
        let mut trust = Trust::new(true);
        for _ in 0..3 {
            wake(&mut trust, 2 * NEEDLESS);
            assert!(covers(&mut trust, 2 * FEW));
            trust.note_stolen();
            assert!(!covers(&mut trust, 1));
        }
    }

    #[test]
    fn now_and_then_somebody_is_woken_all_the_same() {
        let mut trust = Trust::new(true);
        wake(&mut trust, NEEDLESS);
        for _ in 0..2 * NEEDLESS {
            assert_eq!((0..PROBE).filter(|_| !trust.covers(2, true)).count(), 1);
            trust.note_wake(2);
        }
        assert!(!covers(&mut trust, FEW + 1));
        assert!((0..10 * PROBE).all(|_| trust.covers(0, true)), "for nothing nobody is");
    }

    #[test]
    fn it_is_lost_at_once_and_harder_to_earn_again() {
        let mut trust = Trust::new(true);
        let mut wanted = NEEDLESS;
        for _ in 0..10 {
            wake(&mut trust, wanted - 1);
            assert!(!covers(&mut trust, 1) && !trust.lose());
            wake(&mut trust, 1 + NEEDLESS);
            assert!(covers(&mut trust, 2 * FEW) && trust.lose() && !covers(&mut trust, 1));
            wanted = (wanted * 4).min(NEEDLESS_AT_MOST);
        }
    }

    #[test]
    fn it_may_be_out_of_the_question() {
        let mut trust = Trust::new(false);
        wake(&mut trust, 100_000);
        assert!(!covers(&mut trust, 1));
    }
}
