//! Values still to come: completed once, by one of many; failed; cancelled; dropped; and what their scope makes of that.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{
    Cause, Completion, ExceptionHandler, JobState, JoinError, bounded, check, completable, go, rendezvous, scope, shield, task, yield_now,
};

use crate::common::{Aviary, on_runtimes, panic_on_purpose, scaled, watched};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why_here};

fn said<T: std::fmt::Debug>(joined: Result<T, JoinError>) -> String {
    match joined {
        Ok(value) => format!("{value:?}"),
        Err(JoinError::TaskCancelled(cause)) => format!("cancelled: {cause}"),
        Err(JoinError::Panicked(panic)) => format!("panicked: {panic}"),
        Err(other) => format!("{other:?}"),
    }
}

/// `complete` succeeds for the one call that did it; the others get their values back.
#[test]
fn completes_once() {
    on_all(|| {
        let log = Log::new();
        let (promise, value) = completable();
        let job = promise.job();
        log.end("promise", &job);
        log.state("promise", &job);
        log.add(format!("{:?} {:?}", promise.complete(1), promise.complete(2)));
        log.state("promise", &job);
        promise.cancel_with("too late");
        job.cancel();
        drop(promise);
        log.add(said(value.join()));
        log.says(&["promise: Active", "promise ended: completed", "Ok(()) Err(2)", "promise: Completed", "1"]);
    });
}

/// A promise is never New: there is nothing to start.
#[test]
fn promise_cannot_be_started() {
    on_all(|| {
        let (promise, value) = completable::<u8>();
        assert!(!value.start() && !promise.job().start());
        assert_eq!(promise.job().state(), JobState::Active);
        let (up, is_up) = rendezvous();
        let joiner = go(move || {
            up.send(()).unwrap();
            value.join().unwrap()
        });
        is_up.recv().unwrap();
        promise.complete(7).unwrap();
        assert_eq!(joiner.join().unwrap(), 7);
    });
}

/// Of many that complete, cancel or fail it at the same time, one wins, and what it did is what is seen.
#[test]
fn concurrent_completers() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let aviary = Aviary::new();
            for round in 0..scaled(200, 2_000) {
                let winners = AtomicUsize::new(0);
                let result: Result<(), Oops> = scope(|s| {
                    let (promise, value) = s.completable();
                    let promise = Arc::new(promise);
                    for i in 0..4 {
                        let (promise, canary, winners) = (Arc::clone(&promise), aviary.canary(), &winners);
                        s.go(move || {
                            if promise.complete((i, canary)).is_ok() {
                                winners.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                    if round % 3 == 1 {
                        let promise = Arc::clone(&promise);
                        s.go(move || promise.cancel_with("cancelled"));
                    }
                    drop(promise);
                    match value.join() {
                        Ok((i, canary)) => {
                            canary.sing();
                            assert!(i < 4);
                            until(|| winners.load(Ordering::Relaxed) == 1);
                        }
                        Err(JoinError::TaskCancelled(cause)) => assert_eq!((cause.to_string().as_str(), round % 3), ("cancelled", 1)),
                        other => panic!("{other:?}"),
                    }
                    Ok(())
                });
                assert_eq!(result, Ok(()));
                assert!(winners.load(Ordering::Relaxed) <= 1);
            }
            assert_eq!(aviary.alive(), 0, "{label}");
        });
    });
}

/// The same with `fail`: either there is a value and the scope is well, or the scope has failed.
#[test]
fn complete_against_fail() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for _ in 0..scaled(200, 2_000) {
                let log = Log::new();
                let result = scope(|s| {
                    let (promise, value) = s.completable::<u8>();
                    let promise = Arc::new(promise);
                    let (other, log) = (Arc::clone(&promise), &log);
                    s.task().atomic().go(move || {
                        if other.complete(1).is_ok() {
                            log.add("completed");
                        }
                    });
                    s.task().atomic().go(move || {
                        if promise.fail(Oops::Bad("failed")).is_ok() {
                            log.add("failed");
                        }
                    });
                    log.add(match shield(|| value.join()) {
                        Ok(1) => "joined completed",
                        Err(JoinError::Failed) => "joined failed",
                        other => panic!("{other:?}"),
                    });
                    Ok(())
                });
                match result {
                    Ok(()) => log.says_sorted(&["completed", "joined completed"]),
                    Err(Oops::Bad("failed")) => log.says_sorted(&["failed", "joined failed"]),
                    other => panic!("{other:?}"),
                }
            }
        });
    });
}

/// `fail` fails the scope, as any child's failure does.
#[test]
fn fail_fails_the_scope() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            let (promise, value) = s.completable::<u8>();
            let (up, is_up) = rendezvous();
            let log = &log;
            s.go(move || {
                up.send(()).unwrap();
                let _ = forever();
                log.add("sibling cancelled");
            });
            is_up.recv().unwrap();
            let job = promise.job();
            log.end("promise", &job);
            s.go(move || {
                promise.fail(Oops::Bad("first")).unwrap();
                assert_eq!(promise.fail(Oops::Bad("second")), Err(Oops::Bad("second")));
                assert_eq!(promise.complete(1), Err(1));
            });
            let _ = forever();
            until(|| log.len() == 2);
            log.add(said(value.join()));
            log.state("promise", &job);
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&["promise ended: failed, somebody failed", "sibling cancelled", "Failed", "promise: Cancelled", r#"Err(Bad("first"))"#]);
    });
}

