//! What the two ends of a channel share: one state under one lock, after Go's `hchan`.
//!
//! **Invariants**, each under the lock, "waits" meaning that the wait has not been ended by something else:
//! - C1: if a receiver waits, the buffer is empty, no sender waits (but one of the same select) and the channel is open.
//! - C2: if a sender waits, the buffer is full, no receiver waits (but one of the same select) and the channel is open.
//! - C3: an operation that is claimed has happened: a sender puts its item straight into the place of a waiting receiver, a receiver takes straight from that
//!   of a waiting sender. Only an operation that was not claimed can be cancelled, and then its item is still in its place.
//! - C4: no user code (`Drop`, `Clone` of items) runs under the lock, and nobody is woken under it.
//!
//! Costs: an operation that does not wait is one compare-and-swap and one store, and not even the former where all traffic comes from one thread (`biased_lock.rs`); handing to one that waits is one more
//! compare-and-swap (the claim) and its wake.

#![forbid(unsafe_code)]

use std::mem;
use std::pin::pin;
use std::time::Instant;

use super::ring::Ring;
use crate::biased_lock::{Bias, BiasedLock};
use crate::home::local;
use crate::lock::{self, SpinGuard};
use crate::waiter::{Cause, Heeds, arm};
use crate::waitq::{Entry, WaitQueue, Woken};

pub(crate) struct Shared<T> {
    state: BiasedLock<State<T>>,
}

/// Flags of the lock: how the state stood when it was last left, for a select to look at before it takes the lock. A hint: it is not taken back when
/// somebody who waited leaves, and who acts on it finds out under the lock.
const MAY_RECEIVE: u32 = 1 << 1;
const MAY_SEND: u32 = 1 << 2;

/// What the lock guards. (`pub` since it is part of the type of a [`Place`].)
pub struct State<T> {
    buffer: Ring<T>,
    /// 0: rendezvous; `usize::MAX`: unbounded.
    capacity: usize,
    closed: bool,
    /// Each with a place for the item.
    receivers: WaitQueue<Option<T>>,
    /// Each with its item.
    senders: WaitQueue<Option<T>>,
}

/// A sender or a receiver that waits.
pub(crate) type Place<'a, T> = Entry<'a, State<T>, Option<T>, Bias>;

/// The state, locked.
pub(crate) type Locked<'a, T> = SpinGuard<'a, State<T>, Bias>;

/// The lock, held by a select.
pub(crate) type Held<'a> = lock::Held<'a, Bias>;

/// What became of a send that does not wait.
#[must_use]
pub(crate) enum Offered {
    /// The item was taken. The receiver to wake, if one got it.
    Sent(Option<Woken>),
    Full,
    Closed,
}

/// What became of a receive that does not wait.
#[must_use]
pub(crate) enum Taken<T> {
    /// The item, and the sender to wake, if one waited.
    Item(T, Option<Woken>),
    Empty,
    Closed,
}

/// Why a waiting operation did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missed {
    Closed,
    Cancelled,
    TimedOut,
}

impl<T> State<T> {
    /// Sends the item in `item`, if that can be done now.
    #[inline(always)]
    pub(crate) fn offer(&mut self, item: &mut Option<T>) -> Offered {
        if self.closed {
            return Offered::Closed;
        }
        if !self.receivers.is_empty()
            && let Some(((), woken)) = self.receivers.claim(|place| *place = item.take())
        {
            return Offered::Sent(Some(woken));
        }
        if self.buffer.len() >= self.capacity {
            return Offered::Full;
        }
        if let Some(item) = item.take() {
            if self.buffer.is_out_of_room() {
                self.buffer.grow(self.capacity);
            }
            self.buffer.push_back(item);
        }
        Offered::Sent(None)
    }

    /// Receives an item, if that can be done now.
    #[inline(always)] // What it returns goes through memory otherwise.
    pub(crate) fn take(&mut self) -> Taken<T> {
        if let Some(item) = self.buffer.pop_front() {
            // The buffer was full if a sender waits (C2): the longest waiting one moves up.
            // (Unless one was given back when it had been refilled.)
            let woken = if self.senders.is_empty() || self.buffer.len() >= self.capacity { None } else { self.refill() };
            return Taken::Item(item, woken);
        }
        if !self.senders.is_empty()
            && let Some((Some(item), woken)) = self.senders.claim(Option::take)
        {
            return Taken::Item(item, Some(woken));
        }
        if self.closed { Taken::Closed } else { Taken::Empty }
    }

