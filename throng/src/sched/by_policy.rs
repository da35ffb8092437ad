//! What a worker does where the runtime has a policy of its own: how tasks come into its order, and which comes out.
//!
//! The order itself is in `order.rs`. Here it is fed: with new goroutines as they are made, and with those that have been woken, which arrive in the thread's ready list as ever and are
//! moved on before anything else comes, so that the order knows who came first. (So the list holds only what has been woken since the last of these calls, by the task that ran.) Those that other threads have
//! woken have a list of their own (`Local::keep_apart`), since they go elsewhere: what the one that runs wakes is next, as the two are likely to share something; what comes by mail is not.
//!
//! A park does not go straight to the next ready goroutine, as it does in throng's own order, but to the loop each time (`Fibers::always_to_loop`).
//!
//! Invariant B1: the order is borrowed for single calls on it, which run no task, wake nobody and come back to no worker.

use std::cell::RefCell;
use std::ptr::NonNull;

use super::line::Entry;
use super::next::detour;
use super::order::{From, Order, Place, Queues};
use super::policy::Knobs;
use super::worker::{Next, Worker};
use super::{Unstarted, add};
use crate::task::Header;
use crate::waiter::Waiter;

/// A worker's order, if its runtime has a policy of its own.
pub(super) type OwnOrder = RefCell<Order<NonNull<Waiter>, Unstarted>>;

/// For worker `id`. With a seed of the runtime's (`shake`) the order is made erratic.
pub(super) fn order(knobs: &Knobs, id: usize, shake: Option<u64>) -> Box<OwnOrder> {
    let seed = knobs.seed.map(|seed| seed.wrapping_add(id as u64)).or(shake);
    Box::new(RefCell::new(Order::new(knobs.clone(), seed, shake.is_some())))
}

impl Worker {
    pub(super) fn queues(&self) -> Queues<'_, Unstarted> {
        let scheduler = self.scheduler();
        Queues { own: &self.peer().queue, global: &scheduler.global, workers: scheduler.peers.len() }
    }

    /// A task that may move, new or ready again, on this worker's thread.
    #[inline(never)]
    pub(super) fn put(&self, order: &OwnOrder, task: NonNull<Header>) {
        self.line_up_woken(order);
        order.borrow_mut().put(Entry::Movable(Unstarted(task)), Place::Next, &self.queues());
        self.announce(order);
    }

    /// A coroutine has given way.
    pub(super) fn put_back(&self, order: &OwnOrder, task: NonNull<Header>) {
        self.line_up_woken(order);
        order.borrow_mut().put(Entry::Movable(Unstarted(task)), Place::Yield, &self.queues());
        self.announce(order);
    }

    /// The running goroutine yields.
    #[inline(never)]
    pub(super) fn step_back_by_policy(&self, order: &OwnOrder) {
        self.line_up_woken(order);
        let current = NonNull::from(self.local().current());
        order.borrow_mut().put(Entry::Pinned(current), Place::Yield, &self.queues());
        self.announce(order);
        self.local().leave_to_loop();
    }

    /// The running goroutine steps aside for one that it starts.
    pub(super) fn step_aside_by_policy(&self, order: &OwnOrder) {
        self.line_up_woken(order);
        order.borrow_mut().put_aside(NonNull::from(self.local().current()));
        self.local().leave_to_loop();
    }

    /// Moves those that have been woken on from the ready lists into the order.
    pub(super) fn line_up_woken(&self, order: &OwnOrder) {
        let queues = self.queues();
        let mut any = false;
        {
            let mut order = order.borrow_mut();
            while let Some(waiter) = self.local().pop_ready() {
                order.put(Entry::Pinned(waiter), Place::Next, &queues);
                any = true;
            }
            while let Some(waiter) = self.local().pop_woken_elsewhere() {
                order.put(Entry::Pinned(waiter), Place::Tail, &queues);
                any = true;
            }
        }
        if any {
            self.announce(order);
        }
    }

    /// What runs next.
    pub(super) fn next_by_policy(&self, order: &OwnOrder) -> Next {
        let turns = self.count_turn();
        self.local().read_mail();
        self.line_up_woken(order);
        let idle = self.local().has_alarms() && order.borrow().is_empty(&self.queues());
        if turns >= self.next_tend.get() || idle || self.scheduler().is_closing() {
            let poll_every = order.borrow().knobs().poll_every;
            self.next_tend.set(turns + u64::from(poll_every));
            self.tend();
            self.line_up_woken(order);
        }
        let next = order.borrow_mut().next(&self.queues(), &mut || self.may_start());
        self.announce(order);
        let Some((entry, from)) = next else { return Next::Nothing };
        let counts = &self.peer().by_policy;
        match from {
            From::Aside => {}
            From::Slot => add(&counts.from_slot, 1),
            From::Ring => add(&counts.from_ring, 1),
            From::GlobalFirst | From::Global => {
                if from == From::GlobalFirst {
                    add(&counts.global_checks, 1);
                }
                add(&counts.from_global, 1);
                // As in `pop_outside`: whose child it is may just have been announced.
                self.local().read_mail();
                self.line_up_woken(order);
            }
        }
        match entry {
            Entry::Pinned(waiter) => Next::Ready(waiter),
            Entry::Movable(Unstarted(task)) => Next::Fresh(task),
        }
    }

    /// Takes stolen tasks in: the last of them runs at once, as in Go.
    pub(super) fn take_in(&self, order: &OwnOrder, loot: &mut Vec<Unstarted>) -> bool {
        let Some(Unstarted(first)) = loot.pop() else { return false };
        let counts = &self.peer().by_policy;
        add(&counts.steals, 1);
        add(&self.counters().stolen, loot.len() as u64 + 1);
        if !loot.is_empty() {
            order.borrow_mut().take_in(loot.drain(..), &self.queues());
            self.announce(order);
        }
        self.at_once.set(Some(first));
        self.detour(detour::AT_ONCE);
        // As in `pop_outside`: it may have come from there to the one it was stolen from.
        self.local().read_mail();
        self.line_up_woken(order);
        true
    }

    /// Wakes a worker, if there is news for one and the policy says so.
    pub(super) fn announce(&self, order: &OwnOrder) {
        let news = order.borrow_mut().take_news();
        if news.overflows > 0 {
            add(&self.peer().by_policy.overflows, news.overflows);
        }
        if news.unwatched {
            self.scheduler().wake_one();
        } else if news.movable {
            let wake = order.borrow().knobs().wake;
            self.scheduler().search.wake(wake, self.scheduler());
        }
    }

    /// Whether there would be a fiber left for the loop (F2).
    fn may_start(&self) -> bool {
        if !self.is_on_duty() {
            return false;
        }
        let may = self.has_spare();
        self.note_starved(!may);
        may
    }
}
