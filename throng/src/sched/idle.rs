//! Who sleeps, who watches, who must be woken. The protocol and its proof are in `README.md` beside this file.
//!
//! Of the workers that have nothing to do, one is the *watcher*: it looks at the others' queues now and then and naps in between. The rest sleep until
//! they are woken. When the watcher finds nothing for a while it sleeps too, leaving every queue *unwatched*.
//!
//! A worker is woken by a *nudge*: a message of its own, of which one may be under way. All this is under one lock, taken by a worker that runs dry
//! or rises, and by a push that finds its queue unwatched: never while there is work.
//!
//! Invariants:
//! - I1: `nudged[w]` is up from before the nudge of `w` is posted until it is delivered, and for good once `w` has retired: so its message is in one inbox at most,
//!   and in none after `w`'s thread has gone.
//! - I2: if a queue is neither empty nor unwatched and a worker sleeps, there is a watcher, or a worker is on its way to become it.

use std::fmt;
use std::ptr::NonNull;

use crate::home::local::Local;
use crate::home::{Home, Message};
use crate::lock::SpinLock;

pub(crate) struct Idle {
    state: SpinLock<State>,
    workers: Box<[Worker]>,
}

struct Worker {
    home: &'static Home,
    nudge: Nudge,
}

#[derive(Debug)]
struct State {
    watcher: Option<usize>,
    /// Asleep, or about to be. The last is woken first: its cache is the warmest.
    sleepers: Vec<usize>,
    nudged: Vec<bool>,
}

/// What a worker that has nothing to do is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    Watch,
    Sleep,
}

/// `repr(C)`: the message comes first.
#[repr(C)]
struct Nudge {
    message: Message,
    idle: std::cell::Cell<*const Idle>,
    worker: usize,
}

impl Idle {
    /// For the workers at these homes, numbered in this order. Boxed, as the nudges refer to it.
    pub(crate) fn new(homes: &[&'static Home]) -> Box<Idle> {
        let nudge = |worker| Nudge { message: Message::new(), idle: std::cell::Cell::new(std::ptr::null()), worker };
        let idle = Box::new(Idle {
            state: SpinLock::new(State { watcher: None, sleepers: Vec::with_capacity(homes.len()), nudged: vec![false; homes.len()] }),
            workers: homes.iter().enumerate().map(|(worker, home)| Worker { home, nudge: nudge(worker) }).collect(),
        });
        for worker in &idle.workers {
            worker.nudge.idle.set(&*idle);
        }
        idle
    }

    /// Worker `worker` has nothing to do.
    pub(crate) fn rest(&self, worker: usize) -> Rest {
        let mut state = self.state.lock();
        match state.watcher {
            None => {
                state.watcher = Some(worker);
                state.sleepers.retain(|&sleeper| sleeper != worker);
                Rest::Watch
            }
            // Made the watcher while it slept, or it looks again.
            Some(watcher) if watcher == worker => Rest::Watch,
            Some(_) => {
                if !state.sleepers.contains(&worker) {
                    state.sleepers.push(worker);
                }
                Rest::Sleep
            }
        }
    }

    /// Worker `worker` goes back to work. `true`: it was the watcher, and others sleep: it must see to the queues that nobody watches now.
    #[must_use]
    pub(crate) fn rise(&self, worker: usize) -> bool {
        let mut state = self.state.lock();
        state.sleepers.retain(|&sleeper| sleeper != worker);
        if state.watcher != Some(worker) {
            return false;
        }
        state.watcher = None;
        !state.sleepers.is_empty()
    }

    /// The watcher has left every queue unwatched and goes to sleep.
    pub(crate) fn stop_watching(&self, worker: usize) {
        let mut state = self.state.lock();
        debug_assert_eq!(state.watcher, Some(worker));
        state.watcher = None;
        state.sleepers.push(worker);
    }

    /// There is work that nobody looks at: nudges the watcher if there is one, else a sleeper, who becomes the watcher.
    pub(crate) fn wake_one(&self) {
        let mut state = self.state.lock();
        let worker = match state.watcher {
            Some(watcher) => watcher,
            None => {
                let Some(sleeper) = state.sleepers.pop() else { return };
                state.watcher = Some(sleeper);
                sleeper
            }
        };
        let unpark = self.nudge(&mut state, worker);
        drop(state);
        if let Some(home) = unpark {
            home.unpark();
        }
    }

    /// There is work, and one more is to look for it, whoever else does: the sleeper that came last, else the watcher. It joins the others again if it finds nothing.
    pub(crate) fn wake_another(&self) {
        let mut state = self.state.lock();
        let Some(worker) = state.sleepers.pop().or(state.watcher) else { return };
        if state.watcher.is_none() {
            state.watcher = Some(worker);
        }
        let unpark = self.nudge(&mut state, worker);
        drop(state);
        if let Some(home) = unpark {
            home.unpark();
        }
    }

    /// Everybody is to look around.
    pub(crate) fn wake_all(&self) {
        for worker in 0..self.workers.len() {
            let mut state = self.state.lock();
            let unpark = self.nudge(&mut state, worker);
            drop(state);
            if let Some(home) = unpark {
                home.unpark();
            }
        }
    }

    /// Posts the nudge, unless one is under way: then the worker will look anyhow. Returns whom to unpark after unlocking.
    fn nudge(&self, state: &mut State, worker: usize) -> Option<&'static Home> {
        if std::mem::replace(&mut state.nudged[worker], true) {
            return None;
        }
        let Worker { home, nudge } = &self.workers[worker];
        // SAFETY: `nudged` was down, so the message is in no list, and the worker is still there (I1).
        unsafe { home.post(NonNull::from(&nudge.message), deliver_nudge) }.then_some(*home)
    }

    /// Worker `worker` is about to end. `false`: its nudge is under way, it must read its mail first.
    #[must_use]
    pub(crate) fn retire(&self, worker: usize) -> bool {
        let mut state = self.state.lock();
        if state.watcher == Some(worker) {
            state.watcher = None;
        }
        state.sleepers.retain(|&sleeper| sleeper != worker);
        !std::mem::replace(&mut state.nudged[worker], true)
    }
}

unsafe fn deliver_nudge(message: NonNull<Message>, _: &Local) {
    // SAFETY: posted by `Idle::nudge`; the scheduler holds it as long as its workers live.
    let nudge = unsafe { message.cast::<Nudge>().as_ref() };
    // SAFETY: as above.
    let idle = unsafe { &*nudge.idle.get() };
    idle.state.lock().nudged[nudge.worker] = false;
}

// SAFETY: the message goes by I1, the rest does not change once the workers run.
unsafe impl Sync for Nudge {}
// SAFETY: as above.
unsafe impl Send for Nudge {}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.state.lock(), f)
    }
}
