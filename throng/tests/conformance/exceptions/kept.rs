//! What is kept of a failure, for who joins and for who asks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use throng::{Cause, Completion, HowFailed, JobState, JoinError, go, scope, scope_all, shield, supervisor, task};

use super::SILENT;
use crate::common::panic_on_purpose;
use crate::trace::{Log, Oops, forever, on_all, until, why};

/// The payload itself arrives, by whatever way: a join, a scope or two, `scope_all`, a supervisor's join.
#[test]
fn panic_payload_is_kept() {
    struct Payload(#[allow(dead_code)] Box<u32>);
    let panics = |n: u32| -> () { std::panic::resume_unwind(Box::new(Payload(Box::new(n)))) };
    let number = |payload: Box<dyn std::any::Any + Send>| *payload.downcast::<Payload>().expect("the payload").0;
    on_all(|| {
        let log = Log::new();
        match go(move || panics(1)).join() {
            Err(JoinError::Panicked(panic)) => {
                log.add(panic.message());
                log.add(format!("join {}", number(panic.into_payload())));
            }
            other => log.add(format!("{other:?}")),
        }
        let nested = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.go(|| {
                    scope(|s| {
                        s.go(|| panics(2));
                        Ok::<_, Oops>(())
                    })
                });
                Ok::<_, Oops>(())
            })
        }));
        log.add(format!("scopes {}", number(nested.unwrap_err())));
        let all = scope_all(|s| {
            s.go(|| panics(3));
            Ok::<_, Oops>(())
        });
        match all.unwrap_err().into_first().into_how() {
            HowFailed::Panicked(panic) => log.add(format!("scope_all {}", number(panic.into_payload()))),
            other => log.add(format!("{other:?}")),
        }
        supervisor(|s| {
            match s.go(|| panics(4)).join() {
                Err(JoinError::Panicked(panic)) => log.add(format!("supervisor {}", number(panic.into_payload()))),
                other => log.add(format!("{other:?}")),
            }
            Ok::<_, Oops>(())
        })
        .unwrap();
        log.says(&[SILENT, "join 1", "scopes 2", "scope_all 3", "supervisor 4"]);
    });
}

/// What others find as the cause of their cancellation: who failed, from where, and with what.
#[test]
fn cause_tells_who_failed() {
    on_all(|| {
        let log = Log::new();
        let line = line!() + 2;
        let failures = scope_all(|s| {
            s.task().name("bad").go(|| -> () { std::panic::resume_unwind(Box::new("message")) });
            assert!(forever().is_err());
            match throng::cause() {
                Some(Cause::Failed(failed)) => {
                    assert_eq!((failed.site.file(), failed.site.line()), (file!(), line));
                    log.add(format!("{:?} {:?}", failed.name, failed.panic));
                }
                other => log.add(format!("{other:?}")),
            }
            Ok::<_, Oops>(())
        });
        drop(failures);
        log.says(&[r#"Some("bad") Some("message")"#]);
    });
}

/// A job that has failed tells so for as long as somebody asks.
#[test]
fn failed_job_says_how_it_failed() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            let bad = s.task().name("child").go(|| Err::<(), _>(Oops::Bad("child")));
            let job = bad.job();
            drop(shield(|| bad.join()));
            log.add(job.completion().map_or("none".into(), |completion| crate::trace::how(&completion)));
            log.add(job.cause().map_or("none".into(), |cause| why(&cause)));
            Ok(())
        });
        assert_eq!(result, Err(Oops::Bad("child")));
        let bad = task().name("root").go(|| panic_on_purpose(1));
        let job = bad.job();
        assert!(matches!(bad.join(), Err(JoinError::Panicked(_))));
        until(|| job.state() == JobState::Cancelled);
        log.add(matches!(job.completion(), Some(Completion::Failed(_))).to_string());
        log.says(&["failed, 'child' failed", "'child' failed", "true"]);
    });
}
