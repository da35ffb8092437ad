//! The table is complete: every public call that parks has a case, or stands among the exceptions with the reason.
//!
//! A public function is taken to park if its result can tell that the caller was cancelled, or if the first paragraph of its documentation
//! says that it parks, blocks or waits. To make this test content with a new one: add a case (`parks/mod.rs` says how), or an exception
//! below.

use std::collections::BTreeSet;
use std::path::Path;

use crate::parks::table;
use crate::sources::{Api, Function, api, files, is_word, words};

/// Public functions that look as if they parked, and need no case: which, and why. One that is gone must leave this list.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("CancelToken::check", "asks about the token, not about the caller; never waits"),
    ("Cancelled::new", "makes the error"),
    ("EventLoop::run", "waits as a thread does, for what it is to run"),
    ("JoinError::resume_panic", "takes an error apart"),
    ("Runnable::run", "runs others' tasks; waits for none of them"),
    ("Runtime::shutdown", "waits as a thread does, for the workers to end: of its own runtime a goroutine's call does not wait"),
    ("ScopeTask::try_launch", "its result speaks of the coroutine's error; never waits"),
    ("ScopedCompletable::fail", "gives the error back that it was given; never waits"),
    ("Sender::try_send", "never waits"),
    ("TryIter::next", "never waits"),
    ("context_local!", "declares statics"),
    ("task_options!::lazy", "describes a task, for which others wait"),
    ("task_options!::undispatched", "describes a task, which may park"),
];

/// Whether the result can tell that the caller was cancelled.
fn mentions_cancellation(function: &Function, api: &Api) -> bool {
    // `E: .. + From<Cancelled>` in the bounds.
    let mut parameters = BTreeSet::new();
    for (at, _) in function.signature.match_indices("From<Cancelled>") {
        let bounds = &function.signature[..at];
        parameters.extend(bounds.rfind(':').and_then(|colon| words(&bounds[..colon]).last()));
    }
    let fails = function.returns.contains("Result<");
    words(&function.returns).any(|word| api.cancellable.contains(word) || fails && parameters.contains(word))
}

/// Whether the first paragraph says of the function itself that it waits: "Parks ..", ".. and waits ..", ".., waiting ..", "this parks ..".
fn is_said_to_park(function: &Function) -> bool {
    let paragraph = function.doc.split("\n\n").next().unwrap_or_default().to_lowercase();
    let all: Vec<&str> = paragraph.split_whitespace().collect();
    all.iter().enumerate().any(|(i, word)| {
        let before = i.checked_sub(1).map_or(".", |i| all[i]);
        match word.trim_matches(|c| !is_word(c)) {
            "parks" | "waits" | "blocks" => {
                before.ends_with(['.', ':', ';', ',']) || matches!(before, "and" | "or" | "then" | "it" | "this")
            }
            "parking" | "waiting" => before.ends_with(','),
            _ => false,
        }
    })
}

/// The names of all that need a case.
fn parking(api: &Api) -> BTreeSet<String> {
    let steps = |function: &Function| function.name.ends_with("::next") && function.signature.contains("Iterator for");
    let parks = |function: &&Function| mentions_cancellation(function, api) || is_said_to_park(function) || steps(function);
    let functions = api.functions.iter().filter(parks).map(|function| function.name.clone());
    functions.chain(api.macros.iter().cloned()).chain(api.attributes.iter().cloned()).collect()
}

/// Those of them without one.
fn without_a_case(api: &Api) -> BTreeSet<String> {
    let mut names = parking(api);
    for name in table().iter().flat_map(|case| case.covers).chain(EXCEPTIONS.iter().map(|(name, _)| name)) {
        names.remove(*name);
    }
    names
}

