//! Pools that get another thread when work comes up and none rests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Runtime, go, yield_now};

use crate::common::{scaled, watched};
use crate::gate::Gate;

fn pool(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).stack_size(64 << 10).elastic(true).build().expect("a pool")
}

#[test]
fn it_begins_with_one_worker_and_gets_those_it_needs() {
    const N: usize = 8;
    for way in ["from outside", "from inside", "one by the other"] {
        watched(way, || {
            let pool = pool(N);
            assert_eq!(pool.metrics().workers.len(), 1);
            let gate = Arc::new(Gate::new());
            match way {
                "from outside" => {
                    for _ in 0..N {
                        let gate = Arc::clone(&gate);
                        pool.go(move || gate.pass());
                    }
                }
                "from inside" => {
                    let gate = Arc::clone(&gate);
                    pool.go(move || {
                        for _ in 1..N {
                            let gate = Arc::clone(&gate);
                            go(move || gate.pass());
                        }
                        gate.pass();
                    });
                }
                _ => {
                    fn chain(gate: Arc<Gate>, left: usize) {
                        if left > 0 {
                            let gate = Arc::clone(&gate);
                            go(move || chain(gate, left - 1));
                        }
                        gate.pass();
                    }
                    let gate = Arc::clone(&gate);
                    pool.go(move || chain(gate, N - 1));
                }
            }
            // Each holds a thread.
            gate.wait_for(N);
            assert_eq!(pool.metrics().workers.len(), N);
            assert!(pool.metrics().spare_workers.is_empty());
            gate.open();
        });
    }
}

#[test]
fn more_than_its_bound_wait_their_turn() {
    const N: usize = 4;
    watched("4 workers", || {
        let pool = pool(N);
        for _ in 0..scaled(20, 200) {
            let gate = Arc::new(Gate::new());
            let now = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..5 * N)
                .map(|_| {
                    let (gate, now) = (Arc::clone(&gate), Arc::clone(&now));
                    pool.go(move || {
                        let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
                        gate.pass();
                        now.fetch_sub(1, Ordering::SeqCst);
                        at_once
                    })
                })
                .collect();
            gate.wait_for(N);
            gate.open();
            let most = tasks.into_iter().map(|task| task.join().unwrap()).max();
            assert!(most <= Some(N), "{most:?}");
            assert_eq!(pool.metrics().workers.len(), N);
        }
    });
}

/// Rounds of work with rests between them, in which all sleep: nothing is lost on the way to sleep and back.
#[test]
fn it_is_woken_as_any_other() {
    watched("6 workers", || {
        let pool = pool(6);
        let done = Arc::new(AtomicUsize::new(0));
        let n = scaled(100, 3_000);
        for round in 0..n {
            // As many as must be there at once.
            let needed = 1 + round % 6;
            let gate = Arc::new(Gate::new());
            let tasks: Vec<_> = (0..needed)
                .map(|_| {
                    let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
                    pool.go(move || {
                        let inner = go(|| yield_now().is_ok());
                        // Blocked before it parks: nobody who has started waits behind it.
                        gate.pass();
                        assert!(inner.join().unwrap());
                        done.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            gate.wait_for(needed);
            gate.open();
            tasks.into_iter().for_each(|task| task.join().unwrap());
            if round % 64 == 0 {
                // Long enough for the watcher to give up. Only the order of events depends on it.
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
        assert_eq!(done.load(Ordering::Relaxed), (0..n).map(|round| 1 + round % 6).sum::<usize>());
    });
}

/// It ends while it grows.
#[test]
fn it_may_be_shut_down_at_any_moment() {
    for round in 0..scaled(50, 1_000) {
        watched(&format!("round {round}"), || {
            let pool = pool(8);
            let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            for _ in 0..round % 40 {
                let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
                pool.go(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let inner = go(std::thread::yield_now);
                    let _ = inner.join();
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
            pool.shutdown();
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        });
    }
}
