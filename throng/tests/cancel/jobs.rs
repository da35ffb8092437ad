//! Jobs against everything that goes on with them: handlers, causes, looks at the tree, starts on the spot.
//!
//! Goroutines and plain threads take part alike: what a job offers is offered to any thread.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use throng::{
    Cancelled, Cause, Completion, Error, Job, JobState, JoinError, OnCompletion, cause, check, completable, is_cancelled, job, scope,
    shield, sleep, supervisor, task, yield_now,
};

use crate::common::{Aviary, Dice, scaled};
use crate::races::{HOUR, with_dice};
use crate::{stall, until};

/// Runs `part` at once in so many goroutines and in one plain thread, each with its number, and waits for them all.
pub(crate) fn together<R: Send>(goroutines: usize, part: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let ready = AtomicUsize::new(0);
    let enter = |i| {
        ready.fetch_add(1, Ordering::SeqCst);
        part(i)
    };
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| enter(goroutines));
        let mut results = scope(|s| {
            let tasks: Vec<_> = (0..goroutines).map(|i| s.go(move || Ok(enter(i)))).collect();
            tasks.into_iter().map(|task| Ok(task.join()?)).collect::<Result<Vec<_>, Error>>()
        })
        .expect("nobody is cancelled");
        until(|| thread.is_finished());
        results.push(thread.join().expect("its assertions hold"));
        results
    })
}

/// What is asked of a handler: that it is called once, when all is settled.
struct Told {
    calls: Arc<AtomicUsize>,
    hook: OnCompletion,
}

