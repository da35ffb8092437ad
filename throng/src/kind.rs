//! The two kinds of task, for reports.

#![forbid(unsafe_code)]

use std::fmt;

/// What kind of task something is about: a report says so. `Display` is the word.
///
/// ```
/// use throng::{ExceptionHandler, TaskKind, go, launch};
///
/// let (tx, rx) = throng::unbounded();
/// let handler = ExceptionHandler::new(move |failure| tx.send(failure.kind()).unwrap());
/// throng::run(|| handler.scope(|| {
///     drop(go(|| panic!("on a stack of its own")));
///     assert_eq!(rx.recv(), Ok(TaskKind::Goroutine));
///     drop(launch(async { panic!("in a future") }));
///     assert_eq!(rx.recv().unwrap().to_string(), "coroutine");
/// }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TaskKind {
    /// A closure that parks, started by [`go`](crate::go) and the like.
    Goroutine,
    /// A future, started by [`launch`](crate::launch) and the like.
    Coroutine,
}

impl TaskKind {
    /// The word. Allocates nothing.
    pub(crate) fn word(self) -> &'static str {
        match self {
            TaskKind::Goroutine => "goroutine",
            TaskKind::Coroutine => "coroutine",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
