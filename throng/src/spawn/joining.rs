//! Waiting for a task's end in a future.
//!
//! The entry in the task's list of waiters lies in the future, and refers to the list by the handle's reference, which the future has, too.

use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

use super::JoinHandle;
use crate::cancelled::Cancelled;
use crate::home::local;
use crate::join::JoinError;
use crate::lock::SpinLock;
use crate::task::{Header, spend};
use crate::waitq::{Entry, WaitQueue};

type Waiters = WaitQueue<()>;
type Place = Option<Entry<'static, Waiters, ()>>;

/// A [`JoinHandle`] that is awaited: what its `IntoFuture` makes of it.
///
/// Dropping it detaches the task, as dropping the handle does.
#[must_use = "futures do nothing unless they are polled"]
pub struct Joining<T> {
    /// First, so that it is dropped first: it refers to the task. (Its lifetime says more than is true.)
    entry: Place,
    /// `None`: it has been joined.
    handle: Option<JoinHandle<T>>,
}

impl<T> Joining<T> {
    pub(crate) fn new(handle: JoinHandle<T>) -> Joining<T> {
        Joining { entry: None, handle: Some(handle) }
    }

    fn pinned(self: Pin<&mut Self>) -> (Pin<&mut Place>, &mut Option<JoinHandle<T>>) {
        // SAFETY: nothing is moved out of it here.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: the entry is pinned with the future, the handle is not.
        (unsafe { Pin::new_unchecked(&mut this.entry) }, &mut this.handle)
    }
}

/// # Safety
/// What borrows the lock is gone before the reference to the task is given up.
unsafe fn lasting(header: &Header) -> &'static SpinLock<Waiters> {
    // SAFETY: by contract.
    unsafe { &*ptr::from_ref(&header.join) }
}

impl<T> Future for Joining<T> {
    /// What [`JoinHandle::join`] returns.
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut entry, handle) = self.pinned();
        let Some(joined) = handle.as_ref() else { panic!("polled after it was joined") };
        if !spend() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        joined.start();
        let header = joined.header();
        if !header.is_done() {
            let itself: Result<bool, Cancelled> = local::with(|local| {
                let current = local.current();
                current.check(local)?;
                Ok(ptr::eq(current, &header.waiter))
            });
            match itself {
                Ok(false) => {}
                Ok(true) => return Poll::Ready(Err(JoinError::Itself)),
                Err(cancelled) => {
                    entry.set(None);
                    return Poll::Ready(Err(JoinError::from(cancelled)));
                }
            }
            // Others' code, so not under the lock.
            let waker = cx.waker().clone();
            // SAFETY: the entry is dropped before the handle.
            let lock = unsafe { lasting(header) };
            let mut join = lock.lock();
            let other = if Header::is_done_locked(&mut join) {
                Err(waker)
            } else if let Some(entry) = entry.as_mut().as_pin_mut().filter(|entry| entry.is_registered()) {
                Ok(entry.look(&mut join, waker).1)
            } else {
                entry.set(Some(Entry::new(lock, |waiters| waiters, ())));
                if let Some(entry) = entry.as_mut().as_pin_mut() {
                    entry.register(&mut join, waker);
                }
                Ok(None)
            };
            drop(join);
            if let Ok(other) = other {
                drop(other);
                return Poll::Pending;
            }
        }
        entry.set(None);
        match handle.take() {
            Some(joined) => Poll::Ready(joined.into_value()),
            None => unreachable!("it has just been there"),
        }
    }
}

impl<T> IntoFuture for JoinHandle<T> {
    type Output = Result<T, JoinError>;
    type IntoFuture = Joining<T>;

    /// To [`join`](JoinHandle::join) in a future. Kotlin's `await`.
    fn into_future(self) -> Joining<T> {
        Joining::new(self)
    }
}

impl<T> fmt::Debug for Joining<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Joining").field(&self.handle).finish()
    }
}