    /// Takes an item back that was handed to a receiver which has gone without having seen it: the next one gets it. The buffer may hold one more than its capacity then.
    pub(super) fn give_back(&mut self, item: T) -> Option<Woken> {
        let mut item = Some(item);
        if let Some(((), woken)) = self.receivers.claim(|place| *place = item.take()) {
            return Some(woken);
        }
        if let Some(item) = item {
            if self.buffer.is_out_of_room() {
                self.buffer.grow(self.capacity.max(self.buffer.len() + 1));
            }
            self.buffer.push_front(item);
        }
        None
    }

    fn refill(&mut self) -> Option<Woken> {
        let (item, woken) = self.senders.claim(Option::take)?;
        if let Some(item) = item {
            // (What was taken out just now has left room.)
            self.buffer.push_back(item);
        }
        Some(woken)
    }

    /// Whether a receive would not wait. (A waiting sender that has been fired otherwise makes this true too.)
    #[inline]
    pub(crate) fn may_receive(&self) -> bool {
        !self.buffer.is_empty() || !self.senders.is_empty() || self.closed
    }

    /// Whether a send would not wait, as in `may_receive`.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        self.buffer.len() < self.capacity || !self.receivers.is_empty() || self.closed
    }
}

/// Leaves the lock, with the flags as the state is now.
#[inline]
pub(crate) fn leave<T>(mut state: Locked<'_, T>) {
    flag(&mut state);
}

/// Sets the flags as the state is now.
#[inline]
pub(crate) fn flag<T>(state: &mut Locked<'_, T>) {
    let receive = if state.may_receive() { MAY_RECEIVE } else { 0 };
    let send = if state.may_send() { MAY_SEND } else { 0 };
    let flags = state.flags();
    *flags = *flags & !(MAY_RECEIVE | MAY_SEND) | receive | send;
}

impl<T> Shared<T> {
    pub(super) fn new(capacity: usize) -> Shared<T> {
        let state = State { buffer: Ring::new(), capacity, closed: false, receivers: WaitQueue::new(), senders: WaitQueue::new() };
        Shared { state: BiasedLock::with_flags(state, if capacity == 0 { 0 } else { MAY_SEND }) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        self.state.lock()
    }

    /// The state under the lock that a select holds already.
    #[inline]
    pub(crate) fn resume<'a>(&'a self, held: Held<'a>) -> Locked<'a, T> {
        self.state.resume(held).expect("a select works on a channel with that channel's lock")
    }

    /// Whether a receive is likely not to wait.
    #[inline]
    pub(crate) fn seems_to_have_items(&self) -> bool {
        self.state.flags() & MAY_RECEIVE != 0
    }

    /// Whether a send is likely not to wait.
    #[inline]
    pub(crate) fn seems_to_have_room(&self) -> bool {
        self.state.flags() & MAY_SEND != 0
    }

    /// A receiver's place, not yet queued.
    #[inline]
    pub(crate) fn receiver_place(&self) -> Place<'_, T> {
        Entry::new(&self.state, |state| &mut state.receivers, None)
    }

