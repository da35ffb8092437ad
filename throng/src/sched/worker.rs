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
//! The switch itself, and the way of a park to it, are in `home/switch.rs`; the trunk and the fibers are in `fibers.rs`. The loop is the one place where order and fairness are
//! decided (`choose`).
//!
//! **Order**: goroutines that are ready, first come first served; after each of them up to [`FRESH_BURST`] that have not started, the newest first, and all of those when none
//! is ready; then submissions from outside. Against starvation: every [`FRESH_EVERY`]th turn the oldest that has not started goes first, and likewise after a `yield_now`;
//! every [`GLOBAL_EVERY`]th the oldest submission.
//!
//! Invariants:
//! - F1: everything here belongs to the worker's thread; `&Worker` is shared, its fields are cells, and nothing is borrowed over a switch.
//! - F2: a task is started only if that leaves an idle fiber behind, so that a park never lacks one (S1).
//! - F3: `current` is the running goroutine's waiter, null while the loop runs.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::by_policy::{self, OwnOrder};
use super::rest::Resting;
use super::slots::Begin;
use super::{Counters, Peer, Scheduler, Unstarted, add};
use crate::cancelled::Cancelled;
use crate::fiber::{AltStack, Fiber, Stack};
use crate::home::Message;
use crate::home::local::{self, Local};
use crate::rng;
use crate::task::children::Children;
use crate::task::{self, Blocks, Header, Outgoing, Ran};
use crate::waiter::{Waiter, permits};

/// Every so many turns of the loop the oldest goroutine that has not started goes first.
const FRESH_EVERY: u64 = 16;
/// How many goroutines are started between two that are ready. A parent that waits for its children's results should find several when its turn comes; but each child started
/// may park, and those that are parked take memory.
const FRESH_BURST: u32 = 4;
/// Every so many turns and parks the oldest submission from outside goes first (Go's 1/61).
const GLOBAL_EVERY: u64 = 61;
/// Every so many turns and parks alarms are rung and the scheduler's state is looked at.
const TEND_EVERY: u64 = 64;

/// See the module's header.
pub(crate) struct Worker {
    local: Local,
    scheduler: Arc<Scheduler>,
    id: usize,
    /// Stacks taken from the slab and not yet used. Borrowed for single calls only.
    pub(super) stacks: UnsafeCell<Vec<Stack>>,
    /// Set while fibers are being retired: the loop that is resumed ends, and this one goes on.
    pub(super) retire_to: Cell<Option<NonNull<Fiber>>>,
    /// The goroutines started here without a scope.
    pub(super) root: Children,
    /// Whether `root` is counted in the scheduler's `open`, and whether its closing has been noticed.
    pub(super) root_counted: Cell<bool>,
    root_closing: Cell<bool>,
    pub(super) blocks: Blocks,
    outgoing: Outgoing,
    tick: Cell<u64>,
    /// The turns at which it is time to tend, and to look outside first.
    pub(super) next_tend: Cell<u64>,
    next_outside: Cell<u64>,
    fresh_first: Cell<bool>,
    /// What is to be started now, before anything else.
    pub(super) at_once: Cell<Option<NonNull<Header>>>,
    /// Who has stepped aside for that goes on next.
    pub(super) ready_first: Cell<bool>,
    /// How many may still be started before the next that is ready.
    burst: Cell<u32>,
    /// A goroutine that was ready has had its turn: the next is a coroutine's.
    woken_first: Cell<bool>,
    /// The coroutine whose turn has just ended and who is to have another one: on its way into `woken`, which it enters as the next one leaves it. Nobody else sees it
    /// meanwhile, so it is there before anything else runs.
    gave_way: Cell<Option<NonNull<Header>>>,
    pub(super) exiting: Cell<bool>,
    /// Fresh tasks had to wait because there was no stack.
    starved: Cell<bool>,
    steal_at_once: bool,
    /// Beyond the workers that were asked for: takes what is new only while it is on duty.
    spare: bool,
    /// With a seed, the order of tasks is made erratic, to shake out assumptions about it.
    shaken: bool,
    pub(super) resting: Resting,
    loot: UnsafeCell<Vec<Unstarted>>,
    /// The order of tasks, if it is not throng's own.
    order: Option<Box<OwnOrder>>,
}

pub(super) enum Next {
    Ready(NonNull<Waiter>),
    /// Not started yet, or a coroutine whose turn it is.
    Fresh(NonNull<Header>),
    Nothing,
}

