//! Waiting for the end of a task, and what can come of that.

use std::any::Any;
use std::backtrace::Backtrace;
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::ptr;
use std::sync::Mutex;

use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::home::local;
use crate::lock::SpinLock;
use crate::panics::{self, Caught};
use crate::task::Header;
use crate::task::scope_record::{ScopeRecord, State};
use crate::waiter::{Heeds, Waiter, arm};
use crate::waitq::{Entry, WaitQueue};

/// Parks until the task has ended; at once if it has. The caller holds a reference to it.
#[inline(always)] // See `home/switch.rs`: a return after a switch is mispredicted.
pub(crate) fn wait_for_task(header: &Header, heeds: Heeds) -> Result<(), JoinError> {
    wait(&header.join, &header.waiter, Header::is_done_locked, |waiters| waiters, heeds)
}

/// Parks until the scope has ended; at once if it has.
pub(crate) fn wait_for_scope(record: &ScopeRecord, heeds: Heeds) -> Result<(), JoinError> {
    wait(record.state(), ptr::null(), |state| state.has_ended(), |state: &mut State| &mut state.waiters, heeds)
}

/// Parks until whatever `lock` guards has ended; `itself` is a waiter that must not wait for it.
#[inline(always)]
fn wait<S>(
    lock: &SpinLock<S>,
    itself: *const Waiter,
    has_ended: impl FnOnce(&mut crate::lock::SpinGuard<'_, S>) -> bool,
    waiters: fn(&mut S) -> &mut WaitQueue<()>,
    heeds: Heeds,
) -> Result<(), JoinError> {
    // SAFETY: for this call.
    let local = unsafe { local::here() };
    let mut guard = lock.lock();
    if has_ended(&mut guard) {
        return Ok(());
    }
    if ptr::eq(local.current(), itself) {
        return Err(JoinError::Itself);
    }
    let wait = arm(local, heeds)?;
    let mut entry = pin!(Entry::new(lock, waiters, ()));
    entry.as_mut().enqueue(&mut guard, wait.ticket(), 0);
    drop(guard);
    match wait.park(None) {
        Ok(_) => {
            entry.claimed();
            Ok(())
        }
        Err(cancelled) => {
            entry.dequeue();
            Err(cancelled.into())
        }
    }
}

/// What a goroutine panicked with, and where. `Display` gives the message, if it was one.
pub struct Panic {
    text: Box<str>,
    /// In a mutex for `Sync`'s sake only: errors are expected to be `Send + Sync`, payloads are just `Send`.
    payload: Mutex<Box<dyn Any + Send>>,
    place: Option<Box<panics::Place>>,
}

impl Panic {
    pub(crate) fn new(caught: Caught) -> Panic {
        Panic { text: caught.text().into(), payload: Mutex::new(caught.payload), place: caught.place }
    }

    /// The payload, as `std::panic::catch_unwind` gives it.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Goes on with the panic, here. (The panic hook, which has run when it happened, does not run again.)
    pub fn resume(mut self) -> ! {
        panics::goes_on(self.place.take());
        std::panic::resume_unwind(self.into_payload())
    }

    /// What it said; a stand-in if the payload is not text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.text
    }

    /// Where it happened, as `file:line:column`; `None` if the program's own panic hook has replaced the runtime's, or if it was begun by `resume_unwind`.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.location.as_str())
    }

    /// The stack at that point, if `RUST_BACKTRACE` asks for it.
    #[must_use]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.place.as_ref()?.backtrace.as_ref()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic").field("message", &format_args!("{self}")).field("location", &self.location()).finish()
    }
}

/// Why a [`join`](crate::JoinHandle::join) did not return the goroutine's value.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The caller was cancelled while it waited.
    Cancelled,
    /// The goroutine was cancelled before it ran, or ended because it was cancelled, for this cause.
    TaskCancelled(Cause),
    /// The goroutine panicked.
    Panicked(Panic),
    /// The goroutine, a scope's child, failed: its error or panic comes out of the scope.
    Failed,
    /// A goroutine would have waited for itself.
    Itself,
}

impl JoinError {
    /// Goes on with the goroutine's panic, if it was one.
    ///
    /// ```should_panic
    /// throng::run(|| throng::go(|| panic!("at the disco")).join().map_err(throng::JoinError::resume_panic));
    /// ```
    pub fn resume_panic(self) -> JoinError {
        match self {
            JoinError::Panicked(panic) => panic.resume(),
            other => other,
        }
    }
}

impl From<Cancelled> for JoinError {
    fn from(_: Cancelled) -> JoinError {
        JoinError::Cancelled
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Cancelled => Cancelled::new().fmt(f),
            JoinError::TaskCancelled(cause) => write!(f, "the joined task was cancelled: {cause}"),
            JoinError::Panicked(panic) => write!(f, "the joined task panicked: {panic}"),
            JoinError::Failed => f.write_str("the joined task failed its scope"),
            JoinError::Itself => f.write_str("a task cannot join itself"),
        }
    }
}

impl Error for JoinError {}