    /// A sender's place, not yet queued.
    #[inline]
    pub(crate) fn sender_place(&self, item: T) -> Place<'_, T> {
        Entry::new(&self.state, |state| &mut state.senders, Some(item))
    }

    #[inline]
    pub(super) fn try_send(&self, item: T) -> Result<(), (bool, T)> {
        let mut item = Some(item);
        let mut state = self.lock();
        let offered = state.offer(&mut item);
        leave(state);
        match (offered, item) {
            (Offered::Sent(woken), _) => {
                drop(woken);
                Ok(())
            }
            (Offered::Closed, Some(item)) => Err((true, item)),
            (Offered::Full, Some(item)) => Err((false, item)),
            (_, None) => unreachable!("an item that was not sent is still there"),
        }
    }

    #[inline]
    pub(super) fn send(&self, item: T, deadline: impl FnOnce() -> Option<Instant>) -> Result<(), (Missed, T)> {
        let mut item = Some(item);
        let mut state = self.lock();
        match (state.offer(&mut item), item) {
            (Offered::Sent(woken), _) => {
                leave(state);
                drop(woken);
                Ok(())
            }
            (Offered::Closed, Some(item)) => Err((Missed::Closed, item)),
            (Offered::Full, Some(item)) => self.wait_to_send(state, item, deadline()),
            (_, None) => unreachable!("an item that was not sent is still there"),
        }
    }

    // Inlined: each return between the switch in `park` and the caller would be mispredicted (`home/switch.rs`).
    #[inline(always)]
    fn wait_to_send<'a>(&'a self, mut state: Locked<'a, T>, item: T, deadline: Option<Instant>) -> Result<(), (Missed, T)> {
        local::with(|local| {
            let Ok(wait) = arm(local, Heeds::Everything) else {
                drop(state);
                return Err((Missed::Cancelled, item));
            };
            let mut place = pin!(self.sender_place(item));
            place.as_mut().enqueue(&mut state, wait.ticket(), 0);
            leave(state);
            let missed = match wait.park(deadline) {
                Ok(Cause(0)) => {
                    place.claimed();
                    return Ok(());
                }
                Ok(Cause::TIMED_OUT) => Missed::TimedOut,
                Ok(_) => Missed::Closed,
                Err(_) => Missed::Cancelled,
            };
            place.as_mut().dequeue();
            Err((missed, place.value().take().expect("an item that was not sent is still there (C3)")))
        })
    }

    #[inline]
    pub(super) fn try_recv(&self) -> Taken<T> {
        let mut state = self.lock();
        let taken = state.take();
        leave(state);
        taken
    }

    #[inline]
    pub(super) fn recv(&self, deadline: impl FnOnce() -> Option<Instant>) -> Result<T, Missed> {
        let mut state = self.lock();
        match state.take() {
            Taken::Item(item, woken) => {
                leave(state);
                drop(woken);
                Ok(item)
            }
            Taken::Closed => Err(Missed::Closed),
            Taken::Empty => self.wait_to_receive(state, deadline()),
        }
    }

    #[inline(always)]
    fn wait_to_receive<'a>(&'a self, mut state: Locked<'a, T>, deadline: Option<Instant>) -> Result<T, Missed> {
        local::with(|local| {
            let Ok(wait) = arm(local, Heeds::Everything) else {
                drop(state);
                return Err(Missed::Cancelled);
            };
            let mut place = pin!(self.receiver_place());
            place.as_mut().enqueue(&mut state, wait.ticket(), 0);
            leave(state);
            let missed = match wait.park(deadline) {
                Ok(Cause(0)) => {
                    place.as_mut().claimed();
                    return Ok(place.value().take().expect("who claims a receiver gives it an item (C3)"));
                }
                Ok(Cause::TIMED_OUT) => Missed::TimedOut,
                Ok(_) => Missed::Closed,
                Err(_) => Missed::Cancelled,
            };
            place.dequeue();
            Err(missed)
        })
    }

    /// Closes the channel. `true`: it was this call that did.
    pub(super) fn close(&self) -> bool {
        let mut state = self.lock();
        if mem::replace(&mut state.closed, true) {
            return false;
        }
        // The items of waiting senders stay in their places: they get them back.
        let receivers = state.receivers.claim_all(Cause::CLOSED, |_| {});
        let senders = state.senders.claim_all(Cause::CLOSED, |_| {});
        leave(state);
        drop((receivers, senders));
        true
    }

    /// Nobody will receive any more: closes the channel and drops what is in its buffer.
    pub(super) fn abandon(&self) {
        self.close();
        let mut state = self.lock();
        let items = mem::take(&mut state.buffer);
        leave(state);
        // Closed, so nothing comes after them.
        drop(items);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn len(&self) -> usize {
        self.lock().buffer.len()
    }

    pub(super) fn is_full(&self) -> bool {
        let state = self.lock();
        state.buffer.len() >= state.capacity
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        let capacity = self.lock().capacity;
        (capacity != usize::MAX).then_some(capacity)
    }

    pub(super) fn describe(&self, name: &str, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (len, closed) = {
            let state = self.lock();
            (state.buffer.len(), state.closed)
        };
        let capacity = self.capacity();
        let kind = match capacity {
            Some(0) => "rendezvous",
            Some(_) => "bounded",
            None => "unbounded",
        };
        f.debug_struct(name).field("kind", &kind).field("len", &len).field("capacity", &capacity).field("closed", &closed).finish()
    }
}

impl<T> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("len", &self.buffer.len()).field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.describe("Channel", f)
    }
}
