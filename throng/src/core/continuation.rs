//! Waiting for one answer from anywhere.
//!
//! Whoever waits and the continuation share one allocation: the phase of the wait, and how to wake, under a spin lock.
//!
//! ```text
//!   Waiting ──resume──> Resumed(value) ──┐
//!      │  └───drop────> Abandoned ───────┴──taken──> Over
//!      └──the wait is given up─────────────────────>
//! ```
//! Invariants:
//! - S1: whoever takes the phase out of `Waiting` has decided, under the lock. If a goroutine or a thread is parked, its waiter word decides: a resume that does not get the claim finds
//!   the wait given up. So the one who waits comes back with the value if and only if `resume` was told so.
//! - S2: no user code runs under the lock: hooks, wakers and values are moved out first.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;

use super::errors::SuspendError;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Heeds, arm};
use crate::waitq::{Entry, WaitQueue};

type Hook<T> = Box<dyn FnOnce(Option<T>) + Send>;

pub(super) struct Shared<T> {
    pub(super) state: SpinLock<State<T>>,
}

pub(super) struct State<T> {
    phase: Phase<T>,
    /// The goroutine or thread, while it is parked.
    parked: WaitQueue<()>,
    /// The future's.
    pub(super) waker: Option<Waker>,
    /// To be called if the wait is given up.
    hook: Option<Hook<T>>,
}

enum Phase<T> {
    Waiting,
    Resumed(T),
    Abandoned,
    Over,
}

/// What who waited leaves with.
pub(super) struct Left<T> {
    /// `None`: it gave up.
    outcome: Option<Result<T, SuspendError>>,
    hook: Option<Hook<T>>,
}

impl<T> State<T> {
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.phase, Phase::Waiting)
    }

    /// The wait is over: with the outcome if there is one, else it is given up.
    pub(super) fn leave(&mut self) -> Left<T> {
        let outcome = match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Waiting | Phase::Over => None,
            Phase::Resumed(value) => Some(Ok(value)),
            Phase::Abandoned => Some(Err(SuspendError::Abandoned)),
        };
        Left { outcome, hook: self.hook.take() }
    }
}

impl<T> Left<T> {
    /// In the one that waited, without the lock.
    pub(super) fn deliver(self) -> Result<T, SuspendError> {
        match self.outcome {
            Some(outcome) => {
                drop(self.hook);
                outcome
            }
            None => {
                if let Some(hook) = self.hook {
                    hook(None);
                }
                Err(SuspendError::Cancelled)
            }
        }
    }

    /// The same, when nobody is there who could take a value.
    pub(super) fn discard(self) {
        match (self.outcome, self.hook) {
            (Some(Ok(value)), Some(hook)) => hook(Some(value)),
            (None, Some(hook)) => hook(None),
            (outcome, hook) => drop((outcome, hook)),
        }
    }
}

impl<T> Shared<T> {
    pub(super) fn new() -> Arc<Shared<T>> {
        let state = State { phase: Phase::Waiting, parked: WaitQueue::new(), waker: None, hook: None };
        Arc::new(Shared { state: SpinLock::new(state) })
    }

    /// Ends the wait, with a value or without. `Err`: it has been given up.
    fn settle(&self, value: Option<T>) -> Result<(), Option<T>> {
        let mut state = self.state.lock();
        let mut woken = None;
        if !state.parked.is_empty() {
            woken = state.parked.claim(|()| {}).map(|((), woken)| woken);
            if woken.is_none() {
                // Its wait has just been ended by a cancellation (S1).
                state.phase = Phase::Over;
            }
        }
        if state.is_settled() {
            drop(state);
            return Err(value);
        }
        state.phase = value.map_or(Phase::Abandoned, Phase::Resumed);
        let waker = state.waker.take();
        drop(state);
        drop(woken);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

/// Parks the calling goroutine until what it hands out, a [`Continuation`], is resumed; a plain thread blocks. Kotlin's `suspendCancellableCoroutine`.
///
/// `setup` is called first, at once and here. It passes the continuation on to whoever is to resume it: puts it into a table, into a callback, sends it away. It may be resumed before `setup`
/// has returned, and then nothing waits. A value that is there is returned without a look at the cancellation.
///
/// A wait that is given up calls the hook that [`Continuation::on_cancel`] has set, here, before it returns.
///
/// # Errors
/// [`Cancelled`](SuspendError::Cancelled) if the task is cancelled while it waits, or was before and would have to wait; [`Abandoned`](SuspendError::Abandoned) if the continuation is dropped.
///
/// # Panics
/// With `setup` or the hook. If `setup` panics, the wait is given up.
///
/// ```
/// use throng::core::suspend;
///
/// // Somebody else's API: calls back from a thread of its own.
/// fn fetch(key: u32, callback: impl FnOnce(String) + Send + 'static) {
///     std::thread::spawn(move || callback(format!("value of {key}")));
/// }
///
/// throng::run(|| {
///     let value = suspend(|continuation| fetch(7, |value| _ = continuation.resume(value)));
///     assert_eq!(value.unwrap(), "value of 7");
/// });
/// ```
pub fn suspend<T>(setup: impl FnOnce(Continuation<T>)) -> Result<T, SuspendError> {
    let shared = Shared::new();
    let unwinding = GiveUp(&shared);
    setup(Continuation::new(&shared));
    mem::forget(unwinding);
    wait(&shared).deliver()
}

/// For a panic of `setup`.
struct GiveUp<'a, T>(&'a Shared<T>);

impl<T> Drop for GiveUp<'_, T> {
    fn drop(&mut self) {
        let left = self.0.state.lock().leave();
        left.discard();
    }
}

