//! Workers that are stuck: in calls that block, or in computations. What they have not started runs elsewhere, on spare workers if need be.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use throng::{Cancelled, Runtime, go, rendezvous, scope, sleep, yield_now};

use crate::common::{scaled, watched};
use crate::gate::Gate;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).stack_size(64 << 10).build().expect("a runtime")
}

/// Blocks every worker at `gate`. Their goroutines are the last that these start until it is open.
fn block_all(runtime: &Runtime, workers: usize, gate: &Arc<Gate>) {
    for _ in 0..workers {
        let gate = Arc::clone(gate);
        runtime.go(move || gate.pass());
    }
    gate.wait_for(workers);
}

/// Two threads of stuck workers, 10,000 queued tasks: all run.
#[test]
fn all_that_is_queued_runs_while_every_worker_is_blocked() {
    const N: usize = 10_000;
    for workers in [1, 2, 4] {
        watched(&format!("{workers} workers"), || {
            let runtime = runtime(workers);
            let gate = Arc::new(Gate::new());
            let (done, all_done) = (Arc::new(AtomicUsize::new(0)), Arc::new(Gate::new()));
            let count = || {
                let (done, all_done) = (Arc::clone(&done), Arc::clone(&all_done));
                move || {
                    if done.fetch_add(1, Ordering::Relaxed) + 1 == N {
                        all_done.pass_open();
                    }
                }
            };
            // Half of them where the first worker will be stuck, half outside.
            let first = {
                let (gate, counts) = (Arc::clone(&gate), (0..N / 2).map(|_| count()).collect::<Vec<_>>());
                runtime.go(move || {
                    for count in counts {
                        go(count);
                    }
                    gate.pass();
                })
            };
            gate.wait_for(1);
            for _ in 1..workers {
                let gate = Arc::clone(&gate);
                runtime.go(move || gate.pass());
            }
            for _ in 0..N / 2 {
                runtime.go(count());
            }
            all_done.wait_for(1);
            gate.wait_for(workers);
            assert_eq!(done.load(Ordering::Relaxed), N);
            let metrics = runtime.metrics();
            assert_eq!(metrics.workers.len(), workers);
            // Few do, as the tasks are short; but this is no promise where threads get no processor.
            assert!((1..=64).contains(&metrics.spare_workers.len()), "{metrics:?}");
            gate.open();
            first.join().unwrap();
        });
    }
}

/// Those that come to help are blocked in their turn.
#[test]
fn spare_workers_get_stuck_too() {
    watched("2 workers", || {
        let runtime = runtime(2);
        let gate = Arc::new(Gate::new());
        block_all(&runtime, 22, &gate);
        let spare = runtime.metrics().spare_workers.len();
        assert!((20..=64).contains(&spare), "{spare}");
        gate.open();
    });
}

#[test]
fn there_are_no_more_than_asked_for() {
    watched("2 workers and 3", || {
        let runtime = Runtime::builder().workers(2).max_spare_workers(3).build().unwrap();
        let (gate, late) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
        block_all(&runtime, 5, &gate);
        let last = {
            let late = Arc::clone(&late);
            runtime.go(move || late.pass_open())
        };
        // The monitor has looked many times by then. (If it had not, this would prove less, not fail.)
        std::thread::sleep(Duration::from_millis(100));
        assert!(!last.is_finished());
        assert_eq!(runtime.metrics().spare_workers.len(), 3);
        gate.open();
        late.wait_for(1);
    });
    watched("2 workers and none", || {
        let runtime = Runtime::builder().workers(2).max_spare_workers(0).build().unwrap();
        let gate = Arc::new(Gate::new());
        block_all(&runtime, 2, &gate);
        let last = runtime.go(|| ());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!last.is_finished() && runtime.metrics().spare_workers.is_empty());
        gate.open();
        last.join().unwrap();
    });
}

/// A runtime of two workers, and the threads of these.
fn runtime_and_its_threads() -> (Runtime, HashSet<ThreadId>) {
    loop {
        let runtime = runtime(2);
        let (gate, threads) = (Arc::new(Gate::new()), Arc::new(Mutex::new(HashSet::new())));
        for _ in 0..2 {
            let (gate, threads) = (Arc::clone(&gate), Arc::clone(&threads));
            runtime.go(move || {
                threads.lock().unwrap().insert(std::thread::current().id());
                gate.pass();
            });
        }
        gate.wait_for(2);
        gate.open();
        // Where threads seldom get a processor, a spare one may have come in for one that had not begun.
        if runtime.metrics().spare_workers.is_empty() {
            let threads = threads.lock().unwrap().clone();
            return (runtime, threads);
        }
    }
}

