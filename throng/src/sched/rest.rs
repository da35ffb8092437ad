//! What a worker does that has nothing to do: look about, take from others, sleep, and tidy up when it has slept long.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::idle::Rest;
use super::patience::{PATIENCE, Patience};
use super::queue::{AGE, Watch, Which};
use super::slots::Begin;
use super::worker::Worker;
use super::{Peer, Unstarted, add};
use crate::home::Woken;
use crate::rng;
use crate::shim::{SPINS, spin_loop};

/// From so many on coroutines that have been woken are shared, though none of them waits for long: where all give way in turn, none ever does. (Pairs that talk are fewer.)
const LADEN: usize = 16;

/// How long the watcher naps between two looks.
const NAP: Duration = Duration::from_micros(50);

/// After this many looks in a row that saw no new task anywhere, the watcher sleeps like the others; if they all sleep, after one.
const QUIET_LOOKS: u32 = 8;

/// A worker that has slept this long gives back what a burst has left it with.
const TIDY_AFTER: Duration = Duration::from_millis(200);

/// How soon a worker that lacks stacks looks for one that others gave back.
const STARVED: Duration = Duration::from_millis(1);

/// What the watcher remembers of another worker between its looks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pushed: u64,
    ticks: u64,
    /// Its loop has not turned, and nothing has been pushed to its queues, since then.
    moved: Option<Instant>,
    /// So many coroutines have been woken there, at each look since then, that they are shared.
    laden: Option<Instant>,
    fresh: Watch,
    woken: Watch,
}

/// What a look at another worker has shown.
struct Sight {
    /// Neither tasks nor pushes.
    quiet: bool,
    /// There is something to be had.
    tasks: bool,
    /// Whatever its age: of those that have not started, of the coroutines that have been woken.
    any_fresh: bool,
    any_woken: bool,
}

impl Seen {
    fn look(&mut self, peer: &Peer, now: Instant) -> Sight {
        let (fresh, woken) = (peer.queue.look(now, &mut self.fresh), peer.woken.look(now, &mut self.woken));
        let (pushed, len) = (fresh.pushed + woken.pushed, fresh.len + woken.len);
        let ticks = peer.counters.ticks.load(Ordering::Relaxed);
        let quiet = pushed == self.pushed && len == 0;
        if self.ticks != ticks || self.pushed != pushed || self.moved.is_none() {
            (self.ticks, self.pushed, self.moved) = (ticks, pushed, Some(now));
        }
        self.laden = if woken.len < LADEN { None } else { self.laden.or(Some(now)) };
        let for_long = |since: Option<Instant>| since.is_some_and(|since| now.saturating_duration_since(since) >= AGE);
        // A worker that does not move will not come to its queue soon. (But from one that goes on spawning, tasks are taken as they age, many at a time: it shares its queue with us all the
        // while.)
        let stuck = for_long(self.moved);
        Sight { quiet, tasks: len > 0, any_fresh: stuck, any_woken: stuck || for_long(self.laden) }
    }
}

/// The state of resting.
#[derive(Debug)]
pub(super) struct Resting {
    /// Whether `Idle` knows of us. Our queues are lent then: nobody has to ask a sleeper for them.
    noted: Cell<bool>,
    quiet: Cell<u32>,
    seen: Box<[Cell<Seen>]>,
    tidy: Cell<bool>,
    patience: Patience,
}

impl Resting {
    pub(super) fn new(slots: usize, when: Begin) -> Resting {
        Resting {
            // One that is begun late is the watcher from before its beginning.
            noted: Cell::new(when == Begin::Late),
            quiet: Cell::new(0),
            seen: (0..slots).map(|_| Cell::new(Seen::default())).collect(),
            // A worker may work from its first moment on, and rest with a burst behind it.
            tidy: Cell::new(false),
            patience: Patience::default(),
        }
    }
}

impl Worker {
    /// There is nothing to do. Returns when there may be. (Not inlined: a frame of the loop lies on each goroutine's stack.)
    #[inline(never)]
    pub(super) fn rest(&self) {
        let scheduler = self.scheduler();
        let home = self.local().home();
        if scheduler.is_closing() && self.close_root() {
            return;
        }
        // (Policies have done this, and keep where `is_idle` does not look what it brings.)
        if self.order().is_none() && self.local().has_alarms() && self.is_idle() {
            // Looking at the clock costs nobody anything now.
            self.local().ring_alarms();
            if !self.is_idle() {
                return;
            }
        }
        if self.is_starved() {
            // There may be tasks, but no stack to run them on. What is parked here may still be woken, and others may have idle fibers of their own: they are to watch.
            self.rise();
            let soon = Instant::now() + STARVED;
            home.sleep(Some(self.local().next_alarm().map_or(soon, |alarm| alarm.min(soon))));
            return;
        }
        if self.look_out() {
            return;
        }
        if let Some(order) = self.order() {
            if self.search(order) {
                return;
            }
            if !self.is_noted() {
                scheduler.search.rests();
            }
        }
        if !self.resting.noted.replace(true) {
            self.peer().lend_queues();
        }
        match scheduler.idle.rest(self.id()) {
            Rest::Watch => self.watch(),
            Rest::Sleep => self.sleep(),
            Rest::Away { hand_over } => {
                if hand_over && !scheduler.leave_all_unwatched() {
                    scheduler.wake_one();
                }
                self.sleep();
            }
        }
    }

