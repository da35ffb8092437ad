//! Sending and receiving in futures.
//!
//! The operations are those of `shared.rs`, and their places wait in the same queues as those of goroutines and threads. A future that is dropped when its operation has been claimed by a peer, and before it has
//! been polled again, has happened all the same: a sender's item is sent; an item that was handed to a receiver is given back to the channel, before all others.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::errors::{RecvError, SendError};
use super::receiver::{Receiver, Source};
use super::shared::{Locked, Missed, Offered, Place, Shared, Taken, leave};
use crate::home::local;
use crate::task::spend;
use crate::time::Sleeping;
use crate::waiter::Cause;

/// `Err` if the task that polls is cancelled.
fn check() -> Result<(), Missed> {
    local::with(|local| local.current().check(local)).map_err(|_| Missed::Cancelled)
}

/// A turn must not complete operations for ever.
fn ready_to_go(cx: &Context<'_>) -> Poll<()> {
    if spend() {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

pin_project! {
    /// A receive that is awaited: see [`Receiver::recv_async`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Receiving<'a, T> {
        receiver: &'a Receiver<T>,
        // Where it waits, when it has to.
        #[pin]
        place: Option<Place<'a, T>>,
        #[pin]
        sleeping: Option<Sleeping>,
    }

    impl<T> PinnedDrop for Receiving<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Source::Channel(shared), Some(place)) = (this.receiver.source(), this.place.as_pin_mut())
                && place.is_registered()
            {
                give_back(shared, place);
            }
        }
    }
}

/// The receiver goes: an item that it was handed goes to the next one.
fn give_back<'a, T>(shared: &'a Shared<T>, mut place: Pin<&mut Place<'a, T>>) {
    let mut state = shared.lock();
    let (queued, waker) = place.as_mut().unregister(&mut state);
    let item = if queued { None } else { place.value().take() };
    let woken = item.and_then(|item| state.give_back(item));
    leave(state);
    drop((waker, woken));
}

impl<'a, T> Receiving<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Receiving<'a, T> {
        Receiving { receiver, place: None, sleeping: None }
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        ready!(ready_to_go(cx));
        let mut this = self.project();
        let received = match this.receiver.source() {
            Source::Channel(shared) => ready!(receive(shared, this.place, cx)),
            Source::Clock(clock) => loop {
                if let Some(message) = clock.take(std::time::Instant::now()) {
                    break Ok(message);
                }
                if this.sleeping.is_none() {
                    this.sleeping.set(Some(Sleeping::until(clock.due())));
                }
                let Some(sleeping) = this.sleeping.as_mut().as_pin_mut() else { unreachable!("it has just been set") };
                if ready!(sleeping.poll(cx)).is_err() {
                    break Err(Missed::Cancelled);
                }
                // A clone may be quicker than we are: then we wait for the next.
                this.sleeping.set(None);
            },
            Source::Nothing => match check() {
                Ok(()) => return Poll::Pending,
                Err(missed) => Err(missed),
            },
        };
        Poll::Ready(received.map_err(|missed| match missed {
            Missed::Closed => RecvError::Closed,
            Missed::Cancelled | Missed::TimedOut => RecvError::Cancelled,
        }))
    }
}

fn receive<'a, T>(shared: &'a Shared<T>, mut place: Pin<&mut Option<Place<'a, T>>>, cx: &Context<'_>) -> Poll<Result<T, Missed>> {
    if let Some(mut waiting) = place.as_mut().as_pin_mut().filter(|place| place.is_registered()) {
        return Poll::Ready(match ready!(look(shared, waiting.as_mut(), cx)) {
            Ok(()) => Ok(waiting.value().take().expect("who claims a receiver gives it an item (C3)")),
            Err(missed) => Err(missed),
        });
    }
    match shared.try_recv() {
        Taken::Item(item, woken) => {
            drop(woken);
            return Poll::Ready(Ok(item));
        }
        Taken::Closed => return Poll::Ready(Err(Missed::Closed)),
        Taken::Empty => {}
    }
    if let Err(missed) = check() {
        return Poll::Ready(Err(missed));
    }
    let waker = cx.waker().clone();
    let mut state = shared.lock();
    match state.take() {
        Taken::Item(item, woken) => {
            leave(state);
            drop(woken);
            Poll::Ready(Ok(item))
        }
        Taken::Closed => {
            leave(state);
            Poll::Ready(Err(Missed::Closed))
        }
        Taken::Empty => {
            place.set(Some(shared.receiver_place()));
            if let Some(waiting) = place.as_pin_mut() {
                waiting.register(&mut state, waker);
            }
            leave(state);
            Poll::Pending
        }
    }
}

