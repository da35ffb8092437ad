//! Goroutines that have started, lined up with those in a queue that have not.
//!
//! A policy has one order for both. But what has started is its worker's alone, and a queue is open to thieves. So the two are kept apart: the queue holds those that may move, and the
//! worker, for itself, a *line* of those that may not, each with its *place*: the position in the queue of the next to be appended.
//!
//! ```text
//!   queue (shared)   A  B  C  D          positions 7 8 9 10, so head 7 and tail 11
//!   line (own)         p     q           places 8 and 10
//!   one order        A  B? p ..          p is due when the head has come to its place, whoever took what was before it: A p B C q D with place 8, 10
//! ```
//! A place is due when the queue's head has reached it. So a thief's half is the older half of those that may move, and those that may not close ranks.
//! The same is done with the global queue: there each worker has a line, and its own goroutines wait in it as long as they would have waited in the queue.
//!
//! Invariant P1: places in a line do not decrease while the queue is not empty, so only the first and the last are ever looked at. (One that comes while it is empty may have place 0, which is due.)

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::queue::Queue;

/// What a worker has to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry<P, T> {
    /// It has started: this worker runs it, and no other.
    Pinned(P),
    /// It may be run by any.
    Movable(T),
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Line<P> {
    places: VecDeque<(u64, P)>,
}

