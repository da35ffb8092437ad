//! 7. invokeOnCompletion: once, in order, on whoever ends the job, when its state is final.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Cancelled, Completion, ExceptionHandler, Job, JobState, JoinHandle, completable, go, scope, supervisor, task};

use crate::common::{Aviary, Dice, panic_on_purpose, scaled};
use crate::trace::{Log, Oops, forever, how, let_others_run, on_all, on_one, until};

/// A task that ends when it is told to, and its job.
fn on_command() -> (throng::Sender<()>, JoinHandle<()>, Job) {
    let (end, ends) = throng::rendezvous::<()>();
    let task = go(move || {
        let _ = ends.recv();
    });
    let job = task.job();
    (end, task, job)
}

// 7. "Runs exactly once, synchronously in whichever thread completes the job, after the final state is set (isCompleted is true inside), in registration order".
#[test]
fn handlers_run_once_in_order_when_the_state_is_final() {
    on_all(|| {
        let (log, (end, task, job)) = (Log::new(), on_command());
        for n in 1..=5 {
            let (log, inside) = (log.clone(), job.clone());
            job.on_completion(move |completion| log.add(format!("{n}: {} {} {}", how(completion), inside.state(), inside.is_completed())));
        }
        log.add("ends");
        drop(end);
        task.join().unwrap();
        until(|| log.len() == 6);
        log.says(&[
            "ends",
            "1: completed Completed true",
            "2: completed Completed true",
            "3: completed Completed true",
            "4: completed Completed true",
            "5: completed Completed true",
        ]);
    });
}

