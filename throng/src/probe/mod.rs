//! Asking another thread what it is doing, while it does it: a signal whose handler leaves an answer.
//!
//! A worker that is stuck in a task cannot be asked any other way. What it publishes says nothing of the task, so as to cost nothing; and the task may end at any moment, so nobody but its own
//! thread can read what is known of it. The handler runs on that thread, in the midst of the task, and copies.
//!
//! **The signal** is SIGURG, as in Go: ignored by default, so that one too many harms nobody, and hardly used for what it was made for. The handler is installed when the first question is asked; a program
//! that has a handler of its own keeps it, and then there are no answers. The handler lets interrupted calls go on where the system can (`SA_RESTART`); some return `EINTR`, as for any
//! signal.
//!
//! **One question at a time**, of the whole process, in one static place:
//! ```text
//!   NONE ── ask ──> ASKED ── handler of the thread that is asked ──> WRITING ──> DONE ── taken ──> NONE
//!                     └────── the asker has waited long enough ──> NONE
//! ```
//! Invariant P1: `answer` is touched by the handler between ASKED and DONE, by the asker otherwise; `asked` changes in NONE only.
//!
//! Everything the handler calls is async-signal-safe, but for the unwinder, which is there with the feature `backtrace` only: see `frames`.

mod frames;

use std::cell::UnsafeCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, Instant};
use std::{mem, ptr};

use libc::{c_int, c_void, siginfo_t};

pub(crate) use frames::symbols;

use crate::kind::TaskKind;

/// How long the asker waits. A thread that the system does not let run may take longer, and is then not answering.
const PATIENCE: Duration = Duration::from_millis(200);

/// The longest part of a name that is copied.
const NAME: usize = 256;

/// Calls its argument with the task that runs on this thread, if one does. Called in a signal handler: it must be async-signal-safe.
pub(crate) type Describe = fn(&mut dyn FnMut(Running<'_>));

/// A task, as its own thread sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running<'a> {
    pub(crate) kind: TaskKind,
    pub(crate) name: Option<&'a str>,
    pub(crate) site: &'static Location<'static>,
    /// Others of this thread are ready to run.
    pub(crate) others_wait: bool,
}

/// What a thread was doing.
#[derive(Debug)]
pub(crate) struct Doing {
    pub(crate) name: Option<String>,
    /// Its task, and where that was spawned. `None`: it ran none.
    pub(crate) task: Option<(TaskKind, &'static Location<'static>)>,
    /// Others of its thread are ready to run.
    pub(crate) others_wait: bool,
    /// Addresses of instructions, the innermost call first.
    pub(crate) frames: Vec<usize>,
}

struct Answer {
    name: [u8; NAME],
    name_len: Option<usize>,
    task: Option<(TaskKind, &'static Location<'static>)>,
    others_wait: bool,
    frames: frames::Frames,
}

struct Question {
    state: AtomicU32,
    /// The thread that is asked, as a number.
    asked: AtomicUsize,
    answer: UnsafeCell<Answer>,
}

// SAFETY: P1.
unsafe impl Sync for Question {}

const NONE: u32 = 0;
const ASKED: u32 = 1;
const WRITING: u32 = 2;
const DONE: u32 = 3;

static QUESTION: Question = Question {
    state: AtomicU32::new(NONE),
    asked: AtomicUsize::new(0),
    answer: UnsafeCell::new(Answer { name: [0; NAME], name_len: None, task: None, others_wait: false, frames: frames::Frames::NONE }),
};

static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// Says who knows what runs on a thread. The first call counts.
pub(crate) fn set_describe(describe: Describe) {
    let _ = DESCRIBE.set(describe);
}

/// Asks `thread` what it is doing. `send` sends it the signal it is given; `false`: it cannot.
pub(crate) fn ask(thread: libc::pthread_t, send: impl FnOnce(c_int) -> bool) -> Option<Doing> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !install() {
        return None;
    }
    // Relaxed: published by the store below.
    QUESTION.asked.store(thread as usize, Ordering::Relaxed);
    // Release pairs with the Acquire of the handler: it sees whom the question is for.
    QUESTION.state.store(ASKED, Ordering::Release);
    let answered = send(libc::SIGURG) && wait();
    // Relaxed: if it is still ASKED there is nothing to be seen. A handler that comes later finds NONE.
    if !answered && QUESTION.state.compare_exchange(ASKED, NONE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        return None;
    }
    // It has begun to write in the last moment: it is running, so this is short. Acquire pairs with the Release of the handler's end.
    while QUESTION.state.load(Ordering::Acquire) != DONE {
        std::thread::yield_now();
    }
    // SAFETY: P1: done, and not yet asked again.
    let answer = unsafe { &*QUESTION.answer.get() };
    let doing = Doing {
        name: answer.name_len.map(|len| String::from_utf8_lossy(&answer.name[..len]).into_owned()),
        task: answer.task,
        others_wait: answer.others_wait,
        frames: answer.frames.to_vec(),
    };
    // Relaxed: handlers do nothing about NONE. The next ASKED is a Release, after what was read here.
    QUESTION.state.store(NONE, Ordering::Relaxed);
    Some(doing)
}

/// Looks now and then: a handler may wake nobody who waits on the library's primitives.
fn wait() -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        // Relaxed: `ask` looks again.
        if QUESTION.state.load(Ordering::Relaxed) == DONE {
            return true;
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    false
}

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Whether the signal is ours. Taken once, if the program has no use for it.
fn install() -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if action().sa_sigaction == libc::SIG_DFL || action().sa_sigaction == libc::SIG_IGN {
            frames::prepare();
            // SAFETY: zeroes are a sigaction.
            let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
            action.sa_sigaction = on_question as Handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            // SAFETY: `on_question` has the signature that SA_SIGINFO asks for, and the pointer is to a whole sigaction.
            unsafe { libc::sigaction(libc::SIGURG, &raw const action, ptr::null_mut()) };
        }
    });
    // The program may have taken it over since.
    action().sa_sigaction == on_question as Handler as libc::sighandler_t
}

fn action() -> libc::sigaction {
    // SAFETY: zeroes are a sigaction.
    let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
    // SAFETY: asks only, and the pointer is to a whole sigaction.
    unsafe { libc::sigaction(libc::SIGURG, ptr::null(), &raw mut action) };
    action
}

extern "C" fn on_question(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: has no preconditions.
    let this = unsafe { libc::pthread_self() };
    // Acquire pairs with the Release of `ask`. An urgent message on a socket, or a question given up, finds no question.
    // (Relaxed for the thread: after that Acquire.)
    if QUESTION.state.load(Ordering::Acquire) != ASKED || QUESTION.asked.load(Ordering::Relaxed) != this as usize {
        return;
    }
    // Acquire pairs with the Release of `ask`, which comes after the asker's last look at `answer`.
    if QUESTION.state.compare_exchange(ASKED, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    // SAFETY: P1: we are writing.
    let answer = unsafe { &mut *QUESTION.answer.get() };
    (answer.name_len, answer.task, answer.others_wait) = (None, None, false);
    if let Some(describe) = DESCRIBE.get() {
        describe(&mut |running| {
            answer.task = Some((running.kind, running.site));
            answer.others_wait = running.others_wait;
            answer.name_len = running.name.map(|name| {
                let len = name.len().min(NAME);
                answer.name[..len].copy_from_slice(&name.as_bytes()[..len]);
                len
            });
        });
    }
    answer.frames.record();
    // Release pairs with the Acquire of `ask`: the answer is complete.
    QUESTION.state.store(DONE, Ordering::Release);
}
