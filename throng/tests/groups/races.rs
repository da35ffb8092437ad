//! `race`: one winner, and everybody comes home.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, Group, WaitGroup, go, group, is_cancelled, race, race2, rendezvous, shield, sleep, timeout, yield_now};

use crate::common::{Aviary, on_runtimes, panic_on_purpose, scaled, watched};
use crate::{FOREVER, Failure, Room, dawdle, panics};

type Racer<'a> = Box<dyn FnOnce() -> Result<usize, Failure> + Send + 'a>;

/// Five racers; all are under way before the one with number `winner` gets on.
#[test]
fn the_winner_comes_out_and_the_losers_are_cancelled() {
    let body = |round: usize| {
        let (here, cancelled, ended) = (WaitGroup::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        here.add(5);
        let winner = round % 5;
        let racers = (0..5).map(|i| {
            let (here, cancelled, ended) = (&here, &cancelled, &ended);
            move || {
                here.done();
                here.wait()?;
                if i != winner {
                    assert!(sleep(FOREVER).is_err());
                    cancelled.fetch_add(usize::from(is_cancelled()), Ordering::SeqCst);
                    // The clean-up takes a while.
                    shield(|| dawdle(i + round))?;
                }
                ended.fetch_add(1, Ordering::SeqCst);
                // What a loser says is of no importance.
                if i % 2 == 0 || i == winner { Ok(i) } else { Err(Failure::Own(i)) }
            }
        });
        assert_eq!(race(racers), Ok(winner));
        assert_eq!((cancelled.into_inner(), ended.into_inner()), (4, 5));
        yield_now().expect("nothing of it sticks to the caller");
    };
    on_runtimes(|runtime, _| runtime.run(|| (0..scaled(20, 200)).for_each(body)));
    watched("plain thread", || (0..scaled(20, 200)).for_each(body));
}

/// All at once and none waits: whoever it is, one wins.
#[test]
fn all_succeed() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(50, 500) {
                let aviary = Aviary::new();
                let racers = (0..8).map(|i| {
                    let canary = aviary.canary();
                    move || dawdle(i + round).map(|()| (i, canary)).map_err(Failure::from)
                });
                let (i, canary) = race(racers).unwrap();
                assert!(i < 8);
                canary.sing();
                assert_eq!(aviary.alive(), 1, "the values of the others are gone");
            }
        });
    });
}

#[test]
fn all_fail_and_the_first_error_comes_out() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            // One after the other, so that it is known who is the first.
            let (taken, failed) = (Cell::new(0), AtomicUsize::new(0));
            let racers = (3..10).inspect(|_| taken.set(taken.get() + 1)).map(|i| {
                let failed = &failed;
                move || {
                    dawdle(i)?;
                    failed.fetch_add(1, Ordering::SeqCst);
                    Err::<(), _>(Failure::Own(i))
                }
            });
            assert_eq!(group().limit(1).race(racers), Err(Failure::Own(3)));
            assert_eq!((taken.get(), failed.into_inner()), (7, 7));
            // All at once; one of them is the first.
            for round in 0..scaled(20, 200) {
                let result: Result<(), _> = race((0..5).map(|i| {
                    move || {
                        dawdle(i + round)?;
                        Err(Failure::Own(i))
                    }
                }));
                assert!(matches!(result, Err(Failure::Own(0..5))), "{result:?}");
            }
        });
    });
}

/// The first of them waits until another has failed, and then succeeds: an error ends nobody but its racer.
#[test]
fn an_error_decides_nothing_as_long_as_another_runs() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for _ in 0..scaled(20, 200) {
                let (tx, rx) = rendezvous::<()>();
                let racers: [Racer<'_>; 2] = [
                    Box::new(move || {
                        rx.recv().unwrap_err();
                        dawdle(3)?;
                        Ok(7)
                    }),
                    Box::new(move || {
                        drop(tx);
                        Err(Failure::Own(1))
                    }),
                ];
                assert_eq!(race(racers), Ok(7));
            }
        });
    });
}

/// With a limit the racers are a list of fallbacks, of which only so many are taken as are needed.
#[test]
fn fallbacks() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(50, 500) {
                let (taken, begun) = (Cell::new(0), AtomicUsize::new(0));
                let good = round % 6;
                let racers = (0..).inspect(|_| taken.set(taken.get() + 1)).map(|i| {
                    let begun = &begun;
                    move || {
                        begun.fetch_add(1, Ordering::SeqCst);
                        dawdle(i + round)?;
                        if i == good { Ok(i) } else { Err(Failure::Own(i)) }
                    }
                });
                assert_eq!(group().limit(1).race(racers), Ok(good));
                assert_eq!((taken.get(), begun.into_inner()), (good + 1, good + 1));
            }
            for limit in [2, 5] {
                let room = Room::default();
                let racers = (0..).map(|i| {
                    let room = &room;
                    move || {
                        room.visit(|| dawdle(i))?;
                        if i == 40 { Ok(i) } else { Err(Failure::Own(i)) }
                    }
                });
                assert_eq!(group().limit(limit).name("fallback").race(racers), Ok(40));
                // Of the last ones, all but the winner may have been cancelled before they began.
                assert!(room.most() <= limit && room.visits() > 41 - limit, "{limit}: {room:?}");
            }
        });
    });
}

