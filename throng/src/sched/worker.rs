//! A worker: a thread, the fibers that belong to it, and the loop that decides what runs next.
//!
//! **The loop runs on a fiber.** To start a goroutine it calls the closure where it is: no switch, no new stack. If the closure parks, its fiber is the goroutine's, and
//! another idle fiber takes over as the loop; when the closure returns, the loop that lies below it on its stack goes on. So at any time exactly one of these runs:
//!
//! ```text
//!   trunk (the thread's own stack): resumes `next`, again and again
//!     fiber 1:  loop -> goroutine A (parked)              in a channel's queue, say
//!     fiber 2:  loop -> goroutine B (ready)               in local.ready
//!     fiber 3:  loop -> goroutine C (running)             current
//!     fiber 4:  loop (idle, suspended in `go_to`)         in `idle`
//! ```
//! The switch itself, and the way of a park to it, are in `home/switch.rs`; the trunk and the fibers are in `fibers.rs`. What runs next is decided in `next.rs`,
//! and started in `start.rs`.
//!
//!
//! Invariants:
//! - F1: everything here belongs to the worker's thread; `&Worker` is shared, its fields are cells, and nothing is borrowed over a switch.
//! - F2: a task is started only if that leaves an idle fiber behind, so that a park never lacks one (S1).
//! - F3: `current` is the running goroutine's waiter, null while the loop runs.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::by_policy::{self, OwnOrder};
use super::next::{GLOBAL_EVERY, detour};
use super::rest::Resting;
use super::slots::Begin;

use super::{Counters, Peer, Scheduler, Unstarted};
use crate::cancelled::Cancelled;
use crate::fiber::{AltStack, Fiber, Stack};
use crate::home::Message;
use crate::home::local::{self, Local};
use crate::memory::Blocks;
use crate::rng;
use crate::task::children::Children;
use crate::task::{Header, Outgoing};
use crate::waiter::{Waiter, permits};

/// See the module's header.
pub(crate) struct Worker {
    pub(super) local: Local,
    pub(super) scheduler: Arc<Scheduler>,
    /// What the scheduler has of us.
    peer: Arc<Peer>,
    pub(super) id: usize,
    /// Stacks taken from the slab and not yet used. Borrowed for single calls only.
    pub(super) stacks: UnsafeCell<Vec<Stack>>,
    /// Set while fibers are being retired: the loop that is resumed ends, and this one goes on.
    pub(super) retire_to: Cell<Option<NonNull<Fiber>>>,
    /// The goroutines started here without a scope.
    pub(super) root: Children,
    /// Whether `root` is counted in the scheduler's `open`, and whether its closing has been noticed.
    pub(super) root_counted: Cell<bool>,
    pub(super) root_closing: Cell<bool>,
    pub(super) blocks: Blocks,
    pub(super) outgoing: Outgoing,
    pub(super) tick: Cell<u64>,
    /// The turns at which it is time to tend, and to look outside first.
    pub(super) next_tend: Cell<u64>,
    pub(super) next_outside: Cell<u64>,
    /// Why the next turn may be another one than the plain order has (`next.rs`).
    pub(super) detours: Cell<u8>,
    /// What is to be started now, before anything else.
    pub(super) at_once: Cell<Option<NonNull<Header>>>,
    /// How many may still be started before the next that is ready.
    pub(super) burst: Cell<u32>,
    /// Turns of coroutines since something new could be started.
    pub(super) woken_in_a_row: Cell<u32>,
    /// A goroutine that was ready has had its turn: the next is a coroutine's.
    pub(super) woken_first: Cell<bool>,
    /// The coroutine whose turn has just ended and who is to have another one: on its way into `woken`, which it enters as the next one leaves it. Nobody else sees it
    /// meanwhile, so it is there before anything else runs.
    pub(super) gave_way: Cell<Option<NonNull<Header>>>,
    pub(super) exiting: Cell<bool>,
    /// Fresh tasks had to wait because there was no stack.
    pub(super) starved: Cell<bool>,
    steal_at_once: bool,
    /// Beyond the workers that were asked for: takes what is new only while it is on duty.
    pub(super) spare: bool,
    /// With a seed, the order of tasks is made erratic, to shake out assumptions about it.
    pub(super) shaken: bool,
    pub(super) resting: Resting,
    pub(super) loot: UnsafeCell<Vec<Unstarted>>,
    /// The order of tasks, if it is not throng's own.
    order: Option<Box<OwnOrder>>,
}

pub(super) enum Next {
    Ready(NonNull<Waiter>),
    /// Not started yet, or a coroutine whose turn it is.
    Fresh(NonNull<Header>),
    Nothing,
}

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// Calls `f` with the worker whose thread this is.
#[inline]
pub(crate) fn on_worker<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // SAFETY: set for the life of the worker by its own thread, on which goroutines stay.
    f(unsafe { WORKER.get().as_ref() })
}

