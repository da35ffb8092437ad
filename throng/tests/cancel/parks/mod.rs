//! The table of all public calls that park.
//!
//! To add a call: add a [`Case`] to the file of its kind, with the call's name as the sources have it (`Type::method`, or the bare name of
//! a function) in `covers`. Most need a line or two:
//!
//! ```ignore
//! Case::new("Receiver::recv", &["Receiver::recv"], |run| {
//!     let lane = Lane::new(0);
//!     run(&Park::new(|_| lane.recv()).block(|| lane.drain()).satisfy(|| lane.send().unwrap()).audit(|_| lane.audit()))
//! })
//! ```
//! What waits for a task or an event has a `Gate` to wait at; see `tasks.rs`.
//!
//! The contract of a [`Park`], which the tests rely on:
//! - after `block`, `call` has to wait; `block` does not park, and changes nothing if that is so already;
//! - one `satisfy` lets one call happen, before or after it has begun to wait; it may itself wait for that call, and is harmless
//!   if nobody calls;
//! - an `Err` of `call` is a cancelled call, and one that has not happened. Any error that converts into [`Error`] will do;
//! - `audit` is called when nobody is about, with the number of calls that have happened so far. It must find that nothing was lost.

mod channels;
mod clocks;
mod core;
mod futures;
mod groups;
mod jobs;
mod selects;
mod sync;
mod tasks;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use throng::Error;

use crate::until;

/// One call that parks, with what it waits for. The instant that a call is given is when it is over by itself, if it is of the kind that
/// time ends.
pub(crate) struct Park<'a> {
    call: Box<dyn Fn(Instant) -> Result<(), Error> + Sync + 'a>,
    block: Box<dyn Fn() + Sync + 'a>,
    satisfy: Box<dyn Fn() + Sync + 'a>,
    audit: Box<dyn Fn(usize) + Sync + 'a>,
    happened: AtomicUsize,
}

