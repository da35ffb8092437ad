//! 2. Parent and child: who cancels whom, in which order, who waits for whom.

use std::sync::Arc;

use throng::{Cancelled, JobState, JoinError, go, scope, shield, supervisor, task};

use crate::common::{panic_on_purpose, scaled};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why_here};

// 2. "A coroutine's parent is the Job of its scope"; also when it is started from another task of the same scope, or from a task of a scope further in.
#[test]
fn the_parent_is_the_scope_it_was_started_in() {
    on_all(|| {
        scope(|s| {
            let outer = s.job();
            s.go(|| {
                let mine = scope(|s2| {
                    let from_here = s.task().lazy().go(|| ());
                    assert_eq!(from_here.job().parent(), Some(s.job()));
                    assert_eq!(throng::job(), Some(s2.job()));
                    from_here.join()?;
                    Ok::<_, JoinError>(s2.job())
                });
                assert!(mine.unwrap().is_completed());
            });
            assert_eq!(throng::job(), Some(outer));
            Ok::<_, Cancelled>(())
        })
        .unwrap();
    });
}

// 2. "launch(Job()) replaces the parent: the scope neither waits for nor cancels such a coroutine".
// DIFFERS: a job is not part of the context. `go` starts a task without a parent, `s.go` one of `s`, wherever they are called.
#[test]
fn go_in_a_scope_is_neither_waited_for_nor_cancelled() {
    on_all(|| {
        let log = Log::new();
        let (open, gate) = throng::rendezvous::<()>();
        let seen = log.clone();
        let free = scope(|s| {
            let free = go(move || {
                let _ = gate.recv();
                seen.add(why_here());
            });
            assert_eq!(free.job().parent(), None);
            s.cancel();
            Ok::<_, Cancelled>(free)
        })
        .unwrap();
        log.state("free", &free.job());
        drop(open);
        free.join().unwrap();
        log.says(&["free: Active", "not cancelled"]);
    });
}

