//! Which handler is told of what: that of a root, its own or inherited, once, and of no cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Job, JoinError, bounded, completable, go, rendezvous, scope, scope_all, shield, supervisor, task, yield_now};

use super::{SILENT, handler, text};
use crate::common::panic_on_purpose;
use crate::trace::{Log, Oops, forever, on_all, until};

/// A root's panic goes to the handler of its own context, if nobody can join it.
#[test]
fn panic_of_a_root_goes_to_its_own_handler() {
    on_all(|| {
        let log = Log::new();
        handler("ambient", &log).scope(|| {
            let bad = task().lazy().name("bad").handler(handler("own", &log)).go(|| panic_on_purpose(1));
            let job = bad.job();
            drop(bad);
            job.join().unwrap();
            log.add("joined");
        });
        log.says(&[&format!("own: bad panicked: {SILENT}"), "joined"]);
    });
}

#[test]
fn handlers_are_inherited() {
    on_all(|| {
        let log = Log::new();
        // By what is started meanwhile, and by what that starts, also later.
        let jobs = handler("ambient", &log).scope(|| {
            let outer = task().name("outer").go(|| {
                let inner = task().lazy().name("inner").go(|| panic_on_purpose(1));
                let job = inner.job();
                drop(inner);
                job.join().unwrap();
                job
            });
            outer.join().unwrap()
        });
        log.add(jobs.state().to_string());
        // Not by what is started afterwards.
        handler("later", &log).scope(|| {
            let bad = task().lazy().name("later").go(|| panic_on_purpose(2));
            let job = bad.job();
            drop(bad);
            job.join().unwrap();
        });
        log.says(&[&format!("ambient: inner panicked: {SILENT}"), "Cancelled", &format!("later: later panicked: {SILENT}")]);
    });
}

/// The handler is that of the failed task's context, not of the one that drops the handle.
#[test]
fn handler_is_not_that_of_the_dropper() {
    on_all(|| {
        let log = Log::new();
        let bad = task().name("bad").handler(handler("own", &log)).go(|| panic_on_purpose(1));
        until(|| bad.is_finished());
        log.add("ended");
        handler("dropper's", &log).scope(|| drop(bad));
        log.says(&["ended", &format!("own: bad panicked: {SILENT}")]);
    });
}

/// A handler on a child that is no root is ignored; what its scope passes on ends at the root's.
#[test]
fn handler_on_a_non_root_child_is_ignored() {
    on_all(|| {
        let log = Log::new();
        let root = task().lazy().name("root").handler(handler("root's", &log)).go({
            let log = log.clone();
            move || {
                let _ = scope(|s| {
                    s.task().name("child").handler(handler("child's", &log)).go(|| {
                        let _ = scope(|s| {
                            s.task().name("grandchild").handler(handler("grandchild's", &log)).go(|| -> () { panic_on_purpose(1) });
                            Ok::<_, Oops>(())
                        });
                    });
                    Ok::<_, Oops>(())
                });
            }
        });
        let job = root.job();
        drop(root);
        job.join().unwrap();
        log.says(&[&format!("root's: root panicked: {SILENT}")]);
    });
}

