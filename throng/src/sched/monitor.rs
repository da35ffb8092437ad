//! The monitor: a thread that looks at the workers every few milliseconds, and sees to the work that stuck ones hold up.
//!
//! A worker is *stuck* when it is not at rest and its loop has not turned for 10 ms: it computes, or blocks its thread. What it has started stays on it. What it has not
//! started an idle worker takes within 100 µs. The monitor is for when none is idle: it moves what has waited on a stuck worker, untouched by others, to the global queue, where
//! every worker that turns comes by. If none turns, or nothing is taken from there either, a spare worker is put on duty: it is woken, or made. Spare workers step
//! down, one a look, while there are more of them on duty than workers that are stuck.
//!
//! A worker that is trusted to come for its few tasks itself, so that nobody was woken for them (`trust.rs`), loses that trust if some wait at two looks in a row and it has not rested in between; and a sleeper is woken.
//!
//! A goroutine that spawns a million others without parking is stuck by that measure, and its workers are well: what others keep taking from is left alone.
//!
//! A worker that has been stuck for long while others waited for it is reported, once (`stall.rs`). Its other task is to have threads asked for again that were refused (`slots.rs`).
//!
//! When every worker has rested for some looks it sleeps without a period, until one rises, who has to wake it. Not at the first such look: where there is a little work every millisecond,
//! its wake-up would come each time before the work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::queue::{Queue, Which};
use super::slot::SlotTheft;
use super::{Peer, Scheduler, Unstarted};

/// How long a worker may be in one task before others take what it has not started.
const STUCK_AFTER: Duration = Duration::from_millis(10);

/// How often the monitor looks. A task that a stuck worker holds up waits for two of these at least, for three at most.
const PERIOD: Duration = Duration::from_millis(5);

/// After so many looks in a row that saw all workers rest, the monitor sleeps until one rises.
const QUIET_LOOKS: u32 = 10;

struct Monitor {
    scheduler: Arc<Scheduler>,
    /// By number of worker.
    seen: Vec<Seen>,
    at_rest: Vec<bool>,
    /// Of the global queue.
    outside: Oldest,
    loot: Vec<Unstarted>,
}

/// What was last seen of a worker.
#[derive(Clone, Copy)]
struct Seen {
    ticks: u64,
    /// It has had this number, and was not at rest, since then.
    since: Instant,
    fresh: Oldest,
    woken: Oldest,
    backlog: Backlog,
    /// Others have waited for it since then.
    awaited: bool,
    /// It is asked what it is doing when it has been stuck for so long: doubled while nobody waits for it.
    ask_after: Duration,
}

/// What waits on a worker.
#[derive(Clone, Copy, Default)]
struct Backlog {
    rests: u64,
    any: bool,
}

impl Backlog {
    /// Looks again. `true`: something waited at the last look, something waits now, and the worker has not rested in between.
    fn look(&mut self, peer: &Peer) -> bool {
        let before = *self;
        // Relaxed: counts, and nothing is read by them.
        let rests = peer.counters.sleeps.load(Ordering::Relaxed) + peer.counters.naps.load(Ordering::Relaxed);
        *self = Backlog { rests, any: peer.queue.oldest().is_some() || peer.woken.oldest().is_some() };
        self.any && before.any && self.rests == before.rests
    }
}

/// The task that would be taken from a queue next, by its position, and since when.
#[derive(Clone, Copy)]
struct Oldest {
    task: Option<u64>,
    since: Instant,
}

impl Oldest {
    /// Looks again. `true`: it has waited for a period.
    fn look(&mut self, queue: &Queue<Unstarted>, now: Instant) -> bool {
        let task = queue.oldest();
        if task != self.task || task.is_none() {
            *self = Oldest { task, since: now };
        }
        now.saturating_duration_since(self.since) >= PERIOD
    }
}

impl Scheduler {
    /// Starts the monitor, if there is something for it to do.
    pub(super) fn start_monitor(self: &Arc<Self>) -> io::Result<()> {
        if !self.plan.has_monitor() {
            return Ok(());
        }
        let outside = Oldest { task: None, since: Instant::now() };
        let nothing = Seen {
            ticks: 0,
            since: outside.since,
            fresh: outside,
            woken: outside,
            backlog: Backlog::default(),
            awaited: false,
            ask_after: self.plan.stalls_after,
        };
        let seen = vec![nothing; self.peers.len()];
        let monitor = Monitor { scheduler: Arc::clone(self), seen, at_rest: Vec::new(), outside, loot: Vec::new() };
        let thread = std::thread::Builder::new().name(format!("{}-monitor", self.plan.name)).spawn(move || monitor.run())?;
        self.threads.set_monitor(thread);
        Ok(())
    }
}

