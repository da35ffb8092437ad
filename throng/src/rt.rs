//! Runtimes: making one, running a program on it, shutting it down.

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::dispatch::Dispatcher;
use crate::home::local;
use crate::join::JoinError;
use crate::sched::policy::Policy;
use crate::sched::{Metrics, Plan, Scheduler, Stall, on_worker};
use crate::spawn::{JoinHandle, NoScope, Options, Place, SpawnError, start, start_future};
use crate::waiter::{Heeds, unwinding};

/// The stack of a goroutine, unless the builder says otherwise: address space, of which only the touched pages cost memory.
const STACK_SIZE: usize = 256 << 10;

/// How many blocking calls run at once, unless the builder says otherwise.
const MAX_BLOCKING_THREADS: usize = 512;

/// How many workers may come to help while others are stuck, unless the builder says otherwise.
const MAX_SPARE_WORKERS: usize = 64;

/// How long a worker may be stuck in a goroutine that others wait for before that is reported, unless the builder says otherwise.
const STALLS_AFTER: Duration = Duration::from_secs(1);

/// Runs `f` as the first goroutine of a runtime made for it, and returns its value when that runtime has been shut down.
///
/// The end of `f` is the end of the program, as in Go: goroutines that still run are cancelled, and waited for. What must not be cut off belongs in a
/// [`scope`](crate::scope). `f` may borrow, since `run` waits; it must be `Send`, since it runs on a worker's thread.
///
/// # Panics
/// With the panic of `f`, after the shutdown; or if the runtime cannot be made (no threads, no memory): [`Runtime::new`] returns that as an error.
///
/// ```
/// let total = throng::run(|| {
///     let (tx, rx) = throng::bounded(4);
///     for i in 1..=3 {
///         let tx = tx.clone();
///         throng::go(move || tx.send(i));
///     }
///     drop(tx);
///     rx.iter().sum::<u32>()
/// });
/// assert_eq!(total, 6);
/// ```
#[track_caller]
pub fn run<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    match Runtime::new() {
        Ok(runtime) => runtime.run(f),
        Err(error) => panic!("the runtime could not be started: {error}"),
    }
}

/// The metrics of the runtime whose worker this is; `None` on a plain thread.
#[must_use]
pub fn metrics() -> Option<Metrics> {
    on_worker(|worker| worker.map(|worker| worker.scheduler().metrics()))
}

/// A scheduler and its threads.
///
/// Most programs need none of their own: [`run`], `#[throng::main]` and the default runtime make one. Several may live in one process;
/// channels and locks work across them.
///
/// Dropping it shuts it down, see [`shutdown`](Runtime::shutdown).
pub struct Runtime {
    scheduler: Arc<Scheduler>,
}

impl Runtime {
    /// A runtime with a worker for each core the process may use.
    ///
    /// # Errors
    /// If threads or memory cannot be had.
    pub fn new() -> io::Result<Runtime> {
        Runtime::builder().build()
    }

