//! A closure run by another dispatcher, while its caller waits: a scope with one child, whose value is the scope's.

use std::error::Error;
use std::fmt;
use std::panic::Location;

use super::begin;
use super::child::place;
use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::dispatch::Dispatcher;
use crate::home::local;
use crate::join::JoinError;
use crate::spawn::{NoScope, Options, SpawnError, start};
use crate::task::Ran;
use crate::task::children::Children;
use crate::waiter::Heeds;

/// Runs `f` on `dispatcher`, while the calling task is parked; a plain thread blocks. If the caller runs there already, it simply calls `f`.
///
/// `f` may borrow from the caller: this returns only after it has ended. It inherits the caller's context, and what it starts inherits the dispatcher.
///
/// **Cancellation** of the caller is met inside of `f`, by its calls that park. Its result is not lost by that: `Err` means that `f` has not run.
///
/// Kotlin's `withContext`.
///
/// # Errors
/// - [`OnError::Cancelled`]: the caller was cancelled before `f` began.
/// - [`OnError::Refused`]: the dispatcher is closed, runs coroutines only, or has no stack or memory left.
///
/// # Panics
/// With the panic of `f`.
///
/// ```
/// use throng::dispatch::single;
/// use throng::on;
///
/// let database = single("database")?;
/// let mut rows = vec![3, 1, 2];
/// throng::run(|| {
///     on(&database, || rows.sort()).unwrap(); // borrowed
/// });
/// assert_eq!(rows, [1, 2, 3]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn on<T: Send>(dispatcher: &Dispatcher, f: impl FnOnce() -> T + Send) -> Result<T, OnError> {
    let site = Location::caller();
    crate::cancel::check()?;
    if dispatcher.is_here() {
        return Ok(f());
    }
    let f = match dispatcher.call_here(f) {
        Ok(value) => return Ok(value),
        Err(f) => f,
    };
    local::with(|local| {
        let children = Children::of_scope(local, begin(local)?, site);
        let mut options = Options::default();
        options.dispatcher(dispatcher);
        // SAFETY: closed below, and nothing in between unwinds: the panic of `f` is caught by its task.
        unsafe { children.open(local) };
        // SAFETY: the child has ended before `children.wait` returns, and what `f` borrows is there until then.
        let started = unsafe { start(options, site, NoScope::new(), f, Some(&children), place(&children)) };
        // Its cancellation is told to the child by the scope; the value is waited for all the same.
        let joined = started.map(|handle| handle.join_heeding(Heeds::Nothing));
        let _ = children.wait(local);
        children.close(local, Ran::Well, || Cause::Asked);
        match joined? {
            Ok(value) => Ok(value),
            Err(JoinError::Panicked(panic)) => panic.resume(),
            Err(_) => Err(OnError::Cancelled),
        }
    })
}

/// Why [`on`] did not run its closure.
#[derive(Debug)]
#[non_exhaustive]
pub enum OnError {
    /// The caller was cancelled before it began; or the dispatcher was closed before it began.
    Cancelled,
    /// The dispatcher took no new task.
    Refused(SpawnError),
}

impl From<Cancelled> for OnError {
    fn from(_: Cancelled) -> OnError {
        OnError::Cancelled
    }
}

impl From<SpawnError> for OnError {
    fn from(refused: SpawnError) -> OnError {
        OnError::Refused(refused)
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnError::Cancelled => Cancelled::new().fmt(f),
            OnError::Refused(refused) => write!(f, "the dispatcher refused the closure: {refused}"),
        }
    }
}

impl Error for OnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OnError::Cancelled => None,
            OnError::Refused(refused) => Some(refused),
        }
    }
}
