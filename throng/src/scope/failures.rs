//! What a scope keeps of failures: the first, which comes out, and those that came later.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex};

use crate::cause::{Cause, Failed};
use crate::join::Panic;
use crate::unseen::forget_panics;

/// All failures of a [`scope_all`](crate::scope_all): the first, which ended it, and those that came while the rest were being ended.
///
/// `Display` tells them line by line.
#[derive(Debug)]
pub struct Failures<E> {
    first: ChildFailure<E>,
    later: Vec<ChildFailure<E>>,
    /// The first is what the scope's own code made of its cancellation.
    cancellation: bool,
}

impl<E> Failures<E> {
    pub(super) fn of_scope(error: E, site: &'static Location<'static>) -> Failures<E> {
        Failures { first: ChildFailure::new(None, site, HowFailed::Error(error)), later: Vec::new(), cancellation: true }
    }

    /// The first of them that is no cancellation, as a cause for others.
    pub(super) fn cause(&self) -> Cause {
        let failure = self.later.first().filter(|_| self.cancellation).unwrap_or(&self.first);
        let panic = match &failure.how {
            HowFailed::Panicked(panic) => Some(panic.message().into()),
            HowFailed::Error(_) => None,
        };
        Cause::Failed(Arc::new(Failed { name: failure.name.clone(), site: failure.site, panic }))
    }

    /// Whether the scope was cancelled, and nothing failed.
    pub(super) fn is_cancellation(&self) -> bool {
        self.cancellation && self.later.is_empty()
    }

    /// The failure that ended the scope: what [`scope`](crate::scope) would have returned or panicked with.
    #[must_use]
    pub fn first(&self) -> &ChildFailure<E> {
        &self.first
    }

    /// Those that came after it, in their order. What cancelled goroutines return because they were cancelled is not among them.
    #[must_use]
    pub fn later(&self) -> &[ChildFailure<E>] {
        &self.later
    }

    /// Takes the first out, and drops the rest.
    #[must_use]
    pub fn into_first(self) -> ChildFailure<E> {
        for failure in self.later {
            forget_panics(|| drop(failure));
        }
        self.first
    }

    /// All of them, the first first.
    pub fn iter(&self) -> impl Iterator<Item = &ChildFailure<E>> {
        std::iter::once(&self.first).chain(&self.later)
    }
}

/// All of them, the first first.
impl<E> IntoIterator for Failures<E> {
    type Item = ChildFailure<E>;
    type IntoIter = std::iter::Chain<std::iter::Once<ChildFailure<E>>, std::vec::IntoIter<ChildFailure<E>>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.later)
    }
}

impl<E: fmt::Display> fmt::Display for Failures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.later.iter().try_for_each(|later| write!(f, "\n  later: {later}"))
    }
}

impl<E: fmt::Display + fmt::Debug> Error for Failures<E> {}

/// One failure of a scope: whose, and how.
#[derive(Debug)]
pub struct ChildFailure<E> {
    name: Option<Box<str>>,
    site: &'static Location<'static>,
    how: HowFailed<E>,
}

/// How a goroutine or a scope's own code failed.
#[derive(Debug)]
pub enum HowFailed<E> {
    /// It returned this.
    Error(E),
    /// It panicked.
    Panicked(Panic),
}

impl<E> ChildFailure<E> {
    pub(super) fn new(name: Option<&str>, site: &'static Location<'static>, how: HowFailed<E>) -> ChildFailure<E> {
        ChildFailure { name: name.map(Box::from), site, how }
    }

    /// The name of the goroutine, if it has one; the scope's own code has none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the goroutine was started, or, if it was the scope's own code that failed, the scope opened.
    #[must_use]
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// How it failed.
    #[must_use]
    pub fn how(&self) -> &HowFailed<E> {
        &self.how
    }

    /// The error it returned, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&E> {
        match &self.how {
            HowFailed::Error(error) => Some(error),
            HowFailed::Panicked(_) => None,
        }
    }

    /// How it failed, for those who want the error or the panic itself.
    #[must_use]
    pub fn into_how(self) -> HowFailed<E> {
        self.how
    }
}

impl<E: fmt::Display> fmt::Display for ChildFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "'{name}' (spawned at {})", self.site)?,
            None => write!(f, "a task (spawned at {})", self.site)?,
        }
        match &self.how {
            HowFailed::Error(error) => write!(f, " failed: {error}"),
            HowFailed::Panicked(panic) => write!(f, " panicked: {panic}"),
        }
    }
}

/// Where a scope's failures gather. A lock that may sleep will do: failures are rare, and keeping them allocates.
pub(super) struct Store<E>(Mutex<Option<Box<Failures<E>>>>);

impl<E> Store<E> {
    pub(super) fn new() -> Store<E> {
        Store(Mutex::new(None))
    }

    /// Keeps a failure. One that is a consequence of another is kept only if there is no other.
    pub(super) fn add(&self, failure: ChildFailure<E>, consequence: bool) {
        let mut failures = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let dropped = match &mut *failures {
            None => {
                *failures = Some(Box::new(Failures { first: failure, later: Vec::new(), cancellation: consequence }));
                None
            }
            Some(_) if consequence => Some(failure),
            Some(failures) => {
                failures.later.push(failure);
                None
            }
        };
        drop(failures);
        // Outside of the lock: it is user code.
        forget_panics(|| drop(dropped));
    }

    pub(super) fn take(&self) -> Option<Box<Failures<E>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}
