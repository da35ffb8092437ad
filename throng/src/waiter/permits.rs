//! Permits to run: of the tasks of a limited view, at most so many run at a time.
//!
//! A task holds a permit while it runs: from its start, or from the beginning of a turn, until it ends or waits; it gives the permit up as it parks, and gets one again before its park returns. Permits
//! go round first come, first served, and straight from one to the next: there is no moment in between at which somebody else could take one.
//!
//! A view of a view has permits of its own and, *above*, those of the other: its tasks need one of each, their own first.
//!
//! Invariants:
//! - P1: if somebody is queued, no permit is free.
//! - P2: whoever is queued as a resumption waits for nothing else, and heeds nothing; so its ticket is good until it is fired from here.

use std::collections::VecDeque;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::{Cause, Heeds, Ticket, arm};
use crate::context::ContextLocal;
use crate::home::local::Local;
use crate::lock::SpinLock;

/// The permits that a limited task needs: its context has them.
pub(crate) static PERMITS: ContextLocal<Option<Arc<Permits>>> = ContextLocal::new();

/// See the module's header.
pub(crate) struct Permits {
    limit: usize,
    above: Option<Arc<Permits>>,
    state: SpinLock<State>,
}

struct State {
    free: usize,
    queue: VecDeque<Turn>,
}

/// What a permit is wanted for.
enum Turn {
    /// To go on after a park.
    Resume(Ticket),
    Start(Starting),
}

/// A task to be queued where it is to run, once there are permits for it.
#[derive(Clone, Copy)]
pub(crate) struct Starting {
    pub(crate) task: NonNull<()>,
    /// Where, and how. It is there until the task has ended.
    pub(crate) at: NonNull<()>,
    pub(crate) queue: unsafe fn(NonNull<()>, NonNull<()>),
}

// SAFETY: whoever has it is the one to queue the task.
unsafe impl Send for Starting {}

impl Permits {
    pub(crate) fn new(limit: usize, above: Option<Arc<Permits>>) -> Permits {
        Permits { limit, above, state: SpinLock::new(State { free: limit, queue: VecDeque::new() }) }
    }

    /// Has a task queued as soon as it has its permits: at once, if they are free. They are the task's then.
    ///
    /// # Safety
    /// The task is the caller's to queue, once.
    pub(crate) unsafe fn submit(&self, starting: Starting) {
        let mut permits = self;
        loop {
            let mut state = permits.state.lock();
            if state.free == 0 {
                state.queue.push_back(Turn::Start(starting));
                return;
            }
            state.free -= 1;
            drop(state);
            match &permits.above {
                Some(above) => permits = above,
                // SAFETY: by contract, and everyone who could be queued in between has granted it a permit.
                None => return unsafe { (starting.queue)(starting.task, starting.at) },
            }
        }
    }

    /// Gives up the permits of a task: they go to those who are queued, or are free.
    pub(crate) fn release(&self) {
        let mut permits = self;
        loop {
            let mut state = permits.state.lock();
            let next = state.queue.pop_front();
            if next.is_none() {
                state.free += 1;
            }
            drop(state);
            match (next, &permits.above) {
                // SAFETY: P2.
                (Some(Turn::Resume(ticket)), _) => unsafe { resume(ticket) },
                // SAFETY: submitted once, and taken out of the queue once.
                (Some(Turn::Start(starting)), Some(above)) => unsafe { above.submit(starting) },
                // SAFETY: as above.
                (Some(Turn::Start(starting)), None) => unsafe { (starting.queue)(starting.task, starting.at) },
                (None, _) => {}
            }
            match &permits.above {
                Some(above) => permits = above,
                None => return,
            }
        }
    }

    /// The running task, which has given its permits up, gets them again: parks until it is its turn.
    pub(crate) fn enter(&self, local: &Local) {
        let mut permits = self;
        loop {
            let mut state = permits.state.lock();
            if state.free > 0 {
                state.free -= 1;
                drop(state);
            } else {
                let Ok(wait) = arm(local, Heeds::Nothing) else { unreachable!("such a wait heeds nothing") };
                state.queue.push_back(Turn::Resume(wait.ticket()));
                drop(state);
                let resumed = wait.park(None);
                debug_assert!(resumed.is_ok());
            }
            match &permits.above {
                Some(above) => permits = above,
                None => return,
            }
        }
    }

    /// Runs `f`, the run or the turn of a task that holds permits, and gives them up.
    pub(crate) fn hold(&self, local: &Local, f: impl FnOnce()) {
        local.limit().set(self);
        f();
        local.limit().set(ptr::null());
        self.release();
    }
}

/// # Safety
/// P2.
unsafe fn resume(ticket: Ticket) {
    // SAFETY: by contract: the waiter waits.
    let fired = unsafe { ticket.fire(Cause(0)) };
    debug_assert!(fired, "nothing else ends this wait (P2)");
    // SAFETY: just fired.
    unsafe { ticket.wake() };
}

/// The running task parks: gives up the permits it holds, which are returned.
#[cold]
pub(crate) fn give_up(local: &Local) -> *const Permits {
    let held = local.limit().replace(ptr::null());
    // SAFETY: set by `hold`, whose frame lies below on the task's stack.
    if let Some(permits) = unsafe { held.as_ref() } {
        permits.release();
    }
    held
}

/// The running task goes on after a park: takes the permits again that it gave up.
#[cold]
pub(crate) fn take_again(local: &Local, held: *const Permits) {
    // SAFETY: as in `give_up`.
    if let Some(permits) = unsafe { held.as_ref() } {
        permits.enter(local);
    }
    local.limit().set(held);
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (free, queued) = (state.free, state.queue.len());
        drop(state);
        f.debug_struct("Permits").field("limit", &self.limit).field("free", &free).field("queued", &queued).finish()
    }
}
