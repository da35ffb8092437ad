//! Who runs where and when: goroutines stay on their thread, work is stolen, nobody starves.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use throng::{Cancelled, Runtime, bounded, go, rendezvous, scope, sleep, yield_now};

use crate::common::runtimes::builder;
use crate::common::{Aviary, Dice, on_runtimes, scaled, watched};

thread_local! {
    static LOCAL: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static DEPTH: Cell<u64> = const { Cell::new(0) };
}

/// What may not leave a thread is held over parks, while others steal all they can.
#[test]
fn goroutine_never_changes_thread() {
    let parks = scaled(100_000, 1_000_000);
    for (workers, seed) in [(2, None), (8, Some(3))] {
        watched(&format!("{workers} workers, {seed:?}"), || {
            let runtime = builder(workers, seed).build().unwrap();
            runtime.run(|| {
                scope(|s| {
                    for id in 0..100 {
                        s.go(move || {
                            let home = std::thread::current().id();
                            let shared = Rc::new(Cell::new(0_u64));
                            let (tx, rx) = bounded(1);
                            for i in 0..parks as u64 / 100 {
                                let held = Rc::clone(&shared);
                                LOCAL.with(|local| {
                                    // A borrow of a thread-local over a park: `with` has found its address before.
                                    if let Ok(mut local) = local.try_borrow_mut() {
                                        local.push(id);
                                        if i % 4 == 0 {
                                            yield_now()?;
                                        }
                                        assert_eq!(local.pop(), Some(id));
                                    } else {
                                        yield_now()?;
                                    }
                                    Ok::<_, Cancelled>(())
                                })?;
                                if i % 16 == 0 {
                                    // Fresh work for thieves, which wakes us from wherever it ends up.
                                    let tx = tx.clone();
                                    s.go(move || _ = tx.send(i));
                                    rx.recv().map_err(|_| Cancelled::new())?;
                                }
                                held.set(held.get() + 1);
                                assert_eq!(std::thread::current().id(), home);
                            }
                            assert_eq!(Rc::strong_count(&shared), 1);
                            Ok::<_, Cancelled>(())
                        });
                    }
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            });
        });
    }
}

fn compute(n: u64) -> u64 {
    (0..n).fold(1, |x, i| std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i)))
}

