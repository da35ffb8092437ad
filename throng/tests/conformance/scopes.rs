//! `scope`: where its body runs, what it waits for, what it returns and when it throws that away, and that nothing can leave it early.

mod leaving;

use std::panic::{AssertUnwindSafe, catch_unwind};

use throng::{JoinError, bounded, check, go, is_cancelled, rendezvous, scope, shield, task, timeout, yield_now};

use crate::common::{on_runtime, panic_on_purpose, scaled, watched};
use crate::trace::{FOREVER, Log, Oops, forever, let_others_run, on_all, on_one, until, why_here};

fn forever_ok() -> Result<(), Oops> {
    Ok(forever()?)
}

/// The body runs at once, in the caller's task, on its thread; a scope that waits for nobody lets nobody else run.
#[test]
fn body_runs_at_once_in_the_caller() {
    on_one(|| {
        let log = Log::new();
        let other = go({
            let log = log.clone();
            move || log.add("other")
        });
        let (task, thread) = (throng::job(), std::thread::current().id());
        log.add("before");
        let result = scope(|s| {
            log.add("body");
            assert_eq!(std::thread::current().id(), thread);
            assert_eq!(s.job().parent(), task);
            Ok::<_, Oops>("value")
        });
        log.add(format!("after: {result:?}"));
        other.join().unwrap();
        log.says(&["before", "body", r#"after: Ok("value")"#, "other"]);
    });
}

/// It returns the body's value, when the body and all that was started in it have ended.
#[test]
fn scope_returns_when_all_have_ended() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            let log = &log;
            for _ in 0..3 {
                s.go(move || {
                    for _ in 0..5 {
                        yield_now()?;
                    }
                    // Started by a child, and after the body.
                    s.go(move || {
                        yield_now()?;
                        log.add("grandchild");
                        Ok::<_, Oops>(())
                    });
                    log.add("child");
                    Ok::<_, Oops>(())
                });
            }
            Ok("value")
        });
        assert_eq!(log.len(), 6);
        log.add(format!("{result:?}"));
        log.says_sorted(&["Ok(\"value\")", "child", "child", "child", "grandchild", "grandchild", "grandchild"]);
    });
}

/// When the body fails, the children are cancelled and waited for before that comes out.
#[test]
fn failure_of_the_body_cancels_the_children_and_waits() {
    on_all(|| {
        for panics in [false, true] {
            let log = Log::new();
            let result = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| -> Result<(), Oops> {
                    let (up, is_up) = rendezvous();
                    let log = &log;
                    s.go(move || {
                        up.send(()).unwrap();
                        let _ = forever();
                        for _ in 0..10 {
                            shield(yield_now).unwrap();
                        }
                        log.add("child ended");
                    });
                    is_up.recv().unwrap();
                    log.add("body fails");
                    if panics { panic_on_purpose(1) } else { Err(Oops::Bad("body")) }
                })
            }));
            log.add(result.map_or("panic".into(), |result| format!("{result:?}")));
            log.says(&["body fails", "child ended", if panics { "panic" } else { r#"Err(Bad("body"))"# }]);
        }
    });
}

/// Cancelled from outside while it waits: the children are cancelled and waited for, and the value is lost.
#[test]
fn cancelled_while_waiting_loses_the_value() {
    on_all(|| {
        let log = Log::new();
        let (up, is_up) = rendezvous();
        let task = go({
            let log = log.clone();
            move || {
                let result = scope(|s| {
                    let inner = log.clone();
                    s.go(move || {
                        up.send(()).unwrap();
                        let _ = forever();
                        shield(yield_now).unwrap();
                        inner.add(format!("child: {}", why_here()));
                    });
                    Ok::<_, Oops>("value")
                });
                log.add(format!("{result:?}"));
            }
        });
        is_up.recv().unwrap();
        task.cancel_with("enough");
        task.join().unwrap();
        log.says(&["child: enough", "Err(Cancelled)"]);
    });
}

