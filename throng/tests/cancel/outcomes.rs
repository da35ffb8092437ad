//! Who decides how a job ends: those who complete, start or cancel it at the same time, by itself or by a token. One of them does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use throng::{CancelToken, Cancelled, Completion, JobState, JoinError, completable, go, scope, shield, task, yield_now};

use crate::common::{Aviary, scaled};
use crate::jobs::together;
use crate::races::with_dice;
use crate::{stall, until};

/// Completed, cancelled, and dropped at the same time: it has one outcome, and no value is lost.
#[test]
fn promises_against_their_cancellation() {
    with_dice(23, |dice| {
        let aviary = Aviary::new();
        for round in 0..scaled(100, 2_000) {
            let pauses = [dice.below(300), dice.below(300), dice.below(300), dice.below(300)];
            let (promise, value) = completable();
            let (job, promise) = (value.job(), Mutex::new(Some(Arc::new(promise))));
            let completed: usize = together(3, |i| {
                let promise = if i == 3 { promise.lock().unwrap().take() } else { promise.lock().unwrap().clone() };
                stall(pauses[i]);
                match (i, promise) {
                    (0 | 1, Some(promise)) => match promise.complete(aviary.canary()) {
                        Ok(()) => return 1,
                        Err(canary) => canary.sing(),
                    },
                    (2, Some(promise)) if round % 2 == 0 => promise.cancel_with("too late"),
                    (2, _) => value.cancel(),
                    _ => {}
                }
                0
            })
            .into_iter()
            .sum();
            match value.join() {
                Ok(canary) => {
                    canary.sing();
                    assert_eq!((completed, job.state()), (1, JobState::Completed));
                }
                Err(JoinError::TaskCancelled(_)) => assert_eq!((completed, job.state()), (0, JobState::Cancelled)),
                Err(other) => panic!("{other:?}"),
            }
        }
        until(|| aviary.alive() == 0);
    });
}

/// As for `promises_against_their_cancellation`, with a failure, which is the scope's: it comes out if it was taken.
#[test]
fn scoped_promises_against_their_failure() {
    #[derive(PartialEq, Debug)]
    struct Fault;
    impl From<Cancelled> for Fault {
        fn from(_: Cancelled) -> Fault {
            Fault
        }
    }
    with_dice(24, |dice| {
        for _ in 0..scaled(100, 2_000) {
            let pauses = [dice.below(300), dice.below(300), dice.below(300)];
            let (counts, joined) = (Mutex::new(Vec::new()), AtomicBool::new(false));
            let ended = scope(|s| {
                let (promise, value) = s.completable();
                let part = |i: usize| {
                    stall(pauses[i]);
                    match i {
                        0 => promise.complete(7).is_ok(),
                        1 => promise.fail(Fault).is_ok(),
                        _ => {
                            value.cancel();
                            false
                        }
                    }
                };
                // The failure interrupts this body.
                *counts.lock().unwrap() = shield(|| together(2, part));
                // Its failure is met here, or its cancellation, which is nobody's failure.
                joined.store(value.join().is_ok(), Ordering::SeqCst);
                Ok(())
            });
            let [completed, failed, _] = counts.into_inner().unwrap()[..] else { panic!("three took part") };
            assert!(!(completed && failed));
            assert_eq!(joined.into_inner(), completed);
            assert_eq!(ended, if failed { Err(Fault) } else { Ok(()) });
        }
    });
}

/// Two that cancel each other are cancelled, and told, from both sides while the job ends. Nobody waits for ever, and the token is cancelled
/// in the end, whoever was first.
#[test]
fn linked_tokens_from_both_sides() {
    with_dice(25, |dice| {
        for round in 0..scaled(100, 1_500) {
            let (pauses, steps) = ([dice.below(300), dice.below(300), dice.below(300)], dice.below(4));
            let body = move || (0..steps).try_for_each(|_| yield_now());
            let handle = if round % 2 == 0 { go(body) } else { go(move || scope(|s| s.go(body).join().map_err(|_| Cancelled::new()))) };
            let job = handle.job();
            let above = CancelToken::new();
            above.cancels(&job);
            let below = job.token();
            if round % 3 == 0 {
                // In a circle.
                below.cancels(&job);
            }
            together(2, |i| {
                stall(pauses[i]);
                match i {
                    0 => _ = above.cancel_with("from above"),
                    1 => job.cancel_with("at the job"),
                    _ => {
                        below.cancel_with("from below");
                        // A link that comes too late is just as good. (One that comes in time is told a moment after the job's end: so look first.)
                        above.cancels(&job);
                        let too_late = job.is_completed();
                        assert!(job.token().is_cancelled() || !too_late);
                    }
                }
            });
            let _ = handle.join();
            // The token is told after those who join.
            until(|| below.is_cancelled());
            assert!(job.is_completed() && above.is_cancelled());
            assert!(job.token().is_cancelled());
            match job.completion() {
                Some(Completion::Completed) => {}
                Some(Completion::Cancelled(cause)) => {
                    assert!(["from above", "at the job", "from below"].contains(&cause.to_string().as_str()), "{cause}");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

/// Started, joined and cancelled at the same time: one of those who start it has, it runs once or is skipped, and its value arrives.
#[test]
fn lazy_tasks_against_their_cancellation() {
    with_dice(26, |dice| {
        let aviary = Aviary::new();
        for round in 0..scaled(100, 2_000) {
            let pauses = [dice.below(300), dice.below(300), dice.below(300), dice.below(300)];
            let runs = Arc::new(AtomicUsize::new(0));
            let (inside, held) = (Arc::clone(&runs), aviary.canary());
            let handle = task().lazy().go(move || {
                inside.fetch_add(1, Ordering::SeqCst);
                held
            });
            let job = handle.job();
            assert!(job.state() == JobState::New && !job.is_active());
            let started: usize = together(3, |i| {
                stall(pauses[i]);
                match i {
                    0 | 1 => return usize::from(job.start()),
                    2 => job.join().expect("not cancelled itself"),
                    _ if round % 4 != 0 => job.cancel_with("unwanted"),
                    _ => {}
                }
                0
            })
            .into_iter()
            .sum();
            assert!(started <= 1 && !job.start());
            match handle.join() {
                Ok(canary) => {
                    canary.sing();
                    assert_eq!((runs.load(Ordering::SeqCst), job.state()), (1, JobState::Completed));
                }
                Err(JoinError::TaskCancelled(cause)) => {
                    assert_eq!((runs.load(Ordering::SeqCst), job.state()), (0, JobState::Cancelled));
                    assert_eq!(cause.to_string(), "unwanted");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        until(|| aviary.alive() == 0);
    });
}
