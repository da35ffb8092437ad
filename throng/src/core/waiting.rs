//! Waiting in a list in a future.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::errors::WaitError;
use super::wait_list::{List, Slot, WaitList, delivered};
use crate::home::local;
use crate::task::spend;
use crate::waitq::Entry;

pin_project! {
    /// A wait in a list that is awaited: see [`WaitList::waiting`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Waiting<'a, V, F>
    where
        F: FnOnce(V),
    {
        list: &'a WaitList<V>,
        // Until it is in the list.
        value: Option<V>,
        // Until it is over.
        undelivered: Option<F>,
        #[pin]
        place: Option<Entry<'a, List<V>, Slot<V>>>,
    }

    impl<V, F> PinnedDrop for Waiting<'_, V, F>
    where
        F: FnOnce(V),
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let Some(mut place) = this.place.as_pin_mut().filter(|place| place.is_registered()) else { return };
            if let Some(cause) = leave(this.list, place.as_mut())
                && let Some(value) = place.value().take()
                && let Ok(value) = delivered(cause, value)
                && let Some(undelivered) = this.undelivered.take()
            {
                undelivered(value);
            }
        }
    }
}

type Place<'a, V> = Entry<'a, List<V>, Slot<V>>;

/// Leaves the list, if it is still in it; else says with which cause it was claimed.
fn leave<'a, V>(list: &'a WaitList<V>, mut place: Pin<&mut Place<'a, V>>) -> Option<u16> {
    let mut locked = list.lock().lock();
    let (claimed, other) = place.as_mut().look(&mut locked, Waker::noop().clone());
    let last = if claimed.is_none() { place.unregister(&mut locked).1 } else { None };
    drop(locked);
    // Others' code, so not under the lock.
    drop((other, last));
    claimed
}

impl<V> WaitList<V> {
    /// [`wait`](WaitList::wait) as a future, for coroutines and for other executors: waits without a stack.
    ///
    /// It takes its place in the list with [`Waiting::enter`], which is to be called with the lock of the state held, or, where there is no such state, with its first poll. A future that is
    /// dropped after it was claimed, and before it has been polled again, calls `undelivered` with the value that it was given, so that it can be passed on.
    ///
    /// ```
    /// use std::pin::pin;
    /// use std::sync::{Arc, Mutex};
    /// use throng::core::{WaitError, WaitList};
    ///
    /// #[derive(Default)]
    /// struct Permits {
    ///     free: Mutex<usize>,
    ///     waiting: WaitList<()>,
    /// }
    ///
    /// impl Permits {
    ///     async fn acquire(&self) -> Result<(), WaitError<()>> {
    ///         let mut waiting = pin!(self.waiting.waiting((), |()| self.release()));
    ///         {
    ///             let mut free = self.free.lock().unwrap();
    ///             if *free > 0 {
    ///                 *free -= 1;
    ///                 return Ok(());
    ///             }
    ///             waiting.as_mut().enter();
    ///         }
    ///         waiting.await
    ///     }
    ///
    ///     fn release(&self) {
    ///         let mut free = self.free.lock().unwrap();
    ///         let woken = self.waiting.claim(&mut ());
    ///         if woken.is_none() {
    ///             *free += 1;
    ///         }
    ///         drop(free);
    ///         drop(woken);
    ///     }
    /// }
    ///
    /// throng::run(|| {
    ///     let permits = Arc::new(Permits::default());
    ///     let mine = Arc::clone(&permits);
    ///     let coroutine = throng::launch(async move { mine.acquire().await });
    ///     permits.release();
    ///     coroutine.join().unwrap().unwrap();
    /// });
    /// ```
    pub fn waiting<F: FnOnce(V)>(&self, value: V, undelivered: F) -> Waiting<'_, V, F> {
        Waiting { list: self, value: Some(value), undelivered: Some(undelivered), place: None }
    }
}

impl<V, F: FnOnce(V)> Waiting<'_, V, F> {
    /// Takes its place in the list, behind all others. Does nothing if it has one, or the list is closed. Never parks.
    pub fn enter(self: Pin<&mut Self>) {
        self.queue(Waker::noop().clone());
    }

    fn queue(self: Pin<&mut Self>, waker: Waker) {
        let mut this = self.project();
        let mut list = this.list.lock().lock();
        if list.closed {
            return;
        }
        if let Some(value) = this.value.take() {
            this.place.set(Some(this.list.place(value)));
            if let Some(place) = this.place.as_pin_mut() {
                place.register(&mut list, waker);
            }
        }
    }
}

impl<V, F: FnOnce(V)> Future for Waiting<'_, V, F> {
    /// What [`WaitList::wait`] returns.
    type Output = Result<V, WaitError<V>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !spend() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let check = || local::with(|local| local.current().check(local));
        let mut this = self.as_mut().project();
        if let Some(mut place) = this.place.as_mut().as_pin_mut().filter(|place| place.is_registered()) {
            let waker = cx.waker().clone();
            let mut list = this.list.lock().lock();
            let (mut claimed, other) = place.as_mut().look(&mut list, waker);
            drop(list);
            drop(other);
            if claimed.is_none() {
                if check().is_ok() {
                    return Poll::Pending;
                }
                // It may be claimed meanwhile, and that counts.
                claimed = leave(this.list, place.as_mut());
            }
            let value = place.value().take().expect("a claim exchanges the value");
            drop(this.undelivered.take());
            return Poll::Ready(match claimed {
                Some(cause) => delivered(cause, value),
                None => Err(WaitError::Cancelled(value)),
            });
        }
        assert!(this.value.is_some(), "polled after its end");
        let error = match check() {
            Err(_) => WaitError::Cancelled,
            Ok(()) => {
                let waker = cx.waker().clone();
                self.as_mut().queue(waker);
                WaitError::Closed
            }
        };
        let this = self.project();
        match this.value.take() {
            // It has its place.
            None => Poll::Pending,
            Some(value) => {
                drop(this.undelivered.take());
                Poll::Ready(Err(error(value)))
            }
        }
    }
}

impl<V, F: FnOnce(V)> fmt::Debug for Waiting<'_, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = self.place.as_ref().is_some_and(Entry::is_registered);
        f.debug_struct("Waiting").field("list", self.list).field("is_in_the_list", &waits).finish_non_exhaustive()
    }
}