// 7. "in whichever thread completes the job": as part of the task, on its thread; of a promise, in `complete`; of a scope, before its caller goes on.
#[test]
fn handlers_run_on_who_completes_the_job() {
    on_all(|| {
        let log = Log::new();
        let lazy = task().name("itself").lazy().go(|| std::thread::current().id());
        let job = lazy.job();
        let (told, tells) = throng::unbounded();
        let in_task = told.clone();
        job.on_completion(move |_| in_task.send((std::thread::current().id(), throng::job())).unwrap());
        let thread = lazy.join().unwrap();
        assert_eq!(tells.recv(), Ok((thread, Some(job))));

        let (promise, value) = completable();
        log.end("promise", &promise.job());
        std::thread::scope(|s| {
            let (log, promise) = (&log, &promise);
            s.spawn(move || {
                promise.job().on_completion(move |_| told.send((std::thread::current().id(), throng::job())).unwrap());
                promise.complete(7).unwrap();
                log.add("complete returns");
                assert_eq!(tells.recv(), Ok((std::thread::current().id(), None)));
            });
        });
        assert_eq!(value.join().unwrap(), 7);
        log.says(&["promise ended: completed", "complete returns"]);

        scope(|s| {
            log.end("scope", &s.job());
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.add("caller goes on");
        log.says(&["scope ended: completed", "caller goes on"]);
    });
}

// 7. "(or at once in the caller's thread if already final)".
#[test]
fn a_late_handler_runs_at_once() {
    on_all(|| {
        let (log, (end, task, job)) = (Log::new(), on_command());
        drop(end);
        job.join().unwrap();
        let told = job.on_completion({
            let (log, here) = (log.clone(), std::thread::current().id());
            move |completion| log.add(format!("{} {}", how(completion), std::thread::current().id() == here))
        });
        log.add("registered");
        assert!(!told.remove(), "it has run");
        task.join().unwrap();
        log.end("joined", &job);
        let ended = scope(|s| Ok::<_, Cancelled>(s.job())).unwrap();
        log.end("scope", &ended);
        log.says(&["completed true", "registered", "joined ended: completed", "scope ended: completed"]);
    });
}

// 7. "cause: null = value; CE = cancelled; other = failed": `Completion` tells these apart.
#[test]
fn a_handler_is_told_how_it_ended() {
    on_all(|| {
        let log = Log::new();
        supervisor(|s| {
            let value = s.task().lazy().go(|| Ok::<_, Oops>(7));
            let error = s.task().name("error").lazy().go(|| Err::<(), _>(Oops::Bad("error")));
            let panic = s.task().name("panic").lazy().go(|| -> () { panic_on_purpose(8) });
            let cancelled = s.task().lazy().go(|| Ok::<_, Oops>(7));
            let met = s.task().atomic().lazy().go(|| -> Result<(), Oops> { Ok(forever()?) });
            log.end("value", &value.job());
            log.end("error", &error.job());
            log.end("panic", &panic.job());
            log.end("cancelled", &cancelled.job());
            let job = value.job();
            // In this order, whoever runs them.
            assert_eq!(value.join().unwrap(), Ok(7));
            until(|| log.len() == 1);
            assert!(job.cause().is_none());
            assert_eq!(error.join().unwrap(), Err(Oops::Bad("error")));
            until(|| log.len() == 2);
            assert!(panic.join().is_err());
            until(|| log.len() == 3);
            cancelled.cancel_with("not wanted");
            assert!(cancelled.join().is_err());
            drop(met.cancel_and_join());
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.says(&[
            "value ended: completed",
            "error ended: failed, 'error' failed",
            "panic ended: failed, 'panic' panicked: (a payload that is not text)",
            "cancelled ended: cancelled, not wanted",
        ]);
    });
}

// 7. The same, asked of a job that was got when it had ended.
#[test]
fn a_late_job_tells_how_it_ended() {
    on_all(|| {
        let log = Log::new();
        let failed = task().name("panics").go(|| -> () { panic_on_purpose(9) });
        until(|| failed.is_finished());
        log.end("panics", &failed.job());
        let failed: Result<(), Oops> = scope(|s| {
            let child = s.task().name("fails").go(|| Err::<(), _>(Oops::Bad("fails")));
            until(|| child.is_finished());
            log.end("fails", &child.job());
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("fails")));
        scope(|s| {
            let child = s.task().go(|| ());
            s.cancel_with("enough");
            until(|| child.is_finished());
            if child.job().state() == JobState::Cancelled {
                log.end("skipped", &child.job());
            } else {
                log.add("skipped ended: cancelled, enough");
            }
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.says(&[
            "panics ended: failed, 'panics' panicked: (a payload that is not text)",
            "fails ended: failed, 'fails' failed",
            "skipped ended: cancelled, enough",
        ]);
    });
}

// 7. "dispose() removes it; no effect after it ran". What it owns is dropped.
#[test]
fn a_removed_handler_is_not_told() {
    on_all(|| {
        let (log, aviary, (end, task, job)) = (Log::new(), Aviary::new(), on_command());
        log.end("first", &job);
        let (canary, seen) = (aviary.canary(), log.clone());
        let removed = job.on_completion(move |_| {
            canary.sing();
            seen.add("removed one");
        });
        log.end("last", &job);
        assert_eq!(aviary.alive(), 1);
        assert!(removed.remove());
        assert_eq!(aviary.alive(), 0);
        assert!(!removed.remove(), "only once");
        drop(end);
        task.join().unwrap();
        until(|| log.len() == 2);
        assert!(!removed.remove());
        log.says(&["first ended: completed", "last ended: completed"]);
        // Of a scope.
        scope(|s| {
            let removed = s.job().on_completion(|_| panic!("it was removed"));
            assert!(removed.remove() && !removed.remove());
            Ok::<_, Cancelled>(())
        })
        .unwrap();
    });
}

// 7. "Must not throw. If it does: the other handlers still run; (the job is final all the same)".
// DIFFERS in who is told: "the exceptions are collected in one CompletionHandlerException, which goes to the CEH, and for a plain Job() is thrown out of complete()/cancel()". It is reported on stderr; the
// exception handler is for failures of tasks, and `complete` is not to blame.
#[test]
fn a_panicking_handler_harms_nobody() {
    on_all(|| {
        let (log, (end, task, job)) = (Log::new(), on_command());
        let (promise, value) = completable();
        let ended = ExceptionHandler::new(|failure| panic!("told of {failure}")).scope(|| {
            for job in [&job, &promise.job()] {
                log.end("before", job);
                let told = job.on_completion(|_| panic_on_purpose(10));
                log.end("after", job);
                assert!(!job.is_completed());
                log.keep(told);
            }
            scope(|s| {
                log.end("before", &s.job());
                s.job().on_completion(|_| panic_on_purpose(10));
                log.end("after", &s.job());
                Ok::<_, Cancelled>(s.job())
            })
        });
        let three = ["before ended: completed", "after ended: completed"];
        log.says(&three);
        assert_eq!(ended.unwrap().state(), JobState::Completed);
        drop(end);
        task.join().unwrap();
        until(|| log.len() == 2);
        log.says(&three);
        assert_eq!(promise.complete(7), Ok(()));
        log.says(&three);
        assert_eq!((value.join().unwrap(), job.state()), (7, JobState::Completed));
        // One that is registered late panics into its own caller: it is a call.
        let late = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(job.on_completion(|_| panic_on_purpose(11)))));
        assert!(late.unwrap_err().is::<crate::common::OnPurpose>());
        assert_eq!(job.state(), JobState::Completed);
    });
}

// 7. A handler may use the job: register another handler (which runs at once), look, cancel, drop it.
#[test]
fn a_handler_may_use_the_job() {
    on_all(|| {
        let (log, (end, task, job)) = (Log::new(), on_command());
        let (seen, inside) = (log.clone(), job.clone());
        let told = job.on_completion(move |_| {
            seen.add("outer");
            let again = seen.clone();
            inside.on_completion(move |completion| again.add(format!("inner: {}", how(completion))));
            inside.cancel_with("too late");
            inside.cancel_children();
            assert!(!inside.start() && inside.cause().is_none() && matches!(inside.completion(), Some(Completion::Completed)));
            seen.add("outer goes on");
            drop(inside);
        });
        log.end("second", &job);
        drop((end, job));
        task.join().unwrap();
        until(|| log.len() == 4);
        drop(told);
        log.says(&["outer", "inner: completed", "outer goes on", "second ended: completed"]);
    });
}

// 7. "Runs exactly once": registered from several threads while the job ends.
#[test]
fn handlers_registered_while_it_ends_run_once() {
    on_all(|| {
        for round in 0..scaled(100, 3_000) {
            let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..32).map(|_| AtomicUsize::new(0)).collect());
            let (end, task, job) = on_command();
            let (promise, value) = completable::<()>();
            scope(|s| {
                for registrar in 0..4 {
                    let (job, runs, promise) = (&job, &runs, &promise);
                    s.go(move || {
                        for n in 0..4 {
                            for (i, job) in [job.clone(), promise.job()].into_iter().enumerate() {
                                let runs = Arc::clone(runs);
                                drop(job.clone().on_completion(move |completion| {
                                    assert!(matches!(completion, Completion::Completed) && job.is_completed());
                                    runs[(registrar * 4 + n) * 2 + i].fetch_add(1, Ordering::SeqCst);
                                }));
                            }
                            if (registrar + round) % 3 == 0 {
                                let _ = throng::yield_now();
                            }
                        }
                    });
                }
                s.go(|| {
                    drop(end);
                    promise.complete(()).unwrap();
                });
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            task.join().unwrap();
            value.join().unwrap();
            until(|| runs.iter().all(|runs| runs.load(Ordering::SeqCst) > 0));
            assert!(runs.iter().all(|runs| runs.load(Ordering::SeqCst) == 1));
        }
    });
}

// 7. "dispose() removes it; no effect after it ran": while the job ends, it either was removed or runs.
#[test]
fn a_handler_is_removed_or_runs() {
    on_all(|| {
        let mut dice = Dice::new(11);
        let mut outcomes = [0, 0];
        for _ in 0..scaled(200, 5_000) {
            let runs = Arc::new(AtomicUsize::new(0));
            let (end, task, job) = on_command();
            let count = Arc::clone(&runs);
            let told = job.on_completion(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            });
            let ender = go(move || drop(end));
            for _ in 0..dice.below(3) {
                throng::yield_now().unwrap();
            }
            let removed = told.remove();
            ender.join().unwrap();
            task.join().unwrap();
            if !removed {
                until(|| runs.load(Ordering::SeqCst) == 1);
            }
            assert_eq!(runs.load(Ordering::SeqCst), usize::from(!removed));
            outcomes[usize::from(removed)] += 1;
        }
        println!("{outcomes:?}");
    });
}

// 7. "join/await waiters are such handlers", told in registration order.
// DIFFERS: those who wait in a join are woken when all handlers have run, whichever came first. Both find the state final.
#[test]
fn handlers_have_run_before_a_joiner_on_the_same_thread_goes_on() {
    on_one(|| {
        let (log, (end, task, job)) = (Log::new(), on_command());
        for name in ["first", "second"] {
            let (log, job) = (log.clone(), job.clone());
            drop(throng::task().undispatched().go(move || {
                job.join().unwrap();
                log.add(format!("{name} joiner goes on"));
            }));
        }
        log.end("last", &job);
        drop(end);
        task.join().unwrap();
        let_others_run();
        log.says(&["last ended: completed", "first joiner goes on", "second joiner goes on"]);
    });
}
