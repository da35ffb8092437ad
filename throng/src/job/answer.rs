//! An answer that is given once, on another thread, to somebody who waits for it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Heeds, arm};
use crate::waitq::{Entry, WaitQueue};

/// How long to wait before asking whether there will be an answer at all.
const PATIENCE: Duration = Duration::from_millis(10);

pub(super) struct Answer<T>(Arc<SpinLock<State<T>>>);

struct State<T> {
    value: Option<T>,
    waiters: WaitQueue<()>,
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Answer<T> {
        Answer(Arc::clone(&self.0))
    }
}

impl<T: Send> Answer<T> {
    pub(super) fn new() -> Answer<T> {
        Answer(Arc::new(SpinLock::new(State { value: None, waiters: WaitQueue::new() })))
    }

    pub(super) fn give(&self, value: T) {
        let mut state = self.0.lock();
        state.value = Some(value);
        let woken = state.waiters.claim_all(0, |()| {});
        drop(state);
        drop(woken);
    }

    /// Parks until there is an answer; `None` if `over` says that there will be none.
    pub(super) fn wait(&self, over: impl Fn() -> bool) -> Result<Option<T>, Cancelled> {
        local::with(|local| {
            loop {
                let over = over();
                let mut state = self.0.lock();
                if state.value.is_some() || over {
                    return Ok(state.value.take());
                }
                let wait = match arm(local, Heeds::Everything) {
                    Ok(wait) => wait,
                    Err(cancelled) => {
                        drop(state);
                        return Err(cancelled);
                    }
                };
                let mut entry = pin!(Entry::new(&*self.0, |state: &mut State<T>| &mut state.waiters, ()));
                entry.as_mut().enqueue(&mut state, wait.ticket(), 0);
                drop(state);
                let woken = wait.park(Some(Instant::now() + PATIENCE));
                entry.dequeue();
                woken?;
            }
        })
    }
}