fn sources() -> Vec<(String, String)> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn every_call_that_parks_has_a_case() {
    let api = api(&sources());
    assert!(api.functions.len() > 100, "the public functions were not found: {:?}", api.functions);
    let missing = without_a_case(&api);
    let places: Vec<_> = api.functions.iter().filter(|f| missing.contains(&f.name)).map(|f| format!("{} ({})", f.name, f.at)).collect();
    assert!(missing.is_empty(), "these need a case in the table, or an exception with its reason: {missing:?}, {places:?}");

    let names: BTreeSet<_> = api.functions.iter().map(|function| &function.name).chain(&api.macros).chain(&api.attributes).collect();
    let cases = table();
    for case in &cases {
        assert!(!case.covers.is_empty(), "{case} covers nothing");
        for name in case.covers {
            assert!(names.contains(&(*name).to_owned()), "{case} covers `{name}`, which is no public call");
        }
    }
    for (name, why) in EXCEPTIONS {
        assert!(names.contains(&(*name).to_owned()) && !why.is_empty(), "an exception for `{name}`, which is no public call");
        assert!(cases.iter().all(|case| !case.covers.contains(name)), "{name} has a case, and is an exception");
    }
}

#[test]
fn no_two_cases_have_one_name() {
    let cases = table();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
}

/// The search finds what it is for: each way in which a call can tell that it parks.
#[test]
fn a_new_call_is_found() {
    let lib = "
pub use fresh::{
    Crew, CrewError, Guarded, Steps, muster,
};
pub use fresh::Mustered;
#[macro_export]
macro_rules! gather {
    () => {};
}
";
    let fresh = "
/// What comes of it.
pub enum CrewError {
    /// Nobody came.
    Empty,
    /// The caller was cancelled.
    Cancelled,
}
pub type Mustered<T> = std::result::Result<T, CrewError>;
/// No error.
pub enum CrewState {
    Cancelled,
}
pub struct Crew {
    pub size: usize,
}

impl<T> Crew<T>
where
    T: Send,
{
    /// Leaves the crew.
    pub fn leave(&self) -> Result<(), Cancelled> {
        fn pub_inside() {}
        Ok(())
    }

    pub(crate) fn inside(&self) -> Result<(), Cancelled> {
        Ok(())
    }

    /// Makes a crew.
    ///
    /// Waits for nothing.
    pub const fn new(f: impl Fn() -> Result<(), Cancelled>) -> Crew {
    }

    #[must_use]
    pub fn roll_call<F>(
        &self,
        f: F,
    ) -> Vec<Option<Mustered<u32>>>
    where
        F: Fn() -> u32,
    {
    }

    /// Parks until the crew has gone.
    pub fn linger(&self) {}

    /// Never parks. For those who wait, and a caller that parks.
    pub fn len(&self) -> CrewState {
        0
    }

    /// Ends it
    /// and waits for the others.
    pub fn end(self) {}

    #[doc(hidden)]
    pub fn secret(&self) -> Result<(), Cancelled> {}
}

impl<T, E: Send + From<Cancelled>> Guarded<T, E> {
    pub fn enter(&self) -> Result<T, E> {}
    pub fn error(&self) -> Option<E> {}
}

impl Iterator for Steps<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {}
}

impl Iterator for Private {
    fn next(&mut self) -> Option<u32> {}
}

/// Starts.
pub fn muster<E>(f: impl Fn() -> E) -> Result<(), E>
where
    E: Send + From<Cancelled>,
{
}

macro_rules! methods {
    ($name:ident) => {
        impl $name {
            /// Parks.
            pub fn rest(&self) {}
        }
    };
}

pub fn unexported() -> Result<(), Cancelled> {}

#[cfg(test)]
mod tests {
    pub fn leave() -> Result<(), Cancelled> {}
}
";
    let mut sources = sources();
    sources.push(("fresh_lib.rs".into(), lib.into()));
    sources.push(("fresh.rs".into(), fresh.into()));
    let present = without_a_case(&api(&self::sources()));
    let missing: BTreeSet<_> = without_a_case(&api(&sources)).difference(&present).cloned().collect();
    let expected = [
        "Crew::end",
        "Crew::leave",
        "Crew::linger",
        "Crew::roll_call",
        "Guarded::enter",
        "Steps::next",
        "gather!",
        "methods!::rest",
        "muster",
    ];
    assert_eq!(missing, expected.map(String::from).into());
}