/// The winner ends the race also for the caller, who waits for more racers.
#[test]
fn racers_out_of_a_channel() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for group in [group(), group().limit(1), group().limit(4)] {
                let (tx, rx) = rendezvous::<Racer<'static>>();
                let task = go(move || group.race(&rx));
                for i in 0..3 {
                    tx.send(Box::new(move || Err(Failure::Own(i)))).unwrap();
                }
                let waits = rendezvous::<()>();
                tx.send(Box::new(move || waits.1.recv().map(|()| 7).map_err(|_| Failure::Own(9)))).unwrap();
                (0..10).for_each(|_| yield_now().unwrap());
                waits.0.send(()).unwrap();
                assert_eq!(task.join().unwrap(), Ok(7));
                drop(tx);
            }
        });
    });
}

#[test]
fn two_of_different_kinds() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for first_wins in [true, false] {
                let lose = || Err(Failure::from(sleep(FOREVER).unwrap_err()));
                let win = || dawdle(3).map(|()| 1).map_err(Failure::from);
                assert_eq!(if first_wins { race2(win, lose) } else { race2(lose, win) }, Ok(1));
            }
            assert_eq!(race2(|| Err::<(), _>(Failure::Own(5)), || Err(Failure::Own(5))), Err(Failure::Own(5)));
            let words = [String::from("borrowed"), String::from("ed")];
            assert_eq!(race2(|| Ok::<_, Cancelled>(&words[0][6..]), || Ok(&words[1])), Ok("ed"));
            assert_eq!(panics(|| race2(|| sleep(FOREVER), || panic_on_purpose(4))), 4);
        });
    });
}

#[test]
fn a_panic_ends_the_race() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let ended = AtomicUsize::new(0);
            let here = WaitGroup::new();
            here.add(5);
            let racers = (0..5).map(|i| {
                let (here, ended) = (&here, &ended);
                move || {
                    here.done();
                    here.wait()?;
                    if i == 2 {
                        panic_on_purpose(8);
                    }
                    let slept = sleep(FOREVER);
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Failure>(slept?)
                }
            });
            assert_eq!(panics(|| race(racers)), 8);
            assert_eq!(ended.into_inner(), 4);
            // Also of the iterator.
            let racers = (0..5).map(|i| if i == 3 { panic_on_purpose(6) } else { || sleep(FOREVER) });
            assert_eq!(panics(|| race(racers)), 6);
        });
    });
}

/// The loser panics when it is cancelled, so after there was a winner; its value goes the way of the others.
#[test]
fn a_panic_of_a_loser_is_not_hidden_by_the_winner() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let aviary = Aviary::new();
            let payload = panics(|| {
                let here = WaitGroup::new();
                here.add(2);
                race2(
                    || {
                        here.done();
                        here.wait()?;
                        Ok::<_, Cancelled>(aviary.canary())
                    },
                    || {
                        here.done();
                        here.wait()?;
                        assert!(sleep(FOREVER).is_err());
                        panic_on_purpose(77)
                    },
                )
            });
            assert_eq!(payload, 77);
            assert_eq!(aviary.alive(), 0);
        });
    });
}

fn nobody() -> [fn() -> Result<u8, Failure>; 0] {
    []
}

#[test]
fn a_race_of_nobody_waits_until_it_is_cancelled() {
    fn cancelled(group: Group) {
        let (comes, came) = rendezvous();
        let task = go(move || {
            comes.send(()).unwrap();
            group.race(nobody())
        });
        came.recv().unwrap();
        dawdle(3).unwrap();
        assert!(!task.is_finished());
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Failure::Cancelled));
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            cancelled(group());
            cancelled(group().limit(1));
            assert!(timeout(Duration::from_millis(1), || race(nobody())).is_err());
        });
    });
}

#[test]
fn a_cancelled_caller_takes_all_along() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for limit in [1, 3, 100] {
                for is_stubborn in [false, true] {
                    let aviary = Aviary::new();
                    let (parked, is_parked) = rendezvous();
                    let (frame, birds) = (aviary.canary(), aviary.clone());
                    let task = go(move || {
                        let result = group().limit(limit).race((0..10).map(|i| {
                            let (parked, frame, birds) = (&parked, &frame, &birds);
                            move || {
                                let value = birds.canary();
                                parked.send(()).unwrap();
                                let slept = sleep(FOREVER);
                                frame.sing();
                                // Not its failure; and a value comes too late.
                                if is_stubborn || slept.is_ok() { Ok(value) } else { Err(Failure::Own(i)) }
                            }
                        }));
                        frame.sing();
                        result.map(drop)
                    });
                    for _ in 0..limit.min(10) {
                        is_parked.recv().unwrap();
                    }
                    task.cancel();
                    assert_eq!(task.join().unwrap(), Err(Failure::Cancelled));
                    assert_eq!(aviary.alive(), 0);
                }
            }
        });
    });
}

#[test]
fn races_in_races() {
    fn descend(depth: usize) -> Result<usize, Failure> {
        if depth == 0 {
            yield_now()?;
            return Ok(0);
        }
        race2(|| descend(depth - 1).map(|below| below + 1), || Err(Failure::from(sleep(FOREVER).unwrap_err())))
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            assert_eq!(descend(20), Ok(20));
            let winners = group().limit(3).map(0..20, |i| race((0..3).map(|j| move || dawdle(i + j).map(|()| i))));
            assert_eq!(winners, Ok((0..20).collect()));
        });
    });
}
