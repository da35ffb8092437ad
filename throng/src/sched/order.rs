//! A worker's own order under a policy: what it runs next of what it knows of. Policies are put together in `policy/`; throng's own order needs none of this (`worker.rs`, `next_task`).
//!
//! ```text
//!   made ready, or new ──> slot ──(displaced)──> ring ──(full)──> global queue
//!   woken from elsewhere ───────────────────────> ring              │
//!   yields ──────────────────────(by the policy)─> ring or global   │
//!        next():  global, if it is its turn │ slot │ ring │ global <┘   then the queues of others (`search.rs`)
//! ```
//! *Ring* and *global* are each a queue that thieves or everybody can take from, and a line of those that have started here and may not leave (`line.rs`).
//! Those that stepped aside for one they started at once come before all.
//!
//! **The slot** is the owner's word for where its task is: one that has started is kept here; one that has not lies in the queue's own slot, where thieves find it (`slot.rs`), or here, if
//! the policy lets nobody steal it.
//!
//! **News.** What is put somewhere may be work for another worker. That is noted, and taken by whoever put it there (`by_policy.rs`), who wakes somebody outside of every borrow.
//!
//! Nothing in here knows of workers and fibers, so that the tests can run it with letters and numbers.

#![forbid(unsafe_code)]

use std::time::Instant;

use super::line::{Entry, Line};
use super::policy::{GlobalBatch, GlobalCheck, Knobs, LocalOrder, Overflow, SlotBudget, SlotSteal, YieldTo};
use super::queue::Queue;
use crate::rng::Rng;

/// The queues that the order is about, and how many share the global one.
#[derive(Debug)]
pub(super) struct Queues<'a, T> {
    pub(super) own: &'a Queue<T>,
    pub(super) global: &'a Queue<T>,
    pub(super) workers: usize,
}

/// Where a task goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// New, or made ready on this thread: the slot.
    Next,
    /// Made ready from another thread: behind what this one has.
    Tail,
    /// It yields: where the policy says.
    Yield,
}

/// Where a task came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    Aside,
    Slot,
    Ring,
    /// From the global queue, whose turn it was.
    GlobalFirst,
    /// From the global queue, as there was nothing else.
    Global,
}

/// What has become of tasks that were put somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct News {
    /// Some of them may be taken by others.
    pub(super) movable: bool,
    /// Nobody was watching: a worker must be woken (I2).
    pub(super) unwatched: bool,
    /// How often the ring was full.
    pub(super) overflows: u64,
}

#[derive(Debug)]
enum Slot<P, T> {
    Empty,
    Pinned(P),
    /// One that nobody may steal.
    Private(T),
    /// In the queue's slot, unless a thief has it.
    Shared,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Order<P, T> {
    knobs: Knobs,
    slot: Slot<P, T>,
    ring: Line<P>,
    global: Line<P>,
    aside: Vec<P>,
    /// Tasks run that did not come from the slot.
    turns: u64,
    /// Since the last turn: how many came from the slot, and when the first of them did.
    in_a_row: u32,
    slice: Option<Instant>,
    news: News,
    rng: Rng,
    shaken: bool,
    /// On their way from one queue to another. Empty between calls.
    moving: Vec<Entry<P, T>>,
}

impl<P, T: Copy> Order<P, T> {
    pub(super) fn new(knobs: Knobs, seed: Option<u64>, shaken: bool) -> Order<P, T> {
        Order {
            knobs,
            slot: Slot::Empty,
            ring: Line::new(),
            global: Line::new(),
            aside: Vec::new(),
            turns: 0,
            in_a_row: 0,
            slice: None,
            news: News::default(),
            rng: Rng::new(seed),
            shaken,
            moving: Vec::new(),
        }
    }

    pub(super) fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Whether there is nothing of this worker's own.
    pub(super) fn is_empty(&self, queues: &Queues<'_, T>) -> bool {
        self.aside.is_empty() && matches!(self.slot, Slot::Empty) && self.is_ring_empty(queues) && self.global.is_empty()
    }

    fn is_ring_empty(&self, queues: &Queues<'_, T>) -> bool {
        self.ring.is_empty() && queues.own.is_empty()
    }