/// What came of starting a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Started {
    /// It may be gone.
    Ended,
    /// A coroutine that waits. Somebody else may have it by now.
    Waits,
    /// A coroutine that is to be queued again.
    Again,
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
    let home = scheduler.peers[id].home;
    let slots = scheduler.peers.len();
    let worker = Worker {
        local: Local::new(home),
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
        fresh_first: Cell::new(false),
        at_once: Cell::new(None),
        ready_first: Cell::new(false),
        burst: Cell::new(0),
        woken_first: Cell::new(false),
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
    if worker.order.is_some() {
        worker.local.fibers().always_to_loop();
        worker.local.keep_apart();
    }
    WORKER.set(&worker);
    if seed.is_some() {
        worker.local.fibers().shake();
    }
    worker.blocks.serve(|| local::enter(&worker.local, || worker.trunk(stack)));
    WORKER.set(ptr::null());
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
        &self.scheduler.peers[self.id]
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
            self.fresh_first.set(true);
            self.local.step_back_to_loop();
        }
    }

    /// What runs next. Who has given way is queued by then.
    #[inline(always)]
    fn next_task(&self) -> Next {
        if self.gave_way.get().is_none() { self.choose() } else { self.next_after_giving_way() }
    }

    #[inline(never)]
    fn next_after_giving_way(&self) -> Next {
        let next = self.choose();
        if let Some(task) = self.gave_way.take() {
            self.enqueue_woken(task);
        }
        next
    }

    /// The one place where it is decided what runs next.
    #[inline(always)]
    fn choose(&self) -> Next {
        if let Some(task) = self.at_once.take() {
            if self.has_spare() {
                return Next::Fresh(task);
            }
            self.enqueue(task);
        }
        if let Some(order) = self.order() {
            if let Some(task) = self.gave_way.take() {
                self.put_back(order, task);
            }
            return self.next_by_policy(order);
        }
        if self.ready_first.take()
            && let Some(waiter) = self.local.next_ready()
        {
            return Next::Ready(waiter);
        }
        let turns = self.count_turn();
        // Mail first: a nudge says that there is something to see, and is not sent again before it has been read.
        self.local.read_mail();
        if turns >= self.next_tend.get() || self.idle_or_closing() {
            self.next_tend.set(turns + TEND_EVERY);
            self.tend();
        }
        let queue = &self.peer().queue;
        if (self.fresh_first.take() || self.tick.get().is_multiple_of(FRESH_EVERY) || self.shaken && rng::below(2) == 0)
            && let Some(task) = self.startable(|| queue.pop_oldest())
        {
            return task;
        }
        let outside_first = turns >= self.next_outside.get();
        if outside_first {
            self.next_outside.set(turns + GLOBAL_EVERY);
        }
        if outside_first && let Some(task) = self.startable(|| self.pop_outside()) {
            return task;
        }
        let burst = self.burst.get();
        if burst > 0
            && let Some(task) = self.startable(|| self.pop_newest())
        {
            self.burst.set(burst - 1);
            return task;
        }
        if self.woken_first.take()
            && let Some(task) = self.woken()
        {
            return task;
        }
        if let Some(waiter) = self.local.next_ready() {
            self.burst.set(FRESH_BURST);
            self.woken_first.set(true);
            return Next::Ready(waiter);
        }
        if let Some(task) = self.woken() {
            return task;
        }
        self.startable(|| self.pop_newest()).or_else(|| self.startable(|| self.pop_outside())).unwrap_or(Next::Nothing)
    }

    /// Takes the oldest submission from outside.
    fn pop_outside(&self) -> Option<Unstarted> {
        if !self.is_on_duty() {
            return None;
        }
        let task = self.scheduler.global.pop_oldest()?;
        // It may be a child of ours, started by a thread that is no worker: its announcement was pushed before the task, but perhaps after we last read our mail, and
        // must be read before its end (`children.rs`).
        self.local.read_mail();
        Some(task)
    }

    #[inline]
    fn pop_newest(&self) -> Option<Unstarted> {
        let (task, next) = self.peer().queue.pop_newest()?;
        // Stolen, or spawned long ago, it is in another cache or in none.
        if let Some(Unstarted(next)) = next {
            task::prefetch(next);
        }
        Some(task)
    }

    /// Takes the coroutine that was woken first.
    #[inline]
    fn woken(&self) -> Option<Next> {
        if self.has_no_woken() {
            return None;
        }
        self.burst.set(FRESH_BURST);
        self.startable(|| match self.gave_way.take() {
            Some(task) => Some(self.rotate_woken(task)),
            None => self.peer().woken.pop_oldest(),
        })
    }

    #[inline]
    fn has_no_woken(&self) -> bool {
        self.peer().woken.is_empty() && self.gave_way.get().is_none()
    }

    #[inline]
    fn rotate_woken(&self, task: NonNull<Header>) -> Unstarted {
        let (oldest, next, unwatched) = self.peer().woken.rotate(Unstarted(task));
        if let Some(Unstarted(next)) = next {
            task::prefetch(next);
        }
        if unwatched {
            self.scheduler.wake_one();
        }
        oldest
    }

    /// Takes a task that has not started, if there would be a fiber left for the loop (F2).
    #[inline(always)]
    fn startable(&self, pop: impl FnOnce() -> Option<Unstarted>) -> Option<Next> {
        if !self.has_spare() {
            self.starved.set(true);
            return None;
        }
        self.starved.set(false);
        pop().map(|Unstarted(task)| Next::Fresh(task))
    }

    /// Nothing is to be run here, so looking at the clock costs nobody anything; or the runtime closes.
    #[inline]
    fn idle_or_closing(&self) -> bool {
        self.local.has_alarms() && !self.local.has_ready() && self.peer().queue.is_empty() && self.has_no_woken()
            || self.scheduler.is_closing()
    }

    /// Whether the runtime closes, and this worker has not noticed.
    pub(super) fn must_notice_closing(&self) -> bool {
        self.scheduler.is_closing() && !self.root_closing.get()
    }

    /// A turn of the loop. Returns how many turns and parks there have been.
    #[inline]
    pub(super) fn count_turn(&self) -> u64 {
        let tick = self.tick.get() + 1;
        self.tick.set(tick);
        let parked = self.local.fibers().parked();
        self.counters().ticks.store(tick, Ordering::Relaxed);
        self.counters().parked.store(parked, Ordering::Relaxed);
        // Parks that went straight to the next goroutine count as turns: they are as long.
        tick + parked
    }

    /// What has to be done now and then.
    pub(super) fn tend(&self) {
        self.local.ring_alarms();
        if self.scheduler.is_closing() {
            if !self.root_closing.replace(true) {
                self.root.cancel(&self.local, None);
            }
            if self.root_counted.get() && self.root.is_empty() {
                self.root_counted.set(false);
                self.scheduler.root_closed();
            }
        }
    }

    /// Starts a goroutine on the running fiber, its home from now on, and returns when it has ended; or gives a coroutine a turn.
    #[inline]
    fn start(&self, task: NonNull<Header>) {
        // SAFETY: taken from a queue, so it is ours to start.
        let header = unsafe { task.as_ref() };
        if header.is_dispatched() {
            self.start_dispatched(task, header);
        } else if self.start_plainly(task, header) == Started::Again {
            self.gave_way.set(Some(task));
        }
    }

    /// Starts one that was sent here by a dispatcher.
    #[cold]
    fn start_dispatched(&self, task: NonNull<Header>, header: &Header) {
        let visitor = header.is_visitor();
        let mut started = Started::Ended;
        let mut start = || started = self.start_apart(task, header);
        match header.permits() {
            Some(permits) => permits.hold(&self.local, start),
            None => start(),
        }
        match started {
            Started::Ended if visitor => self.scheduler.visitor_left(task),
            // SAFETY: ours to queue.
            Started::Again => unsafe { task::queue_again(task) },
            Started::Ended | Started::Waits => {}
        }
    }

    /// `start_plainly`, out of the way of those that are not dispatched.
    #[inline(never)]
    fn start_apart(&self, task: NonNull<Header>, header: &Header) -> Started {
        self.start_plainly(task, header)
    }

    #[inline(always)]
    fn start_plainly(&self, task: NonNull<Header>, header: &Header) -> Started {
        let first = header.waiter.settle(self.local.home());
        if first {
            add(&self.counters().started, 1);
        }
        header.waiter.fiber().set(Some(self.local.fibers().running()));
        let skip = first && header.is_to_be_skipped();
        self.local.set_current(&header.waiter);
        // SAFETY: started once, or a coroutine's turn, on its fiber, as the current waiter.
        let ran = unsafe { task::run(task, skip) };
        if ran == Ran::Pending {
            self.local.clear_current();
            // SAFETY: the turn was ours.
            return if unsafe { task::pause(task) } { Started::Again } else { Started::Waits };
        }
        header.end_turns();
        let end_of_run = || self.local.clear_current();
        match header.owner() {
            // SAFETY: it has run; still as the current waiter.
            Some(_) => unsafe { task::finish(task, ran, &self.local, &self.outgoing, end_of_run) },
            // SAFETY: as above.
            None => unsafe { self.scheduler.finish_outside(task, ran, end_of_run) },
        }
        Started::Ended
    }

    /// Takes tasks from another worker's queue into ours.
    pub(super) fn steal_from(&self, id: usize, aged_only: bool) -> bool {
        let peer = &self.scheduler.peers[id];
        self.with_loot(|loot| {
            peer.queue.steal(loot, aged_only);
            let fresh = loot.len();
            if fresh > 0 {
                self.peer().queue.push_stolen(loot.drain(..));
            }
            peer.woken.steal(loot, aged_only);
            let woken = loot.len();
            if woken > 0 {
                self.peer().woken.push_stolen(loot.drain(..));
            }
            add(&self.counters().stolen, (fresh + woken) as u64);
            fresh + woken > 0
        })
    }

    /// Where stolen tasks are kept between two queues.
    pub(super) fn with_loot<R>(&self, f: impl FnOnce(&mut Vec<Unstarted>) -> R) -> R {
        // SAFETY: F1, and no `f` comes back here.
        f(unsafe { &mut *self.loot.get() })
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).field("tick", &self.tick).finish_non_exhaustive()
    }
}
