//! The sending end.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::ends::{End, ToSend};
use super::errors::{SendError, SendTimeoutError, TrySendError};
use super::shared::{Missed, Shared};

/// The sending end of a channel. Clones send to the same channel; when the last one is dropped, the channel is closed.
///
/// From a goroutine, a send that waits parks the goroutine; from a plain thread, it blocks the thread.
pub struct Sender<T> {
    shared: End<T, ToSend>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: End<T, ToSend>) -> Sender<T> {
        Sender { shared }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared<T> {
        &self.shared
    }

    /// Sends `item`, waiting while there is neither room in the buffer nor a receiver that waits.
    ///
    /// # Errors
    /// [`Closed`](SendError::Closed) if the channel is closed, or is while this waits; [`Cancelled`](SendError::Cancelled) if the task is cancelled
    /// while it waits, or was before and would have to wait. Either has the item. The item was sent if and only if this returns `Ok`.
    ///
    /// ```
    /// use throng::channel::{SendError, bounded};
    ///
    /// let (tx, rx) = bounded(1);
    /// tx.send(1)?;
    /// rx.close();
    /// assert_eq!(tx.send(2), Err(SendError::Closed(2)));
    /// # Ok::<(), SendError<i32>>(())
    /// ```
    #[inline]
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.shared.send(item, || None).map_err(|(missed, item)| match missed {
            Missed::Closed => SendError::Closed(item),
            Missed::Cancelled | Missed::TimedOut => SendError::Cancelled(item),
        })
    }

    /// [`send`](Sender::send) as a future, for coroutines and for other executors: waits without a stack.
    ///
    /// Dropped before it has happened, it drops the item.
    ///
    /// # Errors
    /// As for [`send`](Sender::send): cancelled with the coroutine that polls it. The item comes back.
    ///
    /// ```
    /// use throng::{bounded, launch};
    ///
    /// throng::run(|| {
    ///     let (tx, rx) = bounded(1);
    ///     launch(async move {
    ///         for n in 0..3 {
    ///             tx.send_async(n).await.unwrap();
    ///         }
    ///     });
    ///     assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// });
    /// ```
    #[cfg(not(loom))]
    pub fn send_async(&self, item: T) -> super::Sending<'_, T> {
        super::Sending::new(&self.shared, item)
    }

    /// Sends `item` if there is room or a receiver waits. Never waits.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full) or [`Closed`](TrySendError::Closed), with the item.
    #[inline]
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.shared.try_send(item).map_err(|(closed, item)| if closed { TrySendError::Closed(item) } else { TrySendError::Full(item) })
    }

    /// As [`send`](Sender::send), waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As `send`, and [`Timeout`](SendTimeoutError::Timeout) if the time was over first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use throng::channel::{SendTimeoutError, rendezvous};
    ///
    /// let (tx, rx) = rendezvous();
    /// assert_eq!(tx.send_timeout(1, Duration::from_millis(1)), Err(SendTimeoutError::Timeout(1)));
    /// # drop(rx);
    /// ```
    pub fn send_timeout(&self, item: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.shared.send(item, || super::deadline(timeout)).map_err(|(missed, item)| SendTimeoutError::of(missed, item))
    }

    /// Closes the channel: sends fail from now on, what is in the buffer can still be received. `true` if it was open.
    ///
    /// Whoever waits to send gets the item back, whoever waits to receive gets [`Closed`](super::RecvError::Closed).
    ///
    /// ```
    /// let (tx, rx) = throng::channel::bounded(1);
    /// tx.send(1).unwrap();
    /// assert!(tx.close() && !tx.close());
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(rx.recv().is_err());
    /// ```
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether the channel is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many items are in the buffer.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether the buffer is empty: always so for a rendezvous channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the buffer is full: always so for a rendezvous channel.
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// How many items the buffer takes; `None`: any number.
    pub fn capacity(&self) -> Option<usize> {
        self.shared.capacity()
    }

    /// Whether both send to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        self.shared.is_of_same(&other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.describe("Sender", f)
    }
}

// An operation that panics (out of memory, at worst) leaves the channel as it was.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