/// One spawner that never parks: its children are taken off it.
#[test]
fn stealing() {
    for workers in [2, 8] {
        watched(&format!("{workers} workers"), || {
            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let ran = AtomicUsize::new(0);
            runtime.run(|| {
                scope(|s| {
                    for _ in 0..10_000 {
                        s.go(|| {
                            compute(200);
                            ran.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                    // A hog: it goes on only when somebody else has run some of them.
                    while ran.load(Ordering::Relaxed) == 0 {
                        compute(100);
                    }
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            });
            assert_eq!(ran.into_inner(), 10_000);
            let metrics = runtime.metrics();
            // By another worker, or by the monitor, where the system keeps that one from running for long.
            assert!(metrics.workers.iter().chain(&metrics.spare_workers).filter(|worker| worker.started > 0).count() > 1, "{metrics:?}");
            assert_eq!(
                metrics.workers.iter().chain(&metrics.spare_workers).map(|worker| worker.started).sum::<u64>(),
                10_001,
                "{metrics:?}"
            );
        });
    }
}

/// As many goroutines as there are workers, each blocking its thread until all are there: every worker must be found for them.
#[test]
fn last_searcher_hands_over() {
    for workers in [1, 2, 4] {
        watched(&format!("{workers} workers"), || {
            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let mut dice = Dice::new(workers as u64);
            for round in 0..scaled(300, 10_000) {
                let barrier = Barrier::new(workers);
                let wait = || _ = barrier.wait();
                // Started from outside, or from inside, or half and half.
                match round % 3 {
                    0 => {
                        let wait = &wait;
                        runtime.run(|| {
                            scope(|s| {
                                (0..workers).for_each(|_| _ = s.go(wait));
                                Ok::<_, Cancelled>(())
                            })
                            .unwrap();
                        });
                    }
                    1 => std::thread::scope(|threads| {
                        for _ in 0..workers {
                            threads.spawn(|| runtime.run(wait));
                        }
                    }),
                    _ => std::thread::scope(|threads| {
                        threads.spawn(|| runtime.run(wait));
                        runtime.run(|| {
                            scope(|s| {
                                (1..workers).for_each(|_| _ = s.go(wait));
                                Ok::<_, Cancelled>(())
                            })
                            .unwrap();
                        });
                    }),
                }
                // Now and then they are fast asleep when the next round comes.
                if dice.below(20) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
    }
}

/// N parked goroutines, each of which wakes the next.
#[test]
fn a_chain_of_wakes_is_not_broken() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let n = 200;
            for _ in 0..scaled(5, 100) {
                let (first, mut rx) = rendezvous::<u32>();
                let mut links = Vec::new();
                for _ in 0..n {
                    let (tx, next) = rendezvous();
                    let link = std::mem::replace(&mut rx, next);
                    links.push(go(move || tx.send(link.recv().unwrap() + 1).unwrap()));
                }
                first.send(0).unwrap();
                assert_eq!(rx.recv(), Ok(n));
                links.into_iter().for_each(|link| link.join().unwrap());
            }
        });
    });
}

/// On one worker, a goroutine that only yields does not keep others from starting, alarms from ringing, nor submissions from outside waiting.
#[test]
fn yield_and_hog_fair() {
    for seed in [None, Some(9)] {
        watched(&format!("{seed:?}"), || {
            let runtime = builder(1, seed).build().unwrap();
            for hogs in [1, 2, 5] {
                let stop = AtomicBool::new(false);
                let (outside, inside, slept) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
                std::thread::scope(|threads| {
                    let hogging = threads.spawn(|| {
                        runtime.run(|| {
                            scope(|s| {
                                for _ in 0..hogs {
                                    s.go(|| {
                                        while !stop.load(Ordering::Relaxed) {
                                            yield_now()?;
                                        }
                                        Ok::<_, Cancelled>(())
                                    });
                                }
                                s.go(|| {
                                    for _ in 0..20 {
                                        sleep(Duration::from_micros(100))?;
                                        slept.fetch_add(1, Ordering::Relaxed);
                                    }
                                    Ok::<_, Cancelled>(())
                                });
                                for _ in 0..20 {
                                    s.go(|| _ = inside.fetch_add(1, Ordering::Relaxed)).join().map_err(|_| Cancelled::new())?;
                                }
                                Ok::<_, Cancelled>(())
                            })
                        })
                    });
                    for _ in 0..20 {
                        runtime.run(|| outside.fetch_add(1, Ordering::Relaxed));
                    }
                    // Without fairness one of these never gets there: the watchdog knows.
                    while inside.load(Ordering::Relaxed) < 20 || slept.load(Ordering::Relaxed) < 20 {
                        std::thread::yield_now();
                    }
                    stop.store(true, Ordering::Relaxed);
                    hogging.join().unwrap().unwrap();
                });
                assert_eq!((outside.into_inner(), inside.into_inner(), slept.into_inner()), (20, 20, 20));
            }
        });
    }
}

/// A pair that talks all the time, straight from one to the other, keeps nobody out either.
#[test]
fn a_talking_pair_keeps_nobody_out() {
    watched("1 worker", || {
        let runtime = Runtime::builder().workers(1).max_spare_workers(0).build().unwrap();
        let stop = AtomicBool::new(false);
        let turns = AtomicU64::new(0);
        let result = runtime.run(|| {
            scope(|s| {
                let (ping, pong) = (rendezvous::<()>(), rendezvous::<()>());
                let (turns, stop) = (&turns, &stop);
                let (there, back) = (ping.0, pong.1);
                s.go(move || {
                    while !stop.load(Ordering::Relaxed) && there.send(()).is_ok() && back.recv().is_ok() {
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                });
                let (here, forth) = (ping.1, pong.0);
                s.go(move || while here.recv().is_ok() && forth.send(()).is_ok() {});
                let start = Instant::now();
                sleep(Duration::from_millis(2))?;
                for _ in 0..20 {
                    s.go(yield_now).join().map_err(|_| Cancelled::new())?;
                }
                stop.store(true, Ordering::Relaxed);
                Ok::<_, Cancelled>(start.elapsed())
            })
        });
        assert!(result.unwrap() < Duration::from_secs(20));
        assert!(turns.into_inner() > 0);
    });
}

#[test]
fn every_worker_takes_part_in_a_tree_of_work() {
    fn tree(s: &throng::Scope<'_, '_, Cancelled>, depth: u32) -> Result<u64, Cancelled> {
        let _ = s;
        if depth == 0 {
            return Ok(compute(2_000) & 1);
        }
        scope(|s| {
            let left = s.go(move || scope(|s| tree(s, depth - 1)));
            let right = tree(s, depth - 1)?;
            Ok(left.join().map_err(|_| Cancelled::new())? + right)
        })
    }
    watched("2 workers", || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        // Until the other has had a processor: the watchdog bounds it.
        while runtime.metrics().workers.iter().any(|worker| worker.started == 0) {
            runtime.run(|| scope(|s| tree(s, 9))).unwrap();
        }
    });
}

#[test]
fn goroutines_run_on_the_workers_threads_only() {
    on_runtimes(|runtime, _| {
        let threads: Mutex<HashSet<_>> = Mutex::default();
        runtime.run(|| {
            scope(|s| {
                for _ in 0..200 {
                    s.go(|| {
                        threads.lock().unwrap().insert(std::thread::current().id());
                        yield_now()
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        let metrics = runtime.metrics();
        assert!(threads.into_inner().unwrap().len() <= metrics.workers.len() + metrics.spare_workers.len());
    });
}

/// Parked ones hold a stack each; when they have ended, the stacks come back.
#[test]
fn a_million_goroutines() {
    let (total, at_once, repeats) = if cfg!(debug_assertions) { (20_000, 2_000, 2) } else { (1_000_000, 100_000, 3) };
    watched("2 workers", || {
        for seed in [None, Some(4)] {
            let runtime = Runtime::builder().workers(2).stack_size(16 << 10);
            let runtime = if let Some(seed) = seed { runtime.shake(seed) } else { runtime }.build().unwrap();
            let aviary = Aviary::new();
            for _ in 0..if seed.is_some() { 1 } else { repeats } {
                let ended = AtomicUsize::new(0);
                runtime.run(|| {
                    for _ in 0..total / at_once {
                        let (tx, rx) = rendezvous::<()>();
                        scope(|s| {
                            for _ in 0..at_once {
                                let (rx, canary, ended) = (rx.clone(), aviary.canary(), &ended);
                                s.go(move || {
                                    canary.sing();
                                    // Until the channel closes, when all are parked here or on their way.
                                    let _ = rx.recv();
                                    ended.fetch_add(1, Ordering::Relaxed);
                                });
                            }
                            drop(tx);
                            Ok::<_, Cancelled>(())
                        })
                        .unwrap();
                    }
                });
                assert_eq!(ended.into_inner(), total);
                assert_eq!(aviary.alive(), 0);
            }
        }
    });
}

/// After a burst, and a rest, nothing is held that a quiet runtime would not hold.
#[test]
fn stacks_come_back_after_a_burst() {
    watched("2 workers", || {
        let runtime = Runtime::builder().workers(2).stack_size(32 << 10).build().unwrap();
        let n = 3_000;
        let all_parked = runtime.run(|| {
            let (tx, rx) = rendezvous::<()>();
            let parked = AtomicUsize::new(0);
            scope(|s| {
                for _ in 0..n {
                    s.go(|| {
                        parked.fetch_add(1, Ordering::Relaxed);
                        let _ = rx.recv();
                    });
                }
                while parked.load(Ordering::Relaxed) < n {
                    yield_now()?;
                }
                let stacks = throng::metrics().unwrap().stacks;
                drop(tx);
                Ok::<_, Cancelled>(stacks)
            })
            .unwrap()
        });
        assert!(all_parked >= n, "{all_parked}");
        // They tidy up when they have slept for a while. (Each keeps a few; and where the system did not let two of them run for long, there are more.)
        let too_many = || {
            let metrics = runtime.metrics();
            metrics.stacks > 130 * (metrics.workers.len() + metrics.spare_workers.len())
        };
        while too_many() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

/// However long the turns of those that yield are, an alarm and a submission from outside wait for few of them (not for so many that milliseconds become seconds).
#[test]
fn alarms_and_submissions_wait_for_few_turns() {
    const FEW: u64 = 500;
    for hogs in [1, 2, 5] {
        watched(&format!("{hogs} hogs"), || {
            let runtime = Runtime::builder().workers(1).max_spare_workers(0).build().unwrap();
            let (turns, stop) = (AtomicU64::new(0), AtomicBool::new(false));
            let (alarm, submission) = std::thread::scope(|threads| {
                let (turns, stop, runtime) = (&turns, &stop, &runtime);
                threads.spawn(move || {
                    runtime.run(|| {
                        scope(|s| {
                            for _ in 0..hogs {
                                s.go(move || {
                                    while !stop.load(Ordering::Relaxed) {
                                        compute(2_000);
                                        turns.fetch_add(1, Ordering::Relaxed);
                                        yield_now()?;
                                    }
                                    Ok::<_, Cancelled>(())
                                });
                            }
                            Ok::<_, Cancelled>(())
                        })
                        .unwrap();
                    });
                });
                while turns.load(Ordering::Relaxed) < 100 {
                    std::thread::yield_now();
                }
                let before = turns.load(Ordering::Relaxed);
                let began = runtime.run(|| turns.load(Ordering::Relaxed));
                let rang = runtime.run(|| {
                    let due = Instant::now() + Duration::from_millis(3);
                    // Another thread notes how far they are when the time has come.
                    std::thread::scope(|threads| {
                        let clock = threads.spawn(move || {
                            while Instant::now() < due {
                                std::hint::spin_loop();
                            }
                            turns.load(Ordering::Relaxed)
                        });
                        let _ = throng::sleep_until(due);
                        let rang = turns.load(Ordering::Relaxed);
                        rang.saturating_sub(clock.join().unwrap())
                    })
                });
                stop.store(true, Ordering::Relaxed);
                (rang, began - before)
            });
            assert!(alarm <= FEW && submission <= FEW, "alarm: {alarm} turns, submission: {submission}");
        });
    }
}