impl<'a> Park<'a> {
    pub(crate) fn new<T, E: Into<Error>>(call: impl Fn(Instant) -> Result<T, E> + Sync + 'a) -> Park<'a> {
        Park {
            call: Box::new(move |due| call(due).map(drop).map_err(Into::into)),
            block: Box::new(|| {}),
            satisfy: Box::new(|| {}),
            audit: Box::new(|_| {}),
            happened: AtomicUsize::new(0),
        }
    }

    pub(crate) fn block(self, block: impl Fn() + Sync + 'a) -> Park<'a> {
        Park { block: Box::new(block), ..self }
    }

    pub(crate) fn satisfy(self, satisfy: impl Fn() + Sync + 'a) -> Park<'a> {
        Park { satisfy: Box::new(satisfy), ..self }
    }

    pub(crate) fn audit(self, audit: impl Fn(usize) + Sync + 'a) -> Park<'a> {
        Park { audit: Box::new(audit), ..self }
    }
}

impl Park<'_> {
    /// Makes the call. `true`: it happened; `false`: it was cancelled.
    #[track_caller]
    pub(crate) fn call(&self, due: Instant) -> bool {
        match (self.call)(due) {
            Ok(()) => {
                self.happened.fetch_add(1, Ordering::SeqCst);
                true
            }
            Err(Error::Cancelled) => false,
            Err(other) => panic!("neither done nor cancelled: {other:?}"),
        }
    }

    pub(crate) fn make_it_wait(&self) {
        (self.block)();
    }

    pub(crate) fn let_one_happen(&self) {
        (self.satisfy)();
    }

    pub(crate) fn check_the_books(&self) {
        (self.audit)(self.happened.load(Ordering::SeqCst));
    }
}

/// What ends the wait of a call, cancellation apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ends {
    /// Another task: `satisfy`.
    Peer,
    /// The clock, at the instant that the call is given.
    Time,
    /// It gives way once.
    Turn,
    /// It has not begun: it never waits.
    AtOnce,
    /// Nothing.
    Never,
}

/// Which cancellations a call heeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heeds {
    All,
    /// One that came before it began to wait, and no later one.
    Before,
    None,
}

/// What a [`Case`] hands its [`Park`] to.
pub(crate) type Run<'r> = &'r mut dyn FnMut(&Park<'_>);

/// An entry of the table.
pub(crate) struct Case {
    pub(crate) name: String,
    /// The public calls that it tries.
    pub(crate) covers: &'static [&'static str],
    pub(crate) ends: Ends,
    pub(crate) heeds: Heeds,
    /// A cancelled task is refused even if it would not have to wait. Calls without this *succeed without a look at the cancellation* then,
    /// and that is tried, too.
    pub(crate) looks_first: bool,
    /// It waits for something of its own before it reports the cancellation.
    pub(crate) tidies_up: bool,
    /// What `satisfy` does reaches the call by way of another task.
    pub(crate) indirect: bool,
    /// Tasks or futures of its own decide for it, whom the cancellation reaches by way of the caller: if they have come to an end before, that is its
    /// result.
    pub(crate) delegates: bool,
    with: Box<dyn Fn(Run<'_>) + Send + Sync>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, covers: &'static [&'static str], with: impl Fn(Run<'_>) + Send + Sync + 'static) -> Case {
        Case {
            name: name.into(),
            covers,
            ends: Ends::Peer,
            heeds: Heeds::All,
            looks_first: false,
            tidies_up: false,
            indirect: false,
            delegates: false,
            with: Box::new(with),
        }
    }

    pub(crate) fn ends(self, ends: Ends) -> Case {
        Case { ends, ..self }
    }

    pub(crate) fn heeds(self, heeds: Heeds) -> Case {
        Case { heeds, ..self }
    }

    pub(crate) fn looks_first(self) -> Case {
        Case { looks_first: true, ..self }
    }

    pub(crate) fn tidies_up(self) -> Case {
        Case { tidies_up: true, ..self }
    }

    pub(crate) fn indirect(self) -> Case {
        Case { indirect: true, ..self }
    }

    pub(crate) fn delegates(self) -> Case {
        Case { delegates: true, ..self }
    }

    /// Makes what the call needs, and runs `body` with it.
    pub(crate) fn run(&self, mut body: impl FnMut(&Park<'_>)) {
        (self.with)(&mut body);
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// All of them.
pub(crate) fn table() -> Vec<Case> {
    [
        channels::cases(),
        clocks::cases(),
        core::cases(),
        futures::cases(),
        groups::cases(),
        jobs::cases(),
        selects::cases(),
        sync::cases(),
        tasks::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How far a task has come with its call.
///
/// Who looks on the one worker of a runtime looks while the task does not run. If `calling` is set then and `returned` is not, the task is
/// parked in the call: between setting it and parking it does not give up the thread.
#[derive(Default)]
pub(crate) struct Stage {
    calling: AtomicBool,
    happened: AtomicBool,
    returned: AtomicBool,
}

impl Stage {
    pub(crate) const fn new() -> Stage {
        Stage { calling: AtomicBool::new(false), happened: AtomicBool::new(false), returned: AtomicBool::new(false) }
    }

    #[track_caller]
    pub(crate) fn call(&self, park: &Park<'_>, due: Instant) -> bool {
        self.calling.store(true, Ordering::SeqCst);
        let happened = park.call(due);
        self.happened.store(happened, Ordering::SeqCst);
        self.returned.store(true, Ordering::SeqCst);
        happened
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    pub(crate) fn is_calling(&self) -> bool {
        self.calling.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub(crate) fn assert_waiting(&self) {
        assert!(self.is_calling() && !self.returned.load(Ordering::SeqCst), "the call was to wait, and has returned");
    }

    /// On one worker: returns when the task is parked in its call.
    #[track_caller]
    pub(crate) fn wait_for_park(&self) {
        until(|| self.is_calling());
        self.assert_waiting();
    }
}

/// Later than any test.
pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

pub(crate) fn in_micros(micros: u64) -> Instant {
    Instant::now() + Duration::from_micros(micros)
}

/// The time until `due`.
pub(crate) fn left(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now())
}
