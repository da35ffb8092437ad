//! 3. Cancellation: what `cancel` does, what is met where, what a cancelled task can still do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{
    Cancelled, Cause, ExceptionHandler, JobState, JoinError, check, go, is_cancelled, scope, scope_all, shield, supervisor, task, timeout,
    yield_now,
};

use crate::common::{OnPurpose, panic_on_purpose, scaled};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why, why_here};

// 3. "cancel(cause): idempotent, never suspends; the first cause is kept, later ones are ignored for the cause".
#[test]
fn cancel_is_idempotent_and_the_first_cause_is_kept() {
    on_all(|| {
        // A task that waits, one that is new, a promise, a scope.
        let waits = go(|| (forever(), why_here()));
        let job = waits.job();
        job.cancel_with("first");
        job.cancel_with("second");
        waits.cancel();
        // None once it has completed.
        assert!(job.cause().is_none_or(|cause| why(&cause) == "first"));
        match waits.join() {
            Ok(seen) => assert_eq!(seen, (Err(Cancelled::new()), "first".into())),
            Err(JoinError::TaskCancelled(cause)) => assert_eq!(why(&cause), "first"),
            Err(other) => panic!("{other:?}"),
        }
        let lazy = task().lazy().go(|| ());
        lazy.cancel();
        lazy.cancel_with("second");
        assert!(matches!(lazy.join(), Err(JoinError::TaskCancelled(Cause::Asked))));

        let (promise, value) = throng::completable::<()>();
        promise.cancel_with("first");
        promise.cancel_with("second");
        assert!(matches!(value.join(), Err(JoinError::TaskCancelled(cause)) if why(&cause) == "first"));

        scope(|s| {
            s.cancel_with("first");
            s.cancel_with("second");
            s.job().cancel_with("third");
            assert_eq!((forever(), why_here()), (Err(Cancelled::new()), "first".into()));
            Ok::<_, Cancelled>(())
        })
        .unwrap();
    });
}

// 3. "the first cause is kept": when many cancel at once, it is one of theirs, and it does not change once it has been seen.
#[test]
fn one_cause_wins_and_stays() {
    on_all(|| {
        for round in 0..scaled(200, 10_000) {
            let stop = Arc::new(AtomicUsize::new(0));
            let stopped = Arc::clone(&stop);
            let watches = task().atomic().go(move || {
                until(is_cancelled);
                let first = why_here();
                until(|| stopped.load(Ordering::SeqCst) == 1);
                (first, why_here())
            });
            let job = watches.job();
            let done = scope(|s| {
                for name in ["a", "b"] {
                    let job = &job;
                    s.go(move || if name == "b" && round % 2 == 0 { job.cancel() } else { job.cancel_with(name) });
                }
                Ok::<_, Cancelled>(())
            });
            assert_eq!(done, Ok(()));
            stop.store(1, Ordering::SeqCst);
            let (first, last) = watches.join().unwrap();
            assert!(["a", "b", "cancelled on request"].contains(&&*first), "{first}");
            assert_eq!(first, last);
        }
    });
}

// 3. "Only a CE can be given; CE(message, someFailure) remains a cancellation, never a failure".
#[test]
fn an_error_as_the_cause_is_a_cancellation_all_the_same() {
    on_all(|| {
        let log = Log::new();
        let value = scope(|s| {
            let child = s.task().lazy().go(|| ());
            log.end("child", &child.job());
            let job = child.job();
            child.cancel_with(Cause::error(std::io::Error::other("disk full")));
            job.join()?;
            assert!(matches!(job.cause(), Some(Cause::Error(error)) if error.downcast_ref::<std::io::Error>().is_some()));
            Ok::<_, Oops>(7)
        });
        assert_eq!(value, Ok(7));
        log.says(&["child ended: cancelled, disk full"]);
    });
}

