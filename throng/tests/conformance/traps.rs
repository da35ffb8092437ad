//! 15. Points easily got wrong by a reimplementation.

use std::cell::Cell;
use std::time::Duration;

use throng::{
    Cancelled, ExceptionHandler, JobState, JoinError, blocking, bounded, check, go, scope, scope_all, select, shield, supervisor, task,
    timeout, yield_now,
};

use crate::common::{panic_on_purpose, scaled};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why_here};

fn tells(log: &Log) -> ExceptionHandler {
    let log = log.clone();
    ExceptionHandler::new(move |failure| log.add(format!("handler: {}", failure.name().unwrap_or("?"))))
}

// 15.1. "Completing is still isActive=true, and a late child failure overrides a computed value."
#[test]
fn trap_01_completing_is_active_and_a_late_failure_overrides_the_value() {
    on_all(|| {
        let log = Log::new();
        let value = scope(|s| {
            let (job, seen) = (s.job(), log.clone());
            s.go(move || {
                until(|| job.state() != JobState::Active);
                seen.add(format!("{} {}", job.state(), job.is_active()));
                Err::<(), _>(Oops::Bad("late"))
            });
            Ok("computed")
        });
        assert_eq!(value, Err(Oops::Bad("late")));
        log.says(&["Completing true"]);
    });
}

// 15.2. "The parent is told of a child's failure twice (root cause at once, final cause at the end); deduplicate by identity." Here it is told once.
#[test]
fn trap_02_a_failure_counts_once() {
    on_all(|| {
        let log = Log::new();
        tells(&log).scope(|| {
            let failures = scope_all(|s| {
                // Through two scopes, both of which it ends.
                s.task().name("culprit").go(|| {
                    scope(|s| {
                        s.go(|| Err::<(), _>(Oops::Bad("one")));
                        Ok(forever()?)
                    })
                });
                Ok::<(), Oops>(forever()?)
            })
            .unwrap_err();
            let all: Vec<_> = failures.iter().map(|failure| (failure.name(), failure.error())).collect();
            assert_eq!(all, [(Some("culprit"), Some(&Oops::Bad("one")))]);
        });
        log.says(&[]);
    });
}

// 15.2. The same, when the body learns of the failure by joining the child: what it makes of that is no second failure.
#[test]
fn trap_02_a_failure_counts_once_if_it_is_joined_too() {
    on_one(|| {
        let log = Log::new();
        tells(&log).scope(|| {
            let failed: Result<(), Oops> = scope(|s| {
                let child = s.go(|| Err::<(), _>(Oops::Bad("one")));
                Ok(child.join()?)
            });
            assert_eq!(failed, Err(Oops::Bad("one")));
            let failures = scope_all(|s| {
                let child = s.go(|| Err::<(), _>(Oops::Bad("one")));
                Ok::<_, Oops>(child.join()?)
            })
            .unwrap_err();
            assert_eq!((failures.first().error(), failures.later().len()), (Some(&Oops::Bad("one")), 0));
        });
        log.says(&[]);
    });
}

// 15.3. "CEs never appear among suppressed exceptions and never reach a handler; a failure during cancellation does."
#[test]
fn trap_03_cancellations_are_not_told_failures_during_cancellation_are() {
    on_one(|| {
        let log = Log::new();
        let failures = scope_all(|s| {
            s.task().name("obeys").undispatched().go(|| -> Result<(), Oops> { Ok(forever()?) });
            s.task().name("panics").undispatched().go(|| -> () {
                let _ = forever();
                panic_on_purpose(12)
            });
            s.task().name("culprit").go(|| Err::<(), _>(Oops::Bad("culprit")));
            Ok::<(), Oops>(forever()?)
        })
        .unwrap_err();
        let names: Vec<_> = failures.iter().map(|failure| failure.name()).collect();
        assert_eq!(names, [Some("culprit"), Some("panics")]);
        // From `scope` comes the first alone, and the handler is not asked.
        tells(&log).scope(|| {
            let failed: Result<(), Oops> = scope(|s| {
                s.task().name("obeys").undispatched().go(|| -> Result<(), Oops> { Ok(forever()?) });
                s.task().name("panics").undispatched().go(|| -> () {
                    let _ = forever();
                    panic_on_purpose(13)
                });
                s.task().name("culprit").go(|| Err::<(), _>(Oops::Bad("culprit")));
                Ok(forever()?)
            });
            assert_eq!(failed, Err(Oops::Bad("culprit")));
        });
        log.says(&[]);
    });
}

