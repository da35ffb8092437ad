//! Looking for work in the queues of others, by the rules of a policy: who may, how often, how much is taken, who is woken to do it.
//!
//! This comes on top of the idle protocol (`idle.rs`, `README.md`), and takes nothing from it. That protocol sees to it that no task is left lying: one that nobody watches wakes
//! a worker, and of those that rest one watches. What is here makes more of them look, sooner. So the two counts below are hints, and may be out of date: if
//! a wake is left out for it, the watcher comes within a nap.
//!
//! States of a worker that has run dry: *searching*, for a few passes over the others; then *resting*, which it also is while it is being woken; it rises when it has found something.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Scheduler;
use super::by_policy::OwnOrder;
use super::policy::{SearcherCap, SlotSteal, StealAmount, Wake};
use super::queue::Which;
use super::slot::SlotTheft;
use super::worker::Worker;
use crate::rng;

/// How many workers search, and how many rest. Relaxed throughout: see the module's header.
#[repr(align(128))] // Written whenever somebody runs dry; the scheduler's other fields are only read.
pub(super) struct Search {
    searching: AtomicUsize,
    resting: AtomicUsize,
}

impl Search {
    pub(super) fn new() -> Search {
        Search { searching: AtomicUsize::new(0), resting: AtomicUsize::new(0) }
    }

    /// There is work for another worker, in a queue that is watched.
    pub(super) fn wake(&self, wake: Wake, scheduler: &Scheduler) {
        if self.resting.load(Ordering::Relaxed) == 0 {
            return;
        }
        match wake {
            Wake::IfNoneSearches if self.searching.load(Ordering::Relaxed) > 0 => {}
            Wake::IfNoneSearches => scheduler.wake_one(),
            Wake::Always => scheduler.idle.wake_another(),
        }
    }

    pub(super) fn rests(&self) {
        self.resting.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rises(&self) {
        self.resting.fetch_sub(1, Ordering::Relaxed);
    }

    /// One more begins to search, if it may. One that was woken for it always may.
    fn begin(&self, cap: SearcherCap, workers: usize, woken: bool) -> bool {
        let searching = self.searching.load(Ordering::Relaxed);
        let may = match cap {
            SearcherCap::HalfOfBusy => 2 * searching < workers.saturating_sub(self.resting.load(Ordering::Relaxed)),
            SearcherCap::HalfOfAll => 2 * searching < workers,
            SearcherCap::Unlimited => true,
        };
        if may || woken {
            self.searching.fetch_add(1, Ordering::Relaxed);
        }
        may || woken
    }

    fn end(&self) {
        self.searching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("searching", &self.searching).field("resting", &self.resting).finish()
    }
}

impl Worker {
    /// This worker has run dry, and goes round the others before it rests. `true`: it has found something.
    pub(super) fn search(&self, order: &OwnOrder) -> bool {
        let (cap, passes, wake) = {
            let order = order.borrow();
            let knobs = order.knobs();
            (knobs.searcher_cap, knobs.steal_passes, knobs.wake)
        };
        let scheduler = self.scheduler();
        let workers = scheduler.idle.started();
        if workers < 2 || !scheduler.search.begin(cap, workers, self.is_noted()) {
            return false;
        }
        let pass = |pass| {
            let start = rng::below(workers as u32) as usize;
            let mut others = (0..workers).map(|i| (start + i) % workers).filter(|&id| id != self.id());
            others.any(|id| self.steal_by_policy(order, id, pass + 1 == passes))
        };
        let found = (0..passes).any(pass);
        scheduler.search.end();
        if found && wake == Wake::IfNoneSearches {
            // Go: the last searcher that finds work wakes the next one, since nobody was woken while it searched.
            scheduler.search.wake(wake, scheduler);
        }
        found
    }

    /// Takes from worker `id` what the policy allows.
    pub(super) fn steal_by_policy(&self, order: &OwnOrder, id: usize, last_pass: bool) -> bool {
        let queue = &self.scheduler().peers[id].queue;
        let (amount, slot) = {
            let order = order.borrow();
            (order.knobs().steal_amount, order.knobs().slot_steal)
        };
        self.with_loot(|loot| {
            if !queue.is_empty() {
                match amount {
                    StealAmount::Half => queue.steal(loot, Which::Any),
                    StealAmount::One => loot.extend(queue.pop_oldest()),
                }
            }
            if loot.is_empty() {
                let theft = match slot {
                    SlotSteal::Never => SlotTheft::Empty,
                    SlotSteal::Aged(age) => queue.steal_slot_aged(age),
                    // A real sleep, as in Go: the owner may need this very processor.
                    SlotSteal::LastPass(pause) if last_pass => queue.steal_slot_after(|| std::thread::sleep(pause)),
                    SlotSteal::LastPass(_) => SlotTheft::Empty,
                };
                if let SlotTheft::Taken(task) = theft {
                    loot.push(task);
                }
            }
            self.take_in(order, loot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many workers, of which so many rest, may search at the same time.
    fn searchers(cap: SearcherCap, workers: usize, resting: usize) -> usize {
        let search = Search::new();
        (0..resting).for_each(|_| search.rests());
        let begun = (0..workers).filter(|_| search.begin(cap, workers, false)).count();
        assert!(search.begin(cap, workers, true), "one that was woken always may");
        (0..=begun).for_each(|_| search.end());
        (0..resting).for_each(|_| search.rises());
        assert_eq!((search.searching.into_inner(), search.resting.into_inner()), (0, 0));
        begun
    }

    #[test]
    fn so_many_may_search() {
        assert_eq!([1, 2, 3, 8].map(|workers| searchers(SearcherCap::HalfOfBusy, workers, 0)), [1, 1, 2, 4]);
        assert_eq!([0, 4, 7, 8].map(|resting| searchers(SearcherCap::HalfOfBusy, 8, resting)), [4, 2, 1, 0]);
        assert_eq!([0, 4, 8].map(|resting| searchers(SearcherCap::HalfOfAll, 8, resting)), [4, 4, 4]);
        assert_eq!(searchers(SearcherCap::Unlimited, 8, 4), 8);
    }
}