/// A handler around a scope is never told of the failure that comes out of the scope.
#[test]
fn handler_around_a_scope_is_not_told_of_what_comes_out() {
    on_all(|| {
        let log = Log::new();
        handler("around", &log).scope(|| {
            let result = scope(|s| {
                s.go(|| Err::<(), _>(Oops::Bad("child")));
                Ok(())
            });
            log.add(format!("{result:?}"));
            let result = scope(|_| Err::<(), _>(Oops::Bad("body")));
            log.add(format!("{result:?}"));
            let result = scope_all(|s| {
                s.go(|| -> () { panic_on_purpose(1) });
                Ok::<_, Oops>(())
            });
            log.add(format!("{}", result.unwrap_err().later().len()));
            let result = supervisor(|_| Err::<(), _>(Oops::Bad("supervisor")));
            log.add(format!("{result:?}"));
        });
        log.says(&[r#"Err(Bad("child"))"#, r#"Err(Bad("body"))"#, "0", r#"Err(Bad("supervisor"))"#]);
    });
}

/// When the handler is called everything below has ended; it has run when the end is seen.
#[test]
fn handler_is_called_once_after_all_children_have_ended() {
    on_all(|| {
        let log = Log::new();
        let root = task().lazy().name("root").handler(handler("handler", &log)).go({
            let log = log.clone();
            move || {
                let _ = scope(|s| {
                    let (up, is_up) = rendezvous();
                    for _ in 0..3 {
                        let (up, log) = (up.clone(), log.clone());
                        s.go(move || {
                            up.send(()).unwrap();
                            let _ = forever();
                            for _ in 0..10 {
                                shield(yield_now).unwrap();
                            }
                            log.add("cleaned up");
                        });
                    }
                    (0..3).for_each(|_| is_up.recv().unwrap());
                    s.go(|| -> () { panic_on_purpose(1) });
                    Ok::<_, Oops>(())
                });
            }
        });
        let job = root.job();
        log.end("root", &job);
        drop(root);
        job.join().unwrap();
        until(|| log.len() >= 5);
        log.says(&[
            "cleaned up",
            "cleaned up",
            "cleaned up",
            &format!("handler: root panicked: {SILENT}"),
            &format!("root ended: failed, 'root' panicked: {SILENT}"),
        ]);
    });
}

/// DIFFERS: Kotlin's root `async` keeps its failure in the Deferred, and nobody hears of it if nobody awaits it. Here a handle that is dropped tells the handler, before or after the end.
#[test]
fn failure_that_nobody_can_join_any_more_is_reported() {
    on_all(|| {
        let log = Log::new();
        handler("handler", &log).scope(|| {
            let kept = task().name("joined").go(|| panic_on_purpose(1));
            match kept.join() {
                Err(JoinError::Panicked(panic)) => log.add(format!("joined: {}", text(&*panic.into_payload()))),
                other => log.add(format!("{other:?}")),
            }
            let (open, gate) = bounded::<()>(1);
            let dropped = task().name("dropped at once").go(move || {
                gate.recv().unwrap();
                panic_on_purpose(2)
            });
            let job = dropped.job();
            drop(dropped);
            open.send(()).unwrap();
            job.join().unwrap();
            let dropped = task().name("dropped later").go(|| panic_on_purpose(3));
            dropped.job().join().unwrap();
            log.add("ended");
            drop(dropped);
            // A handle that is forgotten keeps its failure for ever.
            let forgotten = task().name("forgotten").go(|| panic_on_purpose(4));
            let job = forgotten.job();
            std::mem::forget(forgotten);
            job.join().unwrap();
        });
        log.says(&[
            "joined: 1",
            &format!("handler: dropped at once panicked: {SILENT}"),
            "ended",
            &format!("handler: dropped later panicked: {SILENT}"),
        ]);
    });
}

/// DIFFERS: what a `go` returns is its value, an `Err` included; it is no failure, and is dropped with the handle.
#[test]
fn error_of_a_root_is_its_value() {
    on_all(|| {
        let log = Log::new();
        handler("handler", &log).scope(|| {
            let job = {
                let bad = go(|| Err::<(), _>(Oops::Bad("value")));
                log.end("bad", &bad.job());
                bad.job()
            };
            job.join().unwrap();
            until(|| log.len() == 1);
            log.add(format!("{:?}", go(|| Err::<(), _>(Oops::Bad("joined"))).join().unwrap()));
        });
        log.says(&["bad ended: completed", r#"Err(Bad("joined"))"#]);
    });
}

/// A cancellation never reaches a handler.
#[test]
fn cancellations_never_reach_a_handler() {
    on_all(|| {
        let log = Log::new();
        handler("handler", &log).scope(|| {
            // Not started, and started; of the root, of a scope, of a supervisor.
            let jobs: Vec<Job> =
                [true, false].into_iter().map(|lazy| if lazy { task().lazy().go(forever) } else { go(forever) }.job()).collect();
            scope(|s| {
                s.go(forever);
                s.task().lazy().go(forever);
                s.cancel();
                Ok(())
            })
            .unwrap();
            supervisor(|s| {
                let up = Arc::new(AtomicUsize::new(0));
                s.task().lazy().go(forever);
                let is_up = Arc::clone(&up);
                s.go(move || {
                    is_up.store(1, Ordering::Release);
                    forever()
                });
                until(|| up.load(Ordering::Acquire) == 1);
                s.cancel();
                Ok::<_, Oops>(())
            })
            .unwrap();
            for job in jobs {
                job.cancel_and_join().unwrap();
            }
            drop(completable::<()>());
        });
        log.says(&[]);
    });
}