// 2. "Parent cancelled -> every child cancelled at once, in attachment order", those that wait, those that have not run (which never do), lazy ones.
#[test]
fn cancelling_reaches_the_children_in_attachment_order() {
    on_one(|| {
        let log = Log::new();
        scope(|s| {
            for name in ["a", "b", "c"] {
                let child = s.task().name(name).undispatched().go(forever_and_tell(&log, name));
                log.end(name, &child.job());
            }
            s.cancel_with("enough");
            // Nobody has run.
            log.says(&[]);
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        log.says(&[
            "a: Err(Cancelled), enough",
            "a ended: completed",
            "b: Err(Cancelled), enough",
            "b ended: completed",
            "c: Err(Cancelled), enough",
            "c ended: completed",
        ]);
        scope(|s| {
            let fresh = s.go(forever_and_tell(&log, "fresh"));
            let lazy = s.task().lazy().go(forever_and_tell(&log, "lazy"));
            let (promise, _value) = s.completable::<()>();
            log.end("fresh", &fresh.job());
            log.end("lazy", &lazy.job());
            log.end("promise", &promise.job());
            s.cancel_with("enough");
            // At once.
            assert!([fresh.job(), lazy.job(), promise.job()].iter().all(|job| job.state() == JobState::Cancelling));
            log.says(&[]);
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        // Which of them the scheduler takes first is its own affair.
        log.says_sorted(&["fresh ended: cancelled, enough", "lazy ended: cancelled, enough", "promise ended: cancelled, enough"]);
    });
}

fn forever_and_tell(log: &Log, name: &'static str) -> impl FnOnce() + Send + 'static {
    let log = log.clone();
    move || {
        let ended = forever();
        log.add(format!("{name}: {ended:?}, {}", why_here()));
    }
}

// 2. "recursively, synchronously, in the caller's thread".
// DIFFERS: each task belongs to one thread, and that thread passes a cancellation on to the tasks below it. On the caller's own thread the next level is told at once, the levels below when
// theirs run next; from another thread by a message. So `cancel` never runs other tasks' code and never takes long; the order of attachment holds.
#[test]
fn cancelling_goes_down_level_by_level() {
    on_one(|| {
        let log = Log::new();
        let seen = log.clone();
        let grandchild = Arc::new(std::sync::Mutex::new(None));
        let keep = Arc::clone(&grandchild);
        let parent = task().undispatched().go(move || {
            scope(|s| {
                let (seen, keep) = (seen.clone(), Arc::clone(&keep));
                s.task().undispatched().go(move || {
                    let _ = scope(|s| {
                        let child = s.task().undispatched().go(forever_and_tell(&seen, "grandchild"));
                        *keep.lock().unwrap() = Some(child.job());
                        Ok::<_, Cancelled>(())
                    });
                    seen.add(format!("child: {}", why_here()));
                });
                Ok::<_, Cancelled>(())
            })
        });
        let grandchild = grandchild.lock().unwrap().take().unwrap();
        parent.cancel_with("enough");
        log.state("parent", &parent.job());
        log.state("grandchild", &grandchild);
        grandchild.join().unwrap();
        assert_eq!(parent.join().unwrap(), Err(Cancelled::new()));
        log.says(&["parent: Cancelling", "grandchild: Active", "grandchild: Err(Cancelled), enough", "child: enough"]);
    });
}

// 2. The same, however far down and wherever they run: all are reached, by the same cause.
#[test]
fn cancelling_reaches_everything_below() {
    fn grow(levels: usize, log: &Log, begun: &throng::WaitGroup) {
        let _ = scope(|s| {
            for _ in 0..2 {
                if levels > 0 {
                    s.go(move || grow(levels - 1, log, begun));
                }
            }
            begun.done();
            let ended = forever();
            log.add(format!("{ended:?} {}", why_here()));
            Ok::<_, Cancelled>(())
        });
    }
    on_all(|| {
        let (log, begun) = (Log::new(), Arc::new(throng::WaitGroup::new()));
        let levels = scaled(4, 7);
        let all = (2 << levels) - 1;
        begun.add(all);
        let (seen, counts) = (log.clone(), Arc::clone(&begun));
        let top = go(move || grow(levels, &seen, &counts));
        begun.wait().unwrap();
        top.cancel_with("enough");
        top.join().unwrap();
        log.says(&vec!["Err(Cancelled) enough"; all]);
    });
}

// 2. "Child failed -> parent cancelled with that failure, hence all siblings": by an error and by a panic. The body is cancelled, too.
#[test]
fn a_failed_child_cancels_parent_and_siblings() {
    on_all(|| {
        let log = Log::new();
        let failed: Result<(), Oops> = scope(|s| {
            log.end("scope", &s.job());
            let begun = Arc::new(throng::WaitGroup::new());
            begun.add(3);
            for _ in 0..3 {
                let (log, begun) = (log.clone(), Arc::clone(&begun));
                s.task().name("sibling").go(move || {
                    begun.done();
                    forever_and_tell(&log, "sibling")();
                });
            }
            s.task().name("culprit").go(move || {
                begun.wait()?;
                Err::<(), _>(Oops::Bad("culprit"))
            });
            let ended = forever();
            assert_eq!((ended, why_here().as_str()), (Err(Cancelled::new()), "'culprit' failed"));
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("culprit")));
        let told = "sibling: Err(Cancelled), 'culprit' failed";
        log.says(&[told, told, told, "scope ended: failed, 'culprit' failed"]);
    });
    on_one(|| {
        let log = Log::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scope(|s| {
                log.end("scope", &s.job());
                s.task().undispatched().go(forever_and_tell(&log, "sibling"));
                s.task().name("culprit").go(|| -> () { panic_on_purpose(3) });
                Ok::<_, Cancelled>(())
            })
        }));
        assert_eq!(*panicked.unwrap_err().downcast::<crate::common::OnPurpose>().unwrap(), crate::common::OnPurpose(3));
        log.says(&[
            "sibling: Err(Cancelled), 'culprit' panicked: (a payload that is not text)",
            "scope ended: failed, 'culprit' panicked: (a payload that is not text)",
        ]);
    });
}

// 2. "(unless a supervisor)".
#[test]
fn a_supervisor_and_the_siblings_are_not_cancelled_by_a_failed_child() {
    on_all(|| {
        let log = Log::new();
        supervisor(|s| {
            log.end("supervisor", &s.job());
            let (open, gate) = throng::rendezvous::<()>();
            let sibling = s.go(move || {
                let _ = gate.recv();
                Ok::<_, ()>(why_here())
            });
            let bad = s.go(|| Err::<(), _>("bad"));
            let job = bad.job();
            assert_eq!(bad.join()?, Err("bad"));
            log.state("bad", &job);
            log.state("supervisor", &s.job());
            throng::check()?;
            drop(open);
            assert_eq!(sibling.join()?, Ok("not cancelled".into()));
            Ok::<_, JoinError>(())
        })
        .unwrap();
        log.says(&["bad: Cancelled", "supervisor: Active", "supervisor ended: completed"]);
    });
}

// 2. "Child cancelled (CE) -> parent untouched", whatever the child makes of it: nothing, the error of its park, or not having begun.
#[test]
fn a_cancelled_child_leaves_the_parent_alone() {
    on_all(|| {
        let log = Log::new();
        let value = scope(|s| {
            log.end("scope", &s.job());
            let obeys = s.task().atomic().go(|| -> Result<(), Oops> { Ok(forever()?) });
            let ignores = s.task().atomic().go(|| {
                let _ = forever();
            });
            let never_begins = s.task().lazy().go(|| ());
            for child in [obeys, ignores, never_begins] {
                let job = child.job();
                child.cancel_with("enough");
                job.join().unwrap();
                log.state("child", &job);
            }
            throng::check()?;
            log.state("scope", &s.job());
            Ok::<_, Oops>(7)
        });
        assert_eq!(value, Ok(7));
        log.says(&["child: Cancelled", "child: Completed", "child: Cancelled", "scope: Active", "scope ended: completed"]);
    });
}

// 2. "Parent does not become final before all its children are, whatever state it ends in".
#[test]
fn the_parent_ends_last() {
    on_all(|| {
        for ending in ["value", "error", "panic", "cancelled"] {
            let log = Log::new();
            let seen = log.clone();
            let parent = task().go(move || {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    scope(|s| {
                        let job = s.job();
                        seen.end("scope", &job);
                        for _ in 0..4 {
                            let job = job.clone();
                            let child = s.task().atomic().go(move || until(|| job.state() != JobState::Active));
                            seen.end("child", &child.job());
                        }
                        match ending {
                            "value" => Ok(()),
                            "error" => Err(Oops::Bad("body")),
                            "panic" => panic_on_purpose(4),
                            _ => {
                                throng::job().unwrap().parent().unwrap().cancel();
                                Ok(())
                            }
                        }
                    })
                }));
            });
            log.end("parent", &parent.job());
            parent.join().unwrap();
            until(|| log.len() == 6);
            let (child, whole) = match ending {
                "value" => ("completed", "completed"),
                "error" => ("completed", "failed, somebody failed"),
                "panic" => ("completed", "failed, somebody panicked: (a payload that is not text)"),
                _ => ("completed", "cancelled, cancelled on request"),
            };
            let (child, scope) = (format!("child ended: {child}"), format!("scope ended: {whole}"));
            log.says(&[&child, &child, &child, &child, &scope, "parent ended: completed"]);
        }
    });
}

