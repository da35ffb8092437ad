//! Threads for calls that block: a cache of their own, never parked among the workers.
//!
//! A goroutine that calls [`blocking`] parks, uninterruptibly, while a thread of this cache runs its closure. The closure may borrow from the goroutine's stack: the call does
//! not return before it is done. Threads are started when a call finds none idle, up to a limit; beyond it calls wait in a queue; a thread that has had nothing to do for
//! ten seconds ends. If not one thread can be had, the call blocks its worker: slow, but nothing is lost.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Scheduler, on_worker};
use crate::cancelled::Cancelled;
use crate::home::local;
use crate::waiter::{Cause, Heeds, Ticket, arm, unwinding};

const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) struct BlockingThreads {
    shared: Arc<Shared>,
    max: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Call>,
    idle: usize,
    /// Those that exist, by a number that is never used again.
    threads: Vec<(u64, JoinHandle<()>)>,
    next: u64,
    closed: bool,
}

/// A closure in the frame of the goroutine that waits for it.
struct Call {
    run: unsafe fn(*const ()),
    frame: *const (),
    /// Whose goroutine it is.
    scheduler: *const Scheduler,
}

// SAFETY: the closure and its result are `Send`, and the frame stays until the call has been run.
unsafe impl Send for Call {}

thread_local! {
    /// Whose blocking thread this is.
    static SERVES: Cell<*const Shared> = const { Cell::new(ptr::null()) };
    /// Whose call is being run here.
    static CALLER: Cell<*const Scheduler> = const { Cell::new(ptr::null()) };
}

/// Calls `f` with the scheduler whose goroutine's blocking call runs on this thread, if one does.
pub(crate) fn on_caller<R>(f: impl FnOnce(Option<&Scheduler>) -> R) -> R {
    // SAFETY: set while a goroutine of that scheduler waits for the call, which its workers outlive, and they keep it.
    f(unsafe { CALLER.get().as_ref() })
}

impl BlockingThreads {
    pub(super) fn new(max: usize) -> BlockingThreads {
        let state = State { queue: VecDeque::new(), idle: 0, threads: Vec::new(), next: 0, closed: false };
        BlockingThreads { shared: Arc::new(Shared { state: Mutex::new(state), work: Condvar::new() }), max }
    }

    /// Queues the call and sees to it that a thread will come to it. `Err`: there is none and none can be had.
    fn submit(&self, call: Call) -> Result<(), Call> {
        let mut state = self.shared.lock();
        if state.idle < state.queue.len() + 1 && state.threads.len() < self.max {
            let id = state.next;
            state.next += 1;
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name(format!("throng-blocking-{id}")).spawn(move || shared.work(id)) {
                Ok(thread) => state.threads.push((id, thread)),
                Err(_) if state.threads.is_empty() => return Err(call),
                // Those that exist will come to it.
                Err(_) => {}
            }
        }
        state.queue.push_back(call);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Ends all threads and waits until they have. There are no more calls.
    pub(super) fn end(&self) {
        let threads = {
            let mut state = self.shared.lock();
            state.closed = true;
            std::mem::take(&mut state.threads)
        };
        self.shared.work.notify_all();
        for (_, thread) in threads {
            // Closures are caught; a panic here is a bug of ours that the panic hook has reported.
            let _ = thread.join();
        }
    }

    /// Whether the calling thread is one of these.
    pub(super) fn is_current(&self) -> bool {
        ptr::eq(SERVES.get(), &*self.shared)
    }

    pub(super) fn count(&self) -> usize {
        self.shared.lock().threads.len()
    }
}

impl Drop for BlockingThreads {
    /// A runtime that was shut down from inside has not waited for its threads: those that are idle would stay until their time is over.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A thread's life.
    fn work(&self, id: u64) {
        SERVES.set(self);
        let mut state = self.lock();
        loop {
            while let Some(call) = state.queue.pop_front() {
                drop(state);
                CALLER.set(call.scheduler);
                // SAFETY: taken from the queue once; the goroutine waits for it.
                unsafe { (call.run)(call.frame) };
                // From the end of the closure on the scheduler may be gone, and nothing of the user's runs here.
                CALLER.set(ptr::null());
                state = self.lock();
            }
            if state.closed {
                return;
            }
            state.idle += 1;
            let (woken, timeout) = self.work.wait_timeout(state, KEEP_ALIVE).unwrap_or_else(|poisoned| poisoned.into_inner());
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() && !state.closed {
                // Nobody needs to wait for a thread that has nothing left to do.
                state.threads.retain(|(other, _)| *other != id);
                return;
            }
        }
    }
}

impl fmt::Debug for BlockingThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("BlockingThreads").field("threads", &state.threads.len()).field("idle", &state.idle).finish_non_exhaustive()
    }
}

