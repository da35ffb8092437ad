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
//! To switch is to set `next` and suspend to the trunk. A park goes straight to the next ready goroutine if there is one, but only [`STRAIGHT`] times in a row:
//! then the loop gets a turn, which is the one place where order and fairness are decided (`next_task`).
//!
//! **Order**: goroutines that are ready, first come first served; then the newest of those not yet started; then submissions from outside. Against starvation: every
//! [`FRESH_EVERY`]th turn the oldest not yet started goes first, and likewise after a `yield_now`; every [`GLOBAL_EVERY`]th the oldest submission.
//!
//! Invariants:
//! - F1: everything here belongs to the worker's thread; `&Worker` is shared, its fields are cells, and nothing is borrowed over a switch.
//! - F2: there is an idle fiber whenever a goroutine runs, so a park never lacks one: a task is started only if it leaves one behind.
//! - F3: `current` is the running goroutine's waiter, null while the loop runs.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::rest::Resting;
use super::{Counters, Peer, Scheduler, Unstarted, add};
use crate::cancelled::Cancelled;
use crate::fiber::{AltStack, Fiber, Resumed, Stack};
use crate::home::Message;
use crate::home::local::{self, Local};
use crate::rng;
use crate::task::children::{self, Children, Outgoing};
use crate::task::{self, Blocks, Header};

/// How many parks in a row may go straight to the next ready goroutine, past the loop.
const STRAIGHT: u32 = 61;
/// Every so many turns of the loop the oldest goroutine that has not started goes first.
const FRESH_EVERY: u64 = 16;
/// Every so many turns of the loop the oldest submission from outside goes first (Go's 1/61).
const GLOBAL_EVERY: u64 = 61;
/// Every so many turns of the loop alarms are rung and the scheduler's state is looked at.
const TEND_EVERY: u64 = 64;
/// How many stacks a worker takes from the slab at once.
const STACKS_AT_ONCE: usize = 16;
/// How many idle fibers a worker keeps when it tidies up.
const KEEP_FIBERS: usize = 64;

/// `repr(C)`: the `Local` comes first, so that a worker's `Local` is the worker.
#[repr(C)]
pub(crate) struct Worker {
    local: Local,
    scheduler: Arc<Scheduler>,
    id: usize,
    /// The fiber that runs.
    fiber: Cell<Option<NonNull<Fiber>>>,
    /// Whom the trunk resumes next.
    next: Cell<Option<NonNull<Fiber>>>,
    /// Suspended loops. Borrowed for single calls only.
    idle: UnsafeCell<Vec<NonNull<Fiber>>>,
    /// Stacks taken from the slab and not yet used. Borrowed for single calls only.
    stacks: UnsafeCell<Vec<Stack>>,
    /// Set while fibers are being retired: the loop that is resumed ends, and this one goes on.
    retire_to: Cell<Option<NonNull<Fiber>>>,
    /// The goroutines started here without a scope.
    root: Children,
    /// Whether `root` is counted in the scheduler's `open`, and whether its closing has been noticed.
    root_counted: Cell<bool>,
    root_closing: Cell<bool>,
    blocks: Blocks,
    outgoing: Outgoing,
    tick: Cell<u64>,
    straight: Cell<u32>,
    fresh_first: Cell<bool>,
    exiting: Cell<bool>,
    /// Fresh tasks had to wait because there was no stack.
    starved: Cell<bool>,
    steal_at_once: bool,
    /// With a seed, the order of tasks is made erratic, to shake out assumptions about it.
    shaken: bool,
    pub(super) resting: Resting,
    loot: UnsafeCell<Vec<Unstarted>>,
}

enum Next {
    Ready(NonNull<Header>),
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
pub(super) fn thread(scheduler: Arc<Scheduler>, id: usize, stack: Stack, seed: Option<u64>, steal_at_once: bool) {
    // Without one an overflow is a plain SIGSEGV; not worth refusing to run for.
    let _alt_stack = AltStack::ensure();
    if let Some(seed) = seed {
        rng::seed(seed);
    }
    let home = scheduler.peers[id].home;
    let workers = scheduler.peers.len();
    let worker = Worker {
        local: Local::new(home, park),
        id,
        fiber: Cell::new(None),
        next: Cell::new(None),
        idle: UnsafeCell::new(Vec::new()),
        stacks: UnsafeCell::new(Vec::new()),
        retire_to: Cell::new(None),
        root: Children::new(home, Arc::as_ptr(&scheduler).cast()),
        root_counted: Cell::new(true),
        root_closing: Cell::new(false),
        blocks: Blocks::new(),
        outgoing: Outgoing::new(),
        tick: Cell::new(0),
        straight: Cell::new(0),
        fresh_first: Cell::new(false),
        exiting: Cell::new(false),
        starved: Cell::new(false),
        steal_at_once,
        shaken: seed.is_some(),
        resting: Resting::new(workers),
        loot: UnsafeCell::new(Vec::new()),
        scheduler,
    };
    WORKER.set(&worker);
    local::enter(&worker.local, || worker.trunk(stack));
    WORKER.set(ptr::null());
}

/// How a goroutine gives up the thread: `Local`'s hook.
unsafe fn park(local: &Local) {
    // SAFETY: this hook is given to workers' `Local`s only, and those come first in their workers.
    let worker = unsafe { &*ptr::from_ref(local).cast::<Worker>() };
    worker.switch_away();
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
    crate::cancel::check()?;
    on_worker(|worker| match worker {
        Some(worker) if !worker.local.is_thread() && !crate::waiter::unwinding() => worker.step_back(),
        _ => std::thread::yield_now(),
    });
    crate::cancel::check()
}

impl Worker {
    #[inline]
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    #[inline]
    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    #[inline]
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    pub(super) fn id(&self) -> usize {
        self.id
    }

