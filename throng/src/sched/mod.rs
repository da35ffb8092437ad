//! The scheduler of one runtime: its workers, and what they share.
//!
//! | file | what |
//! |---|---|
//! | `worker.rs` | a thread that runs goroutines: the loop, the switch |
//! | `next.rs`, `start.rs` | what runs next; starting it |
//! | `fibers.rs` | its fibers, and the trunk that resumes them |
//! | `intake.rs` | how new goroutines come to a worker |
//! | `slots.rs` | the workers' threads: given at the beginning or when one more is wanted |
//! | `monitor.rs` | the thread that sees stuck workers, and puts spare ones on duty |
//! | `stall.rs` | reports of workers that are stuck for long |
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
mod monitor;
mod next;
mod order;
#[cfg(test)]
mod order_tests;
mod outside;
mod patience;
pub(crate) mod policy;
mod queue;
mod rest;
mod search;
mod slot;
mod slots;
mod stall;
mod start;
mod worker;

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::fence;
use crate::fiber::{self, OutOfStacks, Slab};
use crate::home::{Home, Message, pool};
use crate::probe;
use crate::task::{Header, Schedule};
use blocking::BlockingThreads;
use idle::Idle;
pub(crate) use outside::Outside;
use policy::{Counts, Policy};
use queue::Queue;
use search::Search;
use slots::{Begin, Threads};
use stall::Stalls;

pub use blocking::blocking;
pub(crate) use blocking::on_caller;
pub use policy::PolicyMetrics;
pub use stall::Stall;
pub use worker::yield_now;
pub(crate) use worker::{Worker, on_worker};

/// A task on its way through queues.
#[derive(Clone, Copy, Debug)]
struct Unstarted(NonNull<Header>);

// The lines of a queue go to and fro between threads: no more of them than need be.
const _: () = assert!(size_of::<Queue<Unstarted>>() == 256);

// SAFETY: whoever takes it out of a queue is the one to start it; a task's closure is `Send`.
unsafe impl Send for Unstarted {}

/// What the workers of a runtime share.
///
/// `repr(C)`: the schedule comes first, as whoever queues a task knows it by that.
#[repr(C)]
pub(crate) struct Scheduler {
    schedule: Schedule,
    peers: Box<[Arc<Peer>]>,
    /// Submissions from outside.
    global: Queue<Unstarted>,
    idle: Box<Idle>,
    search: Search,
    slab: Slab,
    blocking: BlockingThreads,
    outside: Outside,
    closing: AtomicBool,
    /// Roots that may still have tasks: one a worker, and the outside one.
    open: AtomicUsize,
    /// How many workers were asked for. Slots beyond are spare.
    core: usize,
    threads: Threads,
    stalls: Stalls,
    plan: Plan,
    /// For threads that are begun later.
    this: Weak<Scheduler>,
}

/// What others see of a worker.
#[repr(align(128))]
struct Peer {
    home: &'static Home,
    queue: Queue<Unstarted>,
    /// Coroutines that have been woken, or have given way: first come, first served.
    woken: Queue<Unstarted>,
    exit: Exit,
    counters: Counters,
    by_policy: Counts,
}

impl Peer {
    /// The worker, whose thread calls this, has its queues for its own: to others they are dear.
    fn claim_queues(&self) {
        self.queue.adopt();
        self.woken.adopt();
    }

