//! The queue of goroutines that have not started: a worker's own, and the one for submissions from outside.
//!
//! The owner takes the newest (its data is in the cache, and a tree of tasks is walked depth first), thieves take from the old end, half at a time. A task
//! is *aged* when it has been here since a look of the watcher's that was at least [`AGE`] ago. No task carries a time stamp for that: the queue remembers,
//! since that look, the lowest length it has had. What lies below that mark has not been touched.
//!
//! ```text
//!   old end                                            new end
//!    head ........ aged ........ low ................. tail
//!    └─ thieves ──>|             |<── never popped     <── owner pushes and pops
//!      seen twice, AGE apart       since the last look
//! ```
//! Positions count from the queue's beginning and do not wrap.
//!
//! **Who is to be woken.** `unwatched` says that nobody is looking at this queue: the worker that went to sleep last has set it, under the lock, when it found
//! the queue empty. A push under the same lock sees it, takes it down, and its caller wakes a worker. So a push comes either before that last look, which
//! finds it, or after, and finds the flag: the lock orders the two, and there is no fence between a push and a check for sleepers (`README.md`). An owner that has always come for its few
//! tasks soon is trusted to do so again, and nobody is woken for them (`trust.rs`).

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::owned_lock::OwnedLock;
use crate::shim::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use trust::Trust;

/// How old a task must be before an idle worker takes it from one that is not stuck.
pub(crate) const AGE: Duration = Duration::from_micros(100);

/// The most tasks that change hands at once: bounds how long a thief holds the lock.
pub(crate) const BATCH: usize = 256;

#[repr(align(128))] // Its line goes to and fro between owner and thieves: nothing else should.
pub(crate) struct Queue<T> {
    pub(super) tasks: OwnedLock<Tasks<T>>,
    outline: Outline,
}

pub(super) struct Tasks<T> {
    pub(super) ring: VecDeque<T>,
    /// The position of the oldest.
    pub(super) head: u64,
    /// Nobody watches this queue: the next push must wake a worker, or trust its owner.
    unwatched: bool,
    trust: Trust,
    /// A task apart from the others, and since when it is there, if somebody wants to know (`slot.rs`). Policies use it; throng's own order does not.
    pub(super) slot: Option<T>,
    pub(super) slot_since: Option<Instant>,
}

/// What can be seen of a queue without its lock, which is dear to all but its owner. Written by who holds the lock, but for `interval`.
///
/// Relaxed throughout: hints, exact for who holds the lock; whoever acts on them takes it. (What is seen of two of them may be from different moments: a task is then thought aged that is not, or not aged that is.)
struct Outline {
    /// The slot does not count.
    len: AtomicUsize,
    pushed: AtomicU64,
    head: AtomicU64,
    /// The lowest tail in an interval between two looks.
    low: AtomicU64,
    in_slot: AtomicBool,
    /// The interval that `low` is of.
    of: AtomicU32,
    /// Which one there is now: the watcher's.
    interval: AtomicU32,
}

/// What a look at somebody's queue has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    /// Tasks pushed so far.
    pub(crate) pushed: u64,
    pub(crate) len: usize,
}

/// What a watcher remembers of a queue between its looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    since: Option<Instant>,
    interval: u32,
    tail: u64,
    /// Below this position tasks are aged.
    aged: u64,
}