    // In.

    pub(super) fn put(&mut self, entry: Entry<P, T>, place: Place, queues: &Queues<'_, T>) {
        match place {
            Place::Next if self.knobs.slot && !(self.shaken && self.rng.below(2) == 0) => self.put_in_slot(entry, queues),
            Place::Next | Place::Tail => self.append(entry, queues),
            Place::Yield => self.put_back(entry, queues),
        }
    }

    /// It goes on when what it started at once parks or ends.
    pub(super) fn put_aside(&mut self, pinned: P) {
        self.aside.push(pinned);
    }

    fn put_back(&mut self, entry: Entry<P, T>, queues: &Queues<'_, T>) {
        match self.knobs.yield_to {
            YieldTo::LocalTail => self.append(entry, queues),
            YieldTo::GlobalTail => self.submit(std::iter::once(entry), queues),
        }
    }

    fn put_in_slot(&mut self, entry: Entry<P, T>, queues: &Queues<'_, T>) {
        let displaced = match entry {
            Entry::Movable(task) if self.knobs.slot_steal != SlotSteal::Never => {
                let since = matches!(self.knobs.slot_steal, SlotSteal::Aged(_)).then(Instant::now);
                let room = self.has_room(queues);
                let put = queues.own.put_in_slot(task, since, room);
                self.note(Some(put.unwatched));
                match std::mem::replace(&mut self.slot, Slot::Shared) {
                    Slot::Pinned(pinned) => Some(Entry::Pinned(pinned)),
                    _ => put.left_over.map(Entry::Movable),
                }
            }
            Entry::Movable(task) => self.replace_slot(Slot::Private(task), queues),
            Entry::Pinned(pinned) => self.replace_slot(Slot::Pinned(pinned), queues),
        };
        if let Some(displaced) = displaced {
            self.append(displaced, queues);
        }
    }

    fn replace_slot(&mut self, slot: Slot<P, T>, queues: &Queues<'_, T>) -> Option<Entry<P, T>> {
        match std::mem::replace(&mut self.slot, slot) {
            Slot::Empty => None,
            Slot::Pinned(pinned) => Some(Entry::Pinned(pinned)),
            Slot::Private(task) => Some(Entry::Movable(task)),
            Slot::Shared => queues.own.take_slot().map(Entry::Movable),
        }
    }

    fn has_room(&self, queues: &Queues<'_, T>) -> bool {
        self.ring.len() + queues.own.len() < self.knobs.local_capacity
    }

    /// At the end of the ring; if that is full, by the policy's rule for it.
    fn append(&mut self, entry: Entry<P, T>, queues: &Queues<'_, T>) {
        if self.has_room(queues) {
            match entry {
                Entry::Pinned(pinned) => self.ring.push(pinned, queues.own),
                Entry::Movable(task) => {
                    let unwatched = queues.own.push(task);
                    self.note(Some(unwatched));
                }
            }
            return;
        }
        self.news.overflows += 1;
        let mut moving = std::mem::take(&mut self.moving);
        if self.knobs.overflow == Overflow::Half {
            self.ring.take(queues.own, self.knobs.local_capacity / 2, true, &mut moving);
        }
        moving.push(entry);
        self.submit(moving.drain(..), queues);
        self.moving = moving;
    }

    /// To the end of the global queue.
    fn submit(&mut self, entries: impl Iterator<Item = Entry<P, T>>, queues: &Queues<'_, T>) {
        let unwatched = self.global.append(queues.global, entries);
        self.note(unwatched);
    }

    /// Tasks stolen from another worker, the oldest first.
    pub(super) fn take_in(&mut self, stolen: impl Iterator<Item = T>, queues: &Queues<'_, T>) {
        let unwatched = self.ring.append(queues.own, stolen.map(Entry::Movable));
        self.note(unwatched);
    }

    fn note(&mut self, unwatched: Option<bool>) {
        self.news.movable |= unwatched.is_some();
        self.news.unwatched |= unwatched == Some(true);
    }

    // Out.

