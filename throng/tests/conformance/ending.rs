//! 1. Job states: the order of events at the end of a job, its links to parent and children.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use throng::{Cancelled, ExceptionHandler, Job, JobState, JoinError, go, scope, shield, supervisor, task};

use crate::common::{Dice, scaled};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why};

/// Notes that it was told.
fn handler(log: &Log) -> ExceptionHandler {
    let log = log.clone();
    ExceptionHandler::new(move |failure| log.add(format!("handler told of {}", failure.name().unwrap_or("?"))))
}

// 1. End, step 1: "own children are cancelled in attachment order; then the parent is told". Step 2: "wait for body and children".
// A failure that comes out of a scope in the failed task's own body is told to the parent when that body has returned it, as by Kotlin's `coroutineScope`.
#[test]
fn a_failure_cancels_downwards_in_order_then_climbs() {
    on_one(|| {
        let log = Log::new();
        let failed = scope(|s| {
            log.end("outer", &s.job());
            for name in ["uncle 1", "uncle 2"] {
                let log = log.clone();
                s.task().name(name).undispatched().go(move || {
                    let _ = forever();
                    log.add(format!("{name} told"));
                });
            }
            let seen = log.clone();
            let parent = s.task().name("parent").go(move || {
                scope(|s| {
                    seen.end("inner", &s.job());
                    for name in ["child 1", "child 2", "child 3"] {
                        let seen = seen.clone();
                        s.task().undispatched().go(move || {
                            let _ = forever();
                            seen.add(format!("{name} told"));
                        });
                    }
                    s.task().name("culprit").go(|| Err::<(), _>(Oops::Bad("culprit")));
                    Ok(())
                })
            });
            log.end("parent", &parent.job());
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("culprit")));
        log.says(&[
            "child 1 told",
            "child 2 told",
            "child 3 told",
            "inner ended: failed, 'culprit' failed",
            "parent ended: failed, 'parent' failed",
            "uncle 1 told",
            "uncle 2 told",
            "outer ended: failed, 'parent' failed",
        ]);
    });
}

// 1. End, steps 2 to 6: children, then the exception handler, then the final state, then the completion handlers in their order, then the parent.
#[test]
fn children_then_handler_then_final_state_then_completion_handlers_then_parent() {
    on_all(|| {
        let log = Log::new();
        supervisor(|s| {
            log.end("supervisor", &s.job());
            let (open, gate) = throng::rendezvous::<()>();
            let seen = log.clone();
            let task = s.task().name("bad").handler(handler(&log)).go(move || {
                let failed: Result<(), Oops> = scope(|s| {
                    let grandchild = s.task().atomic().go(|| {
                        let _ = shield(|| gate.recv());
                    });
                    seen.ended("grandchild", &grandchild.job());
                    Err(Oops::Bad("bad"))
                });
                seen.add("body ends");
                failed
            });
            let job = task.job();
            for n in 1..=3 {
                let (log, job) = (log.clone(), job.clone());
                job.clone().on_completion(move |_| log.state(&format!("completion {n}"), &job));
            }
            drop((task, open));
            job.join()?;
            Ok::<_, JoinError>(())
        })
        .unwrap();
        log.says(&[
            "grandchild ended",
            "body ends",
            "handler told of bad",
            "completion 1: Cancelled",
            "completion 2: Cancelled",
            "completion 3: Cancelled",
            "supervisor ended: completed",
        ]);
    });
}

// 1. End: "So a CEH has already run when join() returns or invokeOnCompletion fires". The handle is dropped at any moment of the end, but before the join.
#[test]
fn the_handler_has_run_when_join_returns() {
    on_all(|| {
        let mut dice = Dice::new(3);
        for _ in 0..scaled(300, 20_000) {
            let told = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&told);
            let handler = ExceptionHandler::new(move |_| {
                counts.fetch_add(1, Ordering::SeqCst);
            });
            supervisor(|s| {
                let ends = AtomicBool::new(false);
                let handle = s.task().handler(handler).go(|| {
                    ends.store(true, Ordering::SeqCst);
                    Err::<(), _>("bad")
                });
                let job = handle.job();
                if dice.below(2) == 0 {
                    until(|| ends.load(Ordering::SeqCst));
                }
                for _ in 0..dice.below(200) {
                    std::hint::spin_loop();
                }
                drop(handle);
                job.join()?;
                assert_eq!(told.load(Ordering::SeqCst), 1);
                Ok::<_, JoinError>(())
            })
            .unwrap();
        }
    });
}

