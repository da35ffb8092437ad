//! 1. Job states: the six states, the ways between them, and what a job's end is made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Cancelled, Job, JobState, JoinError, completable, go, scope, shield, task};

use crate::common::{Aviary, panic_on_purpose, scaled};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until};

/// The state of a job, and its three flags as the table has them.
fn row(job: &Job) -> String {
    let flag = |is: bool| if is { 'T' } else { 'F' };
    format!("{} {}{}{}", job.state(), flag(job.is_active()), flag(job.is_completed()), flag(job.is_cancelled()))
}

// 1. The table: "New FFF, Active TFF, Completing TFF, Cancelling FFT, Cancelled FTT, Completed FTF".
#[test]
fn the_six_states_and_their_flags() {
    on_all(|| {
        let log = Log::new();
        let lazy = task().lazy().go(|| ());
        log.add(row(&lazy.job()));

        let waiting = go(forever);
        log.add(row(&waiting.job()));

        let value = scope(|s| {
            let (job, log) = (s.job(), log.clone());
            s.go(move || {
                until(|| job.state() != JobState::Active);
                log.add(row(&job));
            });
            Ok::<_, Cancelled>(1)
        });
        assert_eq!(value, Ok(1));

        let (open, gate) = throng::rendezvous::<()>();
        let busy = task().atomic().go(move || {
            assert!(shield(|| gate.recv()).is_err());
            throng::check()
        });
        busy.cancel();
        log.add(row(&busy.job()));
        drop(open);
        assert_eq!(busy.join().unwrap(), Err(Cancelled::new()));

        let job = lazy.job();
        lazy.cancel();
        assert!(matches!(lazy.join(), Err(JoinError::TaskCancelled(_))));
        log.add(row(&job));

        let quick = go(|| ());
        let job = quick.job();
        quick.join().unwrap();
        log.add(row(&job));
        log.says(&["New FFF", "Active TFF", "Completing TFF", "Cancelling FFT", "Cancelled FTT", "Completed FTF"]);
        waiting.cancel();
    });
}

// 1. "Active: running, or a CompletableDeferred() not yet completed".
#[test]
fn a_promise_is_active_from_the_start() {
    on_all(|| {
        let (promise, value) = completable::<i32>();
        let job = promise.job();
        assert_eq!(row(&job), "Active TFF");
        assert!(!job.start(), "there is nothing to start");
        promise.complete(5).unwrap();
        assert_eq!(row(&job), "Completed FTF");
        assert_eq!(value.join().unwrap(), 5);
    });
}

/// Somebody who wants a task to start.
type Start = fn(throng::JoinHandle<()>);

// 1. "New -> Active: start(), join(), await(), onJoin/onAwait in a select".
#[test]
fn new_becomes_active_by_start_join_await_or_select() {
    on_one(|| {
        let log = Log::new();
        let ways: [(&str, Start); 5] = [
            ("Job::start", |handle| assert!(handle.job().start())),
            ("JoinHandle::start", |handle| assert!(handle.start())),
            ("Job::join", |handle| handle.job().join().unwrap()),
            ("JoinHandle::join", |handle| handle.join().unwrap()),
            ("select", |handle| throng::select::Select::new().join(&handle, || ()).run().unwrap()),
        ];
        for (name, start) in ways {
            let body = log.clone();
            let handle = task().lazy().go(move || body.state("inside", &throng::job().unwrap()));
            let job = handle.job();
            log.state(name, &job);
            start(handle);
            if !job.is_completed() {
                log.state("after", &job);
            }
            job.join().unwrap();
            log.state("at last", &job);
        }
        log.says(&[
            "Job::start: New",
            "after: Active",
            "inside: Active",
            "at last: Completed",
            "JoinHandle::start: New",
            "after: Active",
            "inside: Active",
            "at last: Completed",
            "Job::join: New",
            "inside: Active",
            "at last: Completed",
            "JoinHandle::join: New",
            "inside: Active",
            "at last: Completed",
            "select: New",
            "inside: Active",
            "at last: Completed",
        ]);
    });
}

