//! A goroutine's handle.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::cause::Cause;
use crate::home::local;
use crate::job::Job;
use crate::join::{JoinError, Panic, wait_for_task};
use crate::task::record::TaskRef;
use crate::task::{self, Header, Outcome};
use crate::waiter::Heeds;

/// A goroutine's handle: to wait for its value, and to cancel it.
///
/// Dropping it detaches the goroutine, which runs on. (`scope` is the way to be sure that something is waited for.)
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    taken: bool,
    _value: PhantomData<T>,
}

// SAFETY: the handle's side of a task is atomic or under its lock; the value goes to whoever joins.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: by reference one can cancel and look, which is atomic.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The task's value is a `T`, and this is its one handle.
    pub(super) unsafe fn new(task: NonNull<Header>) -> JoinHandle<T> {
        JoinHandle { task, taken: false, _value: PhantomData }
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps it.
        unsafe { self.task.as_ref() }
    }

    /// Parks until the goroutine has ended, and returns its value. From a plain thread it blocks the thread.
    ///
    /// A goroutine that has ended already is joined without a look at the caller's own cancellation.
    ///
    /// # Errors
    /// - [`JoinError::Cancelled`]: the *caller* was cancelled while it waited. The goroutine runs on, detached.
    /// - [`JoinError::TaskCancelled`]: the goroutine was cancelled before it ran, for this cause.
    /// - [`JoinError::Panicked`]: with its payload.
    /// - [`JoinError::Itself`]: a goroutine waits for itself.
    pub fn join(self) -> Result<T, JoinError> {
        self.join_heeding(Heeds::Everything)
    }

    #[inline(always)]
    pub(crate) fn join_heeding(mut self, heeds: Heeds) -> Result<T, JoinError> {
        self.start();
        wait_for_task(self.header(), heeds)?;
        self.take()
    }

    /// Its value, when it is done.
    pub(super) fn into_value(mut self) -> Result<T, JoinError> {
        self.take()
    }

    #[inline(always)]
    fn take(&mut self) -> Result<T, JoinError> {
        self.taken = true;
        // SAFETY: it is done; `taken` says that the outcome is gone.
        match unsafe { task::take::<T>(self.task) } {
            Outcome::Value(value) => Ok(value),
            Outcome::Panicked(caught) => Err(JoinError::Panicked(Panic::new(caught))),
            Outcome::Cancelled(cause) => Err(JoinError::TaskCancelled(cause)),
            Outcome::Failed => {
                // Who goes on to return this has failed by it, not besides it.
                local::with(|local| local.current().meet_failure());
                Err(JoinError::Failed)
            }
        }
    }

    /// Starts it, if it is [lazy](crate::Task::lazy) and has not been started. `true` if this call did. Never parks.
    #[inline]
    pub fn start(&self) -> bool {
        self.header().launch_if_lazy()
    }

    /// Cancels the goroutine, for good: its present and each further call that parks returns [`Cancelled`](crate::Cancelled); if it has not started it never will.
    /// Never parks: to wait for its end, `join` it.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Asked);
    }

    /// [`cancel`](JoinHandle::cancel), with a reason for [`cause`](crate::cause) to tell. The first reason stays.
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        self.header().cancel_alone(cause.into());
    }

    /// [`cancel`](JoinHandle::cancel), then [`join`](JoinHandle::join): a value it came to all the same is returned. Kotlin's `cancelAndJoin`.
    ///
    /// # Errors
    /// As for [`join`](JoinHandle::join).
    pub fn cancel_and_join(self) -> Result<T, JoinError> {
        self.cancel();
        self.join()
    }

    /// The goroutine as a node of the task tree: to look at, to share, and to be told of its end.
    #[must_use]
    pub fn job(&self) -> Job {
        Job::of_task(TaskRef::new(self.header()))
    }

    /// Whether it has ended, so that `join` would not park.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.header().is_done()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.header().name()
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the one handle, dropped once.
        unsafe { task::drop_handle(self.task, self.taken) };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle").field(self.header()).finish()
    }
}