// 1. End, step 3: "seal (no more exceptions can be added; cancel after this has no effect)".
#[test]
fn cancel_from_a_completion_handler_has_no_effect() {
    on_all(|| {
        let log = Log::new();
        let outer: Result<Job, Oops> = scope(|s| {
            for (name, fails) in [("good", false), ("bad", true)] {
                let handle = s.task().name(name).lazy().go(move || if fails { Err(Oops::Bad("bad")) } else { Ok(()) });
                let (job, seen) = (handle.job(), log.clone());
                let at_end = job.clone();
                job.on_completion(move |_| {
                    at_end.cancel_with("too late");
                    seen.add(format!("{name}: {}, {:?}", at_end.state(), at_end.cause().as_ref().map(why)));
                });
                let told = log.len() + 1;
                let _ = handle.join();
                until(|| log.len() == told);
            }
            Ok(s.job())
        });
        assert_eq!(outer.err(), Some(Oops::Bad("bad")));
        log.says(&["good: Completed, None", "bad: Cancelled, Some(\"'bad' failed\")"]);
    });
}

// 1. "parent is set from construction to the final state, then null".
#[test]
fn the_parent_is_there_until_the_end() {
    on_all(|| {
        let (task_job, scope_job, inner) = scope(|s| {
            let inner = Arc::new(Mutex::new(None));
            let (keep, around) = (Arc::clone(&inner), s.job());
            let lazy = s.task().name("child").lazy().go(move || {
                let me = throng::job().unwrap();
                assert_eq!(me.parent(), Some(around));
                scope(|s| {
                    assert_eq!(s.job().parent(), Some(me));
                    scope(|s2| {
                        assert_eq!(s2.job().parent(), Some(s.job()));
                        *keep.lock().unwrap() = Some(s2.job());
                        Ok::<_, Cancelled>(())
                    })
                })
            });
            let job = lazy.job();
            assert_eq!(job.parent(), Some(s.job()), "New, and attached");
            lazy.join().unwrap();
            Ok::<_, Cancelled>((job, s.job(), inner.lock().unwrap().take().unwrap()))
        })
        .unwrap();
        assert_eq!((task_job.parent(), scope_job.parent(), inner.parent()), (None, None, None));
        assert_eq!(go(|| throng::job().unwrap().parent()).join().unwrap(), None);
    });
}

/// Lists the children of a scope, some of which have been joined.
fn list_after_joins() {
    scope(|s| {
        let (open, gate) = throng::rendezvous::<()>();
        let stay = s.task().name("stays").go(move || {
            let _ = gate.recv();
        });
        let quick: Vec<_> = (0..8).map(|_| s.go(|| ())).collect();
        let lazy = s.task().name("lazy").lazy().go(|| ());
        for child in quick {
            child.join().unwrap();
        }
        let names: Vec<_> = s.job().children()?.iter().map(|child| (child.name().map(String::from), child.is_completed())).collect();
        assert_eq!(names, [(Some("stays".into()), false), (Some("lazy".into()), false)]);
        drop(open);
        lazy.cancel();
        stay.join().unwrap();
        Ok::<_, Cancelled>(())
    })
    .unwrap();
}

// 1. "children lists only unfinished children".
#[test]
fn children_lists_only_unfinished_ones() {
    on_one(list_after_joins);
}

// 1. The same, when they have ended on other threads.
#[test]
fn children_lists_only_unfinished_ones_wherever_they_ended() {
    on_all(|| (0..scaled(200, 1_000)).for_each(|_| list_after_joins()));
}