impl Told {
    fn of(job: &Job) -> Told {
        let calls = Arc::new(AtomicUsize::new(0));
        let (inside, about) = (Arc::clone(&calls), job.clone());
        let hook = job.on_completion(move |completion| {
            assert!(about.is_completed() && about.completion().is_some_and(|settled| same(&settled, completion)));
            inside.fetch_add(1, Ordering::SeqCst);
        });
        Told { calls, hook }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn same(one: &Completion, other: &Completion) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Each handler is called once, or was taken back and is not: wherever it was added, and whatever ends.
#[test]
fn on_completion_against_the_end() {
    with_dice(20, |dice| {
        for round in 0..scaled(60, 1_000) {
            let (pauses, steps) = ([dice.below(400), dice.below(400), dice.below(400)], dice.below(3));
            let (promise, value) = completable::<u32>();
            let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
            let ends = {
                let jobs = Arc::clone(&jobs);
                task().undispatched().go(move || {
                    scope(|s| {
                        jobs.lock().unwrap().push(s.job());
                        (0..steps).try_for_each(|_| yield_now())
                    })
                })
            };
            until(|| jobs.lock().unwrap().len() == 1);
            jobs.lock().unwrap().extend([ends.job(), value.job()]);
            let jobs = jobs.lock().unwrap().clone();
            let told = together(3, |i| {
                stall(pauses[i % 3]);
                if i == round % 4 {
                    match round % 3 {
                        0 => ends.cancel(),
                        1 => _ = promise.complete(7),
                        _ => promise.cancel_with("not today"),
                    }
                }
                // Some are taken back: `true` is a promise.
                let take_back = |(n, told): (usize, Told)| ((n + i) % 3 == 0 && told.hook.remove(), told);
                jobs.iter().map(Told::of).enumerate().map(take_back).collect::<Vec<_>>()
            });
            drop(promise);
            until(|| jobs.iter().all(Job::is_completed));
            let late = jobs.iter().map(|job| (false, Told::of(job)));
            let all: Vec<_> = told.into_iter().flatten().chain(late).collect();
            until(|| all.iter().all(|(taken_back, told)| *taken_back || told.calls() != 0));
            for (taken_back, told) in &all {
                assert_eq!(told.calls(), usize::from(!taken_back));
                assert!(!told.hook.remove(), "it is called, or taken back");
            }
        }
    });
}

/// Handlers that were taken back are dropped uncalled, those that were not are called: at the same time as the end.
#[test]
fn handlers_taken_back_against_the_end() {
    with_dice(21, |dice| {
        let aviary = Aviary::new();
        for _ in 0..scaled(60, 1_000) {
            let (promise, value) = completable::<()>();
            let (job, calls, removed) = (value.job(), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
            let hooks: Vec<OnCompletion> = (0..8)
                .map(|_| {
                    let (calls, canary) = (Arc::clone(&calls), aviary.canary());
                    job.on_completion(move |_| {
                        canary.sing();
                        calls.fetch_add(1, Ordering::SeqCst);
                    })
                })
                .collect();
            let pause = dice.below(500);
            together(2, |i| {
                if i == 1 {
                    stall(pause);
                    promise.complete(()).expect("nobody else does");
                } else {
                    // Two ask for each of them.
                    removed.fetch_add(hooks.iter().filter(|hook| hook.remove()).count(), Ordering::SeqCst);
                }
            });
            // Those that are left have been called in `complete`, or are just being called.
            assert_eq!(calls.load(Ordering::SeqCst) + removed.load(Ordering::SeqCst), 8);
            assert_eq!(aviary.alive(), 0);
        }
    });
}

/// Many cancel one job, each with a cause of its own: the first stays, and all who ask are told the same one.
#[test]
fn many_causes() {
    with_dice(22, |dice| {
        for round in 0..scaled(60, 1_000) {
            let pauses = [dice.below(300), dice.below(300), dice.below(300), dice.below(300)];
            let given = ["none", "of", "these", "is"];
            let (seen, scopes) = (Mutex::new(Vec::<String>::new()), Mutex::new(Vec::<Job>::new()));
            let see = |cause: Option<Cause>| seen.lock().unwrap().push(cause.expect("cancelled").to_string());
            let ended = supervisor(|s| {
                let waits = s.go(|| {
                    scope(|inner| {
                        inner.task().atomic().go(|| {
                            let refused = sleep(HOUR);
                            see(cause());
                            refused
                        });
                        let refused = sleep(HOUR);
                        see(cause());
                        scopes.lock().unwrap().push(inner.job());
                        // The scope itself may hear of it a little later.
                        inner.job().cause().into_iter().for_each(|cause| see(Some(cause)));
                        refused
                    })
                });
                let job = waits.job();
                if round % 4 != 0 {
                    yield_now()?;
                }
                together(3, |i| {
                    stall(pauses[i]);
                    job.cancel_with(given[i]);
                    see(job.cause());
                });
                assert!(matches!(waits.join(), Ok(Err(Cancelled { .. })) | Err(JoinError::TaskCancelled(_))));
                for ended in scopes.lock().unwrap().iter().chain([&job]) {
                    see(ended.cause());
                    match ended.completion() {
                        Some(Completion::Cancelled(cause)) => see(Some(cause)),
                        other => panic!("{other:?}"),
                    }
                }
                Ok::<_, Cancelled>(())
            });
            assert_eq!(ended, Ok(()));
            let seen: BTreeSet<_> = seen.into_inner().unwrap().into_iter().collect();
            assert!(seen.len() == 1 && seen.iter().all(|cause| given.contains(&cause.as_str())), "{seen:?}");
        }
    });
}

/// The jobs that were seen, for those who look at them.
#[derive(Default)]
struct Seen(Mutex<Vec<Job>>);

/// Builds a tree of tasks and scopes below the caller.
fn grow(seen: &Seen, depth: u64, width: u64) -> Result<(), Cancelled> {
    scope(|s| {
        seen.0.lock().unwrap().extend([s.job(), job().expect("a scope")]);
        for i in 0..width {
            let child = s.go(move || if depth == 0 { sleep(HOUR) } else { grow(seen, depth - 1, width) });
            seen.0.lock().unwrap().push(child.job());
            if i % 2 == 0 {
                yield_now()?;
            }
        }
        scope(|inner| {
            seen.0.lock().unwrap().push(inner.job());
            sleep(HOUR)
        })
    })
}

/// Looks at one of them, for what holds at any time.
fn look(seen: &Seen, dice: &mut Dice) {
    let jobs = seen.0.lock().unwrap();
    let Some(job) = (!jobs.is_empty()).then(|| jobs[dice.below(jobs.len() as u64) as usize].clone()) else { return };
    drop(jobs);
    let (was, path) = (job.state(), job.path());
    assert!(path.contains(if job.is_scope() { "scope at " } else { "task at " }), "{path}");
    let parent = job.parent();
    assert!(parent.as_ref().is_none_or(|parent| *parent != job && (parent.is_scope() || job.is_scope())));
    for child in job.children().expect("not cancelled") {
        assert!(child != job && (child.is_scope() || job.is_scope()));
        // One that has ended meanwhile may have none any more.
        let above = child.parent();
        assert!(above.as_ref().is_none_or(|above| *above == job), "{above:?} is above {child:?}, which is below {job:?}");
    }
    if matches!(was, JobState::Completed | JobState::Cancelled) {
        // (Its parent sees the end a little later.)
        assert_eq!((job.state(), job.children()), (was, Ok(Vec::new())));
    } else if was == JobState::Cancelling {
        assert!(job.is_cancelled() || job.is_completed());
    }
}

/// Ends the watch, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Others look at a tree while it grows, and while it is cancelled, part by part.
#[test]
fn looks_at_a_growing_tree() {
    with_dice(27, |dice| {
        for round in 0..scaled(4, 25) as u64 {
            let seen = Seen::default();
            let over = AtomicBool::new(false);
            let (own, strikes) = (dice.below(1 << 30), 1 + dice.below(8));
            supervisor(|s| {
                let tree = s.go(|| grow(&seen, 1 + round % 2, 2 + round % 3));
                let root = tree.job();
                std::thread::scope(|threads| {
                    let watch = |own: u64| {
                        let mut dice = Dice::new(own);
                        while !over.load(Ordering::SeqCst) {
                            look(&seen, &mut dice);
                            let _ = yield_now();
                        }
                    };
                    let thread = threads.spawn(move || watch(own));
                    let ended = scope(|s| {
                        let guard = Over(&over);
                        let watchers = [s.go(move || watch(own + 1)), s.go(move || watch(own + 2))];
                        let mut dice = Dice::new(own + 3);
                        for _ in 0..strikes {
                            for _ in 0..dice.below(40) {
                                look(&seen, &mut dice);
                                yield_now()?;
                            }
                            let jobs = seen.0.lock().unwrap().clone();
                            if let Some(job) = jobs.get(dice.below(jobs.len().max(1) as u64) as usize) {
                                if dice.below(2) == 0 { job.cancel() } else { job.cancel_children() }
                            }
                        }
                        root.cancel_and_join().map_err(|_| Cancelled::new())?;
                        drop(guard);
                        watchers.into_iter().try_for_each(|watcher| watcher.join().map_err(|_| Cancelled::new()))
                    });
                    ended.expect("nobody but the tree is cancelled");
                    until(|| thread.is_finished());
                    thread.join().expect("its assertions hold");
                });
                Ok::<_, Cancelled>(())
            })
            .expect("nobody but the tree is cancelled");
            let jobs = seen.0.into_inner().unwrap();
            assert!(jobs.iter().all(|job| job.is_completed() && job.parent().is_none()));
        }
    });
}

/// Its body has begun when the caller goes on, in a cancelled scope, too; from its first park on it is cancelled like any other.
#[test]
fn undispatched_starts() {
    with_dice(28, |dice| {
        for _ in 0..scaled(100, 2_000) {
            let (steps, parks, cancelled_first) = (AtomicUsize::new(0), dice.below(2) == 0, dice.below(3) == 0);
            let (pause, gives_way) = (dice.below(300), dice.below(3));
            let step = || steps.fetch_add(1, Ordering::SeqCst);
            let met = scope(|s| {
                if cancelled_first {
                    s.cancel();
                }
                let handle = s.task().undispatched().go(|| {
                    step();
                    // One in the other: that one goes first.
                    let inner = s.task().undispatched().go(|| {
                        assert_eq!(step(), 1);
                        let slept = if parks { sleep(HOUR) } else { Ok(()) };
                        Ok(slept.is_err())
                    });
                    assert_eq!(step(), 2);
                    let slept = if parks { sleep(HOUR) } else { Ok(()) };
                    assert_eq!(slept.is_err(), is_cancelled() && parks);
                    Ok((slept.is_err(), inner))
                });
                assert_eq!(step(), 3, "it was to begin at once");
                assert_eq!(handle.is_finished(), !parks || cancelled_first && handle.is_finished());
                if parks {
                    let _ = (0..gives_way).try_for_each(|_| yield_now());
                    s.go(move || stall(pause));
                    s.cancel();
                }
                let (met, inner) = shield(|| handle.join()).expect("it has a value");
                Ok::<_, Cancelled>((met, shield(|| inner.join()).expect("it has a value")))
            });
            assert_eq!(met, Ok((parks, parks)));
            assert!(check().is_ok());
            assert_eq!(steps.into_inner(), 4);
        }
    });
}
