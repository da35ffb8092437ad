//! Reports of workers that have been in one task for long while others waited for them.

use std::collections::VecDeque;
use std::fmt;
#[cfg(not(feature = "tracing"))]
use std::io::Write;
use std::os::unix::thread::JoinHandleExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use super::Scheduler;
use crate::kind::TaskKind;
use crate::probe;

/// How many reports are kept.
const KEPT: usize = 32;

/// A worker that was stuck in one task while others waited: who it was, where it came from, and what it was doing.
///
/// Got from [`Runtime::stalls`](crate::Runtime::stalls). Its `Display` is the report as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The number of the worker. Those of spare workers come after the others'.
    pub worker: usize,
    /// How long the worker had not come back to its loop when this was reported. It may have gone on.
    pub lasted: Duration,
    /// What kind of task it was in. `None`: the thread did not answer, or ran no task any more when it did.
    pub kind: Option<TaskKind>,
    /// The name of the task, if it had one of its own.
    pub name: Option<String>,
    /// Where that was spawned, `file:line`. `None` where `kind` is.
    pub spawned_at: Option<String>,
    /// The calls it was in, the innermost first. Empty without the feature `backtrace`.
    pub backtrace: Vec<String>,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} has been stuck for {} ms in ", self.worker, self.lasted.as_millis())?;
        match (self.kind, &self.name, &self.spawned_at) {
            (Some(kind), Some(name), Some(site)) => write!(f, "{kind} '{name}' (spawned at {site})")?,
            (Some(kind), None, Some(site)) => write!(f, "a {kind} (spawned at {site})")?,
            _ => write!(f, "a task that could not be asked")?,
        }
        write!(f, ", and others wait for it")?;
        for (i, call) in self.backtrace.iter().enumerate() {
            write!(f, "\n{i:4}: {call}")?;
        }
        Ok(())
    }
}

/// The last reports.
#[derive(Debug, Default)]
pub(super) struct Stalls(Mutex<VecDeque<Stall>>);

impl Stalls {
    fn keep(&self, stall: Stall) {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(stall);
    }
}

impl Scheduler {
    /// The last stalls, the oldest first.
    pub(crate) fn stalls(&self) -> Vec<Stall> {
        self.stalls.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().cloned().collect()
    }

    /// Asks worker `worker` what it is doing, and reports it if others wait for it, or if it says so itself. `false`: nobody waits. On the monitor's thread.
    pub(super) fn report_stall(&self, worker: usize, lasted: Duration, awaited: bool) -> bool {
        let thread = self.threads.with(worker, |thread| thread.as_pthread_t());
        let send = |signal| {
            // SAFETY: under the lock, so the thread has not been joined: it may have ended, but it is known to the system's library.
            self.threads.with(worker, |thread| unsafe { libc::pthread_kill(thread.as_pthread_t(), signal) }) == Some(0)
        };
        let doing = thread.and_then(|thread| probe::ask(thread, send));
        if !awaited && !doing.as_ref().is_some_and(|doing| doing.others_wait) {
            return false;
        }
        let stall = match doing {
            None => Stall { worker, lasted, kind: None, name: None, spawned_at: None, backtrace: Vec::new() },
            Some(doing) => Stall {
                worker,
                lasted,
                kind: doing.task.map(|(kind, _)| kind),
                name: doing.name,
                spawned_at: doing.task.map(|(_, site)| format!("{}:{}", site.file(), site.line())),
                backtrace: probe::symbols(&doing.frames),
            },
        };
        self.stalls.keep(stall.clone());
        // It may run a subscriber of the program's, whose panic is not to end the monitor.
        let _ = catch_unwind(AssertUnwindSafe(|| say(&stall)));
        true
    }
}

#[cfg(feature = "tracing")]
fn say(stall: &Stall) {
    tracing::warn!(
        target: "throng::stall",
        worker = stall.worker,
        lasted_ms = u64::try_from(stall.lasted.as_millis()).unwrap_or(u64::MAX),
        kind = stall.kind.map(TaskKind::word),
        name = stall.name,
        spawned_at = stall.spawned_at,
        "{stall}"
    );
}

#[cfg(not(feature = "tracing"))]
fn say(stall: &Stall) {
    // Without a stderr there is nobody to be told.
    let _ = writeln!(std::io::stderr(), "throng: {stall}");
}
