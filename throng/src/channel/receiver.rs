//! The receiving end: of a channel, of the clock, or of nothing.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Clock, wait_until};
use super::ends::{End, ToReceive};
use super::errors::{RecvError, RecvTimeoutError, TryRecvError};
use super::iter::{Iter, TryIter};
use super::shared::{Missed, Shared, Taken};

/// The receiving end of a channel. Clones receive from the same channel, each item going to one of them; when the last
/// one is dropped, the channel is closed and what is in its buffer is dropped.
///
/// From a goroutine, a receive that waits parks the goroutine; from a plain thread, it blocks the thread.
pub struct Receiver<T> {
    source: Source<T>,
}

/// Where a receiver's messages come from.
pub(crate) enum Source<T> {
    Channel(End<T, ToReceive>),
    Clock(Arc<Clock<T>>),
    Nothing,
}

impl<T> Receiver<T> {
    pub(super) fn of_channel(shared: End<T, ToReceive>) -> Receiver<T> {
        Receiver { source: Source::Channel(shared) }
    }

    pub(super) fn of_clock(clock: Arc<Clock<T>>) -> Receiver<T> {
        Receiver { source: Source::Clock(clock) }
    }

    pub(super) fn of_nothing() -> Receiver<T> {
        Receiver { source: Source::Nothing }
    }

    #[inline]
    pub(crate) fn source(&self) -> &Source<T> {
        &self.source
    }

    #[inline]
    fn receive(&self, deadline: impl FnOnce() -> Option<Instant>) -> Result<T, Missed> {
        match &self.source {
            Source::Channel(shared) => shared.recv(deadline),
            Source::Clock(clock) => clock.recv(deadline()),
            Source::Nothing => {
                wait_until(deadline())?;
                Err(Missed::TimedOut)
            }
        }
    }

    /// Receives an item, waiting while there is none.
    ///
    /// # Errors
    /// [`Closed`](RecvError::Closed) if the channel is closed and its buffer empty, or gets so while this waits; [`Cancelled`](RecvError::Cancelled) if the
    /// task is cancelled while it waits, or was before and would have to wait. An item is taken if and only if this returns `Ok`.
    ///
    /// ```
    /// use throng::channel::{RecvError, unbounded};
    ///
    /// let (tx, rx) = unbounded();
    /// tx.send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert_eq!(rx.recv(), Err(RecvError::Closed));
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(|| None).map_err(|missed| match missed {
            Missed::Closed => RecvError::Closed,
            Missed::Cancelled | Missed::TimedOut => RecvError::Cancelled,
        })
    }

    /// [`recv`](Receiver::recv) as a future, for coroutines and for other executors: waits without a stack.
    ///
    /// Dropped before it is ready it has received nothing: an item that was handed to it meanwhile goes to the next receiver, before all others.
    ///
    /// # Errors
    /// As for [`recv`](Receiver::recv): cancelled with the coroutine that polls it.
    ///
    /// ```
    /// use throng::{launch, rendezvous};
    ///
    /// throng::run(|| {
    ///     let (tx, rx) = rendezvous();
    ///     let coroutine = launch(async move { rx.recv_async().await });
    ///     tx.send(5).unwrap(); // a goroutine's send, a coroutine's receive
    ///     assert_eq!(coroutine.join().unwrap(), Ok(5));
    /// });
    /// ```
    #[cfg(not(loom))]
    pub fn recv_async(&self) -> super::Receiving<'_, T> {
        super::Receiving::new(self)
    }

    /// Receives an item if there is one, in the buffer or with a sender that waits. Never waits.
    ///
    /// # Errors
    /// [`Empty`](TryRecvError::Empty), or [`Closed`](TryRecvError::Closed) if the channel is closed and its buffer empty.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match &self.source {
            Source::Channel(shared) => match shared.try_recv() {
                Taken::Item(item, woken) => {
                    drop(woken);
                    Ok(item)
                }
                Taken::Empty => Err(TryRecvError::Empty),
                Taken::Closed => Err(TryRecvError::Closed),
            },
            Source::Clock(clock) => clock.take(Instant::now()).ok_or(TryRecvError::Empty),
            Source::Nothing => Err(TryRecvError::Empty),
        }
    }

    /// As [`recv`](Receiver::recv), waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As `recv`, and [`Timeout`](RecvTimeoutError::Timeout) if the time was over first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use throng::channel::{RecvTimeoutError, rendezvous};
    ///
    /// let (tx, rx) = rendezvous::<u8>();
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// # drop(tx);
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receive(|| super::deadline(timeout)).map_err(RecvTimeoutError::from)
    }

    /// Receives until the channel is closed and empty, or the task is cancelled. The loop ends alike in both cases: where it matters that everything came, ask
    /// [`check`](crate::check) after it.
    ///
    /// ```
    /// let (tx, rx) = throng::channel::bounded(3);
    /// std::thread::spawn(move || (0..5).try_for_each(|i| tx.send(i)));
    /// assert_eq!(rx.iter().sum::<i32>(), 10);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// Receives what is there now, without waiting.
    ///
    /// ```
    /// let (tx, rx) = throng::channel::unbounded();
    /// tx.send(1).unwrap();
    /// tx.send(2).unwrap();
    /// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    /// Closes the channel: sends fail from now on, what is in the buffer can still be received. `true` if it was open.
    ///
    /// The receivers of a clock ([`after`](super::after) and the like) have no channel to close: `false`.
    pub fn close(&self) -> bool {
        self.channel().is_some_and(Shared::close)
    }

    /// Whether the channel is closed. (There may still be items in its buffer.)
    pub fn is_closed(&self) -> bool {
        self.channel().is_some_and(Shared::is_closed)
    }

    /// How many items are in the buffer.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Channel(shared) => shared.len(),
            Source::Clock(clock) => usize::from(clock.is_due()),
            Source::Nothing => 0,
        }
    }

    /// Whether the buffer is empty: always so for a rendezvous channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the buffer is full: always so for a rendezvous channel.
    pub fn is_full(&self) -> bool {
        match &self.source {
            Source::Channel(shared) => shared.is_full(),
            Source::Clock(clock) => clock.is_due(),
            Source::Nothing => true,
        }
    }

    /// How many items the buffer takes; `None`: any number. One for the receivers of a clock.
    pub fn capacity(&self) -> Option<usize> {
        match &self.source {
            Source::Channel(shared) => shared.capacity(),
            Source::Clock(_) => Some(1),
            Source::Nothing => Some(0),
        }
    }

    /// Whether both receive from the same channel or clock.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.source, &other.source) {
            (Source::Channel(a), Source::Channel(b)) => a.is_of_same(b),
            (Source::Clock(a), Source::Clock(b)) => Arc::ptr_eq(a, b),
            (Source::Nothing, Source::Nothing) => true,
            _ => false,
        }
    }

    fn channel(&self) -> Option<&Shared<T>> {
        match &self.source {
            Source::Channel(shared) => Some(shared),
            _ => None,
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        let source = match &self.source {
            Source::Channel(shared) => Source::Channel(shared.clone()),
            Source::Clock(clock) => Source::Clock(clock.clone()),
            Source::Nothing => Source::Nothing,
        };
        Receiver { source }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Channel(shared) => shared.describe("Receiver", f),
            Source::Clock(clock) => clock.fmt(f),
            Source::Nothing => f.debug_struct("Receiver").field("kind", &"never").finish(),
        }
    }
}

// As for the sender.
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}