    /// Begins the description of a runtime.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Its workers, as a dispatcher, which does not keep the runtime running.
    #[must_use]
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher::of(Arc::clone(&self.scheduler))
    }

    /// Runs `f` as a goroutine of this runtime and waits for it: a plain thread blocks, a goroutine (of another runtime, or of this one) parks.
    ///
    /// Unlike the free [`run`] it leaves the runtime as it is: other goroutines go on. In a goroutine that a panic unwinds, which cannot wait, `f` is simply called.
    ///
    /// # Panics
    /// With the panic of `f`. If the runtime has no stack or memory left, or is being shut down.
    #[track_caller]
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        if unwinding() && !local::with(local::Local::is_thread) {
            return f();
        }
        let options = Options::called_only("main").no_dispatcher();
        // SAFETY: the wait below heeds nothing, so we are not left before `f` has ended.
        let handle = unsafe { start(options, Location::caller(), NoScope::new(), f, None, Place::On(&self.scheduler)) }
            .unwrap_or_else(|error| error.refuse());
        match handle.join_heeding(Heeds::Nothing) {
            Ok(value) => value,
            Err(JoinError::Panicked(panic)) => panic.resume(),
            Err(_) => panic!("the runtime was shut down before the closure given to `run` could begin"),
        }
    }

    /// Starts a goroutine on this runtime, from wherever: [`go`](crate::go).
    ///
    /// # Panics
    /// As [`go`](crate::go) does.
    #[track_caller]
    pub fn go<T, F>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_go(f).unwrap_or_else(|error| error.refuse())
    }

    /// Starts a goroutine on this runtime, with failure to start as an error.
    ///
    /// # Errors
    /// As [`try_go`](crate::try_go).
    #[track_caller]
    pub fn try_go<T, F>(&self, f: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { start(Options::undispatched(), Location::caller(), NoScope::new(), f, None, Place::On(&self.scheduler)) }
    }

    /// Starts a coroutine on this runtime, from wherever: [`launch`](crate::launch).
    ///
    /// # Panics
    /// As [`go`](crate::go) does.
    #[track_caller]
    pub fn launch<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.try_launch(future).unwrap_or_else(|error| error.refuse())
    }

    /// Starts a coroutine on this runtime, with failure to start as an error.
    ///
    /// # Errors
    /// As [`try_go`](crate::try_go).
    #[track_caller]
    pub fn try_launch<F>(&self, future: F) -> Result<JoinHandle<F::Output>, SpawnError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { start_future(Options::undispatched(), Location::caller(), NoScope::new(), future, None, Place::On(&self.scheduler)) }
    }

    /// What is known of its workers so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.scheduler.metrics()
    }

    /// The last workers that were stuck while others waited for them, the oldest first: see [`Builder::report_stalls_after`]. At most 32 are kept.
    ///
    /// ```
    /// use std::time::Duration;
    /// let runtime = throng::Runtime::builder().workers(1).report_stalls_after(Duration::from_millis(20)).build()?;
    /// runtime.run(|| {
    ///     throng::go(|| println!("I wait for the one worker"));
    ///     // In real life: a call into foreign code that is not in `throng::blocking`.
    ///     std::thread::sleep(Duration::from_millis(100));
    /// });
    /// for stall in runtime.stalls() {
    ///     println!("{stall}"); // worker 0 has been stuck for 21 ms in goroutine 'main' (spawned at ..)
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stalls(&self) -> Vec<Stall> {
        self.scheduler.stalls()
    }

    /// Cancels every goroutine, waits until all have ended, and ends the threads. Dropping the runtime does the same.
    ///
    /// Goroutines that have not started never will; those that run meet [`Cancelled`](crate::Cancelled) at their next call that parks. One that never parks, or that goes on
    /// regardless, is waited for: nothing is killed. Called from one of its own goroutines it only begins the shutdown, which cannot wait for its
    /// caller: the threads then end by themselves.
    pub fn shutdown(self) {
        drop(self);
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.scheduler.close();
        if !self.scheduler.is_current() {
            self.scheduler.join_threads();
        }
    }
}

// A panic carried out of a task leaves the runtime as it was: tasks are caught.
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("scheduler", &self.scheduler).finish()
    }
}

