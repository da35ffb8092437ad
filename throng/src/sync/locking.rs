//! Locking a mutex in a future.
//!
//! A future does not barge: it is handed the mutex, as a starving waiter is (`mutex.rs`). One that was handed it and is dropped before it has seen that releases it.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::mutex::{Gate, Mutex, MutexGuard, Want};
use crate::cancelled::Cancelled;
use crate::home::local;
use crate::task::spend;
use crate::waitq::Entry;

pin_project! {
    /// A lock that is awaited: see [`Mutex::lock_async`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Locking<'a, T> {
        mutex: &'a Mutex<T>,
        #[pin]
        place: Option<Entry<'a, Gate, Want>>,
    }

    impl<T> PinnedDrop for Locking<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let registered = this.place.as_pin_mut().filter(|place| place.is_registered());
            if registered.is_some_and(|place| !leave(this.mutex, place)) {
                this.mutex.unlock();
            }
        }
    }
}

/// Leaves the queue. `false`: it had been handed the mutex.
fn leave<'a, T>(mutex: &'a Mutex<T>, place: Pin<&mut Entry<'a, Gate, Want>>) -> bool {
    let mut gate = mutex.gate().lock();
    let (queued, waker) = place.unregister(&mut gate);
    drop(gate);
    drop(waker);
    queued
}

impl<'a, T> Locking<'a, T> {
    pub(super) fn new(mutex: &'a Mutex<T>) -> Locking<'a, T> {
        Locking { mutex, place: None }
    }
}

impl<'a, T> Future for Locking<'a, T> {
    type Output = Result<MutexGuard<'a, T>, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !spend() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut this = self.project();
        let mutex: &'a Mutex<T> = this.mutex;
        let check = || local::with(|local| local.current().check(local));
        if let Some(mut place) = this.place.as_mut().as_pin_mut().filter(|place| place.is_registered()) {
            if let Err(cancelled) = check() {
                return Poll::Ready(if leave(mutex, place) { Err(cancelled) } else { Ok(MutexGuard::of(mutex)) });
            }
            let waker = cx.waker().clone();
            let mut gate = mutex.gate().lock();
            let (claimed, other) = place.as_mut().look(&mut gate, waker);
            drop(gate);
            drop(other);
            return if claimed.is_some() { Poll::Ready(Ok(MutexGuard::of(mutex))) } else { Poll::Pending };
        }
        if let Some(guard) = mutex.try_lock() {
            return Poll::Ready(Ok(guard));
        }
        if let Err(cancelled) = check() {
            return Poll::Ready(Err(cancelled));
        }
        let waker = cx.waker().clone();
        let mut gate = mutex.gate().lock();
        if gate.take() {
            drop(gate);
            return Poll::Ready(Ok(MutexGuard::of(mutex)));
        }
        this.place.set(Some(mutex.place(Want::Mutex)));
        if let Some(place) = this.place.as_pin_mut() {
            place.register(&mut gate, waker);
        }
        Poll::Pending
    }
}

impl<T> fmt::Debug for Locking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locking").finish_non_exhaustive()
    }
}
