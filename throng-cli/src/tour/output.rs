//! Where an example prints its lines: standard output, or a list that a test reads.
//!
//! Shared by the goroutines of one example: a clone prints to the same place, and lines never
//! mix. States: open, then failed after the first line that could not be written; what is printed
//! after that is dropped, since an example should not have to care. No lock here is held over
//! anything that parks.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place for lines. Clones print to the same place.
#[derive(Clone)]
pub struct Output {
    sink: Arc<Mutex<Sink>>,
}

enum Sink {
    Stdout,
    Failed(io::Error),
    Captured(Vec<String>),
}

impl Output {
    /// Prints to the process's standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(Sink::Stdout)
    }

    /// Keeps the lines, for [`lines`](Self::lines).
    #[must_use]
    pub fn captured() -> Self {
        Self::new(Sink::Captured(Vec::new()))
    }

    fn new(sink: Sink) -> Self {
        let sink = Arc::new(Mutex::new(sink));
        Self { sink }
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        // A line is written or it is not, so there is no half-done state to be afraid of.
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a line. Never parks.
    pub fn line(&self, line: impl Display) {
        let mut sink = self.sink();
        match &mut *sink {
            Sink::Stdout => {
                if let Err(error) = writeln!(io::stdout(), "{line}") {
                    *sink = Sink::Failed(error);
                }
            }
            Sink::Failed(_) => {}
            Sink::Captured(lines) => lines.push(line.to_string()),
        }
    }

    /// The lines printed so far; none if they went to standard output.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match &*self.sink() {
            Sink::Captured(lines) => lines.clone(),
            Sink::Stdout | Sink::Failed(_) => Vec::new(),
        }
    }

    /// Fails if a line could not be written.
    pub(super) fn written(&self) -> io::Result<()> {
        match &*self.sink() {
            Sink::Failed(error) => Err(error.kind().into()),
            Sink::Stdout | Sink::Captured(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.sink() {
            Sink::Stdout => "stdout",
            Sink::Failed(_) => "failed",
            Sink::Captured(_) => "captured",
        };
        f.debug_tuple("Output").field(&state).finish()
    }
}
