//! Who sleeps, who watches, who must be woken, and when another thread is wanted. The protocol and its proof are in `README.md` beside this file.
//!
//! Of the workers that have nothing to do, one is the *watcher*: it looks at the others' queues now and then and naps in between. The rest sleep until
//! they are woken. When the watcher finds nothing for a while it sleeps too, leaving every queue *unwatched*.
//!
//! A worker is a *slot* first, and has a thread later, or never. Slots below `limit` are *on duty*: they take what is new. One that is on duty and has no thread
//! counts as a sleeper who has to be given a thread in order to wake. One that has a thread and is not on duty is *away* when it rests: it has stepped down.
//!
//! A worker is woken by a *nudge*: a message of its own, of which one may be under way. All this is under one lock, taken by a worker that runs dry
//! or rises, and by a push that finds its queue unwatched: never while there is work.
//!
//! Invariants:
//! - I1: `nudged[w]` is up from before the nudge of `w` is posted until it is delivered, as long as `w` has no thread, and for good once `w` has retired: so its message is
//!   in one inbox at most, and in none that no thread reads.
//! - I2: if a queue is neither empty nor unwatched and a worker sleeps, there is a watcher, or a worker is on its way to become it.
//! - I3: slots get threads in their order, one at a time: `started` is a prefix, and the last of it may be waiting for its thread, being the watcher meanwhile.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use crate::home::local::Local;
use crate::home::{Home, Message, Parker};
use crate::lock::SpinLock;
use crate::shim::AtomicUsize;

pub(crate) struct Idle {
    state: SpinLock<State>,
    workers: Box<[Worker]>,
    /// Slots from here on may be away.
    core: usize,
    /// Slots that have a thread, or are being given one (I3). Changed under the lock.
    started: AtomicUsize,
    /// Slots on duty. Changed under the lock.
    limit: AtomicUsize,
    /// How many are not at rest. Changed under the lock.
    busy: AtomicUsize,
    /// Where the monitor sleeps.
    monitor: Parker,
}

struct Worker {
    home: &'static Home,
    nudge: Nudge,
}

#[derive(Debug)]
struct State {
    watcher: Option<usize>,
    /// Asleep, or about to be, and on duty. The last is woken first: its cache is the warmest.
    sleepers: Vec<usize>,
    nudged: Vec<bool>,
    /// Watching, asleep, away, or without a thread.
    at_rest: Vec<bool>,
    /// A thread was wanted and could not be had: not asked for again until the monitor says so.
    refused: bool,
    monitor_sleeps: bool,
}

/// What a worker that has nothing to do is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    Watch,
    Sleep,
    /// It has stepped down. If it was the watcher and could be followed by another, it must see to the queues that nobody watches now.
    Away {
        hand_over: bool,
    },
}

/// What the monitor sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) started: usize,
    pub(crate) limit: usize,
    /// There is a watcher.
    pub(crate) watched: bool,
    /// There is one, or a sleeper who is on duty: work does not wait for the monitor, unless its owner was trusted to come.
    pub(crate) somebody_comes: bool,
    pub(crate) refused: bool,
}

/// `repr(C)`: the message comes first.
#[repr(C)]
struct Nudge {
    message: Message,
    idle: std::cell::Cell<*const Idle>,
    worker: usize,
}