// 3. "Cooperative: it takes effect only at cancellable suspension points or explicit checks. A coroutine that never suspends runs to its end, then is Cancelled".
// DIFFERS in the last word: it has Completed, with its value.
#[test]
fn cancellation_is_cooperative() {
    on_all(|| {
        let log = Log::new();
        let (begun, begins) = throng::bounded(1);
        let seen = log.clone();
        let (gate, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (wait, opened) = (Arc::clone(&gate), Arc::clone(&open));
        let busy = go(move || {
            begun.send(()).unwrap();
            // Never parks by itself: gives way, shielded.
            until(|| wait.load(Ordering::SeqCst) == 1);
            seen.add(format!("{} {:?} {:?} {}", is_cancelled(), check(), yield_now(), why_here()));
            opened.store(1, Ordering::SeqCst);
            7
        });
        begins.recv().unwrap();
        let job = busy.job();
        log.end("busy", &job);
        busy.cancel_with("enough");
        log.state("busy", &job);
        gate.store(1, Ordering::SeqCst);
        assert_eq!(busy.join().unwrap(), 7);
        assert_eq!(open.load(Ordering::SeqCst), 1);
        until(|| log.len() == 3);
        log.says(&["busy: Cancelling", "true Err(Cancelled) Err(Cancelled) enough", "busy ended: completed"]);
    });
}

// 3. "Sticky: after catching the CE, the job stays cancelled; each further cancellable suspension throws again".
#[test]
fn cancellation_is_sticky() {
    on_all(|| {
        let task = task().atomic().go(|| {
            let mut met = 0;
            for _ in 0..100 {
                met += usize::from(forever().is_err());
                met += usize::from(throng::rendezvous::<()>().1.recv().is_err());
                met += usize::from(yield_now().is_err());
            }
            met
        });
        task.cancel();
        assert_eq!(task.join().unwrap(), 300);
    });
}

// 3. "Throwing a CE by hand from a body = cancelling just this coroutine; parent unaffected, nothing logged".
// DIFFERS: an error is an error. `Err(Cancelled)` of a child that was not cancelled fails the scope as any other; to end alone a child cancels itself (or returns Ok).
#[test]
fn cancelled_by_hand_is_an_error_like_any_other() {
    on_all(|| {
        let log = Log::new();
        let failed: Result<(), Cancelled> = scope(|s| {
            log.end("scope", &s.job());
            s.task().name("by hand").go(|| Err::<(), _>(Cancelled::new()));
            Ok(())
        });
        assert_eq!(failed, Err(Cancelled::new()));
        log.says(&["scope ended: failed, 'by hand' failed"]);
        // What does cancel just this one:
        let value = scope(|s| {
            let child = s.task().lazy().go(|| -> Result<(), Cancelled> {
                throng::job().unwrap().cancel_with("by itself");
                check()
            });
            let job = child.job();
            log.end("child", &job);
            job.join().map_err(|_| Cancelled::new())?;
            assert!(matches!(child.join(), Err(JoinError::TaskCancelled(cause)) if why(&cause) == "by itself"));
            Ok::<_, Cancelled>(7)
        });
        assert_eq!(value, Ok(7));
        log.says(&["child ended: cancelled, by itself"]);
    });
}

// 3. "The same holds for a foreign CE: awaiting someone else's cancelled Deferred throws its CE, and letting it escape silently cancels the awaiter; also a TCE escaping a launch".
// DIFFERS: that another task was cancelled, and that a time limit was reached, are errors of their own, `JoinError::TaskCancelled` and `Elapsed`; let out of a task, they fail its scope.
#[test]
fn another_tasks_cancellation_is_an_error_of_its_own() {
    on_all(|| {
        let failed: Result<(), Oops> = scope(|s| {
            let foreign = task().lazy().go(|| ());
            foreign.cancel_with("not wanted");
            s.go(move || {
                foreign.join()?;
                Ok(())
            });
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Join("the joined task was cancelled: not wanted".into())));
        let failed: Result<(), throng::Error> = scope(|s| {
            s.go(|| Ok(timeout(Duration::ZERO, || ())?));
            Ok(())
        });
        assert!(matches!(failed, Err(throng::Error::Elapsed)), "{failed:?}");
    });
}

// 3. "A failure thrown while cancelling (in finally) turns the result into a failure: it becomes the final cause and goes to the parent". A panic does.
#[test]
fn a_panic_while_cancelling_is_a_failure() {
    on_one(|| {
        let log = Log::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scope(|s| {
                let child = s.task().name("child").undispatched().go(|| -> () {
                    let _ = forever();
                    panic_on_purpose(5)
                });
                let sibling = s.task().undispatched().go(|| {
                    let _ = forever();
                    log.add(why_here());
                });
                drop(sibling);
                log.end("child", &child.job());
                child.cancel_with("enough");
                Ok::<(), Cancelled>(())
            })
        }));
        assert_eq!(*panicked.unwrap_err().downcast::<OnPurpose>().unwrap(), OnPurpose(5));
        let how = "'child' panicked: (a payload that is not text)";
        log.says(&[&format!("child ended: failed, {how}"), how]);
    });
}

// 3. The same statement, for errors.
// DIFFERS: an error returned after the cancellation has been met counts as its consequence, whatever it says, and the child has ended as cancelled: the library cannot look into errors. One returned without
// having met it is a failure.
#[test]
fn an_error_while_cancelling_is_a_consequence_if_the_cancellation_was_met() {
    on_all(|| {
        let log = Log::new();
        let value = scope(|s| {
            let child = s.task().atomic().go(|| {
                let _ = forever();
                Err::<(), _>(Oops::Bad("while cancelling"))
            });
            log.end("met", &child.job());
            child.cancel_with("enough");
            assert!(matches!(child.join(), Err(JoinError::TaskCancelled(cause)) if why(&cause) == "enough"));
            Ok(7)
        });
        assert_eq!(value, Ok(7));
        let failed: Result<(), Oops> = scope(|s| {
            let (open, gate) = throng::rendezvous::<()>();
            let child = s.task().name("child").atomic().go(move || {
                let _ = shield(|| gate.recv());
                Err::<(), _>(Oops::Bad("unaware"))
            });
            log.end("not met", &child.job());
            child.cancel_with("enough");
            drop(open);
            assert!(matches!(shield(|| child.join()), Err(JoinError::Failed)));
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("unaware")));
        log.says(&["met ended: cancelled, enough", "not met ended: failed, 'child' failed"]);
    });
}

