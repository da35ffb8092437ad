//! The arms that send and receive.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::DerefMut;
use std::pin::Pin;
use std::time::Instant;

use super::arm::{Arm, Commit, Held};
use crate::channel::{Clock, Locked, Offered, Place, Receiver, RecvError, SendError, Sender, Shared, Source, Taken, flag, leave};
use crate::waiter::Ticket;

/// A channel, and its lock while the select has it.
struct Side<'a, T> {
    shared: &'a Shared<T>,
    state: Option<Locked<'a, T>>,
}

impl<'a, T> Side<'a, T> {
    #[inline]
    fn new(shared: &'a Shared<T>) -> Side<'a, T> {
        Side { shared, state: None }
    }

    #[inline]
    fn address(&self) -> usize {
        std::ptr::from_ref(self.shared).addr()
    }

    #[inline]
    fn lock(&mut self) -> &mut Locked<'a, T> {
        self.state.insert(self.shared.lock())
    }

    #[inline]
    fn locked(&mut self) -> &mut Locked<'a, T> {
        let Some(state) = &mut self.state else { unreachable!("a select works on a channel whose lock it holds") };
        state
    }

    #[inline]
    fn unlock(&mut self) {
        self.state = None;
    }

    fn lend(&mut self) -> Option<Held<'a>> {
        self.state.take().map(|state| Held::Channel(state.suspend()))
    }

    fn borrow(&mut self, held: Held<'a>) {
        let Held::Channel(held) = held else { unreachable!("arms that share a lock are of one channel") };
        self.state = Some(self.shared.resume(held));
    }

    #[inline]
    fn enqueue(&mut self, place: Pin<&mut Place<'a, T>>, ticket: Ticket, index: u16, last: bool) {
        let Some(mut state) = self.state.take() else { unreachable!("a select queues on a channel whose lock it holds") };
        place.enqueue(&mut state, ticket, index);
        flag(&mut state);
        if !last {
            self.state = Some(state);
        }
    }
}

/// A `recv(..)` arm. `P` is where its place lies: the frame of a `select!`, or a box.
pub struct RecvArm<'a, T, P> {
    from: From<'a, T, P>,
    closed: bool,
}

enum From<'a, T, P> {
    Channel(Side<'a, T>, Pin<P>),
    Clock(&'a Clock<T>, Option<T>),
    Nothing,
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> RecvArm<'a, T, P> {
    #[inline]
    pub(crate) fn new(receiver: &'a Receiver<T>, place: Option<Pin<P>>) -> Self {
        let from = match (receiver.source(), place) {
            (Source::Channel(shared), Some(place)) => From::Channel(Side::new(shared), place),
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

/// Whether it is time, and for what.
fn tell_time<T>(clock: &Clock<T>, message: &mut Option<T>, now: Instant) -> bool {
    *message = clock.take(now);
    message.is_some()
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> Arm<'a> for RecvArm<'a, T, P> {
    #[inline]
    fn address(&self) -> usize {
        match &self.from {
            From::Channel(side, _) => side.address(),
            _ => 0,
        }
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        match &self.from {
            From::Channel(side, _) => side.shared.seems_to_have_items(),
            From::Clock(clock, _) => clock.is_due(),
            From::Nothing => false,
        }
    }

    #[inline]
    fn attempt(&mut self) -> bool {
        let (shared, place) = match &mut self.from {
            From::Channel(side, place) => (side.shared, place.as_mut()),
            From::Clock(clock, message) => return tell_time(clock, message, Instant::now()),
            From::Nothing => return false,
        };
        let mut state = shared.lock();
        let taken = state.take();
        leave(state);
        match taken {
            Taken::Item(item, woken) => {
                *place.value() = Some(item);
                drop(woken);
                true
            }
            Taken::Closed => {
                self.closed = true;
                true
            }
            Taken::Empty => false,
        }
    }

    #[inline]
    fn lock(&mut self) -> bool {
        match &mut self.from {
            From::Channel(side, _) => side.lock().may_receive(),
            From::Clock(clock, _) => clock.is_due(),
            From::Nothing => false,
        }
    }

    fn unlock(&mut self) {
        if let From::Channel(side, _) = &mut self.from {
            side.unlock();
        }
    }

    fn lend(&mut self) -> Option<Held<'a>> {
        if let From::Channel(side, _) = &mut self.from { side.lend() } else { None }
    }

    fn borrow(&mut self, held: Held<'a>) {
        if let From::Channel(side, _) = &mut self.from {
            side.borrow(held);
        }
    }

    fn is_ready(&mut self) -> bool {
        match &mut self.from {
            From::Channel(side, _) => side.locked().may_receive(),
            From::Clock(clock, _) => clock.is_due(),
            From::Nothing => false,
        }
    }

    fn commit(&mut self) -> Commit {
        let (state, place) = match &mut self.from {
            From::Channel(side, place) => (side.locked(), place.as_mut()),
            From::Clock(clock, message) => return Commit::alone(tell_time(clock, message, Instant::now())),
            From::Nothing => return Commit::NotReady,
        };
        let taken = state.take();
        flag(state);
        match taken {
            Taken::Item(item, woken) => {
                *place.value() = Some(item);
                Commit::Done(woken)
            }
            Taken::Closed => {
                self.closed = true;
                Commit::Done(None)
            }
            Taken::Empty => Commit::NotReady,
        }
    }

    #[inline]
    fn enqueue(&mut self, ticket: Ticket, index: u16, last: bool) {
        if let From::Channel(side, place) = &mut self.from {
            side.enqueue(place.as_mut(), ticket, index, last);
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
            From::Clock(clock, message) => tell_time(clock, message, now),
            _ => false,
        }
    }
}

/// A `send(..)` arm. Its item lies in its place.
pub struct SendArm<'a, T, P> {
    side: Side<'a, T>,
    place: Pin<P>,
    closed: bool,
}

impl<'a, T, P: DerefMut<Target = Place<'a, T>>> SendArm<'a, T, P> {
    #[inline]
    pub(crate) fn new(sender: &'a Sender<T>, place: Pin<P>) -> Self {
        SendArm { side: Side::new(sender.shared()), place, closed: false }
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
        self.side.address()
    }

    #[inline]
    fn seems_ready(&self) -> bool {
        self.side.shared.seems_to_have_room()
    }

    #[inline]
    fn attempt(&mut self) -> bool {
        let mut state = self.side.shared.lock();
        let offered = state.offer(self.place.as_mut().value());
        leave(state);
        self.closed = matches!(offered, Offered::Closed);
        // (Who is to be woken is so when `offered` is dropped.)
        !matches!(offered, Offered::Full)
    }

    #[inline]
    fn lock(&mut self) -> bool {
        self.side.lock().may_send()
    }

    fn unlock(&mut self) {
        self.side.unlock();
    }

    fn lend(&mut self) -> Option<Held<'a>> {
        self.side.lend()
    }

    fn borrow(&mut self, held: Held<'a>) {
        self.side.borrow(held);
    }

    fn is_ready(&mut self) -> bool {
        self.side.locked().may_send()
    }

    fn commit(&mut self) -> Commit {
        let state = self.side.locked();
        let offered = state.offer(self.place.as_mut().value());
        flag(state);
        match offered {
            Offered::Sent(woken) => Commit::Done(woken),
            Offered::Closed => {
                self.closed = true;
                Commit::Done(None)
            }
            Offered::Full => Commit::NotReady,
        }
    }

    #[inline]
    fn enqueue(&mut self, ticket: Ticket, index: u16, last: bool) {
        self.side.enqueue(self.place.as_mut(), ticket, index, last);
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