/// Which tasks may be stolen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    Any,
    /// Those that have aged while this watcher watched.
    Aged(&'a Watch),
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue::with(Trust::new(false))
    }

    /// One whose owner may earn trust (`trust.rs`): then it alone pushes, a monitor looks, and [`lose_trust`](Queue::lose_trust) is called for tasks that wait in vain.
    #[cfg(not(loom))]
    pub(super) fn trusting() -> Queue<T> {
        Queue::with(Trust::new(true))
    }

    fn with(trust: Trust) -> Queue<T> {
        let ring = VecDeque::new();
        // Nobody watches it before the workers run.
        let tasks = Tasks { ring, head: 0, unwatched: true, trust, slot: None, slot_since: None };
        Queue { tasks: OwnedLock::new(tasks), outline: Outline::new() }
    }

    /// The running thread owns this queue from now on: to others it is dear.
    #[cfg(not(loom))]
    pub(super) fn adopt(&self) {
        self.tasks.adopt();
    }

    /// The running thread, the owner, ends, or rests.
    #[cfg(not(loom))]
    pub(super) fn abandon(&self) {
        self.tasks.abandon();
    }

    /// Adds the newest task. `true`: nobody was watching, the caller must wake a worker.
    #[must_use]
    #[inline]
    pub(crate) fn push(&self, task: T) -> bool {
        let mut tasks = self.tasks.lock();
        tasks.ring.push_back(task);
        self.note_push(&tasks, 1);
        tasks.claim_wake()
    }

    /// `push`, by an owner who will take it out at once if it is the only one: then nobody need be woken for it, and the next push finds the queue unwatched as this one did.
    #[must_use]
    pub(crate) fn push_own(&self, task: T) -> bool {
        let mut tasks = self.tasks.lock();
        let only = tasks.ring.is_empty();
        tasks.ring.push_back(task);
        self.note_push(&tasks, 1);
        !only && tasks.claim_wake()
    }

    /// Adds stolen tasks, oldest first. They may be taken by the next thief at once.
    pub(crate) fn push_stolen(&self, stolen: impl Iterator<Item = T>) {
        let mut tasks = self.tasks.lock();
        tasks.ring.extend(stolen);
        self.note_len(&tasks);
    }

    // To be called after every change, by who holds the lock.

    #[inline]
    fn note_len(&self, tasks: &Tasks<T>) {
        self.outline.len.store(tasks.ring.len(), Ordering::Relaxed);
    }

    /// So many were added.
    #[inline]
    pub(super) fn note_push(&self, tasks: &Tasks<T>, n: u64) {
        self.note_len(tasks);
        self.outline.pushed.store(self.pushed() + n, Ordering::Relaxed);
    }

    /// Something was taken from the old end.
    #[inline]
    pub(super) fn note_pop(&self, tasks: &Tasks<T>) {
        self.note_len(tasks);
        self.outline.head.store(tasks.head, Ordering::Relaxed);
    }

    /// The slot was filled or emptied.
    pub(super) fn note_slot(&self, tasks: &Tasks<T>) {
        self.outline.in_slot.store(tasks.slot.is_some(), Ordering::Relaxed);
    }

    /// The newest was taken: the tail has not been lower since.
    #[inline]
    fn note_tail(&self, tasks: &Tasks<T>) {
        self.note_len(tasks);
        let tail = tasks.head + tasks.ring.len() as u64;
        let interval = self.outline.interval.load(Ordering::Relaxed);
        if interval != self.outline.of.load(Ordering::Relaxed) {
            self.outline.of.store(interval, Ordering::Relaxed);
        } else if tail >= self.outline.low.load(Ordering::Relaxed) {
            return;
        }
        self.outline.low.store(tail, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hint, exact for who holds the lock.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.outline.len.load(Ordering::Relaxed)
    }

    /// How many tasks have been pushed so far: a hint, exact for who holds the lock.
    #[inline]
    pub(super) fn pushed(&self) -> u64 {
        self.outline.pushed.load(Ordering::Relaxed)
    }

    /// Whether there is a task in the slot: a hint.
    #[inline]
    pub(super) fn is_slot_full(&self) -> bool {
        self.outline.in_slot.load(Ordering::Relaxed)
    }

    /// The owner takes its newest task, and learns which it would get next, if no thief comes first.
    #[inline]
    pub(crate) fn pop_newest(&self) -> Option<(T, Option<T>)>
    where
        T: Copy,
    {
        if self.is_empty() {
            return None;
        }
        let mut tasks = self.tasks.lock();
        let task = tasks.ring.pop_back()?;
        self.note_tail(&tasks);
        Some((task, tasks.ring.back().copied()))
    }

    /// Takes the oldest task, and learns which will be the one after `ahead` others.
    #[inline]
    pub(crate) fn pop_oldest_and_see(&self, ahead: usize) -> Option<(T, Option<T>)>
    where
        T: Copy,
    {
        if self.is_empty() {
            return None;
        }
        let mut tasks = self.tasks.lock();
        let task = tasks.ring.pop_front()?;
        tasks.head += 1;
        self.note_pop(&tasks);
        Some((task, tasks.ring.get(ahead).copied()))
    }

    /// Takes the oldest task.
    pub(crate) fn pop_oldest(&self) -> Option<T>
    where
        T: Copy,
    {
        self.pop_oldest_and_see(0).map(|(task, _)| task)
    }

    /// A task gives way to the oldest, which is taken: `push` and `pop_oldest` in one hold of the lock. With nobody there it is its own turn again. Returns what to run,
    /// what is the oldest then, and, as `push` does, whether a worker is to be woken.
    #[inline]
    pub(crate) fn rotate(&self, task: T) -> (T, Option<T>, bool)
    where
        T: Copy,
    {
        // The owner's: nobody else adds to it.
        if self.is_empty() {
            return (task, None, false);
        }
        let mut tasks = self.tasks.lock();
        let Some(oldest) = tasks.ring.pop_front() else { return (task, None, false) };
        tasks.head += 1;
        tasks.ring.push_back(task);
        self.note_pop(&tasks);
        self.note_push(&tasks, 1);
        let next = tasks.ring.front().copied();
        (oldest, next, tasks.claim_wake())
    }

    /// Takes up to half of the tasks (at least one), and at most [`BATCH`], from the old end.
    pub(crate) fn steal(&self, into: &mut Vec<T>, which: Which<'_>) {
        let enough = |head| match which {
            Which::Any => usize::MAX,
            Which::Aged(watch) => usize::try_from(watch.aged.saturating_sub(head)).unwrap_or(usize::MAX),
        };
        if self.is_empty() || enough(self.outline.head.load(Ordering::Relaxed)) == 0 {
            return;
        }
        let mut tasks = self.tasks.lock();
        let mut n = tasks.ring.len().div_ceil(2).min(BATCH).min(enough(tasks.head));
        if let Which::Aged(watch) = which
            && self.outline.of.load(Ordering::Relaxed) == watch.interval
        {
            // Some of them may have been popped since the look, and others be in their places.
            let low = self.outline.low.load(Ordering::Relaxed);
            n = n.min(usize::try_from(low.saturating_sub(tasks.head)).unwrap_or(usize::MAX));
        }
        into.extend(tasks.ring.drain(..n));
        tasks.head += n as u64;
        if n > 0 {
            tasks.trust.note_stolen();
        }
        self.note_pop(&tasks);
    }

    /// The watcher looks: what was here at its last look, if that is long enough ago, is aged from now on.
    pub(crate) fn look(&self, now: Instant, watch: &mut Watch) -> Look {
        let outline = &self.outline;
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let current = outline.interval.load(Ordering::Relaxed);
        match watch.since {
            Some(since) if now.saturating_duration_since(since) < AGE => {}
            since => {
                let ours = since.is_some() && current == watch.interval;
                let low = if outline.of.load(Ordering::Relaxed) == current { load(&outline.low) } else { watch.tail };
                watch.aged = if ours { low.min(watch.tail) } else { 0 };
                watch.interval = current.wrapping_add(1);
                outline.interval.store(watch.interval, Ordering::Relaxed);
                watch.tail = load(&outline.head) + self.len() as u64;
                watch.since = Some(now);
            }
        }
        Look { pushed: self.pushed(), len: self.len() + usize::from(self.is_slot_full()) }
    }

    /// The position of the oldest task: it changes when that is taken. (The one in the slot counts as the newest.)
    pub(crate) fn oldest(&self) -> Option<u64> {
        (!self.is_empty() || self.is_slot_full()).then(|| self.outline.head.load(Ordering::Relaxed))
    }

    /// The watcher goes to work: as [`leave_unwatched`](Queue::leave_unwatched), but an owner may be trusted with what is there.
    pub(super) fn leave_to_owner(&self) -> bool {
        let mut tasks = self.tasks.lock();
        let fine = !tasks.is_beyond_trust(true);
        if fine {
            tasks.unwatched = true;
        }
        fine
    }

    /// The owner does not get ready with what it has. `true`: it was trusted to; somebody else must be woken.
    #[cfg(not(loom))]
    pub(super) fn lose_trust(&self) -> bool {
        let mut tasks = self.tasks.lock();
        tasks.trust.lose() && mem::replace(&mut tasks.unwatched, false)
    }

    /// The last worker awake is about to sleep: from now on a push must wake somebody. `false`: there are tasks here, it must not sleep.
    pub(crate) fn leave_unwatched(&self) -> bool {
        let mut tasks = self.tasks.lock();
        let empty = tasks.ring.is_empty() && tasks.slot.is_none();
        if empty {
            tasks.unwatched = true;
        }
        empty
    }
}

