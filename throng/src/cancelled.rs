//! Cancellation is a value.

use std::error::Error;
use std::fmt;

/// The task has been cancelled: what every call that parks returns, at once, from then on.
///
/// Cancellation is an ordinary error value in throng: `?` carries it out of the goroutine, running the drops on the way, and nothing unwinds. It is
/// *sticky*: once a task is cancelled, each further call that would park returns it again, so that a task that ignores it once cannot hang
/// for it. [`shield`](crate::shield) masks it for clean-up that must park.
///
/// Kotlin's `CancellationException`, Go's `context.Canceled`.
///
/// ```
/// use throng::{Cancelled, channel};
///
/// fn relay(from: &channel::Receiver<u32>) -> Result<u32, Cancelled> {
///     match from.recv() {
///         Ok(item) => Ok(item),
///         Err(channel::RecvError::Closed) => Ok(0),
///         Err(channel::RecvError::Cancelled) => Err(Cancelled::new()),
///     }
/// }
/// # let (tx, rx) = channel::bounded(1);
/// # tx.send(7).unwrap();
/// # assert_eq!(relay(&rx), Ok(7));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Cancelled {}

impl Cancelled {
    /// The value, for code that has found out by other means. (A task that returns it without having been cancelled has not been: what it returns is an error like any other.)
    pub const fn new() -> Cancelled {
        Cancelled {}
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl Error for Cancelled {}
