//! What the tests of the suite share: a log of events that is compared whole, and ways to wait without a clock.

#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng::{Cancelled, Cause, Completion, Job, OnCompletion, shield, sleep, yield_now};

use crate::common::{on_runtime, on_runtimes};

/// Longer than any test. What waits that long is ended by something else, or hangs the test.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// How often a condition is looked at before its test has failed.
const LOOKS: usize = 30_000_000;

/// What happened, in its order. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<OnCompletion>>>);

impl Log {
    pub(crate) fn new() -> Log {
        Log::default()
    }

    pub(crate) fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Notes the state of `job`, by its name in the log.
    pub(crate) fn state(&self, who: &str, job: &Job) {
        self.add(format!("{who}: {}", job.state()));
    }

    /// Notes, when `job` has ended, how.
    pub(crate) fn end(&self, who: &'static str, job: &Job) {
        let log = self.clone();
        let told = job.on_completion(move |completion| log.add(format!("{who} ended: {}", how(completion))));
        self.1.lock().unwrap().push(told);
    }

    /// Keeps a handler's registration.
    pub(crate) fn keep(&self, told: OnCompletion) {
        self.1.lock().unwrap().push(told);
    }

    /// Notes that `job` has ended.
    pub(crate) fn ended(&self, who: &'static str, job: &Job) {
        let log = self.clone();
        let told = job.on_completion(move |_| log.add(format!("{who} ended")));
        self.1.lock().unwrap().push(told);
    }

    /// What has happened since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// That this has happened, in this order and nothing else, since the last time. (Who joins a job just when it ends may be here before its last handler has been told.)
    #[track_caller]
    pub(crate) fn says(&self, expected: &[&str]) {
        let soon = std::time::Instant::now() + Duration::from_secs(20);
        while self.len() < expected.len() && std::time::Instant::now() < soon {
            std::thread::yield_now();
        }
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(events, expected);
    }

    /// That this has happened and nothing else, in whatever order. `expected` is sorted.
    #[track_caller]
    pub(crate) fn says_sorted(&self, expected: &[&str]) {
        let mut events = std::mem::take(&mut *self.0.lock().unwrap());
        events.sort();
        assert_eq!(events, expected);
    }
}

/// A completion in a few words.
pub(crate) fn how(completion: &Completion) -> String {
    match completion {
        Completion::Completed => "completed".into(),
        Completion::Cancelled(cause) => format!("cancelled, {}", why(cause)),
        Completion::Failed(cause) => format!("failed, {}", why(cause)),
        other => format!("{other:?}"),
    }
}

/// A cause in a few words, without places.
pub(crate) fn why(cause: &Cause) -> String {
    match cause {
        Cause::Failed(failed) => match (&failed.name, &failed.panic) {
            (Some(name), Some(panic)) => format!("'{name}' panicked: {panic}"),
            (Some(name), None) => format!("'{name}' failed"),
            (None, Some(panic)) => format!("somebody panicked: {panic}"),
            (None, None) => "somebody failed".into(),
        },
        other => other.to_string(),
    }
}

/// Why a park would be refused now, in a few words.
pub(crate) fn why_here() -> String {
    throng::cause().map_or_else(|| "not cancelled".into(), |cause| why(&cause))
}

/// Runs `body` as a goroutine of a runtime with one worker, where the order of events is one and the same.
pub(crate) fn on_one(body: impl Fn() + Sync) {
    on_runtime(1, None, &mut |runtime, _| runtime.run(&body));
}

/// Runs `body` as a goroutine of runtimes of all kinds, where the outcome must not depend on who runs where and when.
pub(crate) fn on_all(body: impl Fn() + Sync) {
    on_runtimes(|runtime, _| runtime.run(&body));
}

/// Gives way until it is so, cancelled or not.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        let _ = shield(yield_now);
    }
    panic!("it does not come to that");
}

/// On one worker: lets all the others run until they wait.
pub(crate) fn let_others_run() {
    for _ in 0..20 {
        let _ = shield(yield_now);
    }
}

/// Waits for its cancellation.
pub(crate) fn forever() -> Result<(), Cancelled> {
    sleep(FOREVER)
}

/// An error of a scope's, told apart from its cancellation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Oops {
    Bad(&'static str),
    Cancelled,
    Join(String),
}

impl From<Cancelled> for Oops {
    fn from(_: Cancelled) -> Oops {
        Oops::Cancelled
    }
}

impl From<throng::JoinError> for Oops {
    fn from(error: throng::JoinError) -> Oops {
        match error {
            throng::JoinError::Cancelled => Oops::Cancelled,
            other => Oops::Join(other.to_string()),
        }
    }
}