impl Outline {
    fn new() -> Outline {
        Outline {
            len: AtomicUsize::new(0),
            pushed: AtomicU64::new(0),
            head: AtomicU64::new(0),
            low: AtomicU64::new(0),
            in_slot: AtomicBool::new(false),
            of: AtomicU32::new(0),
            interval: AtomicU32::new(0),
        }
    }
}

impl<T> Tasks<T> {
    /// To be called when a task has been added. `true`: nobody watches, and a worker must be woken; the flag that says so is down from now on.
    #[inline]
    pub(super) fn claim_wake(&mut self) -> bool {
        // (Where the owner takes the only one, it is asked for the second.)
        self.unwatched && self.is_beyond_trust(self.ring.len() <= 2) && mem::replace(&mut self.unwatched, false)
    }

    /// Whether somebody is to be woken for what there is; it is taken for granted that this is done.
    fn is_beyond_trust(&mut self, first: bool) -> bool {
        let tasks = self.ring.len() + usize::from(self.slot.is_some());
        let beyond = !self.trust.covers(tasks, first);
        if beyond {
            self.trust.note_wake(tasks);
        }
        beyond
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish()
    }
}

#[path = "trust.rs"]
mod trust;

#[cfg(all(test, not(loom)))]
#[path = "queue_tests.rs"]
mod tests;