/// DIFFERS: in Kotlin a cancelled caller's scope loses its value in any case. Here it does if children were cut short, and not if nothing of the value is missing.
#[test]
fn value_of_a_scope_whose_children_are_done_is_kept() {
    on_all(|| {
        let log = Log::new();
        let (up, is_up) = rendezvous();
        let task = go({
            let log = log.clone();
            move || {
                let result = scope(|s| {
                    s.go(|| ());
                    until(|| shield(|| s.job().children()).unwrap().is_empty());
                    up.send(()).unwrap();
                    assert!(forever().is_err());
                    Ok::<_, Oops>("value")
                });
                log.add(format!("{result:?}"));
                let result = scope(|_| Ok::<_, Oops>("no children"));
                log.add(format!("{result:?} {:?}", check()));
                let result = scope(|s| {
                    s.go(|| ());
                    Ok::<_, Oops>("a child that was not run")
                });
                log.add(format!("{result:?}"));
            }
        });
        is_up.recv().unwrap();
        task.cancel();
        task.join().unwrap();
        log.says(&[r#"Ok("value")"#, r#"Ok("no children") Err(Cancelled)"#, "Err(Cancelled)"]);
    });
}

/// The same wherever the children ran: that they have ended is what counts, not whether word of it has come.
#[test]
fn value_of_a_scope_whose_children_ended_elsewhere_is_kept() {
    on_runtime(2, None, &mut |runtime, _| {
        for _ in 0..scaled(500, 5_000) {
            let task = runtime.go(|| {
                scope(|s| {
                    let child = s.go(|| ()).job();
                    let me = s.job().parent().unwrap();
                    // Without giving way: the other worker takes it.
                    while !child.is_completed() {
                        std::hint::spin_loop();
                    }
                    me.cancel();
                    assert!(forever().is_err());
                    Ok::<_, Oops>("value")
                })
            });
            assert_eq!(task.join().unwrap(), Ok("value"));
        }
    });
}

/// DIFFERS: Kotlin's way back from a scope whose last child has ended is a dispatch, and a cancellation in between takes the value. Here what has been decided stays.
#[test]
fn cancellation_after_the_last_child_ended_does_not_take_the_value() {
    on_one(|| {
        let log = Log::new();
        let (open, gate) = bounded::<()>(1);
        let waits = task().undispatched().go({
            let log = log.clone();
            move || {
                let result = scope(|s| {
                    s.task().undispatched().go(move || gate.recv().unwrap());
                    Ok::<_, Oops>("value")
                });
                log.add(format!("{result:?} {:?}", check()));
            }
        });
        open.send(()).unwrap();
        // The child is ready and goes first, then us: the scope's task has been woken, and is behind us.
        let canceller = task().undispatched().go({
            let (log, job) = (log.clone(), waits.job());
            move || {
                yield_now().unwrap();
                log.add("cancel");
                job.cancel();
            }
        });
        canceller.join().unwrap();
        waits.join().unwrap();
        log.says(&["cancel", r#"Ok("value") Err(Cancelled)"#]);
    });
}

/// What is started by `go` is nobody's child: the scope neither waits for it nor cancels it.
#[test]
fn goroutines_on_their_own_are_not_waited_for() {
    on_all(|| {
        let log = Log::new();
        let (open, gate) = bounded::<()>(1);
        let mut own = None;
        let result: Result<(), Oops> = scope(|_| {
            own = Some(go(move || gate.recv()));
            Err(Oops::Bad("body"))
        });
        log.add(format!("{result:?}"));
        let own = own.unwrap();
        log.state("own", &own.job());
        open.send(()).unwrap();
        log.add(format!("{:?}", own.join().unwrap()));
        log.says(&[r#"Err(Bad("body"))"#, "own: Active", "Ok(())"]);
    });
}

/// A lazy child that nobody starts keeps its scope waiting: until somebody does ..
#[test]
fn lazy_child_keeps_the_scope_waiting_until_started() {
    on_all(|| {
        let log = Log::new();
        let (tx, rx) = bounded(1);
        let starter = go({
            let log = log.clone();
            move || {
                let (scope, lazy): (throng::Job, throng::Job) = rx.recv().unwrap();
                until(|| scope.state().to_string() == "Completing");
                log.state("lazy", &lazy);
                log.add(format!("start: {}", lazy.start()));
            }
        });
        let result = scope(|s| {
            let log = &log;
            let lazy = s.task().lazy().go(move || log.add("lazy runs"));
            tx.send((s.job(), lazy.job())).unwrap();
            Ok::<_, Oops>(())
        });
        starter.join().unwrap();
        log.add(format!("{result:?}"));
        let mut events = ["lazy: New", "start: true", "lazy runs", "Ok(())"];
        events.sort_unstable();
        log.says_sorted(&events);
    });
}

/// .. or cancels it, or the scope, or the task.
#[test]
fn lazy_child_keeps_the_scope_waiting_until_cancelled() {
    on_all(|| {
        for what in ["child", "scope", "task"] {
            let log = Log::new();
            let (tx, rx) = bounded(1);
            let waits = go({
                let log = log.clone();
                move || {
                    let result = scope(|s| {
                        let log = &log;
                        let lazy = s.task().lazy().go(move || log.add("lazy runs"));
                        tx.send((s.job(), lazy.job())).unwrap();
                        Ok::<_, Oops>("value")
                    });
                    log.add(format!("{result:?}"));
                }
            });
            let (scope, lazy): (throng::Job, throng::Job) = rx.recv().unwrap();
            until(|| scope.state().to_string() == "Completing");
            log.state("lazy", &lazy);
            match what {
                "child" => lazy.cancel(),
                "scope" => scope.cancel(),
                _ => waits.cancel(),
            }
            waits.join().unwrap();
            log.state("lazy", &lazy);
            let result = if what == "task" { "Err(Cancelled)" } else { r#"Ok("value")"# };
            log.says(&["lazy: New", result, "lazy: Cancelled"]);
        }
    });
}

/// A scope that has failed leaves nothing behind: the task goes on as if nothing had been.
#[test]
fn failed_scope_leaves_its_task_as_it_was() {
    on_all(|| {
        let log = Log::new();
        for round in 0..100 {
            let result = scope(|s| {
                s.go(|| Err::<(), _>(Oops::Bad("child")));
                if round % 2 == 0 {
                    forever()?;
                }
                Ok(())
            });
            assert_eq!(result, Err(Oops::Bad("child")));
            assert!(!is_cancelled());
            yield_now().unwrap();
        }
        let (tx, rx) = rendezvous();
        drop(go(move || tx.send(7)));
        log.add(format!("{:?} {:?}", rx.recv(), check()));
        log.says(&["Ok(7) Ok(())"]);
    });
}

/// `Scope::cancel` fails nothing: what the body returns comes out.
#[test]
fn cancelled_scope_returns_what_its_body_returns() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            let (up, is_up) = rendezvous();
            let log = &log;
            s.go(move || {
                up.send(()).unwrap();
                forever()?;
                Ok::<_, Oops>(())
            });
            is_up.recv().unwrap();
            s.cancel_with("done");
            log.add(format!("{:?} {}", forever(), why_here()));
            Ok("value")
        });
        log.add(format!("{result:?} {:?}", check()));
        log.says(&["Err(Cancelled) done", r#"Ok("value") Ok(())"#]);
    });
}

/// Nested scopes end from the inside out, whatever ends the outermost.
#[test]
fn nested_scopes_end_from_the_inside_out() {
    fn nest(depth: usize, log: &Log, bottom: &(dyn Fn() + Sync)) -> Result<(), Oops> {
        scope(|s| {
            let (up, is_up) = rendezvous();
            s.go(move || {
                up.send(()).unwrap();
                let _ = forever();
                log.add(format!("child {depth}"));
            });
            is_up.recv().unwrap();
            let result = if depth == 5 {
                bottom();
                forever().map_err(Oops::from)
            } else {
                nest(depth + 1, log, bottom)
            };
            // This scope's child has been told with all others.
            until(|| log.len() >= 6 - depth);
            result
        })
    }
    on_one(|| {
        for how in ["cancelled", "sibling"] {
            let log = Log::new();
            let (up, is_up) = rendezvous();
            let inner = log.clone();
            let task = go(move || {
                scope(|s| {
                    let me = throng::job().unwrap();
                    s.task().lazy().name("bad").go(|| Err::<(), _>(Oops::Bad("sibling")));
                    nest(1, &inner, &|| up.send(me.children().unwrap()[0].clone()).unwrap())
                })
            });
            let bad = is_up.recv().unwrap();
            let_others_run();
            if how == "cancelled" {
                task.cancel()
            } else {
                _ = bad.start()
            }
            let result = task.join().unwrap();
            // All children were told at once, the innermost scope's first.
            log.add(format!("{result:?}"));
            let result = if how == "cancelled" { "Err(Cancelled)" } else { r#"Err(Bad("sibling"))"# };
            log.says(&["child 5", "child 4", "child 3", "child 2", "child 1", result]);
        }
    });
}

/// From a plain thread: it blocks the thread, and what fails comes out there.
#[test]
fn scope_of_a_plain_thread() {
    watched("a thread", || {
        let log = Log::new();
        let thread = std::thread::current().id();
        let result = scope(|s| {
            assert_eq!(std::thread::current().id(), thread);
            let log = &log;
            s.go(move || {
                let _ = forever();
                log.add(format!("child: {}", why_here()));
            });
            s.task().name("bad").go(|| Err::<(), _>(Oops::Bad("bad")));
            log.add(format!("body: {:?}", forever()));
            Ok(())
        });
        // Whether the first child had started by then is open.
        let started = log.len() == 2;
        log.add(format!("{result:?} {:?}", check()));
        let mut events = vec!["Err(Bad(\"bad\")) Ok(())", "body: Err(Cancelled)"];
        if started {
            events.push("child: 'bad' failed");
        }
        log.says_sorted(&events);
    });
}

/// A body that computes, and asks now and then, hears of a failure.
#[test]
fn body_that_computes_and_asks_hears_of_a_failure() {
    on_runtime(2, None, &mut |runtime, _| {
        let result = runtime.run(|| {
            scope(|s| {
                s.go(|| Err::<(), _>(Oops::Bad("child")));
                while !is_cancelled() {
                    std::hint::spin_loop();
                }
                Ok(())
            })
        });
        assert_eq!(result, Err(Oops::Bad("child")));
    });
}

/// A body on a plain thread that yields hears of a failure, too.
#[test]
fn body_on_a_plain_thread_that_yields_hears_of_a_failure() {
    watched("a thread", || {
        let result = scope(|s| {
            s.go(|| Err::<(), _>(Oops::Bad("child")));
            while check().is_ok() {
                let _ = yield_now();
            }
            Ok(())
        });
        assert_eq!(result, Err(Oops::Bad("child")));
    });
}

/// Handles of a scope tell failure, cancellation and value apart, in whatever order they are joined.
#[test]
fn handles_of_a_scope() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(FOREVER, || {
            scope(|s| {
                let value = s.go(|| Ok::<_, Oops>(1));
                let cancelled = s.go(forever_ok);
                let skipped = s.task().lazy().go(|| Ok::<_, Oops>(2));
                cancelled.cancel_with("no");
                skipped.cancel_with("never");
                match (cancelled.join(), skipped.join()) {
                    (Err(JoinError::TaskCancelled(a)), Err(JoinError::TaskCancelled(b))) => log.add(format!("{a}, {b}")),
                    other => log.add(format!("{other:?}")),
                }
                log.add(format!("{:?}", value.join()?));
                let failed = s.go(|| Err::<(), _>(Oops::Bad("child")));
                log.add(format!("{:?}", failed.join()));
                Ok(())
            })
        });
        log.add(format!("{result:?}"));
        log.says(&["no, never", "1", "Err(Failed)", r#"Ok(Err(Bad("child")))"#]);
    });
}