/// A worker's thread, from its first to its last instruction.
pub(super) fn thread(scheduler: Arc<Scheduler>, id: usize, stack: Stack, when: Begin) {
    // Without one an overflow is a plain SIGSEGV; not worth refusing to run for.
    let _alt_stack = AltStack::ensure();
    scheduler.idle.enter(id);
    let seed = scheduler.plan.seed.map(|seed| seed.wrapping_add(id as u64));
    let steal_at_once = scheduler.plan.steal_at_once;
    if let Some(seed) = seed {
        rng::seed(seed);
    }
    let peer = Arc::clone(&scheduler.peers[id]);
    let home = peer.home;
    let slots = scheduler.peers.len();
    let worker = Worker {
        local: Local::new(home),
        peer,
        id,
        stacks: UnsafeCell::new(Vec::new()),
        retire_to: Cell::new(None),
        root: Children::of_root(home, Arc::as_ptr(&scheduler).cast()),
        root_counted: Cell::new(when == Begin::First),
        root_closing: Cell::new(false),
        blocks: Blocks::new(),
        outgoing: Outgoing::new(),
        tick: Cell::new(0),
        next_tend: Cell::new(0),
        next_outside: Cell::new(GLOBAL_EVERY),
        detours: Cell::new(0),
        at_once: Cell::new(None),
        burst: Cell::new(0),
        woken_first: Cell::new(false),
        woken_in_a_row: Cell::new(0),
        gave_way: Cell::new(None),
        exiting: Cell::new(false),
        starved: Cell::new(false),
        steal_at_once,
        spare: id >= scheduler.core,
        shaken: seed.is_some(),
        resting: Resting::new(slots, when),
        loot: UnsafeCell::new(Vec::new()),
        order: scheduler.plan.policy.knobs().map(|knobs| by_policy::order(knobs, id, seed)),
        scheduler,
    };
    if worker.order.is_some() || worker.shaken {
        worker.detour(detour::ALWAYS);
    }
    if worker.order.is_some() {
        worker.local.fibers().always_to_loop();
        worker.local.keep_apart();
    }
    if !worker.is_noted() {
        worker.peer.claim_queues();
    }
    WORKER.set(&worker);
    if seed.is_some() {
        worker.local.fibers().shake();
    }
    worker.blocks.serve(|| local::enter(&worker.local, || worker.trunk(stack)));
    WORKER.set(ptr::null());
    if !worker.is_noted() {
        worker.peer.lend_queues();
    }
}

/// The worker is to end: delivered once, when no task is left.
pub(super) unsafe fn deliver_exit(_: NonNull<Message>, _: &Local) {
    on_worker(|worker| {
        if let Some(worker) = worker {
            worker.exiting.set(true);
        }
    });
}

/// Gives way to the other goroutines of this worker once: those that are ready go first, and one of those that have not started. Go's
/// `runtime.Gosched`, Kotlin's `yield`. On a plain thread, `std::thread::yield_now`.
///
/// # Errors
/// [`Cancelled`] if the task is cancelled, before or meanwhile.
///
/// ```
/// throng::run(|| {
///     for _ in 0..10 {
///         throng::yield_now().unwrap();
///     }
/// });
/// ```
#[inline]
pub fn yield_now() -> Result<(), Cancelled> {
    // The loop reads the mail and rings the alarms.
    let check = |worker: &Worker| worker.local.current().check(&worker.local);
    on_worker(|worker| match worker {
        Some(worker) if !worker.local.is_thread() && !crate::waiter::unwinding() => {
            check(worker)?;
            if worker.local.limit().get().is_null() {
                worker.step_back();
            } else {
                let held = permits::give_up(&worker.local);
                worker.step_back();
                permits::take_again(&worker.local, held);
            }
            check(worker)
        }
        _ => {
            crate::cancel::check()?;
            std::thread::yield_now();
            crate::cancel::check()
        }
    })
}

impl Worker {
    #[inline]
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    pub(crate) fn shared_scheduler(&self) -> Arc<Scheduler> {
        Arc::clone(&self.scheduler)
    }

    #[inline]
    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(super) fn id(&self) -> usize {
        self.id
    }

    #[inline]
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        &self.peer().counters
    }

    pub(super) fn steals_at_once(&self) -> bool {
        self.steal_at_once
    }

    /// Whether it takes tasks from outside and from others.
    #[inline]
    pub(super) fn is_on_duty(&self) -> bool {
        !self.spare || self.scheduler.idle.is_on_duty(self.id)
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved.get()
    }

    pub(super) fn note_starved(&self, starved: bool) {
        self.starved.set(starved);
    }

    /// The order of tasks, if it is not throng's own.
    #[inline]
    pub(super) fn order(&self) -> Option<&OwnOrder> {
        self.order.as_deref()
    }

    // The loop.

    pub(super) fn run_loop(&self) {
        while !self.exiting.get() {
            let next = self.next_task();
            let sibling = match next {
                Next::Fresh(task) => self.outgoing.may_wait_for(task),
                Next::Ready(waiter) => self.outgoing.may_wait_for(Header::of_waiter(waiter)),
                Next::Nothing => false,
            };
            if !sibling {
                self.outgoing.flush();
            }
            match next {
                Next::Ready(waiter) => {
                    self.rise();
                    let fibers = self.local.fibers();
                    fibers.with_idle(|idle| idle.push(fibers.running()));
                    self.local.go_to(waiter);
                    if let Some(back) = self.retire_to.take() {
                        self.local.fibers().next().set(Some(back));
                        return;
                    }
                }
                Next::Fresh(task) => {
                    self.rise();
                    self.start(task);
                }
                // The mail just read may have been the order to end.
                Next::Nothing if self.exiting.get() => {}
                Next::Nothing => self.rest(),
            }
        }
    }

    /// Steps back for the others: the ready ones, or, if there are any, one of those that have not started.
    #[inline(always)]
    fn step_back(&self) {
        if let Some(order) = self.order() {
            self.step_back_by_policy(order);
        } else if self.peer().queue.is_empty() {
            self.local.step_back();
        } else {
            self.detour(detour::FRESH_FIRST);
            self.local.step_back_to_loop();
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).field("tick", &self.tick).finish_non_exhaustive()
    }
}