// 15.4. "async fails its parent even when awaited and caught; root async is silent."
#[test]
fn trap_04_a_childs_failure_is_its_scopes_even_if_joined() {
    on_all(|| {
        let log = Log::new();
        tells(&log).scope(|| {
            let failed: Result<(), Oops> = scope(|s| {
                let child = s.go(|| Err::<(), _>(Oops::Bad("child")));
                match shield(|| child.join()) {
                    Err(JoinError::Failed) => log.add("caught"),
                    other => panic!("{other:?}"),
                }
                Ok(())
            });
            assert_eq!(failed, Err(Oops::Bad("child")));
            log.says(&["caught"]);
            // A root whose handle is kept is silent, for as long as it is kept.
            let root = task().name("root").go(|| -> () { panic_on_purpose(14) });
            until(|| root.is_finished());
            log.says(&[]);
            assert!(matches!(root.join(), Err(JoinError::Panicked(_))));
            log.says(&[]);
        });
    });
}

// 15.5. "The handler runs after all children are finished and before the job is seen as complete."
#[test]
fn trap_05_the_handler_runs_between_the_children_and_the_end() {
    on_all(|| {
        let log = Log::new();
        supervisor(|s| {
            let seen = log.clone();
            let job_of = std::sync::Arc::new(std::sync::OnceLock::<throng::Job>::new());
            let (told, job) = (log.clone(), std::sync::Arc::clone(&job_of));
            let handler = ExceptionHandler::new(move |_| told.add(format!("handler, completed: {}", job.get().unwrap().is_completed())));
            let bad = s.task().name("bad").handler(handler).lazy().go(move || {
                scope(|s| {
                    let seen = seen.clone();
                    s.task().atomic().go(move || {
                        let _ = forever();
                        let _ = shield(yield_now);
                        seen.add("child ends");
                    });
                    Err::<(), _>(Oops::Bad("bad"))
                })
            });
            job_of.set(bad.job()).unwrap();
            // Before it ends: else the one who drops the handle tells the handler.
            drop(bad);
            let job = job_of.get().unwrap();
            log.end("bad", job);
            job.join()?;
            until(|| log.len() == 3);
            Ok::<_, JoinError>(())
        })
        .unwrap();
        log.says(&["child ends", "handler, completed: false", "bad ended: failed, 'bad' failed"]);
    });
}

// 15.6. "join() of a finished job still throws if the caller is cancelled; await() of a finished deferred does not."
#[test]
fn trap_06_joining_a_finished_job_looks_joining_a_finished_handle_does_not() {
    on_all(|| {
        let done = go(|| 7);
        until(|| done.is_finished());
        let caller = task().atomic().go(|| {
            let _ = forever();
            (done.job().join().is_err(), done.join().unwrap())
        });
        caller.cancel();
        assert_eq!(caller.join().unwrap(), (true, 7));
    });
}

// 15.7. "coroutineScope/withTimeout run their block even in a cancelled job (then discard the result); withContext does not."
// DIFFERS in the brackets: the result is kept.
#[test]
fn trap_07_scopes_and_timeouts_run_in_a_cancelled_task_blocking_does_not() {
    on_all(|| {
        let caller = task().atomic().go(|| {
            let _ = forever();
            let ran = Cell::new(0);
            let count = || ran.set(ran.get() + 1);
            let of_scope = scope(|_| {
                count();
                Ok::<_, Cancelled>(1)
            });
            let of_timeout = timeout(Duration::from_secs(3600), || {
                count();
                2
            });
            let of_blocking = blocking(|| 3);
            (of_scope, of_timeout, of_blocking, ran.get())
        });
        caller.cancel();
        assert_eq!(caller.join().unwrap(), (Ok(1), Ok(2), Err(Cancelled::new()), 2));
    });
}

// 15.8. "Prompt cancellation: check the job again at dispatch; give each primitive an undo for a granted-but-cancelled operation".
// DIFFERS: what was granted is delivered, so there is nothing to undo; see `checks`. Whoever wins, nothing is lost: each item is received or left in the channel, each lock is free at the end.
#[test]
fn trap_08_nothing_is_lost_between_grant_and_cancellation() {
    on_all(|| {
        let mut received = 0;
        for round in 0..scaled(200, 5_000) {
            let (tx, rx) = bounded(1);
            let theirs = rx.clone();
            let lock = std::sync::Arc::new(throng::Mutex::new(()));
            let locked = std::sync::Arc::clone(&lock);
            let guard = lock.lock().unwrap();
            let task = task().atomic().go(move || (theirs.recv().ok(), locked.lock().is_ok()));
            let sender = go(move || tx.send(round));
            if round % 2 == 0 {
                yield_now().unwrap();
            }
            task.cancel();
            drop(guard);
            sender.join().unwrap().unwrap();
            let (item, _) = task.join().unwrap();
            received += usize::from(item.is_some());
            assert_eq!(item.or_else(|| rx.try_recv().ok()), Some(round));
            assert!(lock.try_lock().is_some());
        }
        println!("received {received}");
    });
}

