//! What every arm of a select does at each step of it, and the arms that wait for nothing but the clock. (`channel_arms.rs` has those of channels, `join.rs` those of tasks.)

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::channel;
use crate::lock;
use crate::waiter::Ticket;
use crate::waitq::Woken;

/// One arm. It is *committed* when its operation has been done, by itself or by the peer that claimed it.
///
/// Arms of one channel need its lock only once: the first of them takes it, and lends it to the others.
pub(crate) trait Arm<'a> {
    /// Where its channel lies: arms with the same one share a lock. 0: it has none.
    fn address(&self) -> usize;
    /// Whether `commit` is likely to succeed, without the lock.
    fn seems_ready(&self) -> bool;
    /// Takes the channel's lock, does the operation if it can be done now, leaves the lock and wakes the peer, if there was one.
    fn attempt(&mut self) -> bool;
    /// Takes the channel's lock, keeps it, and tells what `is_ready` would.
    fn lock(&mut self) -> bool;
    /// Leaves the lock, if the arm has it.
    fn unlock(&mut self);
    /// Gives the lock away to be `borrow`ed by another arm of the same channel.
    fn lend(&mut self) -> Option<Held<'a>>;
    fn borrow(&mut self, held: Held<'a>);
    /// Whether `commit` would succeed, with the lock held. (It may fail all the same, once for each waiter that was fired elsewhere.)
    fn is_ready(&mut self) -> bool;
    /// Does the operation if it can be done now, with the lock held.
    fn commit(&mut self) -> Commit;
    /// Queues the arm with the lock held; who claims it ends the wait of `ticket` with `index`. Leaves the lock if it is the `last` to do so under it.
    fn enqueue(&mut self, ticket: Ticket, index: u16, last: bool);
    /// Takes the arm out of its queue. It was not claimed.
    fn dequeue(&mut self);
    /// The arm was claimed, by a peer or by the closing of the channel.
    fn claimed(&mut self, closed: bool);
    /// When a select must look at it again.
    fn deadline(&self) -> Option<Instant>;
    /// Commits an arm that waits for the clock, if it is due.
    fn expire(&mut self, now: Instant) -> bool;
}

/// The lock of what an arm waits for, on its way from one arm to another.
#[derive(Debug)]
pub(crate) enum Held<'a> {
    Channel(channel::Held<'a>),
    /// A task's, in which those lie who join it.
    Task(lock::Held<'a>),
}

/// What became of `commit`.
#[must_use]
pub(crate) enum Commit {
    /// Done; the peer to wake after unlocking, if there was one.
    Done(Option<Woken>),
    NotReady,
}

impl Commit {
    /// Of an arm that has no peer.
    pub(super) fn alone(done: bool) -> Commit {
        if done { Commit::Done(None) } else { Commit::NotReady }
    }
}

/// An `after(..)` arm.
#[derive(Debug)]
pub struct AfterArm {
    /// `None`: beyond what the clock can tell.
    deadline: Option<Instant>,
    at_once: bool,
}

impl AfterArm {
    #[inline]
    pub(crate) fn new(timeout: Duration) -> AfterArm {
        AfterArm { deadline: channel::deadline(timeout), at_once: timeout.is_zero() }
    }

    /// The instant that was waited for, if the arm was chosen.
    #[inline]
    pub fn result(self) -> Instant {
        self.deadline.expect("an arm without a deadline is never chosen")
    }
}

impl<'a> Arm<'a> for AfterArm {
    fn address(&self) -> usize {
        0
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        // The time is not over before it has begun: no need to ask the clock.
        self.at_once
    }

    fn attempt(&mut self) -> bool {
        self.at_once
    }

    fn lock(&mut self) -> bool {
        self.at_once
    }

    fn unlock(&mut self) {}

    fn lend(&mut self) -> Option<Held<'a>> {
        None
    }

    fn borrow(&mut self, _: Held<'a>) {}

    fn is_ready(&mut self) -> bool {
        self.at_once
    }

    fn commit(&mut self) -> Commit {
        Commit::alone(self.at_once)
    }

    fn enqueue(&mut self, _: Ticket, _: u16, _: bool) {}

    fn dequeue(&mut self) {}

    fn claimed(&mut self, _: bool) {}

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expire(&mut self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}