/// Runs `f`, which may block, on a thread kept for that, while the calling goroutine parks and its worker runs others.
///
/// The closure may borrow from the caller: the call returns only after it has run. A panic in it is carried to the caller. On a plain
/// thread it simply runs.
///
/// **Cancellation** acts before the call only: `Err` means that the task was cancelled already and `f` was not run. Once it runs it cannot be
/// interrupted, and its result is not lost: the task meets its cancellation at its next park.
///
/// Inside, [`go`](crate::go) and [`scope`](crate::scope) start goroutines on the runtime of the caller. What parks a goroutine blocks the thread there, and heeds no cancellation.
///
/// At most [`max_blocking_threads`](crate::Builder::max_blocking_threads) closures run at once; more wait their turn. If no thread
/// at all can be started, `f` runs on the worker itself.
///
/// Kotlin's `withContext(Dispatchers.IO)`, tokio's `spawn_blocking`, which cannot borrow.
///
/// ```
/// throng::run(|| {
///     let path = String::from("Cargo.toml");
///     let size = throng::blocking(|| std::fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0));
///     assert!(size.is_ok());
/// });
/// ```
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T, Cancelled> {
    local::with(|local| {
        crate::cancel::check()?;
        // A goroutine that is unwinding must not give up its thread.
        if local.is_thread() || unwinding() {
            return Ok(f());
        }
        on_worker(|worker| {
            let Some(worker) = worker else { return Ok(f()) };
            Ok(elsewhere(worker.scheduler(), local, f))
        })
    })
}

/// What the goroutine and the blocking thread share: in the goroutine's frame.
struct Frame<F, T> {
    f: Option<F>,
    result: Option<std::thread::Result<T>>,
    ticket: Ticket,
}

fn elsewhere<T: Send, F: FnOnce() -> T + Send>(scheduler: &Scheduler, local: &local::Local, f: F) -> T {
    let Ok(wait) = arm(local, Heeds::Nothing) else { unreachable!("such a wait heeds nothing") };
    let mut frame = Frame { f: Some(f), result: None, ticket: wait.ticket() };
    let shared: *mut Frame<F, T> = &mut frame;
    let call = Call { run: run_frame::<F, T>, frame: shared.cast_const().cast(), scheduler };
    match scheduler.blocking.submit(call) {
        Ok(()) => {
            let parked = wait.park(None);
            debug_assert!(parked.is_ok());
        }
        Err(call) => {
            let retracted = wait.retract();
            debug_assert!(retracted, "nobody had the ticket");
            // SAFETY: not queued, so it is ours to run.
            unsafe { call_frame::<F, T>(call.frame) };
        }
    }
    match frame.result.take() {
        Some(Ok(value)) => value,
        Some(Err(payload)) => resume_unwind(payload),
        None => unreachable!("woken by the one who ran it"),
    }
}

/// # Safety
/// `frame` is a `Frame<F, T>` that nobody else uses meanwhile.
unsafe fn call_frame<F: FnOnce() -> T, T>(frame: *const ()) {
    // SAFETY: by contract.
    let frame = unsafe { &mut *frame.cast_mut().cast::<Frame<F, T>>() };
    if let Some(f) = frame.f.take() {
        frame.result = Some(catch_unwind(AssertUnwindSafe(f)));
    }
}

unsafe fn run_frame<F: FnOnce() -> T, T>(frame: *const ()) {
    // SAFETY: the goroutine is parked until the wake below.
    unsafe { call_frame::<F, T>(frame) };
    // SAFETY: as above.
    let ticket = unsafe { &*frame.cast::<Frame<F, T>>() }.ticket;
    // SAFETY: the waiter waits for nothing else (W2).
    let fired = unsafe { ticket.fire(Cause(0)) };
    debug_assert!(fired, "nothing else may end this wait");
    // SAFETY: just fired. The frame may be gone after this.
    unsafe { ticket.wake() };
}