// 1. "children": of a task the scope it is inside of, of a scope its tasks and the scope its own code is inside of; the oldest first.
#[test]
fn children_of_tasks_and_scopes() {
    on_one(|| {
        let outer = task().name("outer").undispatched().go(|| {
            scope(|s| {
                s.task().name("a").go(forever);
                s.task().name("b").go(forever);
                scope(|s2| {
                    s2.task().name("c").go(forever);
                    Ok::<_, Cancelled>(())
                })
            })
        });
        fn shape(job: &Job) -> String {
            let children: Vec<_> = job.children().unwrap().iter().map(shape).collect();
            format!(
                "{}{}",
                if job.is_scope() { "scope" } else { job.name().unwrap() },
                if children.is_empty() { String::new() } else { format!("[{}]", children.join(" ")) }
            )
        }
        let_others_run();
        assert_eq!(shape(&outer.job()), "outer[scope[a b scope[c]]]");
        outer.cancel();
        assert_eq!(outer.join().unwrap(), Err(Cancelled::new()));
    });
}

// 1. "a finished child is unlinked from its parent (so a long-lived scope does not accumulate)"; 15.12: in O(1).
#[test]
fn a_long_lived_scope_does_not_accumulate() {
    on_all(|| {
        let total = scaled(10_000, 100_000);
        scope(|s| {
            let (open, gate) = throng::rendezvous::<()>();
            // Many that stay: were unlinking a search through the list, this would take for ever.
            for _ in 0..scaled(200, 2_000) {
                let gate = gate.clone();
                s.go(move || {
                    let _ = gate.recv();
                });
            }
            let stay = s.job().children()?.len();
            let mut most = 0;
            for round in 0..total {
                s.go(|| ()).join().unwrap();
                if round % 1000 == 999 {
                    most = most.max(s.job().children()?.len());
                }
            }
            // What ends elsewhere is unlinked when word of it comes: some from each worker may be on their way.
            assert!(most <= stay + 500, "{most} of {stay}");
            until(|| s.job().children().unwrap().len() == stay);
            drop(open);
            Ok::<_, Cancelled>(())
        })
        .unwrap();
    });
}

// 1. End, step 6: "unlink from the parent, then run completion handlers".
// DIFFERS: the parent is there while the handlers run, for they are part of the job, which the parent waits for. The state is final.
#[test]
fn completion_handlers_run_before_the_parent_lets_go() {
    on_all(|| {
        let log = Log::new();
        scope(|s| {
            let (around, seen) = (s.job(), log.clone());
            log.end("scope", &around);
            let child = s.task().lazy().go(|| ());
            let job = child.job();
            let at_end = job.clone();
            job.on_completion(move |_| {
                assert_eq!(at_end.parent(), Some(around.clone()));
                assert_eq!((at_end.state(), around.is_completed()), (JobState::Completed, false));
                seen.add("child ended");
            });
            child.start();
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.says(&["child ended", "scope ended: completed"]);
    });
}

// 1. End: a child that ignores its cancellation keeps the parent from ending, whatever it does meanwhile.
#[test]
fn nobody_is_left_behind() {
    on_all(|| {
        let log = Log::new();
        let failed: Result<(), Oops> = scope(|s| {
            log.end("scope", &s.job());
            let seen = log.clone();
            let (begun, begins) = throng::bounded::<()>(1);
            s.go(move || {
                shield(|| {
                    begun.send(()).unwrap();
                    until(throng_failed);
                    seen.add("stubborn child ends");
                });
            });
            begins.recv().unwrap();
            Err(Oops::Bad("body"))
        });
        assert_eq!(failed, Err(Oops::Bad("body")));
        log.says(&["stubborn child ends", "scope ended: failed, 'main' failed"]);
    });

    /// Whether the scope of the calling task is being cancelled.
    fn throng_failed() -> bool {
        throng::job().unwrap().parent().unwrap().state() == JobState::Cancelling
    }
}

// 1. End, step 6: handlers are told, whoever still refers to the job. (The least: nobody but the handle, and not even that.)
#[test]
fn handlers_are_told_though_nobody_holds_the_job() {
    on_all(|| {
        let (told, tells) = throng::unbounded();
        let handle = task().lazy().go(|| ());
        let with_handle = told.clone();
        handle.job().on_completion(move |_| with_handle.send("with the handle").unwrap());
        handle.join().unwrap();
        assert_eq!(tells.recv(), Ok("with the handle"));
        let handle = task().lazy().go(|| ());
        handle.job().on_completion(move |_| told.send("without").unwrap());
        handle.start();
        drop(handle);
        assert_eq!(tells.iter().collect::<Vec<_>>(), ["without"]);
    });
}
