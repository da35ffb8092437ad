//! Where a failure goes: to the scope, to whoever joins, or to the handler; what is gathered of several; and what is kept of a panic.
//!
//! Here: scopes. Beside: handlers, supervisors, several failures, joins, what is kept and printed.
//!
//! A task whose handle is to be gone when it fails is lazy: the join of its job starts it.

mod handlers;
mod joins;
mod kept;
mod reports;
mod several;
mod supervisors;

use std::panic::{AssertUnwindSafe, catch_unwind};

use throng::{Cause, ExceptionHandler, JoinError, rendezvous, scope, shield, task, yield_now};

use crate::common::{OnPurpose, panic_on_purpose};
use crate::trace::{Log, Oops, forever, on_all, on_one, until, why_here};

/// A handler that notes in the log what it is told, under this name.
fn handler(who: &'static str, log: &Log) -> ExceptionHandler {
    let log = log.clone();
    ExceptionHandler::new(move |failure| {
        let name = failure.name().unwrap_or("somebody");
        let how = match (failure.panic(), failure.error()) {
            (Some(panic), _) => format!("panicked: {panic}"),
            (_, Some(error)) => format!("failed: {error:?}"),
            _ => "failed".into(),
        };
        log.add(format!("{who}: {name} {how}"));
    })
}

/// Runs `f`, whose panic is noted.
fn noting_panics<R>(log: &Log, f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| log.add(format!("panic: {}", text(&*payload)))).ok()
}

fn text(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(OnPurpose(n)) = payload.downcast_ref() {
        return n.to_string();
    }
    payload.downcast_ref::<&str>().map_or("?", |text| text).to_string()
}

/// What a panic with a payload that is no text says.
const SILENT: &str = "(a payload that is not text)";

#[test]
fn failure_of_a_child_cancels_its_scope_and_comes_out() {
    on_all(|| {
        let log = Log::new();
        let result = handler("handler", &log).scope(|| {
            scope(|s| {
                let (up, is_up) = rendezvous();
                let sibling = log.clone();
                s.go(move || {
                    up.send(()).unwrap();
                    assert!(forever().is_err());
                    sibling.add(format!("sibling: {}", why_here()));
                });
                is_up.recv().unwrap();
                s.task().name("bad").go(|| Err::<(), _>(Oops::Bad("luck")));
                assert!(forever().is_err());
                until(|| log.len() == 1);
                log.add(format!("body: {}", why_here()));
                Ok(())
            })
        });
        log.add(format!("{result:?}"));
        log.says(&["sibling: 'bad' failed", "body: 'bad' failed", r#"Err(Bad("luck"))"#]);
    });
}

#[test]
fn panic_of_a_child_cancels_its_scope_and_goes_on() {
    on_all(|| {
        let log = Log::new();
        handler("handler", &log).scope(|| {
            noting_panics(&log, || {
                scope(|s| {
                    s.task().name("bad").go(|| -> () { panic_on_purpose(1) });
                    assert!(forever().is_err());
                    log.add(format!("body: {}", why_here()));
                    Ok::<_, Oops>(())
                })
            });
        });
        log.says(&[&format!("body: 'bad' panicked: {SILENT}"), "panic: 1"]);
    });
}

/// A failure travels up through all scopes that let it, each of which ends its children first.
#[test]
fn failure_travels_up_to_the_root() {
    on_all(|| {
        let log = Log::new();
        let waiting = |name: &'static str, up: &throng::Sender<()>| {
            let (log, up) = (log.clone(), up.clone());
            move || {
                up.send(()).unwrap();
                assert!(forever().is_err());
                log.add(format!("{name} cancelled"));
            }
        };
        let (up, is_up) = rendezvous();
        let root = task().name("root").go({
            let (outer, inner) = (waiting("outer", &up), waiting("inner", &up));
            let log = log.clone();
            move || {
                scope(|s| {
                    s.go(outer);
                    s.task().name("middle").go(|| {
                        let result = scope(|s| {
                            s.go(inner);
                            is_up.recv().unwrap();
                            is_up.recv().unwrap();
                            s.task().name("bad").go(|| Err::<(), _>(Oops::Bad("deep")));
                            Ok(())
                        });
                        log.add(format!("middle: {result:?}"));
                        result
                    });
                    Ok(())
                })
            }
        });
        log.add(format!("root: {:?}", root.join().unwrap()));
        log.says(&["inner cancelled", r#"middle: Err(Bad("deep"))"#, "outer cancelled", r#"root: Err(Bad("deep"))"#]);
    });
}

/// A scope does not cancel the job around it by itself: who opened it may catch what comes out, and go on.
#[test]
fn failure_of_an_inner_scope_can_be_caught() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            s.go(|| {
                let inner = scope(|s| {
                    s.go(|| Err::<(), _>(Oops::Bad("inner")));
                    forever()?;
                    Ok(())
                });
                log.add(format!("inner: {inner:?}"));
                let panicked = noting_panics(&log, || {
                    scope(|s| {
                        s.go(|| -> () { panic_on_purpose(2) });
                        forever()?;
                        Ok::<_, Oops>(())
                    })
                });
                assert!(panicked.is_none());
                log.add(format!("after: {:?}", yield_now()));
                Ok::<_, Oops>(())
            });
            Ok("outer lives")
        });
        log.add(format!("{result:?}"));
        log.says(&[r#"inner: Err(Bad("inner"))"#, "panic: 2", "after: Ok(())", r#"Ok("outer lives")"#]);
    });
}

/// A child that fails kills its scope though somebody joins it and drops what the join says.
#[test]
fn catching_at_join_does_not_save_the_scope() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            let bad = s.go(|| Err::<(), _>(Oops::Bad("async")));
            log.add(format!("join: {:?}", bad.join()));
            log.add(format!("then: {:?}", forever()));
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&["join: Err(Failed)", "then: Err(Cancelled)", r#"Err(Bad("async"))"#]);
    });
}

/// A scope dies with its first failing child; what is started in it later is dead on arrival, and waited for.
#[test]
fn children_of_a_failed_scope_are_dead_on_arrival() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            s.go(|| Err::<(), _>(Oops::Bad("first")));
            assert!(forever().is_err());
            let late = s.go(|| log.add("ran"));
            let job = late.job();
            log.add(format!("join: {}", matches!(shield(|| late.join()), Err(JoinError::TaskCancelled(Cause::Failed(_))))));
            log.state("late", &job);
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&["join: true", "late: Cancelled", r#"Err(Bad("first"))"#]);
    });
}

/// On one worker: the order of events when a child fails, to the end.
#[test]
fn order_of_events_of_a_failure() {
    on_one(|| {
        let log = Log::new();
        let result = scope(|s| {
            log.end("scope", &s.job());
            let waiting = |name: &'static str| {
                let log = log.clone();
                let child = s.task().name(name).undispatched().go(move || {
                    let _ = forever();
                    log.add(format!("{name}: {}", why_here()));
                });
                child.job()
            };
            let (one, two) = (waiting("one"), waiting("two"));
            log.end("one", &one);
            log.end("two", &two);
            let bad = s.task().name("bad").lazy().go(|| Err::<(), _>(Oops::Bad("luck")));
            log.end("bad", &bad.job());
            bad.start();
            let _ = forever();
            log.add(format!("body: {}", why_here()));
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&[
            "bad ended: failed, 'bad' failed",
            "one: 'bad' failed",
            "one ended: completed",
            "two: 'bad' failed",
            "two ended: completed",
            "body: 'bad' failed",
            "scope ended: failed, 'bad' failed",
            r#"Err(Bad("luck"))"#,
        ]);
    });
}