    /// The worker does not use them for a while: they are as cheap for everybody.
    fn lend_queues(&self) {
        self.queue.abandon();
        self.woken.abandon();
    }
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
    /// What the names of its threads begin with.
    pub(crate) name: String,
    /// Whether the thread of a single worker has a number behind that, too.
    pub(crate) numbered: bool,
    pub(crate) workers: usize,
    /// It begins with one worker, and gets another, up to `workers`, whenever work comes up while none rests.
    pub(crate) elastic: bool,
    /// How many there may be beyond `workers` while workers are stuck.
    pub(crate) max_spare_workers: usize,
    /// How long a worker may be stuck before that is reported. `Duration::MAX`: for ever.
    pub(crate) stalls_after: Duration,
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
    /// The same of spare workers: those that have been started so far because workers were stuck.
    pub spare_workers: Vec<WorkerMetrics>,
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
        fence::prepare();
        probe::set_describe(describe::current);
        let slab = Slab::new(plan.stack_size)?;
        let (slots, core, first) = plan.slots();
        let homes: Vec<_> = (0..slots).map(|_| pool::take()).collect();
        let queue = || if plan.may_trust_owners() { Queue::trusting() } else { Queue::new() };
        let peer = |&home: &&'static Home| {
            Arc::new(Peer {
                home,
                queue: queue(),
                woken: queue(),
                exit: Exit(Message::new()),
                counters: Counters::default(),
                by_policy: Counts::default(),
            })
        };
        let scheduler = Arc::new_cyclic(|this| Scheduler {
            schedule: Schedule { queue: intake::queue },
            peers: homes.iter().map(peer).collect(),
            global: Queue::new(),
            idle: Idle::new(&homes, first, core),
            search: Search::new(),
            slab,
            blocking: BlockingThreads::new(plan.max_blocking_threads),
            outside: Outside::new(),
            closing: AtomicBool::new(false),
            open: AtomicUsize::new(first + 1),
            core,
            threads: Threads::new(),
            stalls: Stalls::default(),
            plan: plan.clone(),
            this: Weak::clone(this),
        });
        for id in 0..first {
            if let Err(error) = scheduler.begin(id, Begin::First) {
                scheduler.give_up(first - id);
                return Err(error);
            }
        }
        if let Err(error) = scheduler.start_monitor() {
            scheduler.give_up(0);
            return Err(error);
        }
        Ok(scheduler)
    }

    /// Starting failed, and `missing` workers have no thread: ends the others.
    fn give_up(&self, missing: usize) {
        // AcqRel: as in `root_closed`. It is not the last: the outside root is open.
        self.open.fetch_sub(missing, Ordering::AcqRel);
        self.close();
        self.join_threads();
    }

    /// By which tasks are queued here.
    pub(crate) fn schedule(&self) -> NonNull<Schedule> {
        NonNull::from(self).cast()
    }

    /// Step 1 of shutdown. May be called again.
    pub(crate) fn close(&self) {
        // Release pairs with the Acquire of `is_closing`.
        if self.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.idle.wake_all();
        if self.outside.close() {
            self.root_closed();
        }
    }

    /// Step 3: a root has become empty and will stay so unless a running task reopens one.
    fn root_closed(&self) {
        // AcqRel: the last one sees all that the others did before.
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let begun = self.threads.end();
            self.idle.call_monitor();
            for peer in &self.peers[..begun] {
                // SAFETY: `open` reaches zero once, so each exit is posted once; a worker lives until it is delivered.
                unsafe { peer.home.push(NonNull::from(&peer.exit.0), worker::deliver_exit) };
            }
        }
    }

    /// Step 5.
    pub(crate) fn join_threads(&self) {
        self.threads.join();
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
        let of = |peer: &Arc<Peer>| WorkerMetrics {
            started: read(&peer.counters.started),
            stolen: read(&peer.counters.stolen),
            parked: read(&peer.counters.parked),
            sleeps: read(&peer.counters.sleeps) + read(&peer.counters.naps),
            policy: peer.by_policy.read(),
        };
        let started = &self.peers[..self.idle.started()];
        let (workers, spare) = started.split_at(self.core.min(started.len()));
        Metrics {
            workers: workers.iter().map(of).collect(),
            spare_workers: spare.iter().map(of).collect(),
            blocking_threads: self.blocking.count(),
            stacks: self.slab.stats().live,
        }
    }

    /// Whether the calling thread is one of this scheduler's: a worker, or one for blocking calls, whose end a worker's goroutine waits for.
    pub(crate) fn is_current(&self) -> bool {
        self.blocking.is_current() || on_worker(|worker| worker.is_some_and(|worker| std::ptr::eq(worker.scheduler(), self)))
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("workers", &self.core).field("idle", &self.idle).finish_non_exhaustive()
    }
}
