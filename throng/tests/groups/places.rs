//! The places of a limit: whoever is cancelled, fails or panics, none is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use throng::{Cancelled, Limited, WaitGroup, go, rendezvous, scope, shield, sleep};

use crate::common::{Aviary, on_runtime, on_runtimes, panic_on_purpose, scaled};
use crate::{FOREVER, Failure, dawdle, panics, was_cancelled};

/// Asks for the places one by one: all of them are there, and no more.
fn all_places_are_free<'scope>(few: &Limited<'scope, '_, Cancelled>, limit: usize) -> Result<(), Cancelled> {
    let (gate, opened) = rendezvous::<()>();
    let mut held = Vec::new();
    for i in 0..limit {
        let opened = opened.clone();
        held.push(few.try_go(move || _ = opened.recv()).unwrap_or_else(|_| panic!("only {i} places of {limit}")));
    }
    assert!(few.try_go(|| ()).is_err(), "more than {limit} places");
    drop(gate);
    for task in held {
        // Shielded: the scope may be a cancelled one.
        shield(|| task.join()).map_err(|_| Cancelled::new())?;
    }
    Ok(())
}

/// Waiters are cancelled at the moment when places come free: whoever is cancelled, nobody's place is lost.
#[test]
fn a_cancelled_waiter_loses_no_place() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(50, 500) {
                let limit = 1 + round % 3;
                let (ran, aviary) = (AtomicUsize::new(0), Aviary::new());
                scope(|s| {
                    let few = s.limit(limit);
                    let mut holders = Vec::new();
                    for i in 0..limit {
                        holders.push(few.go(move || dawdle(i + round))?);
                    }
                    let mut waiters = Vec::new();
                    for _ in 0..6 {
                        let (few, ran, canary) = (few.clone(), &ran, aviary.canary());
                        waiters.push(s.go(move || {
                            let task = few.go(move || {
                                canary.sing();
                                ran.fetch_add(1, Ordering::SeqCst);
                            });
                            shield(|| task.map(|task| task.join().expect("nobody cancels it")))
                        }));
                    }
                    dawdle(round)?;
                    waiters.iter().step_by(2).for_each(|waiter| waiter.cancel());
                    let mut served = 0;
                    for (i, waiter) in waiters.into_iter().enumerate() {
                        let result = waiter.join();
                        assert!(result.is_ok() || i % 2 == 0, "{result:?}");
                        served += usize::from(result.is_ok());
                    }
                    assert_eq!(ran.load(Ordering::SeqCst), served);
                    for holder in holders {
                        holder.join().map_err(|_| Cancelled::new())?;
                    }
                    all_places_are_free(&few, limit)
                })
                .unwrap();
                assert_eq!(aviary.alive(), 0, "closures that were not run");
            }
        });
    });
}

#[test]
fn a_task_cancelled_before_it_runs_gives_its_place_back() {
    on_runtime(1, None, &mut |runtime, _| {
        runtime.run(|| {
            scope(|s| {
                let two = s.limit(2);
                for _ in 0..10 {
                    let task = two.go(|| -> () { unreachable!("cancelled before its worker could take it") })?;
                    task.cancel();
                    assert!(was_cancelled(task.join()));
                }
                all_places_are_free(&two, 2)
            })
            .unwrap();
        });
    });
}

#[test]
fn a_task_that_fails_because_it_is_cancelled_gives_its_place_back() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            scope(|s| {
                let two = s.limit(2);
                let (parked, is_parked) = rendezvous();
                for _ in 0..10 {
                    let parked = parked.clone();
                    let task = two.go(move || {
                        parked.send(()).unwrap();
                        sleep(FOREVER)
                    })?;
                    is_parked.recv().unwrap();
                    task.cancel();
                    assert!(was_cancelled(task.join()));
                }
                all_places_are_free(&two, 2)
            })
            .unwrap();
        });
    });
}

/// Also one that was given up by a panic: somebody may wait for it whom the end of the scope does not reach.
#[test]
fn a_task_that_panics_gives_its_place_back() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let served = AtomicBool::new(false);
            let payload = panics(|| {
                scope(|s| {
                    let one = s.limit(1);
                    let (gate, opened) = rendezvous::<()>();
                    one.go(move || -> () {
                        let _ = opened.recv();
                        panic_on_purpose(3)
                    })?;
                    let (one, served) = (one.clone(), &served);
                    s.go(move || {
                        shield(|| {
                            drop(gate);
                            let task = one.go(|| ()).expect("shielded");
                            let _ = task.join();
                            served.store(true, Ordering::SeqCst);
                        });
                    });
                    Ok::<_, Cancelled>(())
                })
            });
            assert_eq!(payload, 3);
            assert!(served.into_inner());
        });
    });
}

#[test]
fn a_cancelled_task_starts_nothing_even_if_there_is_room() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            scope(|s| {
                let few = s.limit(8);
                s.cancel();
                let canary = aviary.canary();
                let refused = few.go(move || canary.sing());
                assert!(refused.is_err());
                assert_eq!(aviary.alive(), 0, "its closure is dropped");
                // Which is not asked of a `try_go`; but in a cancelled scope its task does not run.
                let task = few.try_go(|| -> () { unreachable!("the scope is cancelled") });
                let task = task.unwrap_or_else(|_| panic!("there is room"));
                assert!(was_cancelled(shield(|| task.join())));
                shield(|| all_refused(&few));
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

/// In a cancelled scope nothing runs, and everything gives its place back: this would wait for ever at the ninth.
fn all_refused<'scope>(few: &Limited<'scope, '_, Cancelled>) {
    for _ in 0..100 {
        few.go(|| -> () { unreachable!("the scope is cancelled") }).expect("shielded");
    }
}

/// Go's errgroup hangs here, too: the one that runs waits for its own place.
#[test]
fn who_waits_for_himself_is_ended_by_a_cancellation() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let refused = AtomicUsize::new(0);
            let both = WaitGroup::new();
            both.add(2);
            scope(|s| {
                let two = s.limit(2);
                for _ in 0..2 {
                    let (two_more, refused, both) = (two.clone(), &refused, &both);
                    two.go(move || {
                        both.done();
                        shield(|| both.wait())?;
                        let waited = two_more.go(|| -> () { unreachable!("both places are taken") });
                        refused.fetch_add(usize::from(waited.is_err()), Ordering::SeqCst);
                        waited.map(drop)
                    })?;
                }
                both.wait()?;
                dawdle(3)?;
                s.cancel();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            // The place of the one that is refused first may come to the other before that is cancelled itself. What it starts then does not run.
            assert!((1..=2).contains(&refused.into_inner()));
        });
    });
}

#[test]
fn a_cancelled_caller_takes_its_waiters_along() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            let (parked, is_parked) = rendezvous();
            let frame = aviary.canary();
            let task = go(move || {
                let result: Result<(), Failure> = scope(|s| {
                    let one = s.limit(1);
                    one.go(|| {
                        parked.send(()).unwrap();
                        let slept = sleep(FOREVER);
                        frame.sing();
                        Ok(slept?)
                    })?;
                    let others = one.clone();
                    s.go(move || others.go(|| -> () { unreachable!("the place is taken") }).map(drop).map_err(Failure::from));
                    one.go(|| -> () { unreachable!("the place is taken") })?;
                    Ok(())
                });
                drop(frame);
                result
            });
            is_parked.recv().unwrap();
            task.cancel();
            assert_eq!(task.join().unwrap(), Err(Failure::Cancelled));
        });
        assert_eq!(aviary.alive(), 0);
    });
}