pin_project! {
    /// A send that is awaited: see [`Sender::send_async`](super::Sender::send_async).
    ///
    /// Dropped before it has happened, it drops the item.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Sending<'a, T> {
        shared: &'a Shared<T>,
        // Until it waits.
        item: Option<T>,
        #[pin]
        place: Option<Place<'a, T>>,
    }
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, item: T) -> Sending<'a, T> {
        Sending { shared, item: Some(item), place: None }
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        ready!(ready_to_go(cx));
        let this = self.project();
        let sent = ready!(send(this.shared, this.item, this.place, cx));
        Poll::Ready(sent.map_err(|(missed, item)| match missed {
            Missed::Closed => SendError::Closed(item),
            Missed::Cancelled | Missed::TimedOut => SendError::Cancelled(item),
        }))
    }
}

fn send<'a, T>(
    shared: &'a Shared<T>,
    item: &mut Option<T>,
    mut place: Pin<&mut Option<Place<'a, T>>>,
    cx: &Context<'_>,
) -> Poll<Result<(), (Missed, T)>> {
    if let Some(mut waiting) = place.as_mut().as_pin_mut().filter(|place| place.is_registered()) {
        let missed = match ready!(look(shared, waiting.as_mut(), cx)) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(missed) => missed,
        };
        return Poll::Ready(Err((missed, waiting.value().take().expect("an item that was not sent is still there (C3)"))));
    }
    // First without a waker, which costs to clone.
    let mut sent = offer(shared, item, |_, _| {});
    if sent.is_none() {
        sent = check().err().map(Err);
    }
    if sent.is_none() {
        let waker = cx.waker().clone();
        sent = offer(shared, item, |state, item| {
            place.set(item.take().map(|item| shared.sender_place(item)));
            if let Some(waiting) = place.as_pin_mut() {
                waiting.register(state, waker);
            }
        });
    }
    match sent {
        None => Poll::Pending,
        Some(Ok(())) => Poll::Ready(Ok(())),
        Some(Err(missed)) => Poll::Ready(Err((missed, item.take().expect("an item that was not sent is still there")))),
    }
}

/// Offers the item; if the channel is full, `full` is called with the lock held.
fn offer<'a, T>(
    shared: &'a Shared<T>,
    item: &mut Option<T>,
    full: impl FnOnce(&mut Locked<'a, T>, &mut Option<T>),
) -> Option<Result<(), Missed>> {
    let mut state = shared.lock();
    let offered = state.offer(item);
    if matches!(offered, Offered::Full) {
        full(&mut state, item);
    }
    leave(state);
    match offered {
        Offered::Sent(woken) => {
            drop(woken);
            Some(Ok(()))
        }
        Offered::Closed => Some(Err(Missed::Closed)),
        Offered::Full => None,
    }
}

/// Whether the operation that waits has been claimed. If the task is cancelled it is not any more, and leaves the queue.
fn look<'a, T>(shared: &'a Shared<T>, mut waiting: Pin<&mut Place<'a, T>>, cx: &Context<'_>) -> Poll<Result<(), Missed>> {
    let cancelled = check().is_err();
    // Others' code, so not under the lock.
    let waker = cx.waker().clone();
    let mut state = shared.lock();
    let (claimed, other) = waiting.as_mut().look(&mut state, waker);
    let leaves = claimed.is_none() && cancelled;
    let last = if leaves { waiting.unregister(&mut state).1 } else { None };
    leave(state);
    drop((other, last));
    match claimed {
        None if leaves => Poll::Ready(Err(Missed::Cancelled)),
        None => Poll::Pending,
        Some(Cause::CLOSED) => Poll::Ready(Err(Missed::Closed)),
        Some(_) => Poll::Ready(Ok(())),
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("receiver", self.receiver).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("channel", self.shared).finish_non_exhaustive()
    }
}
