//! What runs next on a worker: the one place where order and fairness are decided.
//!
//! **Order**: goroutines that are ready and coroutines that have been woken, in turn, each kind first come first served; between them some that have not started, the newest first: up to [`FRESH_BURST`]
//! after each ready goroutine, and after [`WOKEN_BURST`] turns of coroutines in a row. When there is nothing else, all of those; then submissions from outside. Against starvation: every
//! [`FRESH_EVERY`]th turn the oldest that has not started goes first, and likewise after a `yield_now`; every [`GLOBAL_EVERY`]th the oldest submission.
//!
//! Other orders are those of policies (`by_policy.rs`).

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::Unstarted;
use super::worker::{Next, Worker};
use crate::rng;
use crate::task::{self, Header};

/// Every so many turns of the loop the oldest goroutine that has not started goes first.
const FRESH_EVERY: u64 = 16;
/// How many goroutines are started between two that are ready. A parent that waits for its children's results should find several when its turn comes; but each child started
/// may park, and those that are parked take memory.
const FRESH_BURST: u32 = 4;
/// Every so many turns and parks the oldest submission from outside goes first (Go's 1/61).
pub(super) const GLOBAL_EVERY: u64 = 61;
/// Every so many turns and parks alarms that are due are rung, and the scheduler's state is looked at: a turn may take a millisecond, and nobody's clock should be late by more
/// than a few of these.
const TEND_EVERY: u64 = 4;
/// So many turns of coroutines that have been woken come in a row before something new is started, while there are some: as many as parks that go straight to the next goroutine.
const WOKEN_BURST: u32 = 16;
/// A woken coroutine is fetched when so many others are before it.
const WOKEN_AHEAD: usize = 6;

/// What may make the next turn another one than the plain order has, so that it is looked for only when there is any: of `Worker::detours`.
pub(super) mod detour {
    /// A coroutine has given way (`gave_way`).
    pub(in crate::sched) const GAVE_WAY: u8 = 1 << 0;
    /// Something is to be started now (`at_once`).
    pub(in crate::sched) const AT_ONCE: u8 = 1 << 1;
    /// Who has stepped aside for that goes on next.
    pub(in crate::sched) const READY_FIRST: u8 = 1 << 2;
    /// Somebody has yielded: the oldest that has not started goes first.
    pub(in crate::sched) const FRESH_FIRST: u8 = 1 << 3;
    /// There is a policy, or a seed. Never taken down.
    pub(in crate::sched) const ALWAYS: u8 = 1 << 7;
}

impl Worker {
    pub(super) fn detour(&self, why: u8) {
        self.detours.set(self.detours.get() | why);
    }

    /// Whether it was set. It is not, afterwards.
    fn take_detour(&self, why: u8) -> bool {
        let detours = self.detours.get();
        self.detours.set(detours & !why);
        detours & why != 0
    }

    /// What runs next. Who has given way is queued by then.
    #[inline(always)]
    pub(super) fn next_task(&self) -> Next {
        if self.detours.get() == 0 { self.choose::<false>() } else { self.choose_after_detours() }
    }

    #[inline(never)]
    fn choose_after_detours(&self) -> Next {
        let next = self.choose::<true>();
        if self.take_detour(detour::GAVE_WAY)
            && let Some(task) = self.gave_way.take()
        {
            self.enqueue_woken(task);
        }
        next
    }

    /// The one place where it is decided what runs next.
    #[inline(always)]
    fn choose<const DETOURS: bool>(&self) -> Next {
        if DETOURS
            && self.take_detour(detour::AT_ONCE)
            && let Some(task) = self.at_once.take()
        {
            if self.has_spare() {
                return Next::Fresh(task);
            }
            self.enqueue(task);
        }
        if DETOURS && let Some(order) = self.order() {
            if let Some(task) = self.gave_way.take() {
                self.put_back(order, task);
            }
            return self.next_by_policy(order);
        }
        if DETOURS
            && self.take_detour(detour::READY_FIRST)
            && let Some(waiter) = self.local.next_ready()
        {
            return Next::Ready(waiter);
        }
        let turns = self.count_turn();
        // Mail first: a nudge says that there is something to see, and is not sent again before it has been read.
        self.local.read_mail();
        if turns >= self.next_tend.get() {
            self.next_tend.set(turns + TEND_EVERY);
            self.tend();
        }
        let fresh_first = DETOURS && (self.take_detour(detour::FRESH_FIRST) || self.shaken && rng::below(2) == 0);
        if (fresh_first || self.tick.get().is_multiple_of(FRESH_EVERY))
            && let Some(task) = self.startable(|| self.peer().queue.pop_oldest())
        {
            return task;
        }
        let outside_first = turns >= self.next_outside.get();
        if outside_first {
            self.next_outside.set(turns + GLOBAL_EVERY);
        }
        if outside_first && let Some(task) = self.startable(|| self.pop_outside()) {
            return task;
        }
        let burst = self.burst.get();
        if burst > 0
            && let Some(task) = self.startable(|| self.pop_newest())
        {
            self.burst.set(burst - 1);
            return task;
        }
        if self.woken_first.take()
            && let Some(task) = self.woken()
        {
            return task;
        }
        if let Some(waiter) = self.local.next_ready() {
            self.burst.set(FRESH_BURST);
            self.woken_first.set(true);
            return Next::Ready(waiter);
        }
        if let Some(task) = self.woken() {
            return task;
        }
        self.startable(|| self.pop_newest()).or_else(|| self.startable(|| self.pop_outside())).unwrap_or(Next::Nothing)
    }

