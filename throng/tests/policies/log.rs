//! What ran, in the order it did: tasks note their names.

use std::fmt::Display;
use std::sync::Mutex;

use throng::policy::SlotBudget;
use throng::{Error, Policy, PolicyMetrics, Runtime, Scope};

use crate::common::watched;

/// The names of those that have run.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    pub(crate) fn note(&self, name: impl Display) {
        self.0.lock().unwrap().push(name.to_string());
    }
}

/// Go's order, but for the clock: a time slice that the machine takes away would show in the order.
pub(crate) fn go_without_clock() -> Policy {
    Policy::builder().slot_budget(SlotBudget::Unlimited).build().unwrap()
}

/// Runs `body` as the first goroutine of a runtime with one worker, in a scope, and waits for that. Returns who ran, and what was counted.
pub(crate) fn run_one<F>(policy: Policy, body: F) -> (Vec<String>, PolicyMetrics)
where
    F: for<'scope, 'env> FnOnce(&'scope Scope<'scope, 'env, Error>, &'env Log) -> Result<(), Error> + Send,
{
    let label = format!("{policy:?}");
    watched(&label, || {
        let runtime = Runtime::builder().workers(1).stack_size(128 << 10).policy(policy).build().unwrap();
        let log = Log::default();
        runtime.run(|| throng::scope(|s| body(s, &log))).unwrap();
        let counts = runtime.metrics().workers[0].policy;
        (log.0.into_inner().unwrap(), counts)
    })
}

/// Who ran, as one line.
pub(crate) fn order<F>(policy: Policy, body: F) -> String
where
    F: for<'scope, 'env> FnOnce(&'scope Scope<'scope, 'env, Error>, &'env Log) -> Result<(), Error> + Send,
{
    run_one(policy, body).0.join(" ")
}

/// From a plain thread, and so into the global queue: tasks with these names. Returns when they are there.
pub(crate) fn submit_from_outside<'scope>(s: &'scope Scope<'scope, '_, Error>, log: &'scope Log, names: &[&'static str]) {
    // The worker's thread waits here, so that nothing can run meanwhile.
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for &name in names {
                s.go(move || log.note(name));
            }
        });
    });
}
