//! A thread of the user's as a dispatcher: an event loop's, a user interface's.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::external::External;
use super::{Dispatcher, Kind, Runnable};

/// Runs tasks on the thread that it was made on, whenever that calls it.
///
/// For threads that have a loop of their own, or on which something has to be done: a user interface's, the main one. Tasks get there by its [`dispatcher`](EventLoop::dispatcher), and run when the thread calls
/// [`run_pending`](EventLoop::run_pending) or [`run`](EventLoop::run). They are called: what parks in them parks the thread, so a goroutine there should be short, and a coroutine should `await`.
///
/// [`on`](crate::on) its dispatcher, called by the thread itself, runs the closure at once; whatever else that thread waits for of its own tasks, outside of `run`, it waits for in vain.
///
/// Dropping it closes it: what is queued is cancelled, what comes later refused.
///
/// Kotlin's `Dispatchers.Main`, tokio's `LocalSet` (whose futures need not be `Send`; these do).
///
/// ```
/// use throng::dispatch::EventLoop;
/// use throng::{Cancelled, on};
///
/// let window = EventLoop::new();
/// let (dispatcher, remote) = (window.dispatcher(), window.remote());
/// let main = std::thread::current().id();
/// let worker = throng::go(move || {
///     let drawn_by = on(&dispatcher, || std::thread::current().id());
///     remote.stop(); // ends `run`
///     drawn_by
/// });
/// window.run();
/// assert_eq!(worker.join().unwrap().unwrap(), main);
/// ```
pub struct EventLoop {
    shared: Arc<Shared>,
    dispatcher: Dispatcher,
    /// It stays on its thread.
    _here: PhantomData<*const ()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Called when there is something to run.
    notify: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Runnable>,
    stopped: bool,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, runnable: Runnable) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            // Which ends its task.
            drop(runnable);
            return;
        }
        state.queue.push_back(runnable);
        drop(state);
        self.changed.notify_one();
        (self.notify)();
    }
}

impl EventLoop {
    /// One for the calling thread.
    #[must_use]
    pub fn new() -> EventLoop {
        EventLoop::with_notify(|| {})
    }

    /// One for the calling thread, which has a loop of its own: `notify` is called, from any thread, when there is something to run, and should make that loop call
    /// [`run_pending`](EventLoop::run_pending). It must not block.
    #[must_use]
    pub fn with_notify(notify: impl Fn() + Send + Sync + 'static) -> EventLoop {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), notify: Box::new(notify) });
        let queue = Arc::clone(&shared);
        let external = External::new(move |runnable| queue.submit(runnable), Some(std::thread::current().id()));
        EventLoop { shared, dispatcher: Dispatcher(Kind::External(external)), _here: PhantomData }
    }

    /// The dispatcher whose tasks run here.
    #[must_use]
    pub fn dispatcher(&self) -> Dispatcher {
        self.dispatcher.clone()
    }

    /// What ends [`run`](EventLoop::run) from elsewhere.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { shared: Arc::clone(&self.shared) }
    }

    /// Runs what is queued now, and returns how much that was. What is queued meanwhile is left for the next time. Does not wait.
    pub fn run_pending(&self) -> usize {
        let pending = std::mem::take(&mut self.shared.lock().queue);
        let n = pending.len();
        pending.into_iter().for_each(Runnable::run);
        n
    }

    /// Runs what is queued, and waits for more, until [`Remote::stop`].
    pub fn run(&self) {
        loop {
            let mut state = self.shared.lock();
            while state.queue.is_empty() && !state.stopped {
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if std::mem::take(&mut state.stopped) {
                return;
            }
            drop(state);
            self.run_pending();
        }
    }
}

impl Default for EventLoop {
    fn default() -> EventLoop {
        EventLoop::new()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.dispatcher.close();
        let mut state = self.shared.lock();
        state.closed = true;
        let rest = std::mem::take(&mut state.queue);
        drop(state);
        // Their tasks have been cancelled: those that wait to begin are dropped, the others told.
        rest.into_iter().for_each(Runnable::run);
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").field("queued", &self.shared.lock().queue.len()).finish_non_exhaustive()
    }
}

/// Ends [`EventLoop::run`] from any thread.
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

impl Remote {
    /// Makes `run` return, when what it is just running has ended; if it is not running, the next `run` returns at once.
    pub fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}