    #[inline]
    fn peer(&self) -> &Peer {
        &self.scheduler.peers[self.id]
    }

    #[inline]
    pub(super) fn counters(&self) -> &Counters {
        &self.peer().counters
    }

    pub(super) fn steals_at_once(&self) -> bool {
        self.steal_at_once
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved.get()
    }

    fn with_idle<R>(&self, f: impl FnOnce(&mut Vec<NonNull<Fiber>>) -> R) -> R {
        // SAFETY: F1, and `f` is a single call on the vector.
        f(unsafe { &mut *self.idle.get() })
    }

    fn with_stacks<R>(&self, f: impl FnOnce(&mut Vec<Stack>) -> R) -> R {
        // SAFETY: F1, and `f` is a single call on the vector.
        f(unsafe { &mut *self.stacks.get() })
    }

    // The trunk.

    fn trunk(&self, stack: Stack) {
        let first = self.new_fiber(stack);
        self.next.set(Some(first));
        while let Some(fiber) = self.next.take() {
            self.fiber.set(Some(fiber));
            // SAFETY: suspended (it resumed nobody while it was in `idle`, in a header or new), and this is the thread's own stack.
            if unsafe { Fiber::resume(fiber) } == Resumed::Finished {
                // SAFETY: finished, and nobody refers to it.
                self.scheduler.slab.give(unsafe { Fiber::into_stack(fiber) });
                if self.exiting.get() && self.next.get().is_none() {
                    self.next.set(self.with_idle(Vec::pop));
                }
            }
        }
        self.scheduler.slab.give_many(self.with_stacks(std::mem::take));
        // A nudge that is under way must not find the thread gone (I1).
        while !self.scheduler.idle.retire(self.id) {
            self.local.read_mail();
        }
    }

    fn new_fiber(&self, stack: Stack) -> NonNull<Fiber> {
        let worker = ptr::from_ref(self);
        Fiber::new(stack, move || {
            // SAFETY: the worker outlives its fibers: the trunk ends when they have.
            unsafe { &*worker }.run_loop();
        })
    }

    /// Whether there is an idle fiber to go on with when the running one parks (F2).
    #[inline]
    fn has_spare(&self) -> bool {
        self.with_idle(|idle| !idle.is_empty()) || self.make_spare()
    }

    #[cold]
    fn make_spare(&self) -> bool {
        let stack = match self.with_stacks(Vec::pop) {
            Some(stack) => stack,
            // A few at once, to take the slab's lock seldom: the first worker to need many gets many.
            None => {
                let many = self.with_stacks(|stacks| self.scheduler.slab.take_many(STACKS_AT_ONCE, stacks));
                match many.ok().and_then(|_| self.with_stacks(Vec::pop)) {
                    Some(stack) => stack,
                    None => return false,
                }
            }
        };
        let fiber = self.new_fiber(stack);
        self.with_idle(|idle| idle.push(fiber));
        true
    }

    /// Suspends the running fiber in favour of `fiber`.
    #[inline(always)]
    fn switch_to(&self, fiber: NonNull<Fiber>) {
        let Some(running) = self.fiber.get() else { unreachable!("called on a fiber") };
        self.next.set(Some(fiber));
        // SAFETY: the running fiber suspends itself.
        unsafe { Fiber::suspend(running) };
    }

    /// Suspends the running fiber in favour of a goroutine that is ready.
    #[inline(always)]
    fn go_to(&self, task: NonNull<Header>) {
        // SAFETY: ready, so parked, so alive.
        let header = unsafe { task.as_ref() };
        self.local.set_current(&header.waiter);
        let Some(fiber) = header.fiber() else { unreachable!("a ready goroutine has started") };
        if self.fiber.get() != Some(fiber) {
            self.switch_to(fiber);
        }
    }

