//! Everything that goes in comes out or is dropped, once, before the call returns: items, results and errors, however it ends, and if drops
//! panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Cancelled, WaitGroup, go, group, race2, rendezvous, sleep, yield_now};

use crate::common::{Aviary, Canary, Dice, OnPurpose, on_runtimes, panic_on_purpose, scaled};
use crate::{FOREVER, Failure, dawdle, panics};

#[derive(Debug)]
enum Caged {
    Own(Canary),
    Cancelled,
}

impl From<Cancelled> for Caged {
    fn from(_: Cancelled) -> Caged {
        Caged::Cancelled
    }
}

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Succeeds,
    Fails,
    Panics,
}

fn do_it(deed: Deed, pause: usize, item: &Canary, aviary: &Aviary) -> Result<Canary, Caged> {
    let result = aviary.canary();
    dawdle(pause)?;
    item.sing();
    match deed {
        Deed::Succeeds => Ok(result),
        Deed::Fails => Err(Caged::Own(result)),
        Deed::Panics => panic_on_purpose(1),
    }
}

fn deeds(dice: &mut Dice, failing: u64) -> Vec<(Deed, usize)> {
    (0..dice.below(20))
        .map(|_| {
            let deed = match dice.below(40) {
                n if n < failing => Deed::Fails,
                39 => Deed::Panics,
                _ => Deed::Succeeds,
            };
            (deed, dice.below(4) as usize)
        })
        .collect()
}

#[test]
fn maps_of_all_ends() {
    on_runtimes(|runtime, _| {
        let dice = &mut Dice::new(11);
        let mut ends = [0; 4];
        for _ in 0..scaled(150, 1_500) {
            let deeds = deeds(dice, 2);
            let (limit, cancel_after) = (1 + dice.below(6) as usize, dice.below(40));
            let all_well = deeds.iter().all(|(deed, _)| *deed == Deed::Succeeds);
            let aviary = Aviary::new();
            let ended = runtime.run(|| {
                let birds = aviary.clone();
                let (count, panicking) = (deeds.len(), deeds.iter().any(|(deed, _)| *deed == Deed::Panics));
                let (begins, has_begun) = rendezvous();
                let task = go(move || {
                    begins.send(()).unwrap();
                    let items = deeds.into_iter().map(|(deed, pause)| (deed, pause, birds.canary()));
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        group().limit(limit).map(items, |(deed, pause, item)| do_it(deed, pause, &item, &birds))
                    }));
                    let left = birds.alive();
                    (result, left)
                });
                has_begun.recv().unwrap();
                for _ in 0..cancel_after {
                    yield_now().unwrap();
                }
                if cancel_after < 20 {
                    task.cancel();
                }
                let (result, left) = task.join().unwrap();
                match result {
                    Ok(Ok(results)) => {
                        assert!(all_well);
                        assert_eq!((results.len(), left), (count, count as isize), "the results and nothing else");
                        results.iter().for_each(Canary::sing);
                        0
                    }
                    Ok(Err(Caged::Own(error))) => {
                        error.sing();
                        assert_eq!(left, 1, "the error and nothing else");
                        1
                    }
                    Ok(Err(Caged::Cancelled)) => {
                        assert_eq!(left, 0);
                        assert!(cancel_after < 20);
                        2
                    }
                    Err(payload) => {
                        assert!(payload.is::<OnPurpose>() && panicking);
                        assert_eq!(left, 0);
                        3
                    }
                }
            });
            ends[ended] += 1;
            assert_eq!(aviary.alive(), 0);
        }
        assert!(ends[0] > 0 && ends[1] > 0 && ends[3] > 0, "{ends:?}");
    });
}