    /// Looks at the inbox for a while. `true`: something has come.
    fn look_out(&self) -> bool {
        let look = || {
            for _ in 0..SPINS {
                if self.local().home().has_mail() || !self.scheduler().global.is_empty() {
                    return true;
                }
                spin_loop();
            }
            false
        };
        if look() {
            return true;
        }
        let patience = &self.resting.patience;
        if !patience.is_long() {
            return false;
        }
        let enough = Instant::now() + PATIENCE;
        let until = self.local().next_alarm().map_or(enough, |alarm| alarm.min(enough));
        while Instant::now() < until {
            if look() {
                patience.was_worth_it();
                return true;
            }
        }
        false
    }

    /// Sleeps until there is mail, or until `deadline`.
    fn doze(&self, deadline: Option<Instant>) -> Woken {
        let from = Instant::now();
        let woken = self.local().home().sleep(deadline);
        self.resting.patience.slept(from, Instant::now(), woken);
        woken
    }

    /// There is something to do.
    #[inline(always)]
    pub(super) fn rise(&self) {
        if self.resting.noted.get() {
            self.rise_noted();
        }
    }

    #[cold]
    fn rise_noted(&self) {
        self.resting.noted.set(false);
        self.peer().claim_queues();
        if self.order().is_some() {
            self.scheduler().search.rises();
        }
        self.resting.tidy.set(false);
        let scheduler = self.scheduler();
        if scheduler.idle.rise(self.id()) && !scheduler.leave_all_to_owners() {
            scheduler.wake_one();
        }
    }

    /// Whether this worker rests, or has been woken and has not found anything yet.
    pub(super) fn is_noted(&self) -> bool {
        self.resting.noted.get()
    }

    fn sleep(&self) {
        add(&self.counters().sleeps, 1);
        if self.resting.tidy.get() {
            self.doze(self.local().next_alarm());
        } else {
            let tidy = Instant::now() + TIDY_AFTER;
            let woken = self.doze(Some(self.local().next_alarm().map_or(tidy, |alarm| alarm.min(tidy))));
            if woken == Woken::Deadline && tidy <= Instant::now() {
                self.tidy();
                self.resting.tidy.set(true);
            }
        }
    }

    /// The watcher's round: look, nap, look, until there is something to do; after many quiet looks, sleep.
    fn watch(&self) {
        let scheduler = self.scheduler();
        loop {
            let now = Instant::now();
            if self.look_and_steal(now) || !scheduler.global.is_empty() || self.must_notice_closing() || !self.is_on_duty() {
                return;
            }
            // (A worker that rises and spawns wakes one that sleeps, if nobody watches.)
            let quiet = self.resting.quiet.get();
            if quiet >= QUIET_LOOKS || quiet > 0 && scheduler.idle.nobody_works() {
                self.resting.quiet.set(0);
                if scheduler.leave_all_unwatched() {
                    scheduler.idle.stop_watching(self.id());
                    self.sleep();
                    return;
                }
            }
            let nap = now + NAP;
            let alarm = self.local().next_alarm();
            add(&self.counters().naps, 1);
            if self.doze(Some(alarm.map_or(nap, |alarm| alarm.min(nap)))) == Woken::Message || alarm.is_some_and(|at| at <= nap) {
                return;
            }
        }
    }

    /// Looks at every other worker's queue and takes from the first that has something to give. `true`: our own queue has got it.
    fn look_and_steal(&self, now: Instant) -> bool {
        let scheduler = self.scheduler();
        let peers = &scheduler.peers[..scheduler.idle.started()];
        let n = peers.len();
        let start = rng::below(n as u32) as usize;
        let mut quiet = true;
        for id in (0..n).map(|i| (start + i) % n).filter(|&id| id != self.id()) {
            let mut seen = self.resting.seen[id].get();
            let sight = seen.look(&peers[id], now);
            self.resting.seen[id].set(seen);
            quiet &= sight.quiet;
            let at_once = self.steals_at_once();
            let take = || match self.order() {
                None => {
                    let fresh = if sight.any_fresh || at_once { Which::Any } else { Which::Aged(&seen.fresh) };
                    let woken = if sight.any_woken || at_once { Which::Any } else { Which::Aged(&seen.woken) };
                    self.steal_from(id, fresh, woken)
                }
                Some(order) => self.steal_by_policy(order, id, true),
            };
            if sight.tasks && take() {
                self.resting.quiet.set(0);
                return true;
            }
        }
        self.resting.quiet.set(if quiet { self.resting.quiet.get() + 1 } else { 0 });
        false
    }

    /// Takes tasks from another worker's queues into ours: of each, if so wished, only such as have aged.
    fn steal_from(&self, id: usize, which_fresh: Which<'_>, which_woken: Which<'_>) -> bool {
        let peer = &self.scheduler.peers[id];
        self.with_loot(|loot| {
            peer.queue.steal(loot, which_fresh);
            let fresh = loot.len();
            if fresh > 0 {
                self.peer().queue.push_stolen(loot.drain(..));
            }
            peer.woken.steal(loot, which_woken);
            let woken = loot.len();
            if woken > 0 {
                self.peer().woken.push_stolen(loot.drain(..));
            }
            add(&self.counters().stolen, (fresh + woken) as u64);
            fresh + woken > 0
        })
    }

    /// Where stolen tasks are kept between two queues.
    pub(super) fn with_loot<R>(&self, f: impl FnOnce(&mut Vec<Unstarted>) -> R) -> R {
        // SAFETY: F1, and no `f` comes back here.
        f(unsafe { &mut *self.loot.get() })
    }
}
