//! The scheduler of one runtime: its workers, and what they share.
//!
//! | file | what |
//! |---|---|
//! | `worker.rs` | a thread that runs goroutines: the loop, the switch, the order in which tasks run |
//! | `fibers.rs` | its fibers, and the trunk that resumes them |
//! | `intake.rs` | how new goroutines come to a worker |
//! | `policy/` | other orders than throng's own: what can be chosen |
//! | `order.rs`, `line.rs`, `slot.rs` | a worker's order under such a policy |
//! | `by_policy.rs`, `search.rs` | what a worker does with it; looking for work by its rules |
//! | `rest.rs` | what a worker does that has nothing to do: watch, steal, sleep, tidy up |
//! | `queue.rs` | goroutines that have not started: owner's end, thieves' end, age |
//! | `idle.rs`, `README.md` | who sleeps, who must be woken, and why no wake-up is lost |
//! | `outside.rs` | goroutines started from outside the runtime, and the end of it all |
//! | `blocking.rs` | threads for calls that block |
//!
//! **Shutdown**, in steps: (1) `close` marks the scheduler closing and cancels the outside tasks; (2) each worker, when it notices, cancels its root's
//! children; (3) whoever sees the last root empty posts every worker its exit; (4) each worker ends its idle fibers and its thread; (5) the
//! runtime joins the threads. `open` counts the roots that may still have tasks: only a running task can reopen one, and its own root is open
//! meanwhile, so `open` reaches zero once.

mod blocking;
mod by_policy;
mod describe;
mod fibers;
mod idle;
mod intake;
mod line;
mod order;
#[cfg(test)]
mod order_tests;
mod outside;
pub(crate) mod policy;
mod queue;
mod rest;
mod search;
mod slot;
mod worker;

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::fiber::{self, OutOfStacks, Slab};
use crate::home::{Home, Message, pool};
use crate::lock::SpinLock;
use crate::task::Header;
use blocking::BlockingThreads;
use idle::Idle;
use outside::Outside;
use policy::{Counts, Policy};
use queue::Queue;
use search::Search;

pub use blocking::blocking;
pub use policy::PolicyMetrics;
pub use worker::yield_now;
pub(crate) use worker::{Worker, on_worker};

/// A task on its way through queues.
#[derive(Clone, Copy, Debug)]
struct Unstarted(NonNull<Header>);

// The lines of a queue go to and fro between threads: no more of them than need be.
const _: () = assert!(size_of::<Queue<Unstarted>>() == 128);

// SAFETY: whoever takes it out of a queue is the one to start it; a task's closure is `Send`.
unsafe impl Send for Unstarted {}

/// What the workers of a runtime share.
pub(crate) struct Scheduler {
    peers: Box<[Peer]>,
    /// Submissions from outside.
    global: Queue<Unstarted>,
    idle: Box<Idle>,
    search: Search,
    slab: Slab,
    blocking: BlockingThreads,
    outside: SpinLock<Outside>,
    closing: AtomicBool,
    /// Roots that may still have tasks: one a worker, and the outside one.
    open: AtomicUsize,
    /// Workers that have a thread: all, unless starting one failed.
    running: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What others see of a worker.
#[repr(align(128))]
struct Peer {
    home: &'static Home,
    queue: Queue<Unstarted>,
    exit: Exit,
    counters: Counters,
    by_policy: Counts,
}

/// The message that ends a worker. Posted once.
struct Exit(Message);

// SAFETY: posted by the one who brings `open` to zero.
unsafe impl Sync for Exit {}
// SAFETY: as above.
unsafe impl Send for Exit {}

/// Written by their worker only (so a load and a store make an increment), read by anyone at any time: Relaxed throughout.
#[derive(Debug, Default)]
struct Counters {
    /// Rounds of the loop: one that does not move is stuck in a task, or asleep.
    ticks: AtomicU64,
    started: AtomicU64,
    stolen: AtomicU64,
    parked: AtomicU64,
    naps: AtomicU64,
    sleeps: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// How a runtime is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    pub(crate) stack_size: usize,
    pub(crate) max_blocking_threads: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) steal_at_once: bool,
    pub(crate) policy: Policy,
}

/// What is known of one worker so far. Counts are approximate while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Goroutines that began to run on this worker (and so stayed there).
    pub started: u64,
    /// Goroutines it took from other workers before they had begun.
    pub stolen: u64,
    /// How often a goroutine on it gave up the thread to wait or to yield.
    pub parked: u64,
    /// How often it slept for want of work.
    pub sleeps: u64,
    /// How it came by what it ran, if the runtime has a [`Policy`](crate::Policy) of its own.
    pub policy: PolicyMetrics,
}

/// What is known of a runtime so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// By number of worker.
    pub workers: Vec<WorkerMetrics>,
    /// Threads for blocking calls that exist at present.
    pub blocking_threads: usize,
    /// Stacks in use by goroutines and idle fibers.
    pub stacks: usize,
}