/// A promise that is dropped without a value is cancelled; its scope goes on.
#[test]
fn dropped_promise_is_cancelled() {
    on_all(|| {
        let log = Log::new();
        let (promise, value) = completable::<u8>();
        let job = promise.job();
        drop(promise);
        log.add(said(value.join()));
        log.state("promise", &job);
        let result = scope(|s| {
            let (promise, value) = s.completable::<u8>();
            s.go(move || {
                yield_now()?;
                drop(promise);
                Ok::<_, Oops>(())
            });
            log.add(said(value.join()));
            log.add(format!("{:?}", check()));
            Ok("value")
        });
        log.add(format!("{result:?}"));
        log.says(&[
            "cancelled: its promise was dropped",
            "promise: Cancelled",
            "cancelled: its promise was dropped",
            "Ok(())",
            r#"Ok("value")"#,
        ]);
    });
}

/// Cancelling it ends it without a value: for its own cause, which stays.
#[test]
fn cancelled_promise() {
    on_all(|| {
        let log = Log::new();
        let (promise, value) = completable::<u8>();
        log.end("promise", &promise.job());
        promise.cancel_with("first");
        value.cancel_with("second");
        log.add(format!("{:?}", promise.complete(1)));
        log.add(said(value.join()));
        until(|| log.len() == 3);
        log.says_sorted(&["Err(1)", "cancelled: first", "promise ended: cancelled, first"]);
    });
}

/// A scope waits for its promises ..
#[test]
fn scope_waits_for_its_promises() {
    on_all(|| {
        let log = Log::new();
        let (tx, rx) = bounded(1);
        // It borrows nothing of the scope, so it may be completed by somebody else's code.
        let result = scope(|s| {
            let (promise, value) = s.completable();
            let log = &log;
            s.task().undispatched().go(move || {
                until(|| throng::job().is_some_and(|job| job.parent().is_some_and(|scope| scope.state() == JobState::Completing)));
                log.add("complete");
                promise.complete(5).unwrap();
            });
            tx.send(s.job()).unwrap();
            drop(value);
            Ok::<_, Oops>("value")
        });
        log.add(format!("{result:?} {}", rx.recv().unwrap().state()));
        log.says(&["complete", r#"Ok("value") Completed"#]);
    });
}

/// .. and cancels them when it ends early; who completes them then gets the value back.
#[test]
fn scope_cancels_its_promises() {
    on_all(|| {
        let log = Log::new();
        let result: Result<(), Oops> = scope(|s| {
            let (promise, value) = s.completable::<u8>();
            s.cancel_with("closing");
            log.add(format!("complete: {:?}", promise.complete(1)));
            log.add(format!("fail: {:?}", promise.fail(Oops::Bad("late"))));
            log.add(said(shield(|| value.join())));
            Err(Oops::Bad("body"))
        });
        log.add(format!("{result:?}"));
        // One made in a scope that is being cancelled is cancelled from the start.
        let result: Result<(), Oops> = scope(|s| {
            s.cancel_with("closed");
            let (promise, value) = s.completable::<u8>();
            log.add(format!("complete: {:?}", promise.complete(2)));
            log.add(said(shield(|| value.join())));
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&[
            "complete: Err(1)",
            "fail: Err(Bad(\"late\"))",
            "cancelled: closing",
            r#"Err(Bad("body"))"#,
            "complete: Err(2)",
            "cancelled: closed",
            "Ok(())",
        ]);
    });
}

/// Completing it while its scope is being cancelled: either the value is taken, or it comes back; and the scope ends.
#[test]
fn completes_while_the_scope_is_being_cancelled() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let aviary = Aviary::new();
            for round in 0..scaled(200, 4_000) {
                let result: Result<(), Oops> = scope(|s| {
                    let (promise, value) = s.completable();
                    let canary = aviary.canary();
                    let completer = s.task().atomic().go(move || match promise.complete(canary) {
                        Ok(()) => Ok::<_, Oops>(true),
                        Err(canary) => {
                            canary.sing();
                            Ok(false)
                        }
                    });
                    for _ in 0..round % 4 {
                        std::hint::spin_loop();
                    }
                    s.cancel();
                    let completed = shield(|| completer.join()).unwrap();
                    match shield(|| value.join()) {
                        Ok(canary) => {
                            canary.sing();
                            assert!(completed);
                        }
                        Err(JoinError::TaskCancelled(Cause::Asked)) => assert!(!completed),
                        other => panic!("{other:?}"),
                    }
                    Ok(())
                });
                assert_eq!(result, Ok(()));
            }
            assert_eq!(aviary.alive(), 0, "{label}");
        });
    });
}

