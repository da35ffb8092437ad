//! Channels: how goroutines, coroutines and plain threads hand values to one another.
//!
//! Three capacities: [`rendezvous`] (a send waits for its receive), [`bounded`] (a send waits while the buffer is full), [`unbounded`] (a send never
//! waits). Both ends can be cloned, used from anywhere, and closed; a `for` loop over a [`Receiver`] ends when the channel is closed and drained.
//! Four receivers have no channel behind them but the clock: [`after`], [`at`], [`tick`] and [`never()`], for use in a
//! [`select!`](macro@crate::select).
//!
//! Order: a channel is first in, first out; those that wait at it are served first come, first served; what one sender sends arrives in the order it was sent.
//!
//! ```
//! use throng::channel;
//!
//! let (tx, rx) = channel::bounded(2);
//! tx.send("one")?;
//! tx.send("two")?;
//! drop(tx); // the last sender: closes the channel
//! assert_eq!(rx.iter().collect::<Vec<_>>(), ["one", "two"]);
//! # Ok::<(), channel::SendError<&str>>(())
//! ```

mod clock;
mod ends;
mod errors;
#[cfg(not(loom))]
mod futures;
mod iter;
#[cfg(all(test, loom))]
mod loom_tests;
mod receiver;
mod ring;
mod sender;
mod shared;

pub use clock::{after, at, never, tick};
pub use errors::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
#[cfg(not(loom))]
pub use futures::{Receiving, Sending};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use sender::Sender;

pub(crate) use clock::Clock;
pub(crate) use receiver::Source;
pub(crate) use shared::{Held, Locked, Offered, Place, Shared, Taken, flag, leave};

use std::time::{Duration, Instant};

/// A channel without a buffer: a send and a receive happen together. Go's `make(chan T)`.
///
/// ```
/// let (tx, rx) = throng::channel::rendezvous();
/// let sender = std::thread::spawn(move || tx.send(5));
/// assert_eq!(rx.recv(), Ok(5));
/// assert_eq!(sender.join().unwrap(), Ok(()));
/// ```
#[must_use]
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    bounded(0)
}

/// A channel that buffers up to `capacity` items; with 0, a [`rendezvous`] channel. Go's `make(chan T, capacity)`.
///
/// The buffer comes with the first item that is not received at once. If it is to take more than a kilobyte it grows with what is in it, so a large capacity costs nothing until it is used; `usize::MAX` is [`unbounded`].
///
/// ```
/// use throng::channel::{TrySendError, bounded};
///
/// let (tx, rx) = bounded(1);
/// tx.send(1).unwrap();
/// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
/// assert_eq!(rx.recv(), Ok(1));
/// ```
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (to_send, to_receive) = ends::ends(Shared::new(capacity));
    (Sender::new(to_send), Receiver::of_channel(to_receive))
}

/// A channel that buffers whatever is sent: sends never wait.
///
/// ```
/// let (tx, rx) = throng::channel::unbounded();
/// for i in 0..100 {
///     tx.send(i).unwrap();
/// }
/// assert_eq!(rx.len(), 100);
/// ```
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// The instant `timeout` from now; `None` if that is beyond what the clock can tell, so for ever.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
