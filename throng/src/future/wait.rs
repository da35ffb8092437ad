//! Waiting for a future, in a goroutine or on a plain thread.
//!
//! The waker is an allocation shared with whoever is to wake: a flag and the place where the goroutine is parked, under a lock. A wake before the park leaves the flag.

#![forbid(unsafe_code)]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::lock::SpinLock;
use crate::task::renew_budget;
use crate::waiter::{Heeds, arm};
use crate::waitq::{Entry, WaitQueue};

/// Waiting for a future where there is no `await`. Implemented for all.
pub trait Wait: Future {
    /// Polls the future until it is ready. In between the goroutine is parked, and its worker runs others; a plain thread blocks.
    ///
    /// # Errors
    /// [`Cancelled`] if the task is cancelled, before it would have to wait or meanwhile. The future is polled once more then, as a cancelled coroutine's is: futures of this crate notice by themselves, and what
    /// they return is in the `Ok`. One that is still not ready is dropped.
    ///
    /// ```
    /// use throng::future::Wait;
    ///
    /// throng::run(|| {
    ///     let (tx, rx) = throng::bounded(1);
    ///     throng::go(move || tx.send(5));
    ///     let future = async { rx.recv_async().await.map(|n| n + 1) };
    ///     assert_eq!(future.wait().unwrap(), Ok(6));
    /// });
    /// ```
    fn wait(self) -> Result<Self::Output, Cancelled>
    where
        Self: Sized,
    {
        wait(pin!(self))
    }
}

impl<F: Future> Wait for F {}

struct Waiting(SpinLock<State>);

struct State {
    woken: bool,
    parked: WaitQueue<()>,
}

impl std::task::Wake for Waiting {
    fn wake(self: Arc<Waiting>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Waiting>) {
        let mut state = self.0.lock();
        state.woken = true;
        let parked = state.parked.claim(|()| {});
        drop(state);
        drop(parked);
    }
}

fn wait<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Cancelled> {
    let waiting = Arc::new(Waiting(SpinLock::new(State { woken: false, parked: WaitQueue::new() })));
    let waker = Waker::from(Arc::clone(&waiting));
    let mut woken = Ok(());
    loop {
        renew_budget();
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        // It has had its last poll: what it waits for knows nothing of cancellation.
        woken?;
        woken = park_until_woken(&waiting);
    }
}

fn park_until_woken(waiting: &Waiting) -> Result<(), Cancelled> {
    local::with(|local| {
        let mut state = waiting.0.lock();
        if std::mem::take(&mut state.woken) {
            drop(state);
            // It may never wait for longer than this.
            return local.current().check(local);
        }
        let wait = match arm(local, Heeds::Everything) {
            Ok(wait) => wait,
            Err(cancelled) => {
                drop(state);
                return Err(cancelled);
            }
        };
        let mut entry = pin!(Entry::new(&waiting.0, |state: &mut State| &mut state.parked, ()));
        entry.as_mut().enqueue(&mut state, wait.ticket(), 0);
        drop(state);
        let woken = wait.park(None);
        entry.dequeue();
        waiting.0.lock().woken = false;
        woken.map(drop)
    })
}