/// Its handlers run in the code that completes it, and all who wait for it wake.
#[test]
fn completing_runs_the_handlers_and_wakes_all() {
    on_all(|| {
        let log = Log::new();
        let (promise, value) = completable();
        let job = promise.job();
        let completer = std::thread::current().id();
        for name in ["one", "two"] {
            let (log, seen) = (log.clone(), job.clone());
            job.on_completion(move |completion| {
                assert_eq!(std::thread::current().id(), completer);
                assert!(matches!(completion, Completion::Completed) && seen.is_completed());
                log.add(name);
            });
        }
        let (up, is_up) = rendezvous();
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let (up, job) = (up.clone(), job.clone());
                go(move || {
                    up.send(()).unwrap();
                    job.join()
                })
            })
            .collect();
        waiters.iter().for_each(|_| is_up.recv().unwrap());
        promise.complete("value").unwrap();
        log.add("completed");
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
        log.add(value.join().unwrap());
        log.says(&["one", "two", "completed", "value"]);
    });
}

/// From a thread that is no worker, for a goroutine; and by a goroutine, for such a thread.
#[test]
fn plain_threads_complete_and_wait() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (promise, value) = completable();
            let thread = std::thread::spawn(move || promise.complete(1));
            assert_eq!(value.join().unwrap(), 1);
            thread.join().unwrap().unwrap();
        });
        watched("a thread", || {
            let (promise, value) = completable();
            runtime.go(move || promise.complete(2).unwrap()).join().unwrap();
            assert_eq!(value.join().unwrap(), 2);
        });
    });
}

/// DIFFERS: `await` of a finished Deferred gives its value in a cancelled job, too; so does `JoinHandle::join`, and also what a task returned after its cancellation is its value.
#[test]
fn finished_value_is_joined_by_a_cancelled_task() {
    on_all(|| {
        let log = Log::new();
        let (promise, value) = completable();
        promise.complete("value").unwrap();
        let job = value.job();
        let (up, is_up) = rendezvous();
        let task = go({
            let log = log.clone();
            move || {
                up.send(()).unwrap();
                assert!(forever().is_err());
                log.add(said(value.join()));
                // A job is joined for its end only, and that is a call that parks.
                log.add(format!("{:?}", job.join()));
                "own value"
            }
        });
        is_up.recv().unwrap();
        task.cancel();
        log.add(said(task.join()));
        log.says(&["\"value\"", "Err(Cancelled)", "\"own value\""]);
    });
}

/// A value nobody takes is dropped once: when it comes, or with the handle. A panic of that drop is told to the handler.
#[test]
fn untaken_value_is_dropped_once() {
    struct Nasty(#[allow(dead_code)] crate::common::Canary);
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic_on_purpose(1);
        }
    }
    on_all(|| {
        let log = Log::new();
        let aviary = Aviary::new();
        let told = log.clone();
        let handler = ExceptionHandler::new(move |failure| {
            assert!(failure.to_string().contains("panicked while its result was dropped"), "{failure}");
            told.add("told");
        });
        handler.scope(|| {
            // The value first, then the handle first.
            let (promise, value) = completable();
            assert!(promise.complete(Nasty(aviary.canary())).is_ok());
            log.add("completed");
            drop(value);
            let (promise, value) = completable();
            drop(value);
            log.add("dropped");
            assert!(promise.complete(Nasty(aviary.canary())).is_ok());
            // The same for a task's.
            let canary = aviary.canary();
            let job = {
                let task = task().lazy().go(move || Nasty(canary));
                let job = task.job();
                drop(task);
                job.start();
                job
            };
            job.join().unwrap();
        });
        until(|| aviary.alive() == 0);
        log.says(&["completed", "told", "dropped", "told", "told"]);
    });
}

/// A promise that is forgotten keeps its scope waiting, until that is cancelled.
#[test]
fn forgotten_promise_waits_for_its_cancellation() {
    on_one(|| {
        let log = Log::new();
        let (tx, rx) = bounded(1);
        let task = go({
            let log = log.clone();
            move || {
                let result = scope(|s| {
                    let (promise, value) = s.completable::<u8>();
                    mem::forget((promise, value));
                    tx.send(s.job()).unwrap();
                    Ok::<_, Oops>(())
                });
                log.add(format!("{result:?} {}", why_here()));
            }
        });
        let scope = rx.recv().unwrap();
        let_others_run();
        log.state("scope", &scope);
        task.cancel_with("enough");
        task.join().unwrap();
        log.says(&["scope: Completing", "Err(Cancelled) enough"]);
    });
}

/// A runtime that is shut down cancels the promises that are left.
#[test]
fn shutdown_cancels_promises() {
    on_runtimes(|_, _| {
        let runtime = throng::Runtime::builder().workers(2).build().unwrap();
        let (promise, value) = runtime.run(completable::<u8>);
        drop(runtime);
        assert_eq!(promise.complete(1), Err(1));
        assert!(matches!(value.join(), Err(JoinError::TaskCancelled(Cause::Shutdown))));
    });
}