// 2. A child that runs on another thread, and one that is busy, are told all the same.
#[test]
fn busy_children_are_told() {
    on_all(|| {
        let stopped = scope(|s| {
            let (begun, begins) = throng::bounded(1);
            let busy = s.go(move || {
                begun.send(()).unwrap();
                until(throng::is_cancelled);
                Ok(why_here())
            });
            begins.recv().unwrap();
            s.cancel_with("enough");
            Ok::<_, Cancelled>(shield(|| busy.join()).unwrap())
        });
        assert_eq!(stopped.as_deref(), Ok("enough"));
        let_others_run();
    });
}

// 2. "The CE a child sees .. a new JobCancellationException": so a child that was cancelled because another failed has been cancelled; it has not failed itself.
#[test]
fn a_victim_of_a_failure_has_not_failed() {
    on_all(|| {
        let log = Log::new();
        let failed: Result<(), Oops> = scope(|s| {
            let victim = s.task().name("victim").lazy().go(|| ());
            log.end("victim", &victim.job());
            s.task().name("culprit").go(|| Err::<(), _>(Oops::Bad("culprit")));
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("culprit")));
        log.says(&["victim ended: cancelled, 'culprit' failed"]);
        // A scope inside of it, too.
        let failed: Result<(), Oops> = scope(|s| {
            s.task().name("victim").undispatched().go(|| {
                scope(|s| {
                    log.end("inner", &s.job());
                    s.go(forever);
                    Ok::<_, Cancelled>(())
                })?;
                Ok(())
            });
            s.task().name("culprit").go(|| Err::<(), _>(Oops::Bad("culprit")));
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("culprit")));
        log.says(&["inner ended: cancelled, 'culprit' failed"]);
    });
}
