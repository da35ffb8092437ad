//! The threads of a scheduler: giving one to a slot, now or later, and seeing all of them to their ends.
//!
//! A runtime gives its workers their threads as it is made. Slots beyond get one when the idle protocol wants another worker (`Idle::wake_one` returns the slot): those of an elastic
//! pool at once, when work comes up and nobody rests; spare workers when the monitor has put them on duty.
//!
//! **A refused thread** loses nothing: the slot is given back, whoever has gone to sleep meanwhile looks at the queues instead, and the monitor has it tried again.
//!
//! Invariants:
//! - T1: a thread is begun, and `ended` is set, under the lock of `threads`. So the exits, which are posted after that, reach all that were ever begun.
//! - T2: one that is begun late finds its root not counted in `open`: its first own task counts it in, as in a runtime that closes.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Plan, Scheduler, worker};
use crate::fiber::Stack;
use crate::home::pool;

pub(super) struct Threads {
    state: Mutex<State>,
    /// `ended` has been set.
    over: Condvar,
}

#[derive(Default)]
struct State {
    /// By number of worker.
    handles: Vec<JoinHandle<()>>,
    monitor: Option<JoinHandle<()>>,
    /// Workers that have been begun: the first so many slots.
    begun: usize,
    /// No task is left, and none will come.
    ended: bool,
}

/// When a worker is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// As the scheduler is made: its root is counted.
    First,
    /// As the watcher.
    Late,
}

/// What a worker's thread begins with. Without a thread the stack goes back.
struct First {
    scheduler: Arc<Scheduler>,
    stack: Option<Stack>,
}

impl First {
    fn work(mut self, id: usize, when: Begin) {
        if let Some(stack) = self.stack.take() {
            worker::thread(Arc::clone(&self.scheduler), id, stack, when);
        }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Some(stack) = self.stack.take() {
            self.scheduler.slab.give(stack);
        }
    }
}

impl Threads {
    pub(super) fn new() -> Threads {
        Threads { state: Mutex::default(), over: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn set_monitor(&self, thread: JoinHandle<()>) {
        self.lock().monitor = Some(thread);
    }

    /// Calls `f` with the thread of a worker that has one and has not been joined. Under the lock.
    pub(super) fn with<R>(&self, worker: usize, f: impl FnOnce(&JoinHandle<()>) -> R) -> Option<R> {
        self.lock().handles.get(worker).map(f)
    }

    /// No task is left. Returns how many workers are to be told to end.
    pub(super) fn end(&self) -> usize {
        let mut state = self.lock();
        state.ended = true;
        self.over.notify_all();
        state.begun
    }

    pub(super) fn have_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until no task is left, and for the threads.
    pub(super) fn join(&self) {
        let mut state = self.over.wait_while(self.lock(), |state| !state.ended).unwrap_or_else(|poisoned| poisoned.into_inner());
        let handles: Vec<_> = state.monitor.take().into_iter().chain(std::mem::take(&mut state.handles)).collect();
        drop(state);
        for thread in handles {
            // A worker's panic is a bug of ours that has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Scheduler {
    /// Gives worker `id`, the next in order, its thread.
    pub(super) fn begin(self: &Arc<Self>, id: usize, when: Begin) -> io::Result<()> {
        let mut threads = self.threads.lock();
        debug_assert_eq!(threads.begun, id);
        if threads.ended {
            return Err(io::Error::other("the runtime has ended"));
        }
        // The worker's first stack is had here, so that a refusal is an error of the one who wants the thread.
        let stack = self.slab.take().map_err(|refused| io::Error::new(io::ErrorKind::OutOfMemory, refused))?;
        let plan = &self.plan;
        let name = match id.checked_sub(self.core) {
            None if plan.numbered || self.core > 1 => format!("{}-{id}", plan.name),
            None => plan.name.clone(),
            Some(spare) => format!("{}-spare-{spare}", plan.name),
        };
        let first = First { scheduler: Arc::clone(self), stack: Some(stack) };
        let thread = std::thread::Builder::new().name(name).spawn(move || first.work(id, when))?;
        threads.handles.push(thread);
        threads.begun += 1;
        Ok(())
    }

    /// There is work that nobody looks at: wakes a worker, or makes one.
    #[inline]
    pub(super) fn wake_one(&self) {
        if let Some(slot) = self.idle.wake_one() {
            self.give_thread(slot);
        }
    }

    #[cold]
    fn give_thread(&self, slot: usize) {
        if self.this.upgrade().is_some_and(|scheduler| scheduler.begin(slot, Begin::Late).is_ok()) {
            return;
        }
        if self.idle.refuse(slot) && !self.leave_all_unwatched() {
            self.wake_one();
        }
    }

    /// From now on a push to any queue wakes somebody. `false`: one of them is not empty.
    pub(super) fn leave_all_unwatched(&self) -> bool {
        let started = &self.peers[..self.idle.started()];
        self.global.leave_unwatched() && started.iter().all(|peer| peer.queue.leave_unwatched() && peer.woken.leave_unwatched())
    }

    /// The same, when the watcher goes to work. `false`: there is more in one of them than its owner is trusted with.
    pub(super) fn leave_all_to_owners(&self) -> bool {
        let started = &self.peers[..self.idle.started()];
        self.global.leave_unwatched() && started.iter().all(|peer| peer.queue.leave_to_owner() && peer.woken.leave_to_owner())
    }
}

impl Plan {
    /// Whether there is something for a monitor to do.
    pub(super) fn has_monitor(&self) -> bool {
        self.elastic || self.max_spare_workers > 0 || self.stalls_after < Duration::MAX
    }

    /// Whether a worker may come to be trusted with its few tasks (`trust.rs`). Not in an elastic pool, whose tasks are there to block, nor where the order is another than throng's.
    pub(super) fn may_trust_owners(&self) -> bool {
        self.has_monitor() && !self.elastic && self.seed.is_none() && self.policy.knobs().is_none()
    }

    /// How many slots there are, how many of them are the workers that were asked for, and how many of those are begun at once.
    pub(super) fn slots(&self) -> (usize, usize, usize) {
        if self.elastic { (self.workers, self.workers, 1) } else { (self.workers + self.max_spare_workers, self.workers, self.workers) }
    }
}

impl Drop for Scheduler {
    /// The homes of slots that never had a thread.
    fn drop(&mut self) {
        let begun = self.threads.lock().begun;
        for peer in &self.peers[begun..] {
            pool::give(peer.home);
        }
    }
}