    /// What runs next. One that has not started is taken only if `may_start` agrees.
    pub(super) fn next(&mut self, queues: &Queues<'_, T>, may_start: &mut dyn FnMut() -> bool) -> Option<(Entry<P, T>, From)> {
        if let Some(pinned) = self.aside.pop() {
            return Some((Entry::Pinned(pinned), From::Aside));
        }
        if self.is_globals_turn(queues)
            && let Some(entry) = self.take_globals(1, queues, may_start)
        {
            self.turn();
            return Some((entry, From::GlobalFirst));
        }
        if let Some(entry) = self.take_slot(queues, may_start) {
            return Some((entry, From::Slot));
        }
        let entry = match self.knobs.local_order {
            LocalOrder::OldestFirst => self.ring.pop_oldest(queues.own, may_start),
            LocalOrder::NewestFirst => self.ring.pop_newest(queues.own, may_start),
        };
        if let Some(entry) = entry {
            self.turn();
            return Some((entry, From::Ring));
        }
        let entry = self.take_globals(self.batch(queues), queues, may_start)?;
        self.turn();
        Some((entry, From::Global))
    }

    /// What does not come from the slot is a turn, with a time slice of its own.
    fn turn(&mut self) {
        self.turns += 1;
        self.in_a_row = 0;
        self.slice = None;
    }

    fn is_globals_turn(&mut self, queues: &Queues<'_, T>) -> bool {
        match self.knobs.global_check {
            GlobalCheck::Every(n) => self.turns.is_multiple_of(u64::from(n)),
            GlobalCheck::Random(n) => {
                // Where there is nothing of our own the order does not matter.
                let has_own = !matches!(self.slot, Slot::Empty) || !self.is_ring_empty(queues);
                has_own && self.rng.below(n.saturating_mul(queues.workers.max(2) as u32)) == 0
            }
            GlobalCheck::Never => false,
        }
    }

    fn take_slot(&mut self, queues: &Queues<'_, T>, may_start: &mut dyn FnMut() -> bool) -> Option<Entry<P, T>> {
        match self.slot {
            Slot::Empty => return None,
            Slot::Pinned(_) => {}
            Slot::Private(_) | Slot::Shared if !may_start() => return None,
            Slot::Private(_) | Slot::Shared => {}
        }
        let others_wait = !self.is_ring_empty(queues) || !self.global.is_empty() || !queues.global.is_empty();
        if !others_wait {
            self.in_a_row = 0;
            self.slice = None;
        }
        let spent = self.is_budget_spent();
        let entry = self.replace_slot(Slot::Empty, queues)?;
        if others_wait && (spent || self.shaken && self.rng.below(2) == 0) {
            self.put_back(entry, queues);
            return None;
        }
        self.in_a_row += 1;
        Some(entry)
    }

    fn is_budget_spent(&mut self) -> bool {
        match self.knobs.slot_budget {
            SlotBudget::Time(budget) => {
                let now = Instant::now();
                now.saturating_duration_since(*self.slice.get_or_insert(now)) >= budget
            }
            SlotBudget::Tasks(budget) => self.in_a_row >= budget,
            SlotBudget::Unlimited => false,
        }
    }

    /// How many to take from the global queue.
    fn batch(&self, queues: &Queues<'_, T>) -> usize {
        match self.knobs.global_batch {
            GlobalBatch::One => 1,
            GlobalBatch::Share(most) => {
                let len = self.global.len() + queues.global.len();
                (len / queues.workers + 1).min(most).min(self.knobs.local_capacity.div_ceil(2))
            }
        }
    }

    /// Takes up to `n` from the global queue: the first is returned, the others go to the ring.
    fn take_globals(&mut self, n: usize, queues: &Queues<'_, T>, may_start: &mut dyn FnMut() -> bool) -> Option<Entry<P, T>> {
        if queues.global.is_empty() && self.global.is_empty() {
            return None;
        }
        let mut moving = std::mem::take(&mut self.moving);
        self.global.take(queues.global, n, may_start(), &mut moving);
        let mut taken = moving.drain(..);
        let first = taken.next();
        if taken.len() > 0 {
            let unwatched = self.ring.append(queues.own, taken);
            self.note(unwatched);
        } else {
            drop(taken);
        }
        self.moving = moving;
        first
    }
}