// 1. "Which one wins is atomic; start() returns true only for the one that did it". Cancellation takes part.
#[test]
fn one_start_wins() {
    on_all(|| {
        for round in 0..scaled(200, 2_000) {
            let ran = Arc::new(AtomicUsize::new(0));
            let lazy = task().lazy().go({
                let ran = Arc::clone(&ran);
                move || ran.fetch_add(1, Ordering::Relaxed)
            });
            let (job, won) = (lazy.job(), AtomicUsize::new(0));
            scope(|s| {
                for racer in 0..4 {
                    let (job, won) = (&job, &won);
                    s.go(move || {
                        if racer == 0 && round % 2 == 0 {
                            job.cancel();
                        } else if job.start() {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            assert!(!job.start());
            let (won, result) = (won.into_inner(), lazy.join());
            match result {
                Ok(before) => assert_eq!((before, won, ran.load(Ordering::Relaxed)), (0, 1, 1)),
                // Cancelled before it was started, or after, before it ran.
                Err(JoinError::TaskCancelled(_)) => assert!(round % 2 == 0 && won <= 1 && ran.load(Ordering::Relaxed) == 0),
                Err(other) => panic!("{other:?}"),
            }
        }
    });
}

// 1. "New -> Cancelled: cancel() on a New job finishes it at once, synchronously, the body never runs".
// DIFFERS: the body never runs, but what it owns is dropped, and the state becomes final, when a worker gets to it: user code (drops) does not run in the canceller.
#[test]
fn a_new_job_that_is_cancelled_ends_without_running() {
    on_one(|| {
        let (log, aviary) = (Log::new(), Aviary::new());
        let (canary, body) = (aviary.canary(), log.clone());
        let lazy = task().lazy().go(move || {
            canary.sing();
            body.add("ran");
        });
        let job = lazy.job();
        log.end("lazy", &job);
        job.cancel_with("not wanted");
        log.state("after cancel", &job);
        assert_eq!(aviary.alive(), 1);
        job.join().unwrap();
        log.state("after join", &job);
        assert_eq!(aviary.alive(), 0);
        log.says(&["after cancel: Cancelling", "lazy ended: cancelled, not wanted", "after join: Cancelled"]);
    });
}

// 1. "Active -> Completing: body returned; skipped (Active -> Completed directly) if there are no children".
#[test]
fn a_scope_is_completing_while_its_children_run() {
    on_one(|| {
        let log = Log::new();
        scope(|s| {
            let (job, inside) = (s.job(), log.clone());
            log.end("scope", &job);
            log.state("body", &job);
            s.go(move || {
                inside.state("child", &job);
            });
            log.add("body ends");
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.says(&["body: Active", "body ends", "child: Completing", "scope ended: completed"]);

        let job = scope(|s| {
            let (job, seen) = (s.job(), log.clone());
            let at_end = job.clone();
            job.on_completion(move |_| seen.state("no children", &at_end));
            log.state("no children", &job);
            Ok::<_, Cancelled>(job)
        });
        log.state("no children", &job.unwrap());
        log.says(&["no children: Active", "no children: Completed", "no children: Completed"]);
    });
}

/// Somebody who makes a scope Cancelling, while its body runs or after.
type Blow = fn(&Job, &Job);

// 1. "Active or Completing -> Cancelling: cancel(), parent cancelled, body threw, child failed". "Cancelling -> Cancelled: when the body has ended and all children are final".
// DIFFERS where the body's value was there and nothing failed: see `a_value_is_never_lost`.
#[test]
fn active_or_completing_becomes_cancelling_by_cancel_parent_or_child() {
    let blows: [(&str, Blow, &str, &str); 3] = [
        ("cancel", |scope, _| scope.cancel_with("enough"), "Ok(7)", "completed"),
        ("parent", |_, parent| parent.cancel_with("enough"), "Err(Cancelled)", "cancelled, enough"),
        ("child", |_, _| (), "Err(Bad(\"child\"))", "failed, 'blow' failed"),
    ];
    on_one(move || {
        for (name, blow, result, end) in blows {
            for completing in [false, true] {
                let log = Log::new();
                let inside = log.clone();
                let parent = go(move || {
                    let parent = throng::job().unwrap();
                    let value = scope(|s| {
                        let job = s.job();
                        inside.end("scope", &job);
                        let (seen, held) = (inside.clone(), job.clone());
                        s.task().undispatched().go(move || {
                            let ended = forever();
                            seen.add(format!("held: {ended:?}"));
                            // The scope is not final before this is.
                            shield(let_others_run);
                            seen.state("held", &held);
                        });
                        let (seen, struck) = (inside.clone(), job.clone());
                        s.task().name("blow").go(move || {
                            seen.state("before", &struck);
                            blow(&struck, &parent);
                            if name == "child" { Err(Oops::Bad("child")) } else { Ok(()) }
                        });
                        if !completing {
                            let _ = forever();
                            inside.state("body", &job);
                        }
                        Ok(7)
                    });
                    inside.add(format!("{value:?}"));
                });
                parent.join().unwrap();
                let before = if completing { "before: Completing" } else { "before: Active" };
                let end = format!("scope ended: {end}");
                let mut expected = vec![before, "held: Err(Cancelled)", "held: Cancelling", &end, result];
                if !completing {
                    // Told in the order of the waits that end.
                    let body = if name == "parent" { 1 } else { 2 };
                    expected.insert(body, "body: Cancelling");
                }
                println!("{name} {completing}");
                log.says(&expected);
            }
        }
    });
}

// 1. "Active -> Cancelling: body threw": by an error, and by a panic; the children are cancelled and waited for.
#[test]
fn active_becomes_cancelling_when_the_body_fails() {
    on_one(|| {
        let log = Log::new();
        let fails = |panics: bool| {
            let log = log.clone();
            let failed: Result<(), Oops> = scope(|s| {
                let job = s.job();
                log.end("scope", &job);
                let seen = log.clone();
                s.task().undispatched().go(move || {
                    let _ = forever();
                    seen.state("child", &job);
                });
                if panics { panic_on_purpose(1) } else { Err(Oops::Bad("body")) }
            });
            failed
        };
        assert_eq!(fails(false), Err(Oops::Bad("body")));
        log.says(&["child: Cancelling", "scope ended: failed, 'main' failed"]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fails(true)));
        assert!(panicked.unwrap_err().is::<crate::common::OnPurpose>());
        log.says(&["child: Cancelling", "scope ended: failed, 'main' panicked: (a payload that is not text)"]);
    });
}

// 1. "A job in Completing can still be cancelled, and a child failing then replaces the already computed value".
#[test]
fn a_late_failure_replaces_the_computed_value() {
    on_all(|| {
        let (log, aviary) = (Log::new(), Aviary::new());
        let value = scope(|s| {
            let job = s.job();
            log.end("scope", &job);
            s.task().name("late").go(move || {
                until(|| job.state() == JobState::Completing);
                Err::<(), _>(Oops::Bad("late"))
            });
            Ok(aviary.canary())
        });
        assert_eq!(value.err(), Some(Oops::Bad("late")));
        assert_eq!(aviary.alive(), 0, "the value is dropped");
        log.says(&["scope ended: failed, 'late' failed"]);
    });
}

// 1. "Cancelling -> Cancelled: when the body has ended and all children are final".
#[test]
fn cancelling_lasts_until_the_last_child_is_final() {
    on_all(|| {
        let log = Log::new();
        let outer = task().go({
            let log = log.clone();
            move || {
                scope(|s| {
                    log.end("scope", &s.job());
                    for _ in 0..3 {
                        let (log, job) = (log.clone(), s.job());
                        s.task().atomic().go(move || {
                            let _ = forever();
                            assert_eq!(job.state(), JobState::Cancelling);
                            log.add("child ends");
                        });
                    }
                    Ok::<_, Cancelled>(())
                })
            }
        });
        let job = outer.job();
        until(|| job.children().unwrap().first().is_some_and(|scope| scope.state() == JobState::Completing));
        let inner = job.children().unwrap().remove(0);
        outer.cancel_with("enough");
        assert_eq!(outer.join().unwrap(), Err(Cancelled::new()));
        assert_eq!((inner.state(), job.state()), (JobState::Cancelled, JobState::Completed));
        log.says(&["child ends", "child ends", "child ends", "scope ended: cancelled, enough"]);
    });
}

// 1. "A Job() never completes by itself when its children end; it needs complete() or cancel()". A promise has no children; it needs `complete` or `cancel`.
// "cancel() also means 'body ended'": nothing else is waited for. DIFFERS: not synchronously, as for a job that is New.
#[test]
fn a_promise_never_completes_by_itself() {
    on_one(|| {
        let log = Log::new();
        scope(|s| {
            let (promise, value) = s.completable::<i32>();
            log.end("promise", &promise.job());
            log.end("scope", &s.job());
            let seen = log.clone();
            s.go(move || {
                let_others_run();
                seen.state("promise", &promise.job());
                promise.complete(5).unwrap();
                seen.add("completed");
            });
            drop(value);
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.says(&["promise: Active", "promise ended: completed", "completed", "scope ended: completed"]);

        let (promise, value) = completable::<i32>();
        let job = promise.job();
        log.end("promise", &job);
        promise.cancel_with("enough");
        log.state("promise", &job);
        assert!(matches!(value.join(), Err(JoinError::TaskCancelled(cause)) if cause.to_string() == "enough"));
        log.state("promise", &job);
        log.says(&["promise: Cancelling", "promise ended: cancelled, enough", "promise: Cancelled"]);
    });
}
