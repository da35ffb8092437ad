//! Where tasks run: dispatchers. [`Dispatcher`] has the overview.
//!
//! ```
//! use throng::dispatch::io;
//!
//! throng::run(|| {
//!     let size = throng::on(&io(), || std::fs::metadata("Cargo.toml").map(|meta| meta.len()));
//!     assert!(size.unwrap().is_ok());
//! });
//! ```

// How it works. Whatever runs tasks begins with a `Schedule`, by which a task is queued there: a scheduler, a view, an external one. A task whose dispatcher is not the scheduler of its owner is
// marked: as a *visitor*, which what it runs on counts, so that it does not end before; as *limited*, if it needs permits. The dispatcher itself is a value of the task's context, so children inherit it,
// and it is there as long as the task.
//
// | file | what |
// |---|---|
// | `mod.rs` | `Dispatcher`; the default one, the one for calls that block |
// | `builder.rs` | pools of one's own |
// | `view.rs` | limited views |
// | `external.rs` | threads that are none of ours: executors, event loops |
// | `event_loop.rs` | a thread of the user's |

mod builder;
mod event_loop;
pub(crate) mod external;
mod view;

use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use builder::DispatcherBuilder;
pub use event_loop::{EventLoop, Remote};
use external::External;
pub use external::Runnable;
use view::View;

use crate::context::{Context, ContextLocal, inherited, within};
use crate::rt;
use crate::sched::{Scheduler, on_worker};
use crate::task::Schedule;
use crate::waiter::permits::{PERMITS, Permits};

/// Where tasks run: a pool of workers, a limited view of one, or somebody else's thread.
///
/// Give it to a task with `on`: `task().on(&d).go(..)`, `s.task().on(&d).launch(..)`; its children inherit it. Or run a closure there and wait for it: [`on`](crate::on).
///
/// | dispatcher | runs tasks on |
/// |---|---|
/// | [`default`](default()) | the workers of the runtime |
/// | [`io`](io()) | threads that may block, as many as are needed, up to 64 |
/// | [`single`] | one thread of its own |
/// | [`Dispatcher::builder`] | a pool of one's own |
/// | [`limited`](Dispatcher::limited) | the same threads, but no more than so many tasks at a time |
/// | [`from_executor`](Dispatcher::from_executor) | another executor's threads: coroutines only |
/// | [`EventLoop`] | a thread that the program has already: an event loop's, a user interface's |
///
/// Cheap to clone. A pool made by [`single`] or a builder closes when its last clone is dropped, those of its tasks included; see [`close`](Dispatcher::close).
///
/// Kotlin's `CoroutineDispatcher`.
///
/// ```
/// use throng::dispatch::{default, io, single};
/// use throng::{on, task};
///
/// throng::run(|| {
///     let printer = single("printer")?;
///     let name = on(&printer, || std::thread::current().name().map(String::from)).unwrap();
///     assert_eq!(name.as_deref(), Some("printer"));
///
///     let two_at_once = default().limited(2);
///     let handles: Vec<_> = (0..4).map(|n| task().on(&two_at_once).go(move || n * n)).collect();
///     let squares: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
///     assert_eq!(squares, [0, 1, 4, 9]);
///
///     let manifest = on(&io(), || std::fs::read_to_string("Cargo.toml")).unwrap()?;
///     assert!(manifest.contains("throng"));
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Dispatcher(Kind);

#[derive(Clone)]
enum Kind {
    Pool(Arc<Pool>),
    View(Arc<View>),
    External(Arc<External>),
}

/// A scheduler as a dispatcher.
struct Pool {
    scheduler: Arc<Scheduler>,
    /// It was made to be one, and closes with its last handle.
    owned: bool,
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.owned {
            self.scheduler.close();
        }
    }
}

