//! Several runtimes, and plain threads, at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, Mutex, Runtime, WaitGroup, bounded, go, rendezvous, scope, sleep, yield_now};

use crate::common::runtimes::builder;
use crate::common::{Aviary, scaled, watched};

#[test]
fn two_runtimes_and_plain_threads() {
    for (workers, seed) in [(1, None), (2, None), (2, Some(5))] {
        watched(&format!("{workers} workers, {seed:?}"), || {
            let a = builder(workers, seed).build().unwrap();
            let b = builder(workers, seed).build().unwrap();
            let n = scaled(500, 20_000) as u64;
            let total = std::sync::Arc::new((Mutex::new(0_u64), WaitGroup::new()));
            let (tx, rx) = rendezvous::<u64>();
            let (buffered, from_buffer) = bounded::<u64>(3);
            let mut senders = Vec::new();
            let mut receivers = Vec::new();
            let send = |tx: throng::Sender<u64>, buffered: throng::Sender<u64>| {
                move || {
                    for i in 0..n {
                        if i % 2 == 0 { tx.send(i).unwrap() } else { buffered.send(i).unwrap() }
                    }
                }
            };
            let receive = || {
                let (rx, from_buffer, total) = (rx.clone(), from_buffer.clone(), total.clone());
                total.1.add(1);
                move || {
                    loop {
                        let item = throng::select! {
                            recv(rx) -> item => item.ok(),
                            recv(from_buffer) -> item => item.ok(),
                        };
                        match item.unwrap() {
                            Some(item) => *total.0.lock().unwrap() += item,
                            // One of the two is closed: drain the other.
                            None => break,
                        }
                    }
                    for item in rx.into_iter().chain(from_buffer) {
                        *total.0.lock().unwrap() += item;
                    }
                    total.1.done();
                }
            };
            for runtime in [&a, &b] {
                senders.push(runtime.go(send(tx.clone(), buffered.clone())));
                receivers.push(runtime.go(receive()));
            }
            let threads = [std::thread::spawn(send(tx, buffered)), std::thread::spawn(receive())];
            total.1.wait().unwrap();
            senders.into_iter().chain(receivers).for_each(|task| task.join().unwrap());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(*total.0.lock().unwrap(), 3 * n * (n - 1) / 2);
        });
    }
}

#[test]
fn a_task_of_one_joins_and_runs_on_the_other() {
    watched("2 and 2 workers", || {
        let a = Runtime::builder().workers(2).build().unwrap();
        let b = Runtime::builder().workers(2).build().unwrap();
        let hops = a.run(|| {
            (0..100_u64)
                .map(|i| {
                    let far = b.go(move || yield_now().map(|()| i));
                    let run = b.run(|| a.run(|| go(move || i).join().unwrap()));
                    far.join().unwrap().unwrap() + run
                })
                .sum::<u64>()
        });
        assert_eq!(hops, 2 * 4950);
        // Cancelled from over there.
        let (parked, is_parked) = rendezvous();
        let task = a.go(move || {
            parked.send(()).unwrap();
            sleep(Duration::from_secs(3600))
        });
        b.run(move || {
            is_parked.recv().unwrap();
            task.cancel();
            assert_eq!(task.join().unwrap(), Err(Cancelled::new()));
        });
    });
}

/// A child of a scope belongs to the scope, wherever it was started from: it may outlive the runtime its starter ran on.
#[test]
fn scope_children_started_from_another_runtime_outlive_it() {
    watched("2 and 2 workers", || {
        let aviary = Aviary::new();
        let started_in = |s: &Runtime, from_scope_home: bool| {
            let frame = aviary.canary();
            let ran = AtomicUsize::new(0);
            let body = || {
                scope(|s| {
                    let (frame, ran) = (&frame, &ran);
                    throng::run(|| {
                        for _ in 0..20 {
                            s.go(move || {
                                frame.sing();
                                yield_now()?;
                                sleep(Duration::from_micros(100))?;
                                frame.sing();
                                ran.fetch_add(1, Ordering::Relaxed);
                                Ok::<_, Cancelled>(())
                            });
                        }
                    });
                    Ok::<_, Cancelled>(())
                })
            };
            let result = if from_scope_home { s.run(body) } else { body() };
            assert_eq!(result, Ok(()));
            assert_eq!(ran.into_inner(), 20);
            drop(frame);
        };
        let runtime = Runtime::builder().workers(2).build().unwrap();
        for _ in 0..20 {
            started_in(&runtime, true);
            started_in(&runtime, false);
        }
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn runtimes_come_and_go() {
    watched("many", || {
        for i in 0..scaled(50, 500) {
            let runtime = Runtime::builder().workers(1 + i % 3).build().unwrap();
            if i % 2 == 0 {
                assert_eq!(runtime.run(|| go(move || i).join().unwrap()), i);
            }
        }
    });
}

#[test]
fn a_thread_may_end_right_after_it_was_woken() {
    // Homes of ended threads are used again: a late unpark must not confuse the next.
    crate::common::on_runtimes(|runtime, _| {
        for i in 0..scaled(100, 2_000) {
            let (tx, rx) = rendezvous();
            let task = runtime.go(move || tx.send(i));
            let thread = std::thread::spawn(move || rx.recv().unwrap());
            assert_eq!(thread.join().unwrap(), i);
            task.join().unwrap().unwrap();
        }
    });
}
