//! The cancellation of a task against everything that goes on with it: completion, wakes, its start, a panic, other cancellations.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng::channel::RecvError;
use throng::{
    Cancelled, Error, JoinError, JoinHandle, Receiver, ScopedJoinHandle, WaitGroup, check, go, is_cancelled, never, rendezvous, scope,
    select, shield, sleep, yield_now,
};

use crate::common::{Aviary, Dice, OnPurpose, on_runtimes, panic_on_purpose, scaled};
use crate::{ALL_KINDS, on_kinds, seed, stall, until};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A test whose dice are thrown anew on each runtime.
pub(crate) fn with_dice(own: u64, mut body: impl FnMut(&mut Dice) + Send) {
    let seed = seed(own);
    on_kinds(&ALL_KINDS, &format!("dice({seed:#x})"), |runtime| runtime.run(|| body(&mut Dice::new(seed))));
}

/// A value that a task returns is received or dropped, once; so is what its closure holds if it never runs.
#[test]
fn cancel_against_completion() {
    let aviary = Aviary::new();
    with_dice(1, |dice| {
        for _ in 0..scaled(500, 20_000) {
            let (steps, begun) = (dice.below(3), Arc::new(AtomicBool::new(false)));
            let (held, returned) = (aviary.canary(), aviary.canary());
            let task = go({
                let begun = Arc::clone(&begun);
                move || {
                    begun.store(true, Ordering::SeqCst);
                    held.sing();
                    let _ = (0..steps).try_for_each(|_| yield_now());
                    returned
                }
            });
            if dice.below(2) == 0 {
                let _ = yield_now();
            }
            stall(dice.below(200));
            task.cancel();
            match task.join() {
                Ok(canary) => canary.sing(),
                Err(JoinError::TaskCancelled { .. }) => assert!(!begun.load(Ordering::SeqCst), "what has begun has a value"),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(aviary.alive(), 0);
    });
}

/// One event wakes many, some of whom are cancelled meanwhile. The group counts as ever afterwards.
#[test]
fn cancel_against_a_wake_of_many() {
    with_dice(2, |dice| {
        let group = WaitGroup::new();
        for _ in 0..scaled(100, 2_000) {
            let waiting = AtomicUsize::new(0);
            group.add(1);
            let (order, pause) = (dice.below(3), dice.below(500));
            scope(|s| {
                let wait = || {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    Ok(group.wait().is_ok())
                };
                let tasks: Vec<_> = (0..8).map(|_| s.go(wait)).collect();
                until(|| waiting.load(Ordering::SeqCst) == 8);
                let (spared, cancelled) = tasks.into_iter().enumerate().partition::<Vec<_>, _>(|(i, _)| i % 3 == 0);
                if order == 0 {
                    group.done();
                } else {
                    s.go(|| {
                        stall(pause);
                        group.done();
                    });
                }
                if order == 1 {
                    yield_now()?;
                }
                cancelled.iter().for_each(|(_, task)| task.cancel());
                for (_, task) in spared {
                    assert!(task.join()?, "cancelled in place of another");
                }
                for (_, task) in cancelled {
                    task.join()?;
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        }
        assert_eq!(group.wait(), Ok(()));
    });
}

/// Waits as closely as can be for what another thread does.
fn spin_until(reached: impl Fn() -> bool) {
    let mut turns = 0;
    while !reached() {
        turns += 1;
        if turns < 2_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

fn count_to(n: u64) {
    for i in 0..n {
        std::hint::black_box(i);
    }
}

/// The cancellation comes in the very moment in which the task parks: after it has looked, before it waits. If it is lost, the task waits for ever.
#[test]
fn cancel_against_the_moment_of_parking() {
    let seed = seed(7);
    on_kinds(&[(1, None), (2, None)], &format!("dice({seed:#x})"), |runtime| {
        runtime.run(|| {
            let mut dice = Dice::new(seed);
            let [offered, ready, begun] = [const { AtomicUsize::new(0) }; 3];
            let rounds = scaled(1_000, 8_000);
            let counts: Vec<_> = (0..rounds).map(|_| (dice.below(400), dice.below(400))).collect();
            let result = scope(|s| {
                let target = Mutex::new(None);
                std::thread::scope(|threads| {
                    threads.spawn(|| {
                        for (round, counts) in (1..).zip(&counts) {
                            spin_until(|| offered.load(Ordering::SeqCst) == round);
                            let task: Arc<ScopedJoinHandle<'_, ()>> = target.lock().unwrap().take().expect("offered");
                            ready.store(round, Ordering::SeqCst);
                            spin_until(|| begun.load(Ordering::SeqCst) == round);
                            count_to(counts.0);
                            task.cancel();
                        }
                    });
                    for (round, counts) in (1..).zip(&counts) {
                        let (ready, begun) = (&ready, &begun);
                        let task = Arc::new(s.go(move || {
                            spin_until(|| ready.load(Ordering::SeqCst) == round);
                            begun.store(round, Ordering::SeqCst);
                            count_to(counts.1);
                            match round % 3 {
                                0 => assert!(sleep(HOUR).is_err()),
                                1 => assert_eq!(never::<()>().recv(), Err(RecvError::Cancelled)),
                                _ => assert!(select! {}.is_err()),
                            }
                        }));
                        *target.lock().unwrap() = Some(Arc::clone(&task));
                        offered.store(round, Ordering::SeqCst);
                        until(|| task.is_finished());
                    }
                });
                Ok(())
            });
            assert_eq!(result, Ok::<_, Cancelled>(()));
        });
    });
}

/// Parks when it is dropped, and reports what came of that.
struct ParksInDrop(Receiver<()>, Arc<AtomicUsize>);

impl Drop for ParksInDrop {
    fn drop(&mut self) {
        assert_eq!(self.0.recv(), Err(RecvError::Cancelled));
        assert!(is_cancelled());
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// What its closure holds is dropped by the task itself, which is a cancelled one: a drop that parks is refused, not left waiting.
#[test]
fn cancel_before_the_first_run() {
    on_runtimes(|runtime, _| {
        let (_tx, rx) = rendezvous();
        let dropped = Arc::new(AtomicUsize::new(0));
        let rounds = scaled(200, 5_000);
        runtime.run(|| {
            for round in 0..rounds {
                let holds = ParksInDrop(rx.clone(), Arc::clone(&dropped));
                let task = go(move || {
                    // Some worker was quicker.
                    until_cancelled();
                    drop(holds);
                });
                if round % 4 == 0 {
                    std::thread::scope(|threads| _ = threads.spawn(|| task.cancel()));
                } else {
                    task.cancel();
                }
                assert!(matches!(task.join(), Ok(()) | Err(JoinError::TaskCancelled { .. })));
            }
        });
        assert_eq!(dropped.load(Ordering::SeqCst), rounds);
    });
}

fn until_cancelled() {
    while check().is_ok() {
        let _ = yield_now();
    }
}

/// Many cancel one and the same task, again and again, while it goes on to park: it is cancelled once and for all, and no cancellation
/// wakes what it is masked from.
#[test]
fn many_cancel_one() {
    with_dice(4, |dice| {
        let (target, over) = (Mutex::new(None::<Arc<JoinHandle<()>>>), AtomicBool::new(false));
        let hammer = || {
            let target = target.lock().unwrap().clone();
            target.inspect(|task| task.cancel());
        };
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        hammer();
                        std::thread::yield_now();
                    }
                });
            }
            for round in 0..scaled(50, 500) as u32 {
                let ((_tx, rx), (ask, asked), (answer, answered)) = (rendezvous::<()>(), rendezvous(), rendezvous());
                let task = Arc::new(go(move || {
                    assert_eq!(rx.recv(), Err(RecvError::Cancelled));
                    for i in 0..10 {
                        shield(|| {
                            ask.send(i).expect("masked");
                            assert_eq!(answered.recv(), Ok(i), "woken by something else");
                            assert!(!is_cancelled());
                        });
                        assert_eq!(rx.recv(), Err(RecvError::Cancelled));
                        assert!(sleep(HOUR).is_err() && yield_now().is_err());
                    }
                }));
                // It is to meet the cancellation in its receive, now and then, and not before it runs.
                if dice.below(4) != 0 {
                    yield_now().unwrap();
                }
                *target.lock().unwrap() = Some(Arc::clone(&task));
                scope(|s| {
                    for _ in 0..4 {
                        s.go(|| {
                            stall(u64::from(round) % 200);
                            hammer();
                        });
                    }
                    // It ends by its closing if the task has never run.
                    for i in asked.iter() {
                        hammer();
                        answer.send(i)?;
                    }
                    Ok::<_, Error>(())
                })
                .unwrap();
                *target.lock().unwrap() = None;
                let task = until_last(task);
                assert!(matches!(task.join(), Ok(()) | Err(JoinError::TaskCancelled { .. })));
            }
            over.store(true, Ordering::SeqCst);
        });
    });
}

/// What is in it, when nobody else has it any more.
fn until_last<T>(mut shared: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(inside) => return inside,
            Err(still) => shared = still,
        }
        yield_now().unwrap();
    }
}

/// A panic comes out of the scope whatever cancels it at the same time. (Unless the body has failed before, with its own cancellation: so
/// this body does not look.)
#[test]
fn cancel_against_a_panic() {
    with_dice(6, |dice| {
        for round in 0..scaled(100, 2_000) as u32 {
            let panicked = Arc::new(AtomicBool::new(false));
            let task = go({
                let panicked = Arc::clone(&panicked);
                move || {
                    scope(|s| {
                        s.go(|| {
                            let _ = yield_now();
                            if !panicked.swap(true, Ordering::SeqCst) {
                                panic_on_purpose(round);
                            }
                        });
                        s.go(|| sleep(HOUR));
                        Ok::<_, Cancelled>(())
                    })
                }
            });
            let _ = (0..dice.below(4)).try_for_each(|_| yield_now());
            stall(dice.below(500));
            task.cancel();
            let end = task.join();
            match (panicked.load(Ordering::SeqCst), end) {
                (true, Err(JoinError::Panicked(panic))) => {
                    assert_eq!(panic.into_payload().downcast_ref(), Some(&OnPurpose(round)));
                }
                (false, Ok(Err(_)) | Err(JoinError::TaskCancelled { .. })) => {}
                (panicked, end) => panic!("panicked: {panicked}, {end:?}"),
            }
        }
    });
}