impl Monitor {
    fn run(mut self) {
        let scheduler = Arc::clone(&self.scheduler);
        let mut quiet = 0;
        while !scheduler.threads.have_ended() {
            self.look(Instant::now());
            quiet = if scheduler.idle.nobody_works() { quiet + 1 } else { 0 };
            let soon = Instant::now() + PERIOD;
            if quiet <= QUIET_LOOKS {
                scheduler.idle.sleep_as_monitor(soon);
            } else {
                scheduler.idle.sleep_as_monitor_until_one_works(soon);
                quiet = 0;
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let scheduler = Arc::clone(&self.scheduler);
        let idle = &scheduler.idle;
        let view = idle.view(&mut self.at_rest);
        let held_up_outside = self.outside.look(&scheduler.global, now);
        let mut stuck_on_duty = 0;
        let mut moved = false;
        let mut trusted_in_vain = false;
        for id in 0..view.started {
            let (seen, peer) = (&mut self.seen[id], &scheduler.peers[id]);
            let held_up = seen.fresh.look(&peer.queue, now) | seen.woken.look(&peer.woken, now);
            // (The locks are looked at only if there is somebody to be woken.)
            if seen.backlog.look(peer) && view.somebody_comes && !view.watched {
                trusted_in_vain |= peer.queue.lose_trust() | peer.woken.lose_trust();
            }
            if !self.is_stuck(id, now) {
                continue;
            }
            if id < view.limit {
                stuck_on_duty += 1;
            }
            self.report(id, held_up || held_up_outside, now);
            // (Where there is only one slot, there is nobody to take them, and they keep their places.)
            if held_up && !view.somebody_comes && scheduler.peers.len() > 1 {
                self.move_outside(id);
                moved = true;
            }
        }
        if view.refused {
            idle.ask_again();
        }
        if moved || trusted_in_vain || view.refused && !scheduler.leave_all_unwatched() {
            scheduler.wake_one();
        }
        if scheduler.plan.elastic {
            return;
        }
        let turning = view.limit.min(view.started) - stuck_on_duty;
        if !view.somebody_comes && turning < scheduler.core && (held_up_outside || moved && turning == 0) {
            idle.extend_duty();
            scheduler.wake_one();
        } else if view.limit - scheduler.core > stuck_on_duty {
            idle.reduce_duty();
        }
    }

    fn is_stuck(&mut self, id: usize, now: Instant) -> bool {
        // Relaxed: a count, and nothing is read by it.
        let ticks = self.scheduler.peers[id].counters.ticks.load(Ordering::Relaxed);
        let seen = &mut self.seen[id];
        if self.at_rest[id] || seen.ticks != ticks {
            *seen = Seen { ticks, since: now, awaited: false, ask_after: self.scheduler.plan.stalls_after, ..*seen };
        }
        now.saturating_duration_since(seen.since) >= STUCK_AFTER
    }

    /// Reports a worker that has been stuck for long, once, if anybody waits for it: something that nobody has taken, or mail, as when a goroutine of its own has been woken,
    /// or a goroutine that was ready before, of which only the worker itself knows.
    fn report(&mut self, id: usize, held_up: bool, now: Instant) {
        let scheduler = &self.scheduler;
        let seen = &mut self.seen[id];
        seen.awaited |= held_up || scheduler.peers[id].home.has_mail();
        let lasted = now.saturating_duration_since(seen.since);
        if lasted >= seen.ask_after {
            let reported = scheduler.report_stall(id, lasted, seen.awaited);
            seen.ask_after = if reported { Duration::MAX } else { lasted.saturating_mul(2) };
        }
    }

    /// Moves what a worker has not started, and its coroutines, to the global queue, the oldest first.
    fn move_outside(&mut self, id: usize) {
        let scheduler = Arc::clone(&self.scheduler);
        self.move_queue(&scheduler.peers[id].woken);
        self.move_queue(&scheduler.peers[id].queue);
    }

    fn move_queue(&mut self, queue: &Queue<Unstarted>) {
        let global = &self.scheduler.global;
        // As many as there are now: should the worker turn again and go on spawning, it is not chased.
        let mut left = queue.len();
        while left > 0 {
            queue.steal(&mut self.loot, Which::Any);
            if self.loot.is_empty() {
                break;
            }
            left = left.saturating_sub(self.loot.len());
            global.push_stolen(self.loot.drain(..));
        }
        if let SlotTheft::Taken(task) = queue.steal_slot_aged(Duration::ZERO) {
            global.push_stolen(std::iter::once(task));
        }
    }
}
