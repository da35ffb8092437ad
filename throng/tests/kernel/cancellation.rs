//! Cancellation against everything it can race with.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use throng::channel::{RecvError, RecvTimeoutError, SendError, SendTimeoutError};
use throng::{Cancelled, JoinError, bounded, check, go, is_cancelled, rendezvous, scope, shield, sleep, yield_now};

use crate::common::{Aviary, Dice, on_runtimes, scaled};

/// A receiver that is cancelled, times out and is sent to at the same time: one of the three, and the item is where the outcome says.
#[test]
fn waiter_two_causes_one_winner() {
    on_runtimes(|runtime, label| {
        let mut outcomes = [0_usize; 3];
        runtime.run(|| {
            let mut dice = Dice::new(7);
            for round in 0..scaled(2_000, 40_000) as u32 {
                let (tx, rx) = rendezvous::<u32>();
                let patience = Duration::from_micros(1 + dice.below(40));
                let receiver = go(move || rx.recv_timeout(patience));
                let sender = go(move || tx.send_timeout(round, Duration::from_micros(10)));
                for _ in 0..dice.below(4) {
                    yield_now().unwrap();
                }
                if dice.below(2) == 0 {
                    receiver.cancel();
                }
                let sent = match sender.join().unwrap() {
                    Ok(()) => true,
                    Err(SendTimeoutError::Timeout(back) | SendTimeoutError::Closed(back)) => {
                        assert_eq!(back, round);
                        false
                    }
                    Err(other) => panic!("{other:?}"),
                };
                match receiver.join() {
                    Ok(Ok(item)) => {
                        assert_eq!(item, round);
                        assert!(sent, "received what came back to the sender");
                        outcomes[0] += 1;
                    }
                    Ok(Err(RecvTimeoutError::Timeout)) => {
                        assert!(!sent, "lost");
                        outcomes[1] += 1;
                    }
                    Ok(Err(RecvTimeoutError::Cancelled)) | Err(JoinError::TaskCancelled(_)) => {
                        assert!(!sent, "lost");
                        outcomes[2] += 1;
                    }
                    // Its sender gave up first, and closed.
                    Ok(Err(RecvTimeoutError::Closed)) => assert!(!sent, "lost"),
                    other => panic!("{other:?}"),
                }
            }
        });
        // Not asked: that each outcome occurs (a matter of timing).
        println!("{label}: {outcomes:?}");
    });
}

#[test]
fn stale_timer_cannot_wake_next_wait() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for _ in 0..scaled(300, 5_000) {
                let (tx, rx) = rendezvous::<u8>();
                let (go_on, on) = rendezvous::<()>();
                let task = go(move || {
                    // Ended by the item or the timer, about equally; the timer must have no say afterwards.
                    let first = rx.recv_timeout(Duration::from_micros(20));
                    let second = on.recv();
                    (first.is_ok(), second)
                });
                let _ = tx.send_timeout(1, Duration::from_micros(20));
                // Time for a stale timer to go off.
                sleep(Duration::from_micros(30)).unwrap();
                go_on.send(()).unwrap();
                assert_eq!(task.join().unwrap().1, Ok(()));
            }
        });
    });
}

#[test]
fn park_after_timed_park() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = rendezvous::<u32>();
            let (back, is_back) = rendezvous::<u32>();
            let rounds = scaled(1_000, 20_000) as u32;
            let task = go(move || {
                for round in 0..rounds {
                    // A timed park whose wake races the timer, then at once an untimed one.
                    let got = match rx.recv_timeout(Duration::from_micros(u64::from(round % 7))) {
                        Ok(item) => item,
                        Err(RecvTimeoutError::Timeout) => rx.recv().unwrap(),
                        Err(other) => panic!("{other:?}"),
                    };
                    assert_eq!(got, round);
                    back.send(got).unwrap();
                }
            });
            for round in 0..rounds {
                tx.send(round).unwrap();
                assert_eq!(is_back.recv(), Ok(round));
            }
            task.join().unwrap();
        });
    });
}