/// A runtime to be.
///
/// ```
/// let runtime = throng::Runtime::builder().workers(2).stack_size(64 << 10).build()?;
/// assert_eq!(runtime.run(|| 1 + 1), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is made by `build`"]
pub struct Builder {
    plan: Plan,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            plan: Plan {
                name: String::from("throng"),
                numbered: true,
                workers: 0,
                elastic: false,
                max_spare_workers: MAX_SPARE_WORKERS,
                stalls_after: STALLS_AFTER,
                stack_size: STACK_SIZE,
                max_blocking_threads: MAX_BLOCKING_THREADS,
                seed: None,
                steal_at_once: false,
                policy: Policy::throng(),
            },
        }
    }

    /// What the names of its threads begin with; if there is one, its name.
    pub(crate) fn thread_name(mut self, name: String) -> Builder {
        self.plan.name = name;
        self.plan.numbered = false;
        self
    }

    /// How many threads run goroutines. Zero, the default: as many as the process may use cores.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.plan.workers = workers;
        self
    }

    /// The size of a goroutine's stack in bytes, its guard included; 256 KiB by default. It is address space: memory is used a page at a time, as
    /// it is touched, and four kilobytes is what a parked goroutine usually takes, and half of one for the page tables of so large a stack (an eighth for those of 64 KiB). Goroutines' stacks do not grow: one that needs more ends the
    /// process with a report of its name and this size.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.plan.stack_size = bytes;
        self
    }

    /// How many [`blocking`](crate::blocking) calls may run at once, each on a thread of its own; 512 by default.
    pub fn max_blocking_threads(mut self, threads: usize) -> Builder {
        self.plan.max_blocking_threads = threads;
        self
    }

    /// How many workers there may be beyond [`workers`](Builder::workers) while some are stuck; 64 by default.
    ///
    /// A worker is stuck when a goroutine has kept its thread for ten milliseconds without parking: it computes, or calls something that blocks. If goroutines that have not
    /// started wait meanwhile, and no worker comes for them, a *spare* worker does, so that a program whose workers are all blocked goes on. What has started stays where it is, so
    /// it waits for the stuck one. Spare workers step down when workers turn again; their threads stay until the runtime ends, for what has started on them.
    ///
    /// Zero: none, and no goroutine runs on more than `workers` threads. Go's monitor does the same by moving a processor from a thread in a system call to another.
    pub fn max_spare_workers(mut self, workers: usize) -> Builder {
        self.plan.max_spare_workers = workers;
        self
    }

    /// How long a goroutine may keep its worker, without parking, while others wait for that worker, until it is reported; one second by default, [`Duration::MAX`]: never.
    ///
    /// Each such goroutine is reported once: its name, where it was spawned, the worker, how long, and, with the feature `backtrace`, what it was doing. The report goes to `tracing` with the feature
    /// `tracing`, at the level of warnings with the target `throng::stall`, else to stderr; and [`Runtime::stalls`] has it.
    ///
    /// Others wait if goroutines that have not started do and nobody else takes them, or if goroutines of the same worker are ready or have been woken.
    /// To learn all that the worker's thread is sent the signal SIGURG, on which its handler, installed for the first report, only copies. Calls that the signal interrupts go on, or
    /// return `EINTR`, as for any signal. If the program has a handler of its own for SIGURG that stays, and reports do without. With the feature `backtrace` the handler runs the unwinder, which
    /// is not promised to be safe there: with glibc before 2.35 a thread that is interrupted inside the dynamic loader would hang.
    pub fn report_stalls_after(mut self, time: Duration) -> Builder {
        self.plan.stalls_after = time;
        self
    }

    /// Whether it begins with one worker and gets another, up to `workers`, whenever work comes up while none rests: for dispatchers, which have this in the open.
    #[doc(hidden)]
    pub fn elastic(mut self, elastic: bool) -> Builder {
        self.plan.elastic = elastic;
        self
    }

    /// In which order workers run tasks, and how they come by those of others: [`Policy::throng`] by default, [`Policy::go`], [`Policy::kotlin`], or one of your own.
    ///
    /// ```
    /// use throng::{Policy, Runtime};
    ///
    /// let runtime = Runtime::builder().policy(Policy::kotlin()).build()?;
    /// assert_eq!(runtime.run(|| 1 + 1), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn policy(mut self, policy: Policy) -> Builder {
        self.plan.policy = policy;
        self
    }

    /// For tests: makes woken goroutines give way at random and start in an erratic order, and idle workers steal at once, so that orders that are rare
    /// become common. The same seed on one worker gives the same choices. Turns spare workers off, which come when time says so.
    pub fn shake(mut self, seed: u64) -> Builder {
        self.plan.max_spare_workers = 0;
        self.plan.seed = Some(seed);
        self.plan.steal_at_once = true;
        self
    }

    /// Makes the runtime and starts its threads.
    ///
    /// # Errors
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): a stack size out of bounds, or no blocking threads.
    /// - Whatever the system says to a refusal of threads or memory. Nothing is left behind.
    pub fn build(self) -> io::Result<Runtime> {
        Ok(Runtime { scheduler: self.build_scheduler()? })
    }

    pub(crate) fn build_scheduler(mut self) -> io::Result<Arc<Scheduler>> {
        if self.plan.workers == 0 {
            self.plan.workers = std::thread::available_parallelism().map_or(1, usize::from);
        }
        if self.plan.max_blocking_threads == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "max_blocking_threads must be at least 1"));
        }
        Scheduler::start(&self.plan)
    }
}

/// The one that plain threads use when they have made none. Started at first use, never shut down.
static DEFAULT: OnceLock<Runtime> = OnceLock::new();

/// Whether this is the default runtime's.
pub(crate) fn is_default(scheduler: &Scheduler) -> bool {
    DEFAULT.get().is_some_and(|runtime| ptr::eq(runtime.scheduler(), scheduler))
}

/// The default runtime. A failure to start it is not kept: the next caller may have more luck.
pub(crate) fn default_runtime() -> Result<&'static Runtime, Arc<io::Error>> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = DEFAULT.get() {
        return Ok(runtime);
    }
    let _starting = STARTING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if DEFAULT.get().is_none() {
        let runtime = Runtime::new().map_err(Arc::new)?;
        let _ = DEFAULT.set(runtime);
    }
    DEFAULT.get().ok_or_else(|| Arc::new(io::Error::other("unreachable: it has just been set")))
}

/// Whether two runtimes are the same.
impl PartialEq for Runtime {
    fn eq(&self, other: &Runtime) -> bool {
        ptr::eq(self.scheduler(), other.scheduler())
    }
}

impl Eq for Runtime {}