    #[inline]
    fn pop_ready(&self) -> Option<NonNull<Header>> {
        let task = self.local.pop_ready().map(Header::of_waiter);
        // The one after it: its stack is likely to have left the cache, and there is time to fetch it while this one runs.
        if let Some(next) = self.local.peek_ready().map(Header::of_waiter) {
            // SAFETY: ready, so parked, so alive.
            if let Some(fiber) = unsafe { next.as_ref() }.fiber()
                && self.fiber.get() != Some(fiber)
            {
                // SAFETY: parked, and not the one that is about to park, so suspended.
                unsafe { Fiber::prefetch(fiber) };
            }
        }
        task
    }

    /// A goroutine has nothing to do for now: gives the thread to another. Returns when it has been woken.
    ///
    /// Inlined, like all that lies between a goroutine's call and the switch: a return after a switch is predicted from the calls of whoever ran
    /// before, that is wrongly, and costs more than the switch.
    #[inline(always)]
    fn switch_away(&self) {
        add(&self.counters().parked, 1);
        let straight = self.straight.get();
        if straight < STRAIGHT
            && let Some(task) = self.pop_ready()
        {
            self.straight.set(straight + 1);
            self.go_to(task);
        } else {
            self.switch_to_loop();
        }
        if self.shaken {
            self.shake();
        }
    }

    #[cold]
    fn shake(&self) {
        if rng::below(8) == 0 {
            self.local.push_ready(self.local.current());
            self.switch_to_loop();
        }
    }

    #[inline(always)]
    fn switch_to_loop(&self) {
        self.straight.set(0);
        self.local.set_current(ptr::null());
        let Some(fiber) = self.with_idle(Vec::pop) else { unreachable!("a goroutine runs, so there is an idle fiber (F2)") };
        self.switch_to(fiber);
    }

    #[inline(always)]
    fn step_back(&self) {
        let nobody_else = !self.local.has_ready() && self.peer().queue.is_empty();
        let straight = self.straight.get();
        if nobody_else && straight < STRAIGHT {
            // Mail, alarms and submissions get their turn when the loop does.
            self.straight.set(straight + 1);
            return;
        }
        self.local.push_ready(self.local.current());
        if self.peer().queue.is_empty() {
            self.switch_away();
        } else {
            self.fresh_first.set(true);
            add(&self.counters().parked, 1);
            self.switch_to_loop();
        }
    }

    // The loop.

