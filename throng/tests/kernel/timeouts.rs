//! Time: never early, in order, and a limit that is over is not a cancellation.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use throng::{
    Cancelled, Elapsed, bounded, deadline, go, is_cancelled, never, rendezvous, scope, shield, sleep, sleep_until, timeout, yield_now,
};

use crate::common::{Dice, on_runtimes, scaled};

const FOREVER: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(3);

fn elapsed<R>(result: Result<R, Elapsed>) -> bool {
    result.is_err()
}

#[test]
fn timers_are_never_early_and_in_order() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let start = Instant::now();
            let order = Mutex::new(Vec::new());
            scope(|s| {
                // All on one worker, so that the order is a fact: they are started by one that does not let thieves in between.
                let order = &order;
                for i in (0..40_u32).rev() {
                    s.go(move || {
                        let at = start + Duration::from_millis(20 + u64::from(i));
                        sleep_until(at)?;
                        assert!(Instant::now() >= at, "early");
                        order.lock().unwrap().push((std::thread::current().id(), i));
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            let order = order.into_inner().unwrap();
            assert_eq!(order.len(), 40);
            for window in order.windows(2) {
                // Across workers there is no order.
                let ((a, i), (b, j)) = (window[0], window[1]);
                assert!(a != b || i < j || i + 1 >= j, "{window:?}");
            }
        });
    });
}

#[test]
fn timers_of_one_worker_fire_in_order() {
    crate::common::on_runtime(1, None, &mut |runtime, _| {
        let order = Mutex::new(Vec::new());
        runtime.run(|| {
            let start = Instant::now();
            scope(|s| {
                let order = &order;
                for i in (0..100_u64).rev() {
                    s.go(move || {
                        sleep_until(start + Duration::from_millis(10) + Duration::from_micros(i * 100))?;
                        order.lock().unwrap().push(i);
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        assert!(order.into_inner().unwrap().is_sorted());
    });
}

#[test]
fn random_sleeps_are_never_early() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            scope(|s| {
                for seed in 0..50 {
                    s.go(move || {
                        let mut dice = Dice::new(seed);
                        for _ in 0..10 {
                            let (start, nap) = (Instant::now(), Duration::from_micros(dice.below(2_000)));
                            sleep(nap)?;
                            assert!(start.elapsed() >= nap, "early");
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn many_timers_cancelled() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let n = scaled(3_000, 50_000);
            scope(|s| {
                let sleepers: Vec<_> = (0..n).map(|i| s.go(move || sleep(FOREVER + Duration::from_millis(i as u64 % 977)))).collect();
                for _ in 0..3 {
                    yield_now()?;
                }
                for (i, sleeper) in sleepers.iter().enumerate() {
                    if i % 100 != 0 {
                        sleeper.cancel();
                    }
                }
                for (i, sleeper) in sleepers.into_iter().enumerate() {
                    if i % 100 != 0 {
                        assert!(sleeper.join().is_err());
                    }
                }
                s.cancel();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            // The clock still works.
            sleep(Duration::from_micros(100)).unwrap();
        });
    });
}

#[test]
fn an_alarm_set_by_another_wakes_a_sleeping_worker_in_time() {
    on_runtimes(|runtime, _| {
        // A worker asleep until far off must notice an earlier deadline.
        let far = runtime.go(|| sleep(FOREVER));
        let near = runtime.go(|| {
            sleep(Duration::from_millis(1))?;
            sleep(Duration::from_millis(1))
        });
        assert_eq!(near.join().unwrap(), Ok(()));
        far.cancel();
        assert!(matches!(far.join(), Ok(Err(_)) | Err(throng::JoinError::TaskCancelled(_))));
    });
}

#[test]
fn extreme_durations() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            sleep(Duration::ZERO).unwrap();
            sleep(Duration::from_nanos(1)).unwrap();
            sleep_until(Instant::now()).unwrap();
            let endless = go(|| sleep(Duration::MAX));
            let also = go(|| timeout(Duration::MAX, || sleep(FOREVER)));
            for _ in 0..5 {
                yield_now().unwrap();
            }
            endless.cancel();
            also.cancel();
            assert!(!matches!(endless.join(), Ok(Ok(()))));
            assert!(!matches!(also.join(), Ok(Ok(Ok(())) | Err(_))));
            let mut ran = false;
            assert!(elapsed(timeout(Duration::ZERO, || ran = true)));
            assert!(!ran);
            assert_eq!(timeout(Duration::MAX, || 5), Ok(5));
        });
    });
}

#[test]
fn timeouts_nest() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            // The inner is over: the outer knows nothing of it.
            let result = timeout(FOREVER, || {
                let inner = timeout(SHORT, || sleep(FOREVER));
                assert!(elapsed(inner));
                assert!(!is_cancelled());
                yield_now().map(|()| 1)
            });
            assert_eq!(result, Ok(Ok(1)));
            // The outer is over: the inner did not elapse, its sleep was interrupted.
            let mut inner = None;
            let result = timeout(SHORT, || inner = Some(timeout(FOREVER, || sleep(FOREVER))));
            assert!(elapsed(result));
            assert_eq!(inner, Some(Ok(Err(Cancelled::new()))));
            // Both at the same moment: it is the outer's to report.
            let at = Instant::now() + SHORT;
            let result = deadline(at, || deadline(at, || sleep(FOREVER)));
            assert!(elapsed(result), "{result:?}");
            // Nothing is left of it.
            assert!(!is_cancelled());
            yield_now().unwrap();
            // A hundred, the outermost first.
            fn nested(n: u64) -> Result<Result<(), Cancelled>, Elapsed> {
                if n == 0 {
                    return Ok(sleep(FOREVER));
                }
                timeout(SHORT + Duration::from_secs(n), || nested(n - 1))?
            }
            let result = timeout(SHORT, || nested(20));
            assert!(elapsed(result), "{result:?}");
        });
    });
}