impl Scheduler {
    /// Makes a scheduler and starts its threads.
    pub(crate) fn start(plan: &Plan) -> io::Result<Arc<Scheduler>> {
        crate::panics::install();
        fiber::install_overflow_report();
        fiber::set_describe(describe::describe_current);
        let slab = Slab::new(plan.stack_size)?;
        let homes: Vec<_> = (0..plan.workers).map(|_| pool::take()).collect();
        let peer = |&home: &&'static Home| Peer {
            home,
            queue: Queue::new(),
            exit: Exit(Message::new()),
            counters: Counters::default(),
            by_policy: Counts::default(),
        };
        let scheduler = Arc::new(Scheduler {
            peers: homes.iter().map(peer).collect(),
            global: Queue::new(),
            idle: Idle::new(&homes),
            search: Search::new(),
            slab,
            blocking: BlockingThreads::new(plan.max_blocking_threads),
            outside: SpinLock::new(Outside::new()),
            closing: AtomicBool::new(false),
            open: AtomicUsize::new(plan.workers + 1),
            running: AtomicUsize::new(plan.workers),
            threads: Mutex::new(Vec::with_capacity(plan.workers)),
        });
        for id in 0..plan.workers {
            if let Err(error) = scheduler.start_worker(id, plan) {
                scheduler.give_up(id);
                return Err(error);
            }
        }
        Ok(scheduler)
    }

    fn start_worker(self: &Arc<Self>, id: usize, plan: &Plan) -> io::Result<()> {
        // The worker's first stack is had here, so that a refusal is an error of the runtime's making.
        let stack = self.slab.take().map_err(|refused| io::Error::new(io::ErrorKind::OutOfMemory, refused))?;
        let scheduler = Arc::clone(self);
        let (seed, steal_at_once) = (plan.seed.map(|seed| seed.wrapping_add(id as u64)), plan.steal_at_once);
        let knobs = plan.policy.knobs().cloned();
        let thread = std::thread::Builder::new()
            .name(format!("throng-{id}"))
            .spawn(move || worker::thread(scheduler, id, stack, seed, steal_at_once, knobs))?;
        self.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(thread);
        Ok(())
    }

    /// Starting failed when `running` workers ran: ends those.
    fn give_up(&self, running: usize) {
        for id in running..self.peers.len() {
            // Nobody is there to be nudged or to be told to exit.
            let _ = self.idle.retire(id);
            pool::give(self.peers[id].home);
        }
        // Relaxed: read by those who end the last root, after the fetch_sub below.
        self.running.store(running, Ordering::Relaxed);
        // AcqRel: as in `root_closed`. It is not the last: the outside root is open.
        self.open.fetch_sub(self.peers.len() - running, Ordering::AcqRel);
        self.close();
        self.join_threads();
    }

    /// Step 1 of shutdown. May be called again.
    pub(crate) fn close(&self) {
        // Release pairs with the Acquire of `is_closing`.
        if self.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.idle.wake_all();
        if self.close_outside() {
            self.root_closed();
        }
    }

    /// Step 3: a root has become empty and will stay so unless a running task reopens one.
    fn root_closed(&self) {
        // AcqRel: the last one sees all that the others did before.
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            for peer in &self.peers[..self.running.load(Ordering::Relaxed)] {
                // SAFETY: `open` reaches zero once, so each exit is posted once; a worker lives until it is delivered.
                unsafe { peer.home.push(NonNull::from(&peer.exit.0), worker::deliver_exit) };
            }
        }
    }

    /// Step 5.
    pub(crate) fn join_threads(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        for thread in threads {
            // A worker's panic is a bug of ours that has been reported by the panic hook.
            let _ = thread.join();
        }
        // Only now: until its end a task may make blocking calls.
        self.blocking.end();
    }

    pub(crate) fn is_closing(&self) -> bool {
        // Acquire pairs with the Release of `close`.
        self.closing.load(Ordering::Acquire)
    }

    /// Whether a new goroutine would find no stack.
    pub(crate) fn out_of_stacks(&self) -> Option<OutOfStacks> {
        self.slab.is_exhausted()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = |Peer { counters, by_policy, .. }: &Peer| WorkerMetrics {
            started: read(&counters.started),
            stolen: read(&counters.stolen),
            parked: read(&counters.parked),
            sleeps: read(&counters.sleeps) + read(&counters.naps),
            policy: by_policy.read(),
        };
        Metrics { workers: self.peers.iter().map(of).collect(), blocking_threads: self.blocking.count(), stacks: self.slab.stats().live }
    }

    /// Whether the calling thread is one of this scheduler's: a worker, or one for blocking calls, whose end a worker's goroutine waits for.
    pub(crate) fn is_current(&self) -> bool {
        self.blocking.is_current() || on_worker(|worker| worker.is_some_and(|worker| std::ptr::eq(worker.scheduler(), self)))
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("workers", &self.peers.len()).field("idle", &self.idle).finish_non_exhaustive()
    }
}