/// What has started on a spare worker stays there, and is served after the worker has stepped down; what is new goes to the workers again.
#[test]
fn a_spare_worker_steps_down_and_keeps_what_it_has_started() {
    watched("2 workers", || {
        let here = || std::thread::current().id();
        let (runtime, core) = runtime_and_its_threads();
        for _ in 0..3 {
            let gate = Arc::new(Gate::new());
            block_all(&runtime, 2, &gate);
            let (ask, asked) = rendezvous::<()>();
            let (answer, answered) = rendezvous();
            let (begun, has_begun) = rendezvous();
            let server = runtime.go(move || {
                begun.send(here()).unwrap();
                for () in asked {
                    // What it spawns may run anywhere.
                    go(yield_now).join().unwrap().unwrap();
                    answer.send(here()).unwrap();
                }
            });
            let spare = has_begun.recv().unwrap();
            assert!(!core.contains(&spare));
            gate.open();
            // It steps down some time after the others turn again.
            let mut in_a_row = 0;
            while in_a_row < 100 {
                in_a_row = if core.contains(&runtime.run(here)) { in_a_row + 1 } else { 0 };
                ask.send(()).unwrap();
                assert_eq!(answered.recv(), Ok(spare));
            }
            drop(ask);
            server.join().unwrap();
        }
    });
}

/// Computations: one worker is hogged, the other never runs dry. What waits on the first starts, and alarms of the second ring, while the hog goes on.
#[test]
fn a_hog_on_one_of_two_workers_delays_nobody_else() {
    watched("2 workers", || {
        let runtime = runtime(2);
        let stop = AtomicBool::new(false);
        let (rung, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let busy = Mutex::new(None);
        std::thread::scope(|threads| {
            let pair = threads.spawn(|| {
                runtime.run(|| {
                    *busy.lock().unwrap() = Some(std::thread::current().id());
                    scope(|s| {
                        // Not given to others before it has begun: it keeps this worker busy.
                        s.task().undispatched().go(|| {
                            while !stop.load(Ordering::Relaxed) {
                                turns.fetch_add(1, Ordering::Relaxed);
                                yield_now()?;
                            }
                            Ok(())
                        });
                        while !stop.load(Ordering::Relaxed) {
                            sleep(Duration::from_micros(300))?;
                            rung.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<_, Cancelled>(())
                    })
                })
            });
            while rung.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let mut hogged = 0;
            while hogged < scaled(5, 30) {
                let begun = Arc::new(AtomicUsize::new(0));
                hogged += runtime.run(|| {
                    if *busy.lock().unwrap() == Some(std::thread::current().id()) {
                        // The wrong one: the pair would wait for this as it must.
                        return 0;
                    }
                    for _ in 0..20 {
                        let begun = Arc::clone(&begun);
                        go(move || begun.fetch_add(1, Ordering::Relaxed));
                    }
                    // Only others can start them, since this does not park.
                    let before = rung.load(Ordering::Relaxed);
                    while begun.load(Ordering::Relaxed) < 20 || rung.load(Ordering::Relaxed) < before + 5 {
                        std::hint::spin_loop();
                    }
                    1
                });
            }
            stop.store(true, Ordering::Relaxed);
            pair.join().unwrap().unwrap();
        });
        assert!(turns.into_inner() > 0);
    });
}

/// Both are hogged: whoever comes from outside, and whoever waits on one of them, is served by others.
#[test]
fn hogs_on_every_worker_stop_nobody_who_is_new() {
    watched("2 workers", || {
        let runtime = runtime(2);
        let (hogs, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    runtime.run(|| {
                        hogs.fetch_add(1, Ordering::SeqCst);
                        while served.load(Ordering::SeqCst) < 100 {
                            std::hint::spin_loop();
                        }
                    });
                });
            }
            while hogs.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            for _ in 0..100 {
                runtime.run(|| {
                    go(yield_now).join().unwrap().unwrap();
                    served.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(served.into_inner(), 100);
    });
}

/// While all are stuck, the runtime is told to end: it ends when they let it, and everybody who had begun has ended.
#[test]
fn shutdown_while_every_worker_is_stuck() {
    for round in 0..scaled(10, 50) {
        watched(&format!("round {round}"), || {
            let runtime = runtime(2);
            let gate = Arc::new(Gate::new());
            let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            block_all(&runtime, 2 + round % 3, &gate);
            for _ in 0..100 {
                let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
                runtime.go(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let _ = sleep(Duration::from_secs(3600));
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
            while round % 2 == 0 && begun.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let opener = std::thread::spawn({
                let gate = Arc::clone(&gate);
                move || gate.open()
            });
            runtime.shutdown();
            opener.join().unwrap();
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        });
    }
}
