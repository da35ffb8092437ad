//! The slot of a queue: one task apart from the others, which its owner takes first and thieves last. Policies use it (`order.rs`).
//!
//! ```text
//!   owner:  put_in_slot ──> slot ── take_slot ──> runs next
//!                            │ └─── steal_slot ──> a thief's, by the policy's rule
//!        the one that was there ──> ring tail
//! ```
//! It lies under the queue's lock, beside the ring. So a task in it is one of the queue's: whoever puts it there takes the flag down that says that nobody watches, and a worker does not sleep while
//! somebody's slot is full (I2).

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::queue::Queue;

/// What a thief finds in a slot.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum SlotTheft<T> {
    Empty,
    /// Not yet: it is too young, or somebody else has been there meanwhile.
    Left,
    Taken(T),
}

/// What came of putting a task into a slot.
#[must_use]
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Put<T> {
    /// The one that was there, if there was no room for it in the ring. If there was, it has been appended.
    pub(super) left_over: Option<T>,
    /// Nobody was watching, the caller must wake a worker.
    pub(super) unwatched: bool,
}

impl<T> Queue<T> {
    /// The owner puts a task into the slot, and the one that was there, if there is `room`, at the end of the ring.
    pub(super) fn put_in_slot(&self, task: T, since: Option<Instant>, room: bool) -> Put<T> {
        let mut tasks = self.tasks.lock();
        let mut left_over = tasks.slot.replace(task);
        tasks.slot_since = since;
        if room && let Some(displaced) = left_over.take() {
            tasks.ring.push_back(displaced);
        }
        self.note_push(&tasks, 1);
        self.note_slot(&tasks);
        Put { left_over, unwatched: tasks.claim_wake() }
    }

    /// The owner takes it out again, if no thief was quicker.
    pub(super) fn take_slot(&self) -> Option<T> {
        let mut tasks = self.tasks.lock();
        let task = tasks.slot.take();
        self.note_slot(&tasks);
        task
    }

    /// A thief takes it if it is so old.
    pub(super) fn steal_slot_aged(&self, age: Duration) -> SlotTheft<T> {
        if !self.is_slot_full() {
            return SlotTheft::Empty;
        }
        let mut tasks = self.tasks.lock();
        // The clock is read under the lock, but only if there is something to be had.
        let theft = match tasks.slot_since {
            Some(since) if tasks.slot.is_some() && since.elapsed() < age => SlotTheft::Left,
            _ => tasks.slot.take().map_or(SlotTheft::Empty, SlotTheft::Taken),
        };
        self.note_slot(&tasks);
        theft
    }

    /// A thief takes it if it is still there after a `pause`, in which its owner is likely to come for it.
    pub(super) fn steal_slot_after(&self, pause: impl FnOnce()) -> SlotTheft<T> {
        if !self.is_slot_full() {
            return SlotTheft::Empty;
        }
        let seen = self.pushed();
        pause();
        let mut tasks = self.tasks.lock();
        // Another one in its place has been there for less long: each that is put there counts.
        if self.pushed() != seen {
            return SlotTheft::Left;
        }
        let theft = tasks.slot.take().map_or(SlotTheft::Left, SlotTheft::Taken);
        self.note_slot(&tasks);
        theft
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Watch;
    use super::*;

    #[test]
    fn the_one_that_was_there_goes_to_the_end_of_the_ring_if_there_is_room() {
        let queue = Queue::new();
        let _ = queue.push(1);
        assert_eq!(queue.put_in_slot(2, None, true), Put { left_over: None, unwatched: false });
        assert_eq!(queue.put_in_slot(3, None, true), Put { left_over: None, unwatched: false });
        assert_eq!(queue.put_in_slot(4, None, false), Put { left_over: Some(3), unwatched: false });
        assert_eq!(queue.len(), 2, "the slot is not counted");
        assert_eq!((queue.take_slot(), queue.take_slot()), (Some(4), None));
        assert_eq!((queue.pop_oldest(), queue.pop_oldest(), queue.pop_oldest()), (Some(1), Some(2), None));
    }

    #[test]
    fn a_full_slot_is_work_that_somebody_watches() {
        let queue = Queue::new();
        assert!(queue.put_in_slot(1, None, true).unwatched, "nobody watches a new queue");
        assert_eq!(queue.look(Instant::now(), &mut Watch::default()).len, 1);
        assert!(!queue.leave_unwatched(), "a worker does not sleep on a task");
        assert_eq!(queue.take_slot(), Some(1));
        assert!(queue.leave_unwatched());
        assert!(queue.put_in_slot(2, None, true).unwatched);
    }

    #[test]
    fn an_aged_one_is_stolen() {
        let queue = Queue::new();
        let age = Duration::from_secs(3600);
        assert_eq!(queue.steal_slot_aged(age), SlotTheft::Empty);
        let now = Instant::now();
        let _ = queue.put_in_slot(1, Some(now), true);
        assert_eq!(queue.steal_slot_aged(age), SlotTheft::Left);
        // As old as it can be, whatever the clock says.
        assert_eq!(queue.steal_slot_aged(Duration::ZERO), SlotTheft::Taken(1));
        assert_eq!(queue.take_slot(), None);
    }

    #[test]
    fn one_that_is_left_there_for_the_pause_is_stolen() {
        let queue = Queue::new();
        assert_eq!(queue.steal_slot_after(|| unreachable!("there is nothing to wait for")), SlotTheft::Empty);
        let _ = queue.put_in_slot(1, None, true);
        assert_eq!(queue.steal_slot_after(|| assert_eq!(queue.take_slot(), Some(1))), SlotTheft::Left, "its owner took it");
        let _ = queue.put_in_slot(2, None, true);
        assert_eq!(queue.steal_slot_after(|| _ = queue.put_in_slot(3, None, true)), SlotTheft::Left, "another one took its place");
        assert_eq!(queue.steal_slot_after(|| ()), SlotTheft::Taken(3));
        assert_eq!((queue.take_slot(), queue.pop_oldest()), (None, Some(2)));
    }
}