// 15.9. "close() lets already suspended senders through; cancel() does not."
// DIFFERS: closing gives waiting senders their items back (Go panics them); what is in the buffer is still received. Dropping the last receiver does the same and drops the buffer.
#[test]
fn trap_09_close_gives_waiting_senders_their_items_back() {
    on_one(|| {
        let (tx, rx) = bounded(1);
        tx.send(1).unwrap();
        let waiting = tx.clone();
        let sender = task().undispatched().go(move || waiting.send(2));
        assert!(!sender.is_finished());
        assert!(tx.close());
        assert_eq!(sender.join().unwrap(), Err(throng::channel::SendError::Closed(2)));
        assert_eq!(rx.iter().collect::<Vec<_>>(), [1]);
        let (tx, rx) = bounded(1);
        tx.send(1).unwrap();
        let sender = task().undispatched().go(move || tx.send(2));
        drop(rx);
        assert_eq!(sender.join().unwrap(), Err(throng::channel::SendError::Closed(2)));
    });
}

// 15.10. "withTimeoutOrNull must swallow only its own timeout (identity), not an outer one."
#[test]
fn trap_10_a_timeout_answers_for_itself_only() {
    on_all(|| {
        let tick = Duration::from_millis(2);
        let long = Duration::from_secs(3600);
        // The outer one is over: the inner one returns what its block did, the outer one Elapsed.
        let inner = Cell::new(None);
        assert!(timeout(tick, || inner.set(Some(timeout(long, forever)))).is_err());
        assert_eq!(inner.get(), Some(Ok(Err(Cancelled::new()))));
        // The inner one is over: the outer one does not notice.
        let outer = timeout(long, || {
            assert!(timeout(tick, forever).is_err());
            check()
        });
        assert_eq!(outer, Ok(Ok(())));
        // Neither is: the task is cancelled.
        let task = task().atomic().go(move || (timeout(long, forever), why_here()));
        task.cancel_with("enough");
        assert_eq!(task.join().unwrap(), (Ok(Err(Cancelled::new())), "enough".into()));
    });
}

// 15.11. "A New (lazy) child keeps its parent waiting."
#[test]
fn trap_11_a_lazy_child_keeps_its_parent_waiting() {
    on_one(|| {
        let log = Log::new();
        let (hand, handed) = bounded(1);
        let seen = log.clone();
        let parent = task().undispatched().go(move || {
            scope(|s| {
                let lazy = s.task().lazy().go(|| seen.add("lazy runs"));
                hand.send((lazy.job(), s.job())).unwrap();
                Ok::<_, Cancelled>(())
            })
        });
        let (lazy, around) = handed.recv().unwrap();
        let_others_run();
        log.state("lazy", &lazy);
        log.state("parent's scope", &around);
        assert!(!parent.is_finished());
        lazy.start();
        assert_eq!(parent.join().unwrap(), Ok(()));
        log.says(&["lazy: New", "parent's scope: Completing", "lazy runs"]);
    });
}

// 15.12. "A finished child must be unlinked from its parent in O(1), or a long-lived scope leaks." Children that end in the order they came, the other way round, and from the middle.
// (`ending::a_long_lived_scope_does_not_accumulate` has many children come and go.)
#[test]
fn trap_12_finished_children_are_unlinked() {
    on_all(|| {
        scope(|s| {
            for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 0, 3], [2, 1, 3, 0]] {
                let mut promises: Vec<_> = (0..4).map(|_| Some(s.completable::<()>())).collect();
                let jobs: Vec<_> = promises.iter().flatten().map(|(promise, _)| promise.job()).collect();
                assert_eq!(s.job().children()?, jobs);
                for (gone, &i) in order.iter().enumerate() {
                    let (promise, value) = promises[i].take().unwrap();
                    promise.complete(()).unwrap();
                    value.join().unwrap();
                    until(|| s.job().children().unwrap().len() == 3 - gone);
                    let left: Vec<_> =
                        jobs.iter().enumerate().filter(|(i, _)| promises[*i].is_some()).map(|(_, job)| job.clone()).collect();
                    assert_eq!(s.job().children()?, left);
                }
            }
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        // Among others that wait: a select with the end of a child.
        scope(|s| {
            let child = s.go(|| Ok(7));
            assert_eq!(select! { join(child) -> () => child.join().ok() }?, Some(7));
            until(|| s.job().children().unwrap().is_empty());
            Ok::<_, Cancelled>(())
        })
        .unwrap();
    });
}
