//! The arms of a select: what each kind does at each step of it.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::DerefMut;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::channel::{self, Clock, Offered, Place, Receiver, RecvError, SendError, Sender, Shared, Source, Taken, flag};
use crate::lock::Held;
use crate::waiter::Ticket;
use crate::waitq::Woken;

/// One arm. It is *committed* when its operation has been done, by itself or by the peer that claimed it.
pub(crate) trait Arm<'a> {
    /// Where its channel lies: arms with the same one share a lock. 0: it has none.
    fn address(&self) -> usize;
    /// Takes the channel's lock.
    fn lock(&self) -> Option<Held<'a>>;
    /// Whether `commit` is likely to succeed, without the lock.
    fn seems_ready(&self) -> bool;
    /// Whether `commit` would succeed, with the lock held. (It may fail all the same, once for each waiter that was fired elsewhere.)
    fn is_ready(&self, held: &mut Option<Held<'a>>) -> bool;
    /// Does the operation if it can be done now, with the lock held.
    fn commit(&mut self, held: &mut Option<Held<'a>>) -> Commit;
    /// Queues the arm with the lock held; who claims it ends the wait of `ticket` with `index`.
    fn enqueue(&mut self, held: &mut Option<Held<'a>>, ticket: Ticket, index: u16);
    /// Takes the arm out of its queue. It was not claimed.
    fn dequeue(&mut self);
    /// The arm was claimed, by a peer or by the closing of the channel.
    fn claimed(&mut self, closed: bool);
    /// When a select must look at it again.
    fn deadline(&self) -> Option<Instant>;
    /// Commits an arm that waits for the clock, if it is due.
    fn expire(&mut self, now: Instant) -> bool;
}

/// What became of `commit`.
#[must_use]
pub(crate) enum Commit {
    /// Done; the peer to wake after unlocking, if there was one.
    Done(Option<Woken>),
    NotReady,
}

/// A `recv(..)` arm. `P` is where its place lies: the frame of a `select!`, or a box.
pub struct RecvArm<'a, T, P> {
    from: From<'a, T, P>,
    closed: bool,
}

enum From<'a, T, P> {
    Channel(&'a Shared<T>, Pin<P>),
    Clock(&'a Clock<T>, Option<T>),
    Nothing,
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> RecvArm<'a, T, P> {
    #[inline]
    pub(crate) fn new(receiver: &'a Receiver<T>, place: Option<Pin<P>>) -> Self {
        let from = match (receiver.source(), place) {
            (Source::Channel(shared), Some(place)) => From::Channel(shared, place),
            (Source::Clock(clock), _) => From::Clock(clock, None),
            _ => From::Nothing,
        };
        RecvArm { from, closed: false }
    }

    /// What the arm received, if it was chosen.
    #[inline]
    pub fn result(self) -> Result<T, RecvError> {
        if self.closed {
            return Err(RecvError::Closed);
        }
        let message = match self.from {
            From::Channel(_, mut place) => place.as_mut().value().take(),
            From::Clock(_, message) => message,
            From::Nothing => None,
        };
        Ok(message.expect("the arm that was chosen has a message"))
    }
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> Arm<'a> for RecvArm<'a, T, P> {
    #[inline]
    fn address(&self) -> usize {
        match &self.from {
            From::Channel(shared, _) => std::ptr::from_ref(*shared).addr(),
            _ => 0,
        }
    }

    #[inline]
    fn lock(&self) -> Option<Held<'a>> {
        match &self.from {
            From::Channel(shared, _) => Some(shared.lock().suspend()),
            _ => None,
        }
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        match &self.from {
            From::Channel(shared, _) => shared.seems_to_have_items(),
            From::Clock(clock, _) => clock.is_due(),
            From::Nothing => false,
        }
    }

    #[inline]
    fn is_ready(&self, held: &mut Option<Held<'a>>) -> bool {
        match &self.from {
            From::Channel(shared, _) => shared.resume(held, |state| state.may_receive()),
            From::Clock(clock, _) => clock.is_due(),
            From::Nothing => false,
        }
    }

    #[inline]
    fn commit(&mut self, held: &mut Option<Held<'a>>) -> Commit {
        match &mut self.from {
            From::Channel(shared, place) => shared.resume(held, |state| match state.take() {
                Taken::Item(item, woken) => {
                    flag(state);
                    *place.as_mut().value() = Some(item);
                    Commit::Done(woken)
                }
                Taken::Closed => {
                    self.closed = true;
                    Commit::Done(None)
                }
                Taken::Empty => {
                    flag(state);
                    Commit::NotReady
                }
            }),
            From::Clock(clock, message) => {
                *message = clock.take(Instant::now());
                if message.is_some() { Commit::Done(None) } else { Commit::NotReady }
            }
            From::Nothing => Commit::NotReady,
        }
    }

    #[inline]
    fn enqueue(&mut self, held: &mut Option<Held<'a>>, ticket: Ticket, index: u16) {
        if let From::Channel(shared, place) = &mut self.from {
            shared.resume(held, |state| {
                place.as_mut().enqueue(state, ticket, index);
                flag(state);
            });
        }
    }

    #[inline]
    fn dequeue(&mut self) {
        if let From::Channel(_, place) = &mut self.from {
            place.as_mut().dequeue();
        }
    }

    #[inline]
    fn claimed(&mut self, closed: bool) {
        self.closed = closed;
        if let From::Channel(_, place) = &mut self.from {
            place.as_mut().claimed();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.from {
            From::Clock(clock, _) => clock.due(),
            _ => None,
        }
    }

    fn expire(&mut self, now: Instant) -> bool {
        match &mut self.from {
            From::Clock(clock, message) => {
                *message = clock.take(now);
                message.is_some()
            }
            _ => false,
        }
    }
}

/// A `send(..)` arm. Its item lies in its place.
pub struct SendArm<'a, T, P> {
    shared: &'a Shared<T>,
    place: Pin<P>,
    closed: bool,
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> SendArm<'a, T, P> {
    #[inline]
    pub(crate) fn new(sender: &'a Sender<T>, place: Pin<P>) -> Self {
        SendArm { shared: sender.shared(), place, closed: false }
    }

    /// What became of the item, if the arm was chosen.
    #[inline]
    pub fn result(mut self) -> Result<(), SendError<T>> {
        if !self.closed {
            return Ok(());
        }
        Err(SendError::Closed(self.place.as_mut().value().take().expect("an item that was not sent is still there")))
    }
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> Arm<'a> for SendArm<'a, T, P> {
    #[inline]
    fn address(&self) -> usize {
        std::ptr::from_ref(self.shared).addr()
    }

    #[inline]
    fn lock(&self) -> Option<Held<'a>> {
        Some(self.shared.lock().suspend())
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        self.shared.seems_to_have_room()
    }

    #[inline]
    fn is_ready(&self, held: &mut Option<Held<'a>>) -> bool {
        self.shared.resume(held, |state| state.may_send())
    }

    #[inline]
    fn commit(&mut self, held: &mut Option<Held<'a>>) -> Commit {
        self.shared.resume(held, |state| match state.offer(self.place.as_mut().value()) {
            Offered::Sent(woken) => {
                flag(state);
                Commit::Done(woken)
            }
            Offered::Closed => {
                self.closed = true;
                Commit::Done(None)
            }
            Offered::Full => {
                flag(state);
                Commit::NotReady
            }
        })
    }

    #[inline]
    fn enqueue(&mut self, held: &mut Option<Held<'a>>, ticket: Ticket, index: u16) {
        self.shared.resume(held, |state| {
            self.place.as_mut().enqueue(state, ticket, index);
            flag(state);
        });
    }

    #[inline]
    fn dequeue(&mut self) {
        self.place.as_mut().dequeue();
    }

    #[inline]
    fn claimed(&mut self, closed: bool) {
        self.closed = closed;
        self.place.as_mut().claimed();
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn expire(&mut self, _: Instant) -> bool {
        false
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

    fn lock(&self) -> Option<Held<'a>> {
        None
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        // The time is not over before it has begun: no need to ask the clock.
        self.at_once
    }

    fn is_ready(&self, _: &mut Option<Held<'a>>) -> bool {
        self.at_once
    }

    fn commit(&mut self, _: &mut Option<Held<'a>>) -> Commit {
        if self.at_once { Commit::Done(None) } else { Commit::NotReady }
    }

    fn enqueue(&mut self, _: &mut Option<Held<'a>>, _: Ticket, _: u16) {}

    fn dequeue(&mut self) {}

    fn claimed(&mut self, _: bool) {}

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expire(&mut self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}

impl<T, P> fmt::Debug for RecvArm<'_, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvArm").finish_non_exhaustive()
    }
}

impl<T, P> fmt::Debug for SendArm<'_, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendArm").finish_non_exhaustive()
    }
}
