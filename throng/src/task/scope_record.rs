//! What others know of a scope: they may ask and cancel it from anywhere, while it lies in a frame of its task's.
//!
//! Made the first time somebody asks for the scope's job. While the scope is open the record points at it, under the record's lock; the scope takes the pointer back as it closes, on its
//! home. So whoever holds the lock and finds the pointer may look, and whoever is on the home may act.

use std::fmt;
use std::mem;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

use super::children::Children;
use super::record::{Handler, Handlers};
use crate::cause::{Cause, Completion};
use crate::home::Home;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waitq::WaitQueue;

pub(crate) struct ScopeRecord {
    home: &'static Home,
    site: &'static Location<'static>,
    state: SpinLock<State>,
}

pub(crate) struct State {
    children: Option<NonNull<Children>>,
    /// Why it was cancelled, if its handlers have been told.
    cancelled: Option<Cause>,
    completion: Option<Completion>,
    handlers: Handlers,
    pub(crate) waiters: WaitQueue<()>,
}

// SAFETY: the pointer is followed under the lock, or on the home.
unsafe impl Send for State {}

impl State {
    pub(crate) fn has_ended(&self) -> bool {
        self.completion.is_some()
    }
}

impl ScopeRecord {
    pub(super) fn new(children: &Children) -> ScopeRecord {
        ScopeRecord {
            home: children.home(),
            site: children.site().unwrap_or(Location::caller()),
            state: SpinLock::new(State {
                children: Some(NonNull::from(children)),
                cancelled: None,
                completion: None,
                handlers: Handlers::default(),
                waiters: WaitQueue::new(),
            }),
        }
    }

    pub(crate) fn home(&self) -> &'static Home {
        self.home
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    pub(crate) fn state(&self) -> &SpinLock<State> {
        &self.state
    }

    /// Looks at the scope, if it is still open. `f` runs under the lock.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&Children) -> R) -> Option<R> {
        let state = self.state.lock();
        // SAFETY: it is there until it has taken the pointer back, which needs the lock.
        state.children.map(|children| f(unsafe { children.as_ref() }))
    }

    /// The scope, if it is still open. On its home, where nobody closes it meanwhile.
    ///
    /// # Safety
    /// On the home's thread; the reference is not kept over anything that lets the task go on.
    pub(crate) unsafe fn at_home<'a>(&self) -> Option<&'a Children> {
        let children = self.state.lock().children;
        // SAFETY: by contract.
        children.map(|children| unsafe { children.as_ref() })
    }

    /// Cancels the scope, from wherever.
    pub(crate) fn cancel(self: &Arc<Self>, cause: Cause) {
        // Those that have not started are stopped at once, and the first cause stays.
        if self.look(|children| children.mark_cancelled(Some(&cause))).is_none() {
            return;
        }
        self.on_home(|children, local| children.cancel(local, None));
    }

    /// Cancels the children the scope has now, from wherever.
    pub(crate) fn cancel_present(self: &Arc<Self>) {
        self.on_home(|children, _| children.cancel_present());
    }

    fn on_home(self: &Arc<Self>, f: impl FnOnce(&Children, &local::Local) + Send + 'static) {
        let record = Arc::clone(self);
        let work = move |local: &local::Local| {
            // SAFETY: on its home, for this call.
            if let Some(children) = unsafe { record.at_home() } {
                f(children, local);
            }
        };
        local::with(|local| {
            if std::ptr::eq(local.home(), self.home) {
                work(local);
            } else {
                self.home.send(work);
            }
        });
    }

    /// Tells `handler` of the end, or, if it wants that, of the cancellation; gives it back if that has been.
    pub(crate) fn tell(&self, handler: Handler) -> Result<u64, Handler> {
        let mut state = self.state.lock();
        if state.completion.is_some() || matches!(handler, Handler::Cancelling(_)) && state.cancelled.is_some() {
            return Err(handler);
        }
        Ok(state.handlers.add(handler))
    }

    pub(crate) fn untell(&self, number: u64) -> Option<Handler> {
        self.state.lock().handlers.remove(number)
    }

    pub(crate) fn completion(&self) -> Option<Completion> {
        self.state.lock().completion.clone()
    }

    /// Why it was cancelled, or why it ended without a value.
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self.completion() {
            Some(Completion::Completed) => None,
            Some(Completion::Cancelled(cause) | Completion::Failed(cause)) => Some(cause),
            None => self.look(Children::cause).flatten(),
        }
    }

    /// The scope has been cancelled. On its home.
    pub(super) fn cancelling(&self, cause: &Cause) {
        let mut state = self.state.lock();
        state.cancelled = Some(cause.clone());
        let handlers = state.handlers.take_cancelling();
        drop(state);
        handlers.cancelling(cause);
    }

    /// The scope has ended. On its home, by its own code.
    pub(super) fn close(&self, completion: Completion) {
        let mut state = self.state.lock();
        state.children = None;
        state.completion = Some(completion.clone());
        let handlers = mem::take(&mut state.handlers);
        let woken = state.waiters.claim_all(0, |()| {});
        drop(state);
        // As with tasks: first the handlers.
        handlers.completed(&completion);
        drop(woken);
    }
}

impl fmt::Debug for ScopeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("site", &self.site).finish_non_exhaustive()
    }
}
