//! Waiting for tasks: joins, scopes, blocking calls, runtimes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::dispatch::single;
use throng::{Cancelled, Failures, OnError, Runtime, blocking, go, on, scope, scope_all, supervisor};

use super::{Case, Ends, Heeds, Park};
use crate::common::{Aviary, Canary};
use crate::objects::Gate;
use crate::until;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![join(), scoped_join(), blocks(), dispatched(), runs_elsewhere(), runs()];
    for kind in [Kind { name: "scope", of }, Kind { name: "scope_all", of: all_of }, Kind { name: "supervisor", of: supervised }] {
        cases.extend([kind.of_none(), kind.waits(1), kind.waits(5)]);
    }
    cases
}

/// A join that was cancelled leaves its goroutine alone, which ends uncancelled.
fn join() -> Case {
    let case = Case::new("JoinHandle::join", &["JoinHandle::join"], |run| {
        let gate = Arc::new(Gate::new());
        let started = AtomicUsize::new(0);
        let call = |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let task = go({
                let gate = Arc::clone(&gate);
                move || gate.pass()
            });
            gate.see_through(|| task.is_finished());
            task.join().map(|passed| passed.expect("nobody cancels it"))
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == started.load(Ordering::SeqCst));
        }));
    });
    case.indirect()
}

/// As for `join`: the goroutine is one of a scope around it all.
fn scoped_join() -> Case {
    let case = Case::new("ScopedJoinHandle::join", &["ScopedJoinHandle::join"], |run| {
        let gate = Gate::new();
        let started = AtomicUsize::new(0);
        scope(|s| {
            let call = |_| {
                started.fetch_add(1, Ordering::SeqCst);
                let task = s.go(|| gate.pass());
                gate.see_through(|| task.is_finished());
                task.join()
            };
            run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
                gate.open();
                until(|| gate.passed() == started.load(Ordering::SeqCst));
            }));
            Ok::<_, Cancelled>(())
        })
        .expect("nobody cancels it");
    });
    case.indirect()
}

/// A kind of scope: `of` opens one with so many goroutines, each of which passes the gate.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    of: fn(&Gate, usize, &Aviary) -> Result<(), Cancelled>,
}

impl Kind {
    fn covers(self) -> &'static [&'static str] {
        match self.name {
            "scope" => &["scope"],
            "scope_all" => &["scope_all"],
            _ => &["supervisor"],
        }
    }

    /// A scope does not return before its goroutines have ended, cancelled or not. Where the gate is open they have yet to pass it: it
    /// always has to wait for them.
    fn waits(self, tasks: usize) -> Case {
        let case = Case::new(format!("{}, of {tasks}", self.name), self.covers(), move |run| {
            let gate = Gate::new();
            let call = |_| {
                let aviary = Aviary::new();
                let result = (self.of)(&gate, tasks, &aviary);
                assert_eq!(aviary.alive(), 0, "the scope has returned too early");
                result
            };
            run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()));
        });
        case.tidies_up().indirect().looks_first().delegates()
    }

    fn of_none(self) -> Case {
        let case = Case::new(format!("{}, of none", self.name), self.covers(), move |run| {
            run(&Park::new(|_| (self.of)(&Gate::new(), 0, &Aviary::new())));
        });
        case.ends(Ends::AtOnce)
    }
}

/// What a goroutine does.
fn pass(gate: &Gate, canary: Canary) -> Result<(), Cancelled> {
    let passed = gate.pass();
    canary.sing();
    passed
}

fn of(gate: &Gate, tasks: usize, aviary: &Aviary) -> Result<(), Cancelled> {
    scope(|s| {
        for canary in (0..tasks).map(|_| aviary.canary()) {
            s.go(move || pass(gate, canary));
        }
        Ok(())
    })
}

/// What was cancelled has not failed.
fn all_of(gate: &Gate, tasks: usize, aviary: &Aviary) -> Result<(), Cancelled> {
    let result = scope_all(|s| {
        for canary in (0..tasks).map(|_| aviary.canary()) {
            s.go(move || pass(gate, canary));
        }
        Ok(())
    });
    result.map_err(|failures: Failures<Cancelled>| {
        assert!(failures.later().is_empty(), "{failures:?}");
        failures.first().error().copied().expect("nobody panics")
    })
}

fn supervised(gate: &Gate, tasks: usize, aviary: &Aviary) -> Result<(), Cancelled> {
    supervisor(|s| {
        for canary in (0..tasks).map(|_| aviary.canary()) {
            s.go(move || pass(gate, canary));
        }
        Ok(())
    })
}

/// What has begun to run on another thread cannot be interrupted, and its result is not lost.
fn blocks() -> Case {
    let case = Case::new("blocking", &["blocking"], |run| {
        let gate = Gate::new();
        let call = |_| blocking(|| gate.pass().expect("no task is cancelled on a plain thread"));
        let audit = |happened| assert_eq!(gate.passed(), happened, "ran and returned");
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(audit));
    });
    case.heeds(Heeds::Before).looks_first()
}

/// The cancellation is met inside, by the task that runs there.
fn dispatched() -> Case {
    let case = Case::new("on", &["on"], |run| {
        let other = single("other").expect("a thread");
        let gate = Gate::new();
        let call = |_| match on(&other, || gate.pass()) {
            Ok(passed) => passed,
            Err(OnError::Cancelled) => Err(Cancelled::new()),
            Err(refused) => panic!("{refused}"),
        };
        let audit = |happened| assert_eq!(gate.passed(), happened, "ran and returned");
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(audit));
    });
    case.tidies_up().indirect().looks_first().delegates()
}

/// The closure may borrow, so its end is waited for whatever comes.
fn runs_elsewhere() -> Case {
    let case = Case::new("Runtime::run", &["Runtime::run"], |run| {
        let other = Runtime::builder().workers(1).build().expect("a runtime");
        let gate = Gate::new();
        let call = |_| other.run(|| gate.pass());
        let audit = |happened| assert_eq!(gate.passed(), happened, "ran and returned");
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(audit));
    });
    case.heeds(Heeds::None)
}

/// As for `runs_elsewhere`, with a runtime for each call.
fn runs() -> Case {
    let case = Case::new("run", &["run", "main", "test"], |run| {
        let gate = Gate::new();
        let call = |_| throng::run(|| gate.pass());
        let audit = |happened| assert_eq!(gate.passed(), happened, "ran and returned");
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(audit));
    });
    case.heeds(Heeds::None)
}