impl<P> Line<P> {
    pub(super) fn new() -> Line<P> {
        Line { places: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Lines up behind all that is in `queue` now.
    pub(super) fn push<T>(&mut self, pinned: P, queue: &Queue<T>) {
        let place = if queue.is_empty() { 0 } else { queue.tail() };
        self.places.push_back((place, pinned));
    }

    fn pop_first<T>(&mut self) -> Option<Entry<P, T>> {
        self.places.pop_front().map(|(_, pinned)| Entry::Pinned(pinned))
    }

    /// The oldest of both. One that may move is taken only if `may_start` agrees, who is asked only if it matters; else the first that has started.
    pub(super) fn pop_oldest<T>(&mut self, queue: &Queue<T>, may_start: &mut dyn FnMut() -> bool) -> Option<Entry<P, T>> {
        let before = self.places.front().map_or(u64::MAX, |&(place, _)| place);
        if before > 0 && !queue.is_empty() && may_start() {
            let mut tasks = queue.tasks.lock();
            if tasks.head < before
                && let Some(task) = tasks.ring.pop_front()
            {
                tasks.head += 1;
                queue.note_pop(&tasks);
                return Some(Entry::Movable(task));
            }
        }
        self.pop_first()
    }

    /// The newest of both, likewise.
    pub(super) fn pop_newest<T: Copy>(&mut self, queue: &Queue<T>, may_start: &mut dyn FnMut() -> bool) -> Option<Entry<P, T>> {
        let newer_than = self.places.back().map_or(0, |&(place, _)| place);
        // Nobody but us appends, so what is newer now is newer still when it is taken; it may be stolen meanwhile.
        if !queue.is_empty()
            && queue.tail() > newer_than
            && may_start()
            && let Some((task, _)) = queue.pop_newest()
        {
            return Some(Entry::Movable(task));
        }
        self.places.pop_back().map(|(_, pinned)| Entry::Pinned(pinned))
    }

    /// Up to `n` of both, the oldest first, in one go. `may_start`: else only those that have started.
    pub(super) fn take<T>(&mut self, queue: &Queue<T>, n: usize, may_start: bool, into: &mut Vec<Entry<P, T>>) {
        let end = into.len() + n;
        if may_start && !queue.is_empty() {
            let mut tasks = queue.tasks.lock();
            while into.len() < end {
                if self.places.front().is_some_and(|&(place, _)| place <= tasks.head) {
                    into.extend(self.pop_first());
                } else if let Some(task) = tasks.ring.pop_front() {
                    tasks.head += 1;
                    into.push(Entry::Movable(task));
                } else {
                    break;
                }
            }
            queue.note_pop(&tasks);
        }
        while into.len() < end
            && let Some(pinned) = self.pop_first()
        {
            into.push(pinned);
        }
    }

    /// Appends all of these, in this order: what may move to the queue, what may not to the line. `Some(unwatched)` if any of them may move: whether nobody was
    /// watching, so that the caller must wake a worker.
    #[must_use]
    pub(super) fn append<T>(&mut self, queue: &Queue<T>, entries: impl Iterator<Item = Entry<P, T>>) -> Option<bool> {
        let mut unwatched = None;
        let mut pushed = 0;
        let mut tasks = queue.tasks.lock();
        for entry in entries {
            match entry {
                Entry::Pinned(pinned) => {
                    let place = tasks.head + tasks.ring.len() as u64;
                    self.places.push_back((place, pinned));
                }
                Entry::Movable(task) => {
                    tasks.ring.push_back(task);
                    pushed += 1;
                    let was = tasks.claim_wake();
                    unwatched = Some(unwatched.unwrap_or(false) || was);
                }
            }
        }
        queue.note_push(&tasks, pushed);
        unwatched
    }
}

impl<T> Queue<T> {
    /// The position of the next to be appended.
    fn tail(&self) -> u64 {
        let tasks = self.tasks.lock();
        tasks.head + tasks.ring.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Which;
    use super::Entry::{Movable, Pinned};
    use super::*;

    /// Movables are numbers, those that have started are letters.
    fn lined_up(entries: &[Entry<char, u32>]) -> (Queue<u32>, Line<char>) {
        let (queue, mut line) = (Queue::new(), Line::new());
        for &entry in entries {
            match entry {
                Pinned(pinned) => line.push(pinned, &queue),
                Movable(task) => _ = queue.push(task),
            }
        }
        (queue, line)
    }

    const MIXED: [Entry<char, u32>; 6] = [Movable(1), Pinned('a'), Movable(2), Movable(3), Pinned('b'), Pinned('c')];

    fn drain(queue: &Queue<u32>, line: &mut Line<char>) -> Vec<Entry<char, u32>> {
        std::iter::from_fn(|| line.pop_oldest(queue, &mut || true)).collect()
    }

    #[test]
    fn both_kinds_come_out_in_the_order_they_went_in() {
        let (queue, mut line) = lined_up(&MIXED);
        assert_eq!(drain(&queue, &mut line), MIXED);
        // Also when positions have long left zero, and when the line was empty or the queue was.
        for &entry in &[Pinned('d'), Movable(4), Pinned('e')] {
            let _ = line.append(&queue, std::iter::once(entry));
        }
        line.push('f', &queue);
        assert_eq!(drain(&queue, &mut line), [Pinned('d'), Movable(4), Pinned('e'), Pinned('f')]);
    }

    #[test]
    fn those_that_have_started_close_ranks_when_others_are_stolen() {
        let (queue, mut line) = lined_up(&MIXED);
        let mut loot = Vec::new();
        queue.steal(&mut loot, Which::Any);
        assert_eq!(loot, [1, 2]);
        assert_eq!(drain(&queue, &mut line), [Pinned('a'), Movable(3), Pinned('b'), Pinned('c')]);
    }

    #[test]
    fn the_newest_first() {
        let (queue, mut line) = lined_up(&MIXED);
        let all: Vec<_> = std::iter::from_fn(|| line.pop_newest(&queue, &mut || true)).collect();
        assert_eq!(all, [Pinned('c'), Pinned('b'), Movable(3), Movable(2), Pinned('a'), Movable(1)]);
        // A place of zero, given when the queue was empty, is older than what comes after.
        line.push('d', &queue);
        let _ = queue.push(4);
        assert_eq!(line.pop_newest(&queue, &mut || true), Some(Movable(4)));
        assert_eq!(line.pop_newest(&queue, &mut || true), Some(Pinned('d')));
        assert_eq!(line.pop_newest(&queue, &mut || true), None);
    }

    #[test]
    fn without_a_stack_only_what_has_started_comes_out() {
        let (queue, mut line) = lined_up(&MIXED);
        let started: Vec<_> = std::iter::from_fn(|| line.pop_oldest(&queue, &mut || false)).collect();
        assert_eq!(started, [Pinned('a'), Pinned('b'), Pinned('c')]);
        assert_eq!(queue.len(), 3);
        let (queue, mut line) = lined_up(&MIXED);
        let mut taken = Vec::new();
        line.take(&queue, 2, false, &mut taken);
        assert_eq!(taken, [Pinned('a'), Pinned('b')]);
    }

    #[test]
    fn several_are_taken_and_put_elsewhere_in_their_order() {
        let (queue, mut line) = lined_up(&MIXED);
        let mut taken = Vec::new();
        line.take(&queue, 4, true, &mut taken);
        assert_eq!(taken, MIXED[..4]);
        let (other, mut its_line) = lined_up(&[Movable(9)]);
        assert!(other.pop_oldest().is_some() && other.leave_unwatched());
        assert_eq!(its_line.append(&other, taken.into_iter()), Some(true));
        assert_eq!(its_line.append(&other, std::iter::once(Pinned('z'))), None, "nobody could take it");
        assert_eq!(its_line.append(&other, std::iter::once(Movable(8))), Some(false));
        assert_eq!(drain(&other, &mut its_line), [Movable(1), Pinned('a'), Movable(2), Movable(3), Pinned('z'), Movable(8)]);
        taken = Vec::new();
        line.take(&queue, 9, true, &mut taken);
        assert_eq!(taken, [Pinned('b'), Pinned('c')]);
        assert!(line.is_empty() && queue.is_empty());
    }
}