/// What a dispatcher queues tasks at in the end.
pub(crate) enum Target<'a> {
    Scheduler(&'a Scheduler),
    External(&'a External),
}

/// The dispatcher of a task that was given one, or has inherited it. Set to `None`: that of its runtime, whatever was inherited before.
static DISPATCHER: ContextLocal<Option<Dispatcher>> = ContextLocal::new();
/// That of the runtime which a dispatched task came from.
static RUNTIME: ContextLocal<Dispatcher> = ContextLocal::new();

/// The workers of the runtime that the calling task belongs to, wherever it was dispatched; called from a plain thread, those of the default runtime.
///
/// For processor time: tasks that compute, or park in calls of this crate. What blocks its thread goes to [`io`](io()), or into [`blocking`](crate::blocking). Kotlin's `Dispatchers.Default`.
///
/// # Panics
/// On a plain thread, if the default runtime cannot be started.
#[must_use]
pub fn default() -> Dispatcher {
    if let Some(runtime) = inherited().peek(&RUNTIME, |runtime| runtime.cloned()) {
        return runtime;
    }
    present().unwrap_or_else(|| match rt::default_runtime() {
        Ok(runtime) => runtime.dispatcher(),
        Err(error) => panic!("the default runtime could not be started: {error}"),
    })
}

/// That of the worker whose thread this is.
fn present() -> Option<Dispatcher> {
    on_worker(|worker| worker.map(|worker| Dispatcher::of(worker.shared_scheduler())))
}

/// Threads for tasks that may block them: one pool for the program, which grows as tasks come while others block, up to 64 threads or the number of cores, whichever is more.
///
/// Its tasks are tasks like any other: they have stacks, park, and talk over channels; and while one blocks its thread the others go on. More than 64 that block wait for each other. Its threads are
/// none of a runtime's workers, nor those of [`blocking`](crate::blocking). The pool starts with its first use and stays. Kotlin's `Dispatchers.IO`.
///
/// A goroutine stays on the thread it started on, here too: when one there blocks the thread, those that are parked on it wait for that. So a task that goes on to compute belongs elsewhere.
///
/// # Panics
/// If not one thread can be started; the next call tries again.
#[must_use]
pub fn io() -> Dispatcher {
    static IO: OnceLock<Dispatcher> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(io) = IO.get() {
        return io.clone();
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(io) = IO.get() {
        return io.clone();
    }
    let threads = std::thread::available_parallelism().map_or(64, |cores| cores.get().max(64));
    match Dispatcher::builder().name("throng-io").workers(threads).elastic(true).build_open() {
        Ok(io) => IO.get_or_init(|| io).clone(),
        Err(error) => panic!("the threads of the io dispatcher could not be started: {error}"),
    }
}

/// One thread of its own, of this name, which runs the tasks it is given one at a time. Kotlin's `newSingleThreadContext`.
///
/// What its tasks share needs no lock against each other between two calls that park.
///
/// # Errors
/// If the thread, or memory, cannot be had.
pub fn single(name: impl Into<String>) -> std::io::Result<Dispatcher> {
    Dispatcher::builder().name(name).workers(1).build()
}

impl Dispatcher {
    /// Begins the description of a pool.
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::new()
    }

    fn pool(scheduler: Arc<Scheduler>, owned: bool) -> Dispatcher {
        Dispatcher(Kind::Pool(Arc::new(Pool { scheduler, owned })))
    }

    /// That of a runtime, which it does not keep running.
    pub(crate) fn of(scheduler: Arc<Scheduler>) -> Dispatcher {
        Dispatcher::pool(scheduler, false)
    }

    /// The dispatcher of the calling task: the one it was given or has inherited, else that of its runtime; `None` on a plain thread. Never parks.
    #[must_use]
    pub fn current() -> Option<Dispatcher> {
        Dispatcher::in_context(&inherited()).or_else(present)
    }

    /// A view of it: its tasks run on the same threads, but at most `tasks` of them at a time. Kotlin's `limitedParallelism`.
    ///
    /// A task counts while it runs, not while it is parked; so tasks of a view may wait for each other, and with a limit of one they exclude each other between calls that park. Who is held back gets its turn in the
    /// order of coming, before what comes later. A view of a view heeds both limits.
    ///
    /// # Panics
    /// If `tasks` is zero.
    #[must_use]
    pub fn limited(&self, tasks: usize) -> Dispatcher {
        assert!(tasks > 0, "a view of no task at a time would never run one");
        Dispatcher(Kind::View(Arc::new(View::new(tasks, self.clone()))))
    }

    /// Refuses new tasks from now on, and cancels those it has; its threads end when these have ended. Never parks.
    ///
    /// A task that was refused is an error of its start ([`SpawnError::is_shut_down`](crate::SpawnError::is_shut_down)). For pools made by [`single`] or a builder, an [`EventLoop`]'s, and another
    /// executor's, whose threads it leaves alone. No effect on the default dispatcher, which ends with its runtime, on [`io`](io()), which never does, and on a view, which is closed with what it is a view of.
    pub fn close(&self) {
        match &self.0 {
            Kind::Pool(pool) if pool.owned => pool.scheduler.close(),
            Kind::Pool(_) | Kind::View(_) => {}
            Kind::External(external) => external.close(),
        }
    }

    /// The one that is given or inherited in this context.
    pub(crate) fn in_context(context: &Context) -> Option<Dispatcher> {
        if context.is_empty() { None } else { context.peek(&DISPATCHER, |dispatcher| dispatcher.cloned().flatten()) }
    }

    /// The context with this dispatcher in it.
    pub(crate) fn set_in(&self, context: &Context) -> Context {
        let mut context = context.with(&DISPATCHER, Some(self.clone())).with(&PERMITS, self.permits().cloned());
        if context.peek(&RUNTIME, |runtime| runtime.is_none())
            && let Some(runtime) = present()
        {
            context = context.with(&RUNTIME, runtime);
        }
        context
    }

    /// The context without a dispatcher.
    pub(crate) fn unset_in(context: &Context) -> Context {
        if Dispatcher::in_context(context).is_none() {
            return context.clone();
        }
        context.with(&DISPATCHER, None).with(&PERMITS, None)
    }

    /// Where its tasks are queued.
    pub(crate) fn schedule(&self) -> NonNull<Schedule> {
        match &self.0 {
            Kind::Pool(pool) => pool.scheduler.schedule(),
            Kind::View(view) => view.schedule(),
            Kind::External(external) => external.schedule(),
        }
    }

    pub(crate) fn target(&self) -> Target<'_> {
        match &self.0 {
            Kind::Pool(pool) => Target::Scheduler(&pool.scheduler),
            Kind::View(view) => view.base().target(),
            Kind::External(external) => Target::External(external),
        }
    }

    /// The permits that its tasks need.
    pub(crate) fn permits(&self) -> Option<&Arc<Permits>> {
        match &self.0 {
            Kind::View(view) => Some(view.permits()),
            Kind::Pool(_) | Kind::External(_) => None,
        }
    }

    /// Runs `f` as if it had been sent there, if it is the calling thread that would run it and waits for nothing else to do so.
    pub(crate) fn call_here<T>(&self, f: impl FnOnce() -> T) -> Result<T, impl FnOnce() -> T> {
        match self.target() {
            Target::External(external) if external.is_this_thread() => Ok(within(self.set_in(&inherited()), f)),
            _ => Err(f),
        }
    }

    /// Whether what runs here runs there.
    pub(crate) fn is_here(&self) -> bool {
        match (&self.0, Dispatcher::in_context(&inherited())) {
            (Kind::Pool(pool), None) => on_worker(|worker| worker.is_some_and(|worker| ptr::eq(worker.scheduler(), &*pool.scheduler))),
            (_, Some(present)) => *self == present,
            (_, None) => false,
        }
    }
}

/// Whether two are the same pool, the same view, the same thread.
impl PartialEq for Dispatcher {
    fn eq(&self, other: &Dispatcher) -> bool {
        match (&self.0, &other.0) {
            (Kind::Pool(one), Kind::Pool(other)) => Arc::ptr_eq(&one.scheduler, &other.scheduler),
            (Kind::View(one), Kind::View(other)) => Arc::ptr_eq(one, other),
            (Kind::External(one), Kind::External(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Dispatcher {}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Pool(pool) => f.debug_tuple("Dispatcher").field(&pool.scheduler).finish(),
            Kind::View(view) => f.debug_tuple("Dispatcher").field(view).finish(),
            Kind::External(external) => f.debug_tuple("Dispatcher").field(external).finish(),
        }
    }
}
