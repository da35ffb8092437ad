//! Calls that block: they borrow, are not interrupted, and hold nobody up.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Condvar, Mutex};
use std::thread::ThreadId;

use throng::{Cancelled, Runtime, blocking, go, rendezvous, scope, yield_now};

use crate::common::{OnPurpose, on_runtimes, panic_on_purpose, scaled, watched};

#[test]
fn it_borrows_and_returns() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let text = String::from("on another thread");
            let here = std::thread::current().id();
            let mut there = None;
            let len = blocking(|| {
                there = Some(std::thread::current().id());
                text.len()
            });
            assert_eq!(len, Ok(17));
            assert_ne!(there, Some(here));
        });
    });
    // On a plain thread it just runs.
    let here = std::thread::current().id();
    assert_eq!(blocking(|| std::thread::current().id()), Ok(here));
}

#[test]
fn its_panics_are_carried() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let panicked = catch_unwind(AssertUnwindSafe(|| blocking(|| panic_on_purpose(4))));
            assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&OnPurpose(4)));
            // The thread lives.
            assert_eq!(blocking(|| 1), Ok(1));
        });
    });
}

/// The closure waits for what only other goroutines of the same worker can do.
#[test]
fn others_go_on_meanwhile() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (flag, changed) = (Mutex::new(0), Condvar::new());
            scope(|s| {
                s.go(|| {
                    for _ in 0..10 {
                        yield_now()?;
                    }
                    *flag.lock().unwrap() = 1;
                    changed.notify_all();
                    Ok::<_, Cancelled>(())
                });
                blocking(|| drop(changed.wait_while(flag.lock().unwrap(), |flag| *flag == 0).unwrap()))
            })
            .unwrap();
        });
    });
}

#[test]
fn cancellation_acts_before_it_begins_only() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (flag, changed) = (Mutex::new(0), Condvar::new());
            let (begun, has_begun) = rendezvous::<()>();
            scope(|s| {
                let task = s.go(|| {
                    let result = blocking(|| {
                        begun.send(()).unwrap();
                        drop(changed.wait_while(flag.lock().unwrap(), |flag| *flag == 0).unwrap());
                        7
                    });
                    assert_eq!(result, Ok(7), "its result is not lost");
                    assert!(yield_now().is_err(), "but the cancellation is met next");
                    assert_eq!(blocking(|| unreachable!()), Err::<(), _>(Cancelled::new()));
                });
                has_begun.recv().unwrap();
                task.cancel();
                for _ in 0..10 {
                    yield_now()?;
                }
                assert!(!task.is_finished());
                *flag.lock().unwrap() = 1;
                changed.notify_all();
                task.join().unwrap();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

/// N at once need N threads and no more, however many came before.
#[test]
fn n_calls_at_once_need_n_threads() {
    const N: usize = 8;
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let threads: Mutex<HashSet<ThreadId>> = Mutex::default();
            for _ in 0..5 {
                let barrier = Barrier::new(N);
                scope(|s| {
                    for _ in 0..N {
                        s.go(|| {
                            blocking(|| {
                                threads.lock().unwrap().insert(std::thread::current().id());
                                // All N are there at once, or this hangs.
                                barrier.wait();
                            })
                        });
                    }
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            }
            let used = threads.into_inner().unwrap().len();
            let exist = throng::metrics().unwrap().blocking_threads;
            // A thread that has just finished may not be idle yet when the next round's calls come.
            assert!((N..=2 * N).contains(&used) && exist <= 2 * N, "{used} {exist}");
        });
    });
}

#[test]
fn more_calls_than_threads_all_complete() {
    for workers in [1, 2, 8] {
        watched(&format!("{workers} workers"), || {
            let runtime = Runtime::builder().workers(workers).max_blocking_threads(3).build().unwrap();
            let (at_once, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
            let n = scaled(500, 20_000);
            runtime.run(|| {
                scope(|s| {
                    for _ in 0..n {
                        s.go(|| {
                            blocking(|| {
                                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                                std::thread::yield_now();
                                at_once.fetch_sub(1, Ordering::SeqCst);
                            })?;
                            done.fetch_add(1, Ordering::Relaxed);
                            Ok::<_, Cancelled>(())
                        });
                    }
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            });
            assert_eq!(done.into_inner(), n);
            assert!(most.into_inner() <= 3);
            assert!(runtime.metrics().blocking_threads <= 3);
        });
    }
}

/// A closure on a blocking thread may use channels, and start goroutines on the default runtime.
#[test]
fn channels_work_inside() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = rendezvous();
            let (back, is_back) = rendezvous();
            let echo = go(move || {
                for item in rx {
                    back.send(item + 1).unwrap();
                }
            });
            let sum = blocking(|| {
                (0..50)
                    .map(|i: i32| {
                        tx.send(i).unwrap();
                        is_back.recv().unwrap()
                    })
                    .sum::<i32>()
            });
            assert_eq!(sum, Ok(1275));
            drop(tx);
            echo.join().unwrap();
        });
    });
}

#[test]
fn shutdown_waits_for_a_blocking_call() {
    watched("2 workers", || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let (begun, has_begun) = rendezvous::<()>();
        let (tx, rx) = rendezvous::<()>();
        static DONE: AtomicBool = AtomicBool::new(false);
        let task = runtime.go(move || {
            blocking(|| {
                begun.send(()).unwrap();
                rx.recv().unwrap();
                DONE.store(true, Ordering::SeqCst);
            })
        });
        has_begun.recv().unwrap();
        let closer = std::thread::spawn(move || {
            runtime.shutdown();
            assert!(DONE.load(Ordering::SeqCst));
        });
        tx.send(()).unwrap();
        closer.join().unwrap();
        assert_eq!(task.join().unwrap(), Ok(()));
    });
}