#[test]
fn a_limit_nobody_noticed_throws_nothing_away() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let result = timeout(Duration::from_micros(200), || {
                let start = Instant::now();
                while start.elapsed() < SHORT {
                    std::hint::spin_loop();
                }
                shield(|| sleep(Duration::from_micros(100)))
            });
            assert_eq!(result, Ok(Ok(())));
            // A limit inside the shield is another one: what it interrupts is not the outer's doing.
            let result = timeout(Duration::from_millis(1), || shield(|| timeout(Duration::from_millis(4), || sleep(FOREVER))));
            assert_eq!(result, Ok(Err(timeout(Duration::ZERO, || ()).unwrap_err())));
        });
    });
}

#[test]
fn a_timeout_is_not_a_cancellation() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = rendezvous::<u8>();
            // As a limit of the call itself...
            assert_eq!(rx.recv_timeout(SHORT), Err(throng::channel::RecvTimeoutError::Timeout));
            // ... and as one around it.
            assert!(elapsed(timeout(SHORT, || rx.recv())));
            assert!(!is_cancelled());
            // The task's own cancellation is not the limit's.
            let (parked, is_parked) = rendezvous();
            let task = go(move || {
                parked.send(()).unwrap();
                timeout(FOREVER, || rx.recv())
            });
            is_parked.recv().unwrap();
            task.cancel();
            assert_eq!(task.join().unwrap(), Ok(Err(throng::channel::RecvError::Cancelled)));
            drop(tx);
            // Cancelled, and then also out of time: still the task's.
            let (parked, is_parked) = rendezvous();
            let task = go(move || {
                parked.send(()).unwrap();
                timeout(Duration::from_micros(500), || {
                    let slept = sleep(FOREVER);
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(1) {
                        let _ = yield_now();
                    }
                    slept
                })
            });
            is_parked.recv().unwrap();
            task.cancel();
            let result = task.join().unwrap();
            assert_eq!(result, Ok(Err(Cancelled::new())));
        });
    });
}

#[test]
fn a_timeout_of_a_shield_ends_it() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (parked, is_parked) = bounded(1);
            let task = go(move || {
                parked.send(()).unwrap();
                assert!(sleep(FOREVER).is_err());
                // Clean-up with a limit of its own.
                let result = shield(|| timeout(SHORT, || never::<()>().recv()));
                assert!(elapsed(result));
                assert!(is_cancelled());
            });
            is_parked.recv().unwrap();
            task.cancel();
            match task.join() {
                Ok(()) | Err(throng::JoinError::TaskCancelled(_)) => {}
                other => panic!("{other:?}"),
            }
        });
    });
}

#[test]
fn timeouts_work_on_plain_threads() {
    let (_tx, rx) = rendezvous::<u8>();
    assert!(elapsed(timeout(SHORT, || rx.recv())));
    assert!(elapsed(timeout(SHORT, || timeout(FOREVER, || sleep(FOREVER)))));
    assert!(!is_cancelled());
    let start = Instant::now();
    sleep(SHORT).unwrap();
    assert!(start.elapsed() >= SHORT);
}