/// Neither runs, both are accounted for: dropped once, waited for.
#[test]
fn cancel_before_first_run() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            let ran = AtomicUsize::new(0);
            let refused = AtomicUsize::new(0);
            let n = 500;
            scope(|s| {
                for _ in 0..n {
                    let canary = aviary.canary();
                    let ran = &ran;
                    let task = s.go(move || {
                        canary.sing();
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                    task.cancel();
                    let refused = &refused;
                    s.go(move || match task.join() {
                        Err(JoinError::TaskCancelled(_)) => _ = refused.fetch_add(1, Ordering::Relaxed),
                        Ok(()) => {}
                        other => panic!("{other:?}"),
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            // A thief may have begun one before it was cancelled.
            assert_eq!(ran.into_inner() + refused.into_inner(), n);
        });
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn cancel_before_first_run_on_one_worker_runs_nothing() {
    let runtime = throng::Runtime::builder().workers(1).max_spare_workers(0).build().unwrap();
    runtime.run(|| {
        let ran = AtomicBool::new(false);
        scope(|s| {
            let tasks: Vec<_> = (0..100).map(|_| s.go(|| ran.store(true, Ordering::Relaxed))).collect();
            tasks.iter().for_each(throng::ScopedJoinHandle::cancel);
            for task in tasks {
                assert!(matches!(task.join(), Err(JoinError::TaskCancelled(_))));
            }
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        assert!(!ran.into_inner());
    });
}

#[test]
fn cancel_vs_complete() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            let mut dice = Dice::new(3);
            for _ in 0..scaled(2_000, 50_000) {
                let canary = aviary.canary();
                let task = go(move || {
                    let _ = yield_now();
                    canary
                });
                for _ in 0..dice.below(4) {
                    yield_now().unwrap();
                }
                task.cancel();
                task.cancel();
                match task.join() {
                    Ok(canary) => canary.sing(),
                    Err(JoinError::TaskCancelled(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn cancel_vs_wake() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for _ in 0..scaled(1_000, 20_000) {
                let (tx, rx) = rendezvous::<u8>();
                let receiver = go(move || rx.recv());
                let sender = go(move || tx.send(1));
                let canceller = go(move || {
                    receiver.cancel();
                    receiver.join()
                });
                let sent = sender.join().unwrap();
                match canceller.join().unwrap() {
                    Ok(Ok(1)) => assert_eq!(sent, Ok(())),
                    Ok(Err(RecvError::Cancelled)) | Err(JoinError::TaskCancelled(_)) => assert_eq!(sent, Err(SendError::Closed(1))),
                    other => panic!("{other:?}"),
                }
            }
        });
    });
}

/// Children attached while their scope is being cancelled are waited for, and cancelled.
#[test]
fn cancel_vs_spawn() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            for round in 0..scaled(200, 3_000) {
                let frame = aviary.canary();
                let result = scope(|s| {
                    for _ in 0..4 {
                        let frame = &frame;
                        s.go(move || {
                            for _ in 0..20 {
                                s.go(move || {
                                    frame.sing();
                                    let slept = sleep(Duration::from_secs(3600));
                                    frame.sing();
                                    slept
                                });
                                if round % 3 == 0 && yield_now().is_err() {
                                    break;
                                }
                            }
                        });
                    }
                    for _ in 0..round % 5 {
                        yield_now()?;
                    }
                    s.cancel();
                    Ok::<_, Cancelled>(())
                });
                assert_eq!(result, Ok(()));
                drop(frame);
            }
        });
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn cancellation_is_sticky_and_reaches_every_park() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (parked, is_parked) = rendezvous();
            let task = go(move || {
                parked.send(()).unwrap();
                assert!(sleep(Duration::from_secs(3600)).is_err());
                let (tx, rx) = rendezvous::<u8>();
                for _ in 0..3 {
                    assert!(is_cancelled());
                    assert!(check().is_err());
                    assert!(yield_now().is_err());
                    assert!(sleep(Duration::from_micros(1)).is_err());
                    assert_eq!(rx.recv(), Err(RecvError::Cancelled));
                    assert_eq!(tx.send(1), Err(SendError::Cancelled(1)));
                    assert!(throng::select! { recv(rx) -> _ => () }.is_err());
                    assert!(throng::blocking(|| unreachable!()).is_err());
                    let group = throng::WaitGroup::new();
                    group.add(1);
                    assert!(group.wait().is_err());
                    let mutex = throng::Mutex::new(());
                    let held = mutex.lock().unwrap();
                    assert!(mutex.lock().is_err());
                    drop(held);
                    let child = go(|| sleep(Duration::from_secs(3600)));
                    let handle = go(|| sleep(Duration::from_secs(3600)));
                    child.cancel();
                    handle.cancel();
                    let joined = child.join();
                    assert!(matches!(joined, Err(JoinError::Cancelled | JoinError::TaskCancelled(_)) | Ok(Err(_))), "{joined:?}");
                    let scoped = scope(|s| {
                        s.go(|| sleep(Duration::from_secs(3600)));
                        Ok::<_, Cancelled>(())
                    });
                    assert_eq!(scoped, Err(Cancelled::new()));
                }
                shield(|| {
                    assert!(!is_cancelled() && check().is_ok());
                    assert!(yield_now().is_ok());
                    assert!(sleep(Duration::from_micros(1)).is_ok());
                    assert_eq!(rx.recv_timeout(Duration::from_micros(1)), Err(RecvTimeoutError::Timeout));
                    assert_eq!(throng::blocking(|| 5), Ok(5));
                });
                assert!(is_cancelled() && yield_now().is_err());
            });
            is_parked.recv().unwrap();
            task.cancel();
            task.join().unwrap();
        });
    });
}

#[test]
fn cancelled_senders_and_receivers_lose_nothing() {
    on_runtimes(|runtime, label| {
        let aviary = Aviary::new();
        runtime.run(|| {
            let mut dice = Dice::new(11);
            for _ in 0..scaled(30, 300) {
                let (tx, rx) = bounded(2);
                let delivered = AtomicUsize::new(0);
                let returned = AtomicUsize::new(0);
                let sent = 8 * 20;
                scope(|s| {
                    let (aviary, delivered, returned) = (&aviary, &delivered, &returned);
                    let mut tasks = Vec::new();
                    for _ in 0..8 {
                        let tx = tx.clone();
                        tasks.push(s.go(move || {
                            for _ in 0..20 {
                                if tx.send(aviary.canary()).is_err() {
                                    returned.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }));
                        let rx = rx.clone();
                        tasks.push(s.go(move || {
                            while let Ok(canary) = rx.recv() {
                                canary.sing();
                                delivered.fetch_add(1, Ordering::Relaxed);
                            }
                        }));
                    }
                    drop(tx);
                    for _ in 0..6 {
                        let task = &tasks[dice.below(16) as usize];
                        // One that has not started would not send at all.
                        for _ in 0..3 {
                            yield_now()?;
                        }
                        task.cancel();
                    }
                    drop(rx);
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
                let total = delivered.into_inner() + returned.into_inner();
                assert!(total <= sent, "{label}: {total}");
                assert_eq!(aviary.alive(), 0, "{label}");
            }
        });
    });
}