// 3. The same, for a scope that was cancelled before its failure: it comes out, and the job tells.
#[test]
fn a_failure_of_a_cancelled_scope_is_how_it_ended() {
    on_all(|| {
        let log = Log::new();
        let failed: Result<(), Oops> = scope(|s| {
            log.end("scope", &s.job());
            s.task().name("child").atomic().go(|| Err::<(), _>(Oops::Bad("unaware")));
            s.cancel_with("enough");
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("unaware")));
        log.says(&["scope ended: failed, 'child' failed"]);
    });
}

// 3. "cancelChildren() cancels children only; the job stays active".
#[test]
fn cancel_children_leaves_the_job_active() {
    on_all(|| {
        let log = Log::new();
        let value = scope(|s| {
            let children: Vec<_> = (0..3).map(|_| s.task().atomic().go(|| Ok(forever()))).collect();
            s.job().cancel_children();
            for child in children {
                assert_eq!(child.join()?, Err(Cancelled::new()));
            }
            log.state("scope", &s.job());
            check()?;
            // Those that come later are not meant.
            assert_eq!(s.go(|| Ok(check())).join()?, Ok(()));
            Ok::<_, JoinError>(7)
        });
        assert!(matches!(value, Ok(7)));
        // Of a task: the scope it is inside of.
        let (begun, begins) = throng::bounded(1);
        let task = go(move || {
            let inner: Result<_, Cancelled> = scope(|s| {
                begun.send(()).unwrap();
                s.go(|| {
                    let _ = forever();
                });
                Ok((forever(), why_here()))
            });
            (inner, check())
        });
        begins.recv().unwrap();
        let job = task.job();
        until(|| job.children().unwrap().first().is_some_and(|scope| scope.children().unwrap().len() == 1));
        job.cancel_children();
        assert_eq!(task.join().unwrap(), (Ok((Err(Cancelled::new()), "cancelled on request".into())), Ok(())));
        log.says(&["scope: Active"]);
    });
}

// 3. The same: they were cancelled on request, and that stays, whatever becomes of the scope.
#[test]
fn cancel_children_is_a_cancellation_on_request() {
    on_all(|| {
        scope(|s| {
            let child = s.task().atomic().go(|| Ok((forever(), why_here())));
            let (open, gate) = throng::rendezvous::<()>();
            let waits = s.task().atomic().go(move || {
                let _ = shield(|| gate.recv());
                Ok(())
            });
            s.job().cancel_children();
            assert_eq!(child.join()?, (Err(Cancelled::new()), "cancelled on request".into()));
            s.cancel_with("later");
            assert_eq!(waits.job().cause().as_ref().map(why).as_deref(), Some("cancelled on request"));
            drop(open);
            Ok::<_, JoinError>(())
        })
        .unwrap();
    });
}

// 3. "cancelAndJoin() = cancel then join".
#[test]
fn cancel_and_join_is_cancel_then_join() {
    on_all(|| {
        let log = Log::new();
        let (begun, begins) = throng::bounded(1);
        let seen = log.clone();
        let task = go(move || {
            begun.send(()).unwrap();
            let _ = forever();
            shield(|| yield_now().unwrap());
            seen.add("ends");
            7
        });
        begins.recv().unwrap();
        assert_eq!(task.cancel_and_join().unwrap(), 7);
        log.add("joined");
        log.says(&["ends", "joined"]);

        let lazy = task_that_never_runs();
        lazy.job().cancel_and_join().unwrap();
        assert!(lazy.is_finished());
        // The caller's own cancellation ends the join, and the task is cancelled all the same.
        let lazy = task_that_never_runs();
        let job = lazy.job();
        let caller = throng::task().atomic().go(move || lazy.job().cancel_and_join().is_err());
        caller.cancel();
        assert!(caller.join().unwrap());
        until(|| job.state() == JobState::Cancelled);
    });

    fn task_that_never_runs() -> throng::JoinHandle<()> {
        task().lazy().go(|| panic!("it runs"))
    }
}

// 3. Cancelled children never reach a handler, nor the failures of a scope.
#[test]
fn cancellations_are_no_failures() {
    on_one(|| {
        let log = Log::new();
        let told = log.clone();
        let handler = ExceptionHandler::new(move |failure| told.add(failure.to_string()));
        handler.scope(|| {
            let failures = scope_all(|s| {
                for _ in 0..3 {
                    s.task().undispatched().go(|| -> Result<(), Oops> { Ok(forever()?) });
                }
                s.go(|| Err::<(), _>(Oops::Bad("culprit")));
                Ok(forever()?)
            })
            .unwrap_err();
            assert_eq!((failures.first().error(), failures.later().len()), (Some(&Oops::Bad("culprit")), 0));
            supervisor(|s| {
                for _ in 0..3 {
                    s.task().undispatched().go(|| -> Result<(), Oops> { Ok(forever()?) });
                }
                s.job().cancel_children();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            let detached = task().undispatched().go(forever);
            detached.cancel();
            drop(detached);
        });
        let_others_run();
        log.says(&[]);
    });
}