#[test]
fn races_of_all_ends() {
    on_runtimes(|runtime, _| {
        let dice = &mut Dice::new(12);
        let mut ends = [0; 4];
        for _ in 0..scaled(150, 1_500) {
            let mut deeds = deeds(dice, 39);
            // Some have a winner, who comes last.
            if deeds.is_empty() || dice.below(2) == 0 {
                deeds.push((Deed::Succeeds, 3));
            }
            let (limit, cancel_after) = (1 + dice.below(6) as usize, dice.below(40));
            let aviary = Aviary::new();
            let ended = runtime.run(|| {
                let birds = aviary.clone();
                let (begins, has_begun) = rendezvous();
                let task = go(move || {
                    begins.send(()).unwrap();
                    let racers = deeds.into_iter().map(|(deed, pause)| {
                        let (item, birds) = (birds.canary(), &birds);
                        move || do_it(deed, pause, &item, birds)
                    });
                    let result = catch_unwind(AssertUnwindSafe(|| group().limit(limit).race(racers)));
                    let left = birds.alive();
                    (result, left)
                });
                has_begun.recv().unwrap();
                for _ in 0..cancel_after {
                    yield_now().unwrap();
                }
                if cancel_after < 10 {
                    task.cancel();
                }
                let (result, left) = task.join().unwrap();
                match result {
                    Ok(Ok(winner)) => {
                        winner.sing();
                        assert_eq!(left, 1, "the winner and nothing else");
                        0
                    }
                    Ok(Err(Caged::Own(error))) => {
                        error.sing();
                        assert_eq!(left, 1, "the error and nothing else");
                        1
                    }
                    Ok(Err(Caged::Cancelled)) => {
                        assert_eq!(left, 0);
                        assert!(cancel_after < 10);
                        2
                    }
                    Err(payload) => {
                        assert!(payload.is::<OnPurpose>());
                        assert_eq!(left, 0);
                        3
                    }
                }
            });
            ends[ended] += 1;
            assert_eq!(aviary.alive(), 0);
        }
        assert!(ends[0] > 0 && ends[1] > 0 && ends[3] > 0, "{ends:?}");
    });
}

/// Panics when it is dropped, and counts it.
struct Nasty<'a>(&'a AtomicUsize);

impl Drop for Nasty<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic_on_purpose(66);
    }
}

/// Several at once, and while a panic is on its way: a `Vec` of them would abort the process.
#[test]
fn results_that_panic_when_they_are_dropped() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for ends_by_panic in [false, true] {
                let dropped = AtomicUsize::new(0);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    group().limit(1).map(0..6, |i| match i {
                        5 if ends_by_panic => panic_on_purpose(5),
                        5 => Err(Failure::Own(5)),
                        _ => Ok(Nasty(&dropped)),
                    })
                }));
                match result {
                    Err(payload) => assert_eq!(payload.downcast_ref(), Some(&OnPurpose(5))),
                    Ok(result) => assert_eq!(result.map(|results| results.len()), Err(Failure::Own(5))),
                }
                assert_eq!(dropped.load(Ordering::SeqCst), 5);
            }
        });
    });
}

#[test]
fn losers_that_panic_when_they_are_dropped() {
    struct Error<'a>(Option<Nasty<'a>>);
    impl From<Cancelled> for Error<'_> {
        fn from(_: Cancelled) -> Self {
            Error(None)
        }
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for winner in [0, 7, 100] {
                let dropped = AtomicUsize::new(0);
                let here = WaitGroup::new();
                here.add(8);
                let racers = (0..8).map(|i| {
                    let (dropped, here) = (&dropped, &here);
                    move || {
                        here.done();
                        here.wait()?;
                        if i == winner {
                            return Ok(None);
                        }
                        // Losers succeed when all is decided, or fail before or after; each leaves one that panics.
                        match i % 3 {
                            0 if winner < 100 => {
                                let _ = sleep(FOREVER);
                                Ok(Some(Nasty(dropped)))
                            }
                            1 if winner < 100 => {
                                let _ = sleep(FOREVER);
                                Err(Error(Some(Nasty(dropped))))
                            }
                            _ => Err(Error(Some(Nasty(dropped)))),
                        }
                    }
                });
                let result = group().race(racers);
                match result {
                    Ok(value) => assert!(winner < 100 && value.is_none()),
                    Err(Error(first)) => {
                        assert_eq!((winner, dropped.load(Ordering::SeqCst)), (100, 7));
                        // The one that comes out panics here, as it should.
                        assert!(catch_unwind(AssertUnwindSafe(|| drop(first))).is_err());
                    }
                }
                assert_eq!(dropped.load(Ordering::SeqCst), if winner < 100 { 7 } else { 8 });
            }
        });
    });
}

/// The winner is dropped before the loser's panic goes on: not while it unwinds.
#[test]
fn a_winner_that_panics_when_it_is_dropped_and_a_loser_that_panics() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (dropped, here) = (AtomicUsize::new(0), WaitGroup::new());
            here.add(2);
            let payload = panics(|| {
                race2(
                    || {
                        here.done();
                        here.wait()?;
                        Ok::<_, Cancelled>(Nasty(&dropped))
                    },
                    || {
                        here.done();
                        here.wait()?;
                        let _ = sleep(FOREVER);
                        panic_on_purpose(12)
                    },
                )
            });
            assert_eq!((payload, dropped.into_inner()), (12, 1));
        });
    });
}