fn wait<T>(shared: &Shared<T>) -> Left<T> {
    local::with(|local| {
        let mut state = shared.state.lock();
        if state.is_settled() {
            return state.leave();
        }
        let Ok(wait) = arm(local, Heeds::Everything) else { return state.leave() };
        let mut entry = pin!(Entry::new(&shared.state, |state: &mut State<T>| &mut state.parked, ()));
        entry.as_mut().enqueue(&mut state, wait.ticket(), 0);
        drop(state);
        let claimed = wait.park(None).is_ok();
        // Before the entry leaves: a resume that comes now must not take the wait for one that has not begun (S1).
        let left = shared.state.lock().leave();
        debug_assert_eq!(left.outcome.is_some(), claimed);
        if claimed {
            entry.claimed();
        } else {
            entry.dequeue();
        }
        left
    })
}

/// The other end of a [`suspend`]: resumes it, from anywhere, once.
///
/// Dropping it instead ends the wait with [`SuspendError::Abandoned`].
#[must_use = "dropping it abandons the one that waits"]
pub struct Continuation<T> {
    /// `None`: it has been resumed.
    shared: Option<Arc<Shared<T>>>,
}

impl<T> Continuation<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>) -> Continuation<T> {
        Continuation { shared: Some(Arc::clone(shared)) }
    }

    fn shared(&self) -> &Shared<T> {
        self.shared.as_deref().expect("there until it is resumed")
    }

    /// Ends the wait with `value`. Never parks.
    ///
    /// `Ok` means that the one that waits is going to return with the value, even if it is cancelled now. A future that is dropped before it is polled again has it in its hook.
    ///
    /// # Errors
    /// The value, if the wait has been given up.
    ///
    /// ```
    /// use std::time::Duration;
    /// use throng::{core::suspend, timeout};
    ///
    /// let mut kept = None;
    /// assert!(timeout(Duration::from_millis(5), || suspend(|continuation| kept = Some(continuation))).is_err());
    /// assert_eq!(kept.unwrap().resume(7), Err(7));
    /// ```
    pub fn resume(mut self, value: T) -> Result<(), T> {
        match self.shared.take().expect("there until it is resumed").settle(Some(value)) {
            Ok(()) => Ok(()),
            Err(value) => Err(value.expect("the value it was called with")),
        }
    }

    /// Whether the one that waits has not given up: whether a [`resume`](Continuation::resume) would be in time. It may give up just afterwards.
    ///
    /// For work that nobody wants any more to be left undone.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.shared().state.lock().is_settled()
    }

    /// Has `hook` called if the wait is given up: because the task is cancelled, a time limit is over, or the future is dropped. Takes back what the wait has set going. Kotlin's
    /// `invokeOnCancellation`.
    ///
    /// It is called by the one that waits, before that returns, and once. If the wait has been given up already, it is called here, at once. It is dropped without a call when the one that waits
    /// returns with a value, or because it was abandoned.
    ///
    /// It is told who has won. With `None` the cancellation has: a [`resume`](Continuation::resume) that still comes gets its value back. With a value, that has: a future was
    /// resumed, and then dropped before it could return it. A `suspend` always gives `None`.
    ///
    /// # Panics
    /// If there is a hook already.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    /// use throng::core::{Continuation, suspend};
    ///
    /// // Requests that wait for their answers; one that is given up is taken out.
    /// let open = Arc::new(Mutex::new(Vec::<Continuation<String>>::new()));
    /// let answer = throng::timeout(Duration::from_millis(5), || {
    ///     suspend(|continuation| {
    ///         let table = Arc::clone(&open);
    ///         continuation.on_cancel(move |_| table.lock().unwrap().retain(Continuation::is_waiting));
    ///         open.lock().unwrap().push(continuation);
    ///     })
    /// });
    /// assert!(answer.is_err() && open.lock().unwrap().is_empty());
    /// ```
    pub fn on_cancel(&self, hook: impl FnOnce(Option<T>) + Send + 'static) {
        let hook: Hook<T> = Box::new(hook);
        let mut state = self.shared().state.lock();
        if state.is_settled() {
            drop(state);
            return hook(None);
        }
        let taken = state.hook.is_some();
        if !taken {
            state.hook = Some(hook);
        }
        drop(state);
        assert!(!taken, "a continuation has one hook");
    }
}

impl<T, E> Continuation<Result<T, E>> {
    /// Ends the wait with an error: `resume(Err(error))`. Kotlin's `resumeWithException`.
    ///
    /// # Errors
    /// The error, if the wait has been given up.
    ///
    /// ```
    /// use throng::core::suspend;
    ///
    /// let answer = suspend::<Result<u32, &str>>(|continuation| _ = continuation.fail("no such key"));
    /// assert_eq!(answer, Ok(Err("no such key")));
    /// ```
    pub fn fail(self, error: E) -> Result<(), E> {
        self.resume(Err(error)).map_err(|late| late.err().expect("the error it was called with"))
    }
}

impl<T> Drop for Continuation<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            // Given up or not: it is over.
            let _ = shared.settle(None);
        }
    }
}

impl<T> fmt::Debug for Continuation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Continuation").field("is_waiting", &self.is_waiting()).finish_non_exhaustive()
    }
}