impl Idle {
    /// For the workers at these homes, numbered in this order: the first `started` get their threads at once, the first `core` are always on duty. Boxed, as the nudges refer to it.
    pub(crate) fn new(homes: &[&'static Home], started: usize, core: usize) -> Box<Idle> {
        let nudge = |worker| Nudge { message: Message::new(), idle: std::cell::Cell::new(std::ptr::null()), worker };
        let n = homes.len();
        let state = State {
            watcher: None,
            sleepers: Vec::with_capacity(n),
            nudged: vec![true; n],
            at_rest: vec![true; n],
            refused: false,
            monitor_sleeps: false,
        };
        let idle = Box::new(Idle {
            state: SpinLock::new(state),
            workers: homes.iter().enumerate().map(|(worker, home)| Worker { home, nudge: nudge(worker) }).collect(),
            core,
            started: AtomicUsize::new(started),
            limit: AtomicUsize::new(core),
            busy: AtomicUsize::new(0),
            monitor: Parker::new(),
        });
        for worker in &idle.workers {
            worker.nudge.idle.set(&*idle);
        }
        idle
    }

    /// How many slots have a thread, or are being given one: what lies beyond has never run.
    pub(crate) fn started(&self) -> usize {
        // Acquire pairs with the Release of `wake_one`. (A reader who misses the newest slot is woken by its first push: the queue of a new worker is unwatched.)
        self.started.load(Ordering::Acquire)
    }

    /// Whether worker `worker` takes what is new. A hint: `rest` is where it is settled.
    pub(crate) fn is_on_duty(&self, worker: usize) -> bool {
        // Relaxed: a hint.
        worker < self.limit.load(Ordering::Relaxed)
    }

    /// Worker `worker` has its thread, which calls this first.
    pub(crate) fn enter(&self, worker: usize) {
        let mut state = self.state.lock();
        state.nudged[worker] = false;
        let alarm = self.stops_resting(&mut state, worker);
        drop(state);
        self.alert(alarm);
    }

    /// Worker `worker` has nothing to do.
    pub(crate) fn rest(&self, worker: usize) -> Rest {
        let mut state = self.state.lock();
        self.begins_to_rest(&mut state, worker);
        // Relaxed: changed under this lock.
        if worker >= self.limit.load(Ordering::Relaxed) {
            return Rest::Away { hand_over: self.leave(&mut state, worker) };
        }
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

    /// Worker `worker` goes back to work. `true`: it was the watcher, and others could be woken: it must see to the queues that nobody watches now.
    #[must_use]
    pub(crate) fn rise(&self, worker: usize) -> bool {
        let mut state = self.state.lock();
        let hand_over = self.leave(&mut state, worker);
        let alarm = self.stops_resting(&mut state, worker);
        drop(state);
        self.alert(alarm);
        hand_over
    }

    /// Worker `worker` is neither the watcher nor a sleeper any more. `true`: it was the watcher, and others could be woken.
    fn leave(&self, state: &mut State, worker: usize) -> bool {
        state.sleepers.retain(|&sleeper| sleeper != worker);
        if state.watcher != Some(worker) {
            return false;
        }
        state.watcher = None;
        self.next_to_wake(state).is_some()
    }

    /// The watcher has left every queue unwatched and goes to sleep.
    pub(crate) fn stop_watching(&self, worker: usize) {
        let mut state = self.state.lock();
        debug_assert_eq!(state.watcher, Some(worker));
        state.watcher = None;
        // If it has been taken off duty meanwhile it sleeps as one who is away.
        if worker < self.limit.load(Ordering::Relaxed) {
            state.sleepers.push(worker);
        }
    }

    /// Who would be the next watcher: a sleeper, one who is away and on duty again, a slot without a thread.
    fn next_to_wake(&self, state: &State) -> Option<Next> {
        if let Some(&sleeper) = state.sleepers.last() {
            return Some(Next::Sleeper(sleeper));
        }
        // Relaxed: both are changed under this lock.
        let (started, limit) = (self.started.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed));
        // At rest and neither watching nor a sleeper. (The nudge of one that has no thread yet, or has retired, is up.)
        let away = (self.core..started.min(limit)).find(|&worker| state.at_rest[worker] && !state.nudged[worker]);
        away.map(Next::Away).or((started < limit && !state.refused).then_some(Next::Slot(started)))
    }

    /// There is work that nobody looks at: nudges the watcher if there is one, else makes one. `Some`: a slot that is the watcher as soon as it has a thread, which the
    /// caller must [start](Idle::enter), or [say](Idle::refuse) that it cannot be had.
    #[must_use]
    pub(crate) fn wake_one(&self) -> Option<usize> {
        let mut state = self.state.lock();
        let worker = match state.watcher {
            Some(watcher) => watcher,
            None => match self.next_to_wake(&state)? {
                Next::Sleeper(sleeper) => {
                    state.sleepers.pop();
                    sleeper
                }
                Next::Away(worker) => worker,
                Next::Slot(slot) => {
                    state.watcher = Some(slot);
                    // Release pairs with the Acquire of `started`.
                    self.started.store(slot + 1, Ordering::Release);
                    return Some(slot);
                }
            },
        };
        state.watcher = Some(worker);
        let unpark = self.nudge(&mut state, worker);
        drop(state);
        if let Some(home) = unpark {
            home.unpark();
        }
        None
    }

    /// There is no thread for a slot that `wake_one` has returned. `true`: others sleep: the caller must see to the queues that nobody watches now.
    #[must_use]
    pub(crate) fn refuse(&self, slot: usize) -> bool {
        let mut state = self.state.lock();
        debug_assert_eq!((state.watcher, self.started.load(Ordering::Relaxed)), (Some(slot), slot + 1));
        self.started.store(slot, Ordering::Release);
        state.refused = true;
        self.leave(&mut state, slot)
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
        for worker in 0..self.started() {
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
        self.begins_to_rest(&mut state, worker);
        !std::mem::replace(&mut state.nudged[worker], true)
    }

    // For the monitor.

    /// How things stand, and who is at rest.
    pub(crate) fn view(&self, at_rest: &mut Vec<bool>) -> View {
        let state = self.state.lock();
        at_rest.clone_from(&state.at_rest);
        // Relaxed: both are changed under this lock.
        let (started, limit) = (self.started.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed));
        let watched = state.watcher.is_some();
        View { started, limit, watched, somebody_comes: watched || !state.sleepers.is_empty(), refused: state.refused }
    }

    /// One slot more is on duty, if there is one: `wake_one` may have it now.
    pub(crate) fn extend_duty(&self) {
        let _state = self.state.lock();
        let limit = self.limit.load(Ordering::Relaxed);
        self.limit.store((limit + 1).min(self.workers.len()), Ordering::Relaxed);
    }

    /// The last slot on duty steps down. If it sleeps it does so as one who is away from now on; the watcher will notice.
    pub(crate) fn reduce_duty(&self) {
        let mut state = self.state.lock();
        let limit = self.limit.load(Ordering::Relaxed) - 1;
        self.limit.store(limit, Ordering::Relaxed);
        state.sleepers.retain(|&sleeper| sleeper < limit);
    }

    /// Threads may be asked for again. The caller must see to the queues that nobody watches.
    pub(crate) fn ask_again(&self) {
        self.state.lock().refused = false;
    }

    /// Sleeps until `deadline`, or until [`call_monitor`](Idle::call_monitor).
    pub(crate) fn sleep_as_monitor(&self, deadline: std::time::Instant) {
        self.monitor.park(Some(deadline));
    }

    /// If nobody works, sleeps until somebody does, or until [`call_monitor`](Idle::call_monitor). If somebody does, like [`sleep_as_monitor`](Idle::sleep_as_monitor).
    pub(crate) fn sleep_as_monitor_until_one_works(&self, deadline: std::time::Instant) {
        let mut state = self.state.lock();
        let all_rest = self.nobody_works();
        state.monitor_sleeps = all_rest;
        drop(state);
        self.monitor.park((!all_rest).then_some(deadline));
    }

    /// The monitor is to look at once.
    pub(crate) fn call_monitor(&self) {
        self.monitor.unpark();
    }

    /// Whether all are at rest: a hint, exact under the lock.
    pub(crate) fn nobody_works(&self) -> bool {
        // Relaxed: a hint.
        self.busy.load(Ordering::Relaxed) == 0
    }

    fn begins_to_rest(&self, state: &mut State, worker: usize) {
        if !std::mem::replace(&mut state.at_rest[worker], true) {
            // Relaxed, and not a read-modify-write: changed under the lock.
            self.busy.store(self.busy.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }

    /// `true`: the monitor must be woken.
    #[must_use]
    fn stops_resting(&self, state: &mut State, worker: usize) -> bool {
        if std::mem::replace(&mut state.at_rest[worker], false) {
            // Relaxed, as above.
            self.busy.store(self.busy.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        std::mem::take(&mut state.monitor_sleeps)
    }

    fn alert(&self, wanted: bool) {
        if wanted {
            self.monitor.unpark();
        }
    }
}

enum Next {
    Sleeper(usize),
    Away(usize),
    Slot(usize),
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
