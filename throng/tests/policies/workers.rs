//! Several workers: under each policy nothing is lost, nobody is starved, and work finds those who have none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use throng::policy::{GlobalBatch, SearcherCap, SlotBudget, SlotSteal, StealAmount, Wake};
use throng::{Builder, Cancelled, Metrics, Policy, PolicyBuilder, Runtime, rendezvous, scope, sleep, yield_now};

use crate::common::{scaled, watched};

/// Those of others, and each other way of waking, of searching and of stealing. Each leaves nothing to its worker alone.
fn policies() -> Vec<Policy> {
    let mixed = PolicyBuilder::kotlin().wake(Wake::IfNoneSearches).steal_amount(StealAmount::Half).global_batch(GlobalBatch::Share(4));
    let narrow = PolicyBuilder::go().wake(Wake::Always).steal_amount(StealAmount::One).local_capacity(2);
    let built = [mixed, narrow].map(|builder| builder.build().unwrap());
    [Policy::go(), Policy::kotlin()].into_iter().chain(built).collect()
}

/// As tokio does it: nobody takes what lies in another's slot.
fn tokio() -> Policy {
    let tokio = PolicyBuilder::go()
        .slot_budget(SlotBudget::Tasks(3))
        .slot_steal(SlotSteal::Never)
        .steal_passes(1)
        .searcher_cap(SearcherCap::HalfOfAll)
        .poll_every(61);
    tokio.build().unwrap()
}

fn on_each(workers: &[usize], body: impl Fn(&Runtime)) {
    for policy in policies().into_iter().chain([tokio()]) {
        for &workers in workers {
            for seed in [None, Some(workers as u64)] {
                watched(&format!("{workers} workers, {seed:?}, {policy:?}"), || {
                    let builder: Builder = Runtime::builder().workers(workers).stack_size(128 << 10).policy(policy.clone());
                    let builder = if let Some(seed) = seed { builder.shake(seed) } else { builder };
                    body(&builder.build().unwrap());
                });
            }
        }
    }
}

fn sum(metrics: &Metrics, of: impl Fn(&throng::WorkerMetrics) -> u64) -> u64 {
    // (A machine that is busy with other things may bring a spare worker.)
    metrics.workers.iter().chain(&metrics.spare_workers).map(of).sum()
}

/// Trees of tasks, each of which runs once.
#[test]
fn trees() {
    fn tree(depth: u32) -> Result<u64, Cancelled> {
        if depth == 0 {
            yield_now()?;
            return Ok(1);
        }
        scope(|s| {
            let halves = [0, 1].map(|_| s.go(move || tree(depth - 1)));
            halves.into_iter().map(|half| half.join().map_err(|_| Cancelled::new())).sum()
        })
    }
    let depth = scaled(7, 12) as u32;
    on_each(&[1, 2, 4], |runtime| {
        assert_eq!(runtime.run(|| tree(depth)), Ok(1 << depth));
        let metrics = runtime.metrics();
        // Each node, and the one that `run` makes.
        assert_eq!(sum(&metrics, |worker| worker.started), (2 << depth) - 1, "{metrics:?}");
    });
}

