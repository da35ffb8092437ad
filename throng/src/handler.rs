//! Who is told of a failure that nobody joins.
//!
//! A failure has one of three destinations: the scope it ends, the handle that joins, or, if there is neither, the *handler* in the failed task's context. It is the last resort, not a way to
//! recover: when it is called the task and all its children have ended, and what the failure was to cancel has been cancelled.

#![forbid(unsafe_code)]

use std::backtrace::Backtrace;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use crate::context::{Context, ContextLocal};
use crate::join::Panic;
use crate::kind::TaskKind;
use crate::panics::payload_text;

static HANDLER: ContextLocal<ExceptionHandler> = ContextLocal::new();

/// Is called with the failures of tasks that nobody joins: those started by [`go`](crate::go) or [`launch`](crate::launch) that panic, and children of a [`supervisor`](crate::supervisor()) that fail, whose
/// handles have been dropped.
///
/// It is inherited: set it for one task ([`Task::handler`](crate::Task::handler)) or for all that are started during a call ([`scope`](ExceptionHandler::scope)). A child of a
/// [`scope`](crate::scope) does not use it: its failure is the scope's.
///
/// The handler runs once for each failure, on whatever thread the task ended on or its handle was dropped on, after all of the task's children have ended. It stops nothing and recovers
/// nothing. It must not park for long; a panic of its own is reported and harms nobody. Without a handler the failure is printed to stderr, with the task's name, its path in the tree, where it was
/// spawned, and the backtrace if `RUST_BACKTRACE` asks for one.
///
/// Kotlin's `CoroutineExceptionHandler`.
///
/// ```
/// use throng::{ExceptionHandler, go};
///
/// let (tx, rx) = throng::unbounded();
/// let handler = ExceptionHandler::new(move |failure| {
///     let _ = tx.send(failure.to_string());
/// });
/// throng::run(|| handler.scope(|| {
///     drop(go(|| panic!("out of luck")));
///     assert!(rx.recv().unwrap().ends_with("panicked: out of luck"));
/// }));
/// ```
#[derive(Clone)]
pub struct ExceptionHandler(Arc<dyn Fn(&Failure<'_>) + Send + Sync>);

impl ExceptionHandler {
    /// A handler that calls `f`.
    pub fn new(f: impl Fn(&Failure<'_>) + Send + Sync + 'static) -> ExceptionHandler {
        ExceptionHandler(Arc::new(f))
    }

    /// Runs `f` with this handler for the tasks started meanwhile, and theirs.
    pub fn scope<R>(&self, f: impl FnOnce() -> R) -> R {
        HANDLER.scope(self.clone(), f)
    }

    /// The context with this handler in it.
    pub(crate) fn set_in(self, context: &Context) -> Context {
        context.with(&HANDLER, self)
    }
}

impl fmt::Debug for ExceptionHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExceptionHandler").finish_non_exhaustive()
    }
}

/// A failure that nobody joins, as an [`ExceptionHandler`] sees it. `Display` tells it in a line.
pub struct Failure<'a> {
    pub(crate) kind: TaskKind,
    pub(crate) name: Option<&'a str>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) path: String,
    pub(crate) what: What<'a>,
}

/// How it failed.
pub(crate) enum What<'a> {
    Panicked(&'a Panic),
    /// With a panic in the drop of its result.
    Dropping(&'a Panic),
    Error(&'a dyn fmt::Debug),
}

impl Failure<'_> {
    /// What kind of task it is.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// The task's path in the tree, from the root: names where there are some, else the places tasks and scopes were started at.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it panicked with, if it panicked.
    #[must_use]
    pub fn panic(&self) -> Option<&str> {
        self.panicked().map(Panic::message)
    }

    /// The error it returned, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&dyn fmt::Debug> {
        match self.what {
            What::Error(error) => Some(error),
            _ => None,
        }
    }

    /// Where it panicked, as `file:line:column`; see [`Panic::location`](crate::Panic::location).
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.panicked()?.location()
    }

    /// The stack where it panicked, if `RUST_BACKTRACE` asks for it.
    #[must_use]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.panicked()?.backtrace()
    }

    fn panicked(&self) -> Option<&Panic> {
        match self.what {
            What::Panicked(panic) | What::Dropping(panic) => Some(panic),
            _ => None,
        }
    }

    /// Tells the handler of `context`, or stderr.
    pub(crate) fn report(&self, context: &Context) {
        let Some(handler) = context.get(&HANDLER) else { return self.print() };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (handler.0)(self))) {
            eprintln!("throng: the exception handler panicked: {}; it was told: {self}", payload_text(&*payload));
            // A payload whose own drop panics could go on for ever.
            mem::forget(payload);
        }
    }

    fn print(&self) {
        let mut text = format!("throng: {self}\n");
        if let Some(location) = self.location() {
            text += &format!("  at {location}\n");
        }
        text += &format!("  path: {}\n", self.path);
        if let Some(backtrace) = self.backtrace() {
            text += &format!("  stack:\n{backtrace}");
        }
        // In one piece, so that two reports do not mix.
        eprint!("{text}");
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{} '{name}' (spawned at {})", self.kind, self.site)?,
            None => write!(f, "{} (spawned at {})", self.kind, self.site)?,
        }
        match &self.what {
            What::Panicked(panic) => write!(f, " panicked: {panic}"),
            What::Dropping(panic) => write!(f, " panicked while its result was dropped: {panic}"),
            What::Error(error) => write!(f, " failed: {error:?}"),
        }
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}