    /// Takes the oldest submission from outside.
    fn pop_outside(&self) -> Option<Unstarted> {
        if !self.is_on_duty() {
            return None;
        }
        let task = self.scheduler.global.pop_oldest()?;
        // It may be a child of ours, started by a thread that is no worker: its announcement was pushed before the task, but perhaps after we last read our mail, and
        // must be read before its end (`children.rs`).
        self.local.read_mail();
        Some(task)
    }

    #[inline]
    fn pop_newest(&self) -> Option<Unstarted> {
        let (task, next) = self.peer().queue.pop_newest()?;
        // Stolen, or spawned long ago, it is in another cache or in none.
        if let Some(Unstarted(next)) = next {
            task::prefetch(next);
        }
        Some(task)
    }

    /// Takes the coroutine that was woken first.
    #[inline(always)]
    fn woken(&self) -> Option<Next> {
        if self.has_no_woken() { None } else { self.next_woken() }
    }

    fn next_woken(&self) -> Option<Next> {
        let in_a_row = self.woken_in_a_row.get() + 1;
        if in_a_row >= WOKEN_BURST {
            self.woken_in_a_row.set(0);
            self.burst.set(FRESH_BURST);
        } else {
            self.woken_in_a_row.set(in_a_row);
        }
        self.startable(|| match self.gave_way.take() {
            Some(task) => Some(self.rotate_woken(task)),
            None => self.pop_woken(),
        })
    }

    fn pop_woken(&self) -> Option<Unstarted> {
        let (task, later) = self.peer().woken.pop_oldest_and_see(WOKEN_AHEAD)?;
        // Where many were woken at once, it has left the cache long ago.
        if let Some(Unstarted(later)) = later {
            task::prefetch_coroutine(later);
        }
        Some(task)
    }

    #[inline]
    fn has_no_woken(&self) -> bool {
        self.peer().woken.is_empty() && self.gave_way.get().is_none()
    }

    #[inline]
    fn rotate_woken(&self, task: NonNull<Header>) -> Unstarted {
        let (oldest, next, unwatched) = self.peer().woken.rotate(Unstarted(task));
        if let Some(Unstarted(next)) = next {
            task::prefetch(next);
        }
        if unwatched {
            self.scheduler.wake_one();
        }
        oldest
    }

    /// Takes a task that has not started, if there would be a fiber left for the loop (F2).
    #[inline(always)]
    fn startable(&self, pop: impl FnOnce() -> Option<Unstarted>) -> Option<Next> {
        if !self.has_spare() {
            self.starved.set(true);
            return None;
        }
        self.starved.set(false);
        pop().map(|Unstarted(task)| Next::Fresh(task))
    }

    /// Nothing is to be run here.
    pub(super) fn is_idle(&self) -> bool {
        !self.local.has_ready() && self.peer().queue.is_empty() && self.has_no_woken()
    }

    /// Whether the runtime closes, and this worker has not noticed.
    pub(super) fn must_notice_closing(&self) -> bool {
        self.scheduler.is_closing() && !self.root_closing.get()
    }

    /// A turn of the loop. Returns how many turns and parks there have been.
    #[inline]
    pub(super) fn count_turn(&self) -> u64 {
        let tick = self.tick.get() + 1;
        self.tick.set(tick);
        let parked = self.local.fibers().parked();
        self.counters().ticks.store(tick, Ordering::Relaxed);
        self.counters().parked.store(parked, Ordering::Relaxed);
        // Parks that went straight to the next goroutine count as turns: they are as long.
        tick + parked
    }

    /// What has to be done now and then.
    pub(super) fn tend(&self) {
        self.local.ring_alarms();
        if self.scheduler.is_closing() {
            self.close_root();
        }
    }

    /// Our part of the runtime's shutdown. `true`: it has been noticed just now, and there may be something to run.
    #[cold]
    pub(super) fn close_root(&self) -> bool {
        let news = !self.root_closing.replace(true);
        if news {
            self.root.cancel(&self.local, None);
        }
        if self.root_counted.get() && self.root.is_empty() {
            self.root_counted.set(false);
            self.scheduler.root_closed();
        }
        news
    }
}