/// A goroutine that never parks starts others: they are taken off it, one by one or many at once, also the last, which lies in its slot.
#[test]
fn what_a_hog_has_started_is_stolen() {
    for policy in policies() {
        watched(&format!("{policy:?}"), || {
            let runtime = Runtime::builder().workers(2).max_spare_workers(0).policy(policy).build().unwrap();
            let ran = AtomicUsize::new(0);
            runtime.run(|| {
                scope(|s| {
                    for n in 1..=50 {
                        s.go(|| _ = ran.fetch_add(1, Ordering::Relaxed));
                        if n % 10 == 0 {
                            // The watchdog bounds it.
                            while ran.load(Ordering::Relaxed) < n {
                                std::thread::yield_now();
                            }
                        }
                    }
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            });
            let metrics = runtime.metrics();
            let mut started: Vec<_> = metrics.workers.iter().map(|worker| worker.started).collect();
            started.sort_unstable();
            assert_eq!(started, [1, 50], "{metrics:?}");
            // What did not fit into a queue was in the global one.
            let overflowed = sum(&metrics, |worker| worker.policy.overflows) > 0;
            let stolen = sum(&metrics, |worker| worker.stolen);
            assert!(if overflowed { (5..50).contains(&stolen) } else { stolen == 50 }, "{metrics:?}");
            assert!((5..=stolen).contains(&sum(&metrics, |worker| worker.policy.steals)), "{metrics:?}");
        });
    }
}

/// A thief's order: Go's takes the older half, of which the last runs first, and the slot at the end; Kotlin's takes one at a time.
#[test]
fn the_order_of_what_is_stolen() {
    let stolen = |policy| {
        watched(&format!("{policy:?}"), || {
            let runtime = Runtime::builder().workers(2).max_spare_workers(0).policy(policy).build().unwrap();
            let ran = Mutex::new(Vec::new());
            let both = Barrier::new(2);
            let steals = || sum(&runtime.metrics(), |worker| worker.policy.steals);
            let counted = runtime.run(|| {
                scope(|s| {
                    // The other worker's thread is held until all are there, and they run nowhere else, since this one does not park.
                    s.go(|| {
                        both.wait();
                        both.wait();
                    });
                    both.wait();
                    let before = steals();
                    for number in 0..8 {
                        let ran = &ran;
                        s.go(move || ran.lock().unwrap().push(number));
                    }
                    both.wait();
                    while ran.lock().unwrap().len() < 8 {
                        std::thread::yield_now();
                    }
                    Ok::<_, Cancelled>(steals() - before)
                })
            });
            (ran.into_inner().unwrap(), counted.unwrap())
        })
    };
    assert_eq!(stolen(Policy::go()), (vec![3, 0, 1, 2, 5, 4, 6, 7], 4));
    assert_eq!(stolen(Policy::kotlin()), (vec![0, 1, 2, 3, 4, 5, 6, 7], 8));
}

/// As many goroutines as there are workers, each of which blocks its thread until all are there: every worker must be found.
#[test]
fn everybody_is_woken() {
    for policy in policies() {
        for workers in [1, 2, 4] {
            watched(&format!("{workers} workers, {policy:?}"), || {
                let runtime = Runtime::builder().workers(workers).policy(policy.clone()).build().unwrap();
                for round in 0..scaled(60, 1_000) {
                    let barrier = Barrier::new(workers);
                    let wait = || _ = barrier.wait();
                    if round % 2 == 0 {
                        let wait = &wait;
                        runtime.run(|| {
                            scope(|s| {
                                (0..workers).for_each(|_| _ = s.go(wait));
                                Ok::<_, Cancelled>(())
                            })
                            .unwrap();
                        });
                    } else {
                        std::thread::scope(|threads| {
                            for _ in 0..workers {
                                threads.spawn(|| runtime.run(wait));
                            }
                        });
                    }
                    // Now and then they are fast asleep when the next round comes.
                    if round % 20 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    }
}

/// Goroutines that only yield, and a pair that hands the thread to and fro, keep nobody out: not the new ones, not timers, not submissions from outside.
#[test]
fn nobody_is_starved() {
    on_each(&[1, 2], |runtime| {
        let stop = AtomicBool::new(false);
        let (inside, outside, slept) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            let hogging = threads.spawn(|| {
                runtime.run(|| {
                    scope(|s| {
                        let stop = &stop;
                        for _ in 0..2 {
                            s.go(|| {
                                while !stop.load(Ordering::Relaxed) {
                                    yield_now()?;
                                }
                                Ok::<_, Cancelled>(())
                            });
                        }
                        let (ping, pong) = (rendezvous::<()>(), rendezvous::<()>());
                        let (there, back) = (ping.0, pong.1);
                        s.go(move || while !stop.load(Ordering::Relaxed) && there.send(()).is_ok() && back.recv().is_ok() {});
                        let (here, forth) = (ping.1, pong.0);
                        s.go(move || while here.recv().is_ok() && forth.send(()).is_ok() {});
                        s.go(|| {
                            for _ in 0..5 {
                                sleep(Duration::from_micros(100))?;
                                slept.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(())
                        });
                        for _ in 0..5 {
                            s.go(|| _ = inside.fetch_add(1, Ordering::Relaxed)).join().map_err(|_| Cancelled::new())?;
                        }
                        Ok(())
                    })
                })
            });
            for _ in 0..5 {
                runtime.run(|| outside.fetch_add(1, Ordering::Relaxed));
            }
            // The watchdog bounds it.
            while inside.load(Ordering::Relaxed) < 5 || slept.load(Ordering::Relaxed) < 5 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            hogging.join().unwrap().unwrap();
        });
        assert_eq!((inside.into_inner(), outside.into_inner(), slept.into_inner()), (5, 5, 5));
    });
}

/// A ring of goroutines on all workers, each of which wakes the next.
#[test]
fn messages_go_round() {
    on_each(&[1, 2, 4], |runtime| {
        let n = 50;
        let rounds = scaled(5, 50);
        let total = runtime.run(|| {
            let mut total = 0;
            for _ in 0..rounds {
                total += scope(|s| {
                    let (first, mut last) = rendezvous::<u32>();
                    for _ in 0..n {
                        let (tx, next) = rendezvous();
                        let link = std::mem::replace(&mut last, next);
                        s.go(move || _ = tx.send(link.recv().expect("the one before") + 1));
                    }
                    first.send(0).expect("the first is there");
                    Ok::<_, Cancelled>(last.recv().expect("the last"))
                })
                .unwrap();
            }
            total
        });
        assert_eq!(total as usize, n * rounds);
    });
}
