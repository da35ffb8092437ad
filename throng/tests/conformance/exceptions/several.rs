//! Several failures of one scope, and failures that meet cancellations: which comes out, and what becomes of the others.

use throng::{Failures, HowFailed, JoinError, bounded, go, rendezvous, scope, scope_all, shield, task};

use super::{handler, text};
use crate::common::panic_on_purpose;
use crate::trace::{Log, Oops, forever, on_all, until};

/// Starts, in their order, children that wait until they are released, and then fail, one after the other: nobody notices the cancellation before.
fn in_order(log: &Log, first: &'static str) -> Failures<Oops> {
    scope_all(|s| {
        let gates: Vec<_> = (0..3)
            .map(|i| {
                let (up, is_up) = rendezvous();
                let (open, gate) = bounded::<()>(1);
                let child = s.task().name(format!("child {i}")).go(move || -> Result<(), Oops> {
                    up.send(()).unwrap();
                    shield(|| gate.recv()).unwrap();
                    match i {
                        0 => Err(Oops::Bad("zero")),
                        1 => panic_on_purpose(1),
                        _ => Err(Oops::Bad("two")),
                    }
                });
                is_up.recv().unwrap();
                (open, child.job())
            })
            .collect();
        // One that is cancelled, which is no failure.
        let cancelled = s.task().name("cancelled").undispatched().go(|| Ok::<_, Oops>(forever()?));
        if first == "body" {
            log.add("body first");
            drop(cancelled);
            let open_all = move || {
                for (open, job) in gates {
                    open.send(()).unwrap();
                    job.join().unwrap();
                }
            };
            // Somebody else lets them fail, when the body has.
            let scope = s.job();
            drop(go(move || {
                until(|| scope.is_cancelled());
                open_all();
            }));
            return Err(Oops::Bad("body"));
        }
        for (open, job) in gates {
            open.try_send(()).unwrap();
            shield(|| job.join()).unwrap();
        }
        Err::<(), _>(Oops::Bad("body"))
    })
    .unwrap_err()
}

fn note_all(log: &Log, failures: Failures<Oops>) {
    for failure in failures {
        let name = failure.name().unwrap_or("body").to_string();
        match failure.into_how() {
            HowFailed::Error(error) => log.add(format!("{name}: {error:?}")),
            HowFailed::Panicked(panic) => log.add(format!("{name}: panic {}", text(&*panic.into_payload()))),
        }
    }
}

/// The first failure wins, be it a child's ..
#[test]
fn first_failure_wins_and_later_ones_are_kept_in_order() {
    on_all(|| {
        let log = Log::new();
        note_all(&log, in_order(&log, "child"));
        log.says(&[r#"child 0: Bad("zero")"#, "child 1: panic 1", r#"child 2: Bad("two")"#, r#"body: Bad("body")"#]);
    });
}

/// .. or the body's. Cancellations are never among them.
#[test]
fn failure_of_the_body_wins_if_it_is_the_first() {
    on_all(|| {
        let log = Log::new();
        note_all(&log, in_order(&log, "body"));
        log.says(&["body first", r#"body: Bad("body")"#, r#"child 0: Bad("zero")"#, "child 1: panic 1", r#"child 2: Bad("two")"#]);
    });
}

/// DIFFERS: `scope` returns the first failure alone, which has no place for the others: they are dropped. (`scope_all` has them.)
#[test]
fn later_failures_of_a_scope_are_dropped() {
    on_all(|| {
        let log = Log::new();
        let result: Result<(), Oops> = handler("handler", &log).scope(|| {
            scope(|s| {
                let (up, is_up) = rendezvous();
                let first = s.task().name("first").go(|| Err::<(), _>(Oops::Bad("first"))).job();
                for name in ["second", "third"] {
                    let (up, first) = (up.clone(), first.clone());
                    let third = name == "third";
                    let before = is_up.clone();
                    s.task().atomic().name(name).go(move || -> Result<(), Oops> {
                        shield(|| first.join()).unwrap();
                        if third {
                            shield(|| before.recv()).unwrap();
                            panic_on_purpose(3)
                        }
                        drop(before);
                        until(|| up.try_send(()).is_ok());
                        Err(Oops::Bad("second"))
                    });
                }
                Ok(())
            })
        });
        log.add(format!("{result:?}"));
        log.says(&[r#"Err(Bad("first"))"#]);
    });
}

/// A body that ends with an error because it was cancelled by a failure adds nothing; one that had not noticed does.
#[test]
fn consequence_of_a_failure_is_not_a_failure() {
    on_all(|| {
        let log = Log::new();
        for notices in [true, false] {
            let failures = scope_all(|s| -> Result<(), Oops> {
                s.task().name("child").go(|| Err::<(), _>(Oops::Bad("child")));
                until(|| s.job().is_cancelled());
                if notices {
                    forever()?;
                }
                Err(Oops::Bad("body"))
            });
            note_all(&log, failures.unwrap_err());
        }
        log.says(&[r#"child: Bad("child")"#, r#"child: Bad("child")"#, r#"body: Bad("body")"#]);
    });
}

/// A failure wins over a cancellation that came first.
#[test]
fn panic_after_a_cancellation_is_a_failure() {
    on_all(|| {
        let log = Log::new();
        let failures = scope_all(|s| {
            s.task().name("child").undispatched().go(|| -> () {
                assert!(forever().is_err());
                panic_on_purpose(1)
            });
            s.cancel();
            Ok::<_, Oops>(())
        });
        note_all(&log, failures.unwrap_err());
        log.says(&["child: panic 1"]);
    });
}

/// DIFFERS: an error that a cancelled child returns after it has met its cancellation counts as how it ended by that, whatever error it is; in Kotlin it is a failure unless it is a
/// CancellationException. One that had not met it fails.
#[test]
fn error_after_a_cancellation_is_its_consequence() {
    on_all(|| {
        let log = Log::new();
        for notices in [true, false] {
            let result = scope(|s| {
                let (up, is_up) = rendezvous();
                let child = s.go(move || -> Result<(), Oops> {
                    up.send(()).unwrap();
                    let me = throng::job().unwrap();
                    until(|| me.is_cancelled());
                    if notices {
                        assert!(forever().is_err());
                    }
                    Err(Oops::Bad("clean-up failed"))
                });
                is_up.recv().unwrap();
                child.cancel();
                log.add(match shield(|| child.join()) {
                    Err(JoinError::TaskCancelled(_)) => "cancelled".into(),
                    other => format!("{other:?}"),
                });
                Ok(())
            });
            log.add(format!("{result:?}"));
        }
        log.says(&["cancelled", "Ok(())", "Err(Failed)", r#"Err(Bad("clean-up failed"))"#]);
    });
}

/// DIFFERS: a CancellationException thrown by hand cancels a coroutine and nobody else. Here an `Err(Cancelled)` of a child that nobody has cancelled is an error like any other.
#[test]
fn cancelled_of_a_task_that_is_not_cancelled_is_an_error() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            s.go(|| Err::<(), _>(Oops::Cancelled));
            assert!(forever().is_err());
            Ok(())
        });
        log.add(format!("{result:?}"));
        // Nor does the end of another task by its cancellation end the one that joins it.
        let result: Result<(), Oops> = scope(|s| {
            let other = task().lazy().go(|| ());
            other.cancel_with("no more");
            s.go(|| Ok::<_, Oops>(other.join()?));
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&["Err(Cancelled)", r#"Err(Join("the joined task was cancelled: no more"))"#]);
    });
}
