//! Waiting for a number of things to be done.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::pin;

use crate::cancelled::Cancelled;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Heeds, arm};
use crate::waitq::{Entry, WaitQueue};

/// A counter of things under way; waiters wait until there are none. Go's `sync.WaitGroup`.
///
/// Share it by reference in a scope, or in an `Arc`. When it has come to zero it can be used again. To wait for goroutines,
/// [`scope`](crate::scope) does it by itself.
///
/// ```
/// use throng::sync::WaitGroup;
///
/// let group = WaitGroup::new();
/// group.add(3);
/// std::thread::scope(|s| {
///     for _ in 0..3 {
///         s.spawn(|| group.done());
///     }
///     group.wait()
/// })?;
/// # Ok::<(), throng::Cancelled>(())
/// ```
pub struct WaitGroup {
    state: SpinLock<State>,
}

struct State {
    count: usize,
    waiters: WaitQueue<()>,
}

impl WaitGroup {
    /// A group of nothing.
    pub fn new() -> WaitGroup {
        WaitGroup { state: SpinLock::new(State { count: 0, waiters: WaitQueue::new() }) }
    }

    /// Announces `n` more things. Do so before they can be [`done`](WaitGroup::done), so before they are started.
    ///
    /// # Panics
    /// If there are too many to count.
    pub fn add(&self, n: usize) {
        let mut state = self.state.lock();
        let sum = state.count.checked_add(n);
        if let Some(sum) = sum {
            state.count = sum;
        }
        drop(state);
        assert!(sum.is_some(), "WaitGroup: more things than can be counted");
    }

    /// One of them is done. The last one wakes all that wait.
    ///
    /// # Panics
    /// If no more were announced.
    #[inline]
    pub fn done(&self) {
        let mut state = self.state.lock();
        let left = state.count.checked_sub(1);
        if let Some(left) = left {
            state.count = left;
        }
        let woken = (left == Some(0) && !state.waiters.is_empty()).then(|| state.waiters.claim_all(0, |_| {}));
        drop(state);
        drop(woken);
        assert!(left.is_some(), "WaitGroup: `done` was called more often than `add` announced");
    }

    /// Waits until all are done; not at all if there are none.
    ///
    /// # Errors
    /// [`Cancelled`] if the task is cancelled while it waits, or was before and would have to wait.
    pub fn wait(&self) -> Result<(), Cancelled> {
        let mut state = self.state.lock();
        if state.count == 0 {
            return Ok(());
        }
        local::with(|local| {
            let wait = match arm(local, Heeds::Everything) {
                Ok(wait) => wait,
                Err(cancelled) => {
                    drop(state);
                    return Err(cancelled);
                }
            };
            let mut place = pin!(Entry::new(&self.state, |state| &mut state.waiters, ()));
            place.as_mut().enqueue(&mut state, wait.ticket(), 0);
            drop(state);
            match wait.park(None) {
                Ok(_) => {
                    place.claimed();
                    Ok(())
                }
                Err(cancelled) => {
                    place.dequeue();
                    Err(cancelled)
                }
            }
        })
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.state.lock().count;
        f.debug_struct("WaitGroup").field("count", &count).finish()
    }
}