    fn run_loop(&self) {
        while !self.exiting.get() {
            let next = self.next_task();
            if !matches!(next, Next::Fresh(task) if self.outgoing.may_wait_for(task)) {
                self.outgoing.flush();
            }
            match next {
                Next::Ready(task) => {
                    self.rise();
                    self.with_idle(|idle| idle.push(self.fiber_running()));
                    self.go_to(task);
                    if let Some(back) = self.retire_to.take() {
                        self.next.set(Some(back));
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

    fn fiber_running(&self) -> NonNull<Fiber> {
        let Some(fiber) = self.fiber.get() else { unreachable!("called on a fiber") };
        fiber
    }

    /// What runs next: the one place where that is decided.
    fn next_task(&self) -> Next {
        let tick = self.tick.get() + 1;
        self.tick.set(tick);
        self.counters().ticks.store(tick, Ordering::Relaxed);
        // Mail first: a nudge says that there is something to see, and is not sent again before it has been read.
        self.local.read_mail();
        if tick.is_multiple_of(TEND_EVERY) || self.resting_or_alone() {
            self.tend();
        }
        let queue = &self.peer().queue;
        let global = &self.scheduler.global;
        if (self.fresh_first.take() || tick.is_multiple_of(FRESH_EVERY) || self.shaken && rng::below(2) == 0)
            && let Some(task) = self.startable(|| queue.pop_oldest())
        {
            return task;
        }
        if tick.is_multiple_of(GLOBAL_EVERY)
            && let Some(task) = self.startable(|| global.pop_oldest())
        {
            return task;
        }
        if let Some(task) = self.pop_ready() {
            return Next::Ready(task);
        }
        self.startable(|| self.pop_newest()).or_else(|| self.startable(|| global.pop_oldest())).unwrap_or(Next::Nothing)
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

    /// Takes a task that has not started, if there would be a fiber left for the loop (F2).
    #[inline]
    fn startable(&self, pop: impl FnOnce() -> Option<Unstarted>) -> Option<Next> {
        if !self.has_spare() {
            self.starved.set(true);
            return None;
        }
        self.starved.set(false);
        pop().map(|Unstarted(task)| Next::Fresh(task))
    }

    /// Nothing is ready here: the moment to look at the clock costs nobody anything.
    #[inline]
    fn resting_or_alone(&self) -> bool {
        self.local.has_alarms() && !self.local.has_ready() || self.scheduler.is_closing()
    }

    /// Whether the runtime closes, and this worker has not noticed.
    pub(super) fn must_notice_closing(&self) -> bool {
        self.scheduler.is_closing() && !self.root_closing.get()
    }

    /// What has to be done now and then.
    fn tend(&self) {
        self.local.ring_alarms();
        if self.scheduler.is_closing() {
            if !self.root_closing.replace(true) {
                self.root.cancel(&self.local);
            }
            if self.root_counted.get() && self.root.is_empty() {
                self.root_counted.set(false);
                self.scheduler.root_closed();
            }
        }
    }

    /// Starts a goroutine on the running fiber, its home from now on. Returns when it has ended.
    #[inline]
    fn start(&self, task: NonNull<Header>) {
        add(&self.counters().started, 1);
        // SAFETY: taken from a queue, so it is ours to start.
        let header = unsafe { task.as_ref() };
        header.waiter.settle(self.local.home());
        header.settle(self.fiber_running());
        let skip = header.is_cancelled();
        self.local.set_current(&header.waiter);
        // SAFETY: started once, on its fiber, as the current waiter.
        let ran = unsafe { task::run(task, skip) };
        let end_of_run = || self.local.set_current(ptr::null());
        match header.owner() {
            // SAFETY: it has run; still as the current waiter.
            Some(_) => unsafe { children::finish(task, ran, &self.local, &self.blocks, &self.outgoing, end_of_run) },
            // SAFETY: as above.
            None => unsafe { self.scheduler.finish_outside(task, ran, end_of_run) },
        }
    }

    // Spawning.

    /// Takes a new goroutine in, as a child of `owner` or, without one, of this worker's root, and queues it.
    ///
    /// # Safety
    /// The task is new and the caller's; `owner` waits for it.
    #[inline]
    pub(crate) unsafe fn spawn(&self, task: NonNull<Header>, owner: Option<&Children>) {
        let owner = owner.unwrap_or_else(|| {
            if !self.root_counted.get() {
                // A running task, whose own root is counted, starts another while the runtime closes.
                self.root_counted.set(true);
                self.scheduler.open.fetch_add(1, Ordering::AcqRel);
            }
            &self.root
        });
        // SAFETY: by contract.
        unsafe { owner.adopt(task, &self.local) };
        self.enqueue(task);
    }

    #[inline]
    fn enqueue(&self, task: NonNull<Header>) {
        if self.peer().queue.push(Unstarted(task)) {
            self.scheduler.idle.wake_one();
        }
    }

    /// Takes tasks from another worker's queue into ours.
    pub(super) fn steal_from(&self, id: usize, aged_only: bool) -> bool {
        // SAFETY: F1, and nothing below comes back here.
        let loot = unsafe { &mut *self.loot.get() };
        self.scheduler.peers[id].queue.steal(loot, aged_only);
        if loot.is_empty() {
            return false;
        }
        add(&self.counters().stolen, loot.len() as u64);
        self.peer().queue.push_stolen(loot.drain(..));
        true
    }

    /// Gives back what a burst has left: fibers, stacks, blocks.
    pub(super) fn tidy(&self) {
        let running = self.fiber_running();
        while self.with_idle(|idle| idle.len()) > KEEP_FIBERS && !self.local.home().has_mail() {
            let Some(fiber) = self.with_idle(Vec::pop) else { break };
            self.retire_to.set(Some(running));
            // Its loop ends, its stack goes to the slab, and the trunk comes back to us.
            self.switch_to(fiber);
        }
        self.blocks.trim();
        self.scheduler.slab.give_many(self.with_stacks(std::mem::take));
        self.scheduler.slab.trim(KEEP_FIBERS);
    }

}

/// Writes who runs on this thread, for the overflow report: called in a signal handler, so it only reads and writes.
pub(super) fn describe_current(write: &mut dyn FnMut(&[u8])) {
    on_worker(|worker| {
        let Some(worker) = worker.filter(|worker| !worker.local.is_thread()) else {
            return write(b"(none: the scheduler's own loop)");
        };
        let waiter = NonNull::from(worker.local.current());
        // SAFETY: on a worker the current waiter is a task's, which runs and so is alive.
        let header = unsafe { Header::of_waiter(waiter).as_ref() };
        if let Some(name) = header.name() {
            write(b"'");
            write(name.as_bytes());
            write(b"' ");
        }
        write(b"(spawned at ");
        write(header.site().file().as_bytes());
        write(b":");
        let mut digits = [0_u8; 10];
        write(decimal(header.site().line(), &mut digits));
        write(b")");
    });
}

/// Formats without allocating.
fn decimal(mut n: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).field("tick", &self.tick).finish_non_exhaustive()
    }
}
