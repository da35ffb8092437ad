//! Where a job is in its life, and being told of its end.

use std::fmt;

use super::Job;

/// Where a [`Job`] is in its life. Kotlin's names.
///
/// | state | `is_active` | `is_completed` | `is_cancelled` |
/// |---|---|---|---|
/// | `New` | | | |
/// | `Active` | yes | | |
/// | `Completing` | yes | | |
/// | `Cancelling` | | | yes |
/// | `Cancelled` | | yes | yes |
/// | `Completed` | | yes | |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum JobState {
    /// A lazy task that has not been started.
    New,
    /// Queued, running or waiting.
    Active,
    /// A scope whose own code is over and that waits for its children.
    Completing,
    /// Cancelled or failed; something of it still runs.
    Cancelling,
    /// Ended without a value: cancelled or failed.
    Cancelled,
    /// Ended with a value.
    Completed,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A handler that [`Job::on_completion`] has added.
#[derive(Debug)]
pub struct OnCompletion {
    job: Job,
    /// `None`: it was called at once.
    number: Option<u64>,
}

impl OnCompletion {
    pub(super) fn new(job: Job, number: Option<u64>) -> OnCompletion {
        OnCompletion { job, number }
    }

    /// Takes the handler back. `true` if it will not be called, and was not; it is dropped here. Kotlin's `DisposableHandle.dispose`.
    pub fn remove(&self) -> bool {
        let Some(number) = self.number else { return false };
        self.job.untell(number).is_some()
    }
}
