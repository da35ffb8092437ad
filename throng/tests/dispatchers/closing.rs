//! Closing a dispatcher: its tasks end or are refused, clearly; nobody hangs.

use std::time::Duration;

use throng::dispatch::{default, single};
use throng::{Cancelled, Dispatcher, JoinError, OnError, Runtime, go, launch, on, rendezvous, scope, sleep, task, yield_now};

use crate::common::{Aviary, on_runtimes, scaled, watched};

#[test]
fn tasks_are_cancelled_and_new_ones_refused() {
    let aviary = Aviary::new();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let pool = single("pool").unwrap();
            let (started, has_started) = rendezvous();
            let canary = aviary.canary();
            let parked = task().on(&pool).go(move || {
                started.send(()).unwrap();
                let met = sleep(Duration::from_secs(3600));
                canary.sing();
                met
            });
            has_started.recv().unwrap();
            let cut_off = task().on(&pool).launch(std::future::pending::<()>());
            pool.close();
            assert_eq!(parked.join().unwrap(), Err(Cancelled::new()), "{label}");
            assert!(matches!(cut_off.join(), Err(JoinError::TaskCancelled(_))), "{label}");
            assert!(task().on(&pool).try_go(|| ()).unwrap_err().is_shut_down(), "{label}");
            assert!(matches!(on(&pool, || ()), Err(OnError::Refused(error)) if error.is_shut_down()), "{label}");
            assert!(matches!(on(&pool.limited(2), || ()), Err(OnError::Refused(_))), "{label}");
            let ended = scope(|s| {
                assert!(s.task().on(&pool).try_launch(async { Ok::<_, Cancelled>(()) }).is_err(), "{label}");
                Ok(())
            });
            assert_eq!(ended, Ok(()), "{label}");
            // Those that are no pool of one's own are not closed like this.
            default().close();
            throng::dispatch::io().close();
            assert_eq!(task().on(&default()).go(|| 5).join().unwrap(), 5, "{label}");
        });
    });
    assert_eq!(aviary.alive(), 0);
}

/// Closed at any moment, with visitors under way: each ends or is refused.
#[test]
fn closed_at_any_moment() {
    let aviary = Aviary::new();
    on_runtimes(|runtime, label| {
        for round in 0..scaled(5, 40) {
            runtime.run(|| {
                let pool = Dispatcher::builder().workers(2).build().unwrap();
                let ended = scope(|s| {
                    let closer = pool.clone();
                    s.go(move || {
                        for _ in 0..round {
                            yield_now()?;
                        }
                        closer.close();
                        Ok(())
                    });
                    for n in 0..20 {
                        let canary = aviary.canary();
                        let task = s.task().on(&pool);
                        let refused = if n % 2 == 0 {
                            task.try_go(move || {
                                canary.sing();
                                yield_now()?;
                                sleep(Duration::from_micros(10))
                            })
                            .err()
                        } else {
                            task.try_launch(async move {
                                canary.sing();
                                throng::yield_now_async().await
                            })
                            .err()
                        };
                        assert!(refused.is_none_or(|error| error.is_shut_down()), "{label}");
                        yield_now()?;
                    }
                    Ok::<_, Cancelled>(())
                });
                // (A visitor that was cancelled with its pool has met that: no failure.)
                assert!(ended.is_ok(), "{label}");
            });
        }
    });
    assert_eq!(aviary.alive(), 0);
}

/// The last handle goes with the last task that has inherited it, on the pool's own thread.
#[test]
fn pools_go_with_their_last_handle() {
    watched("pools", || {
        throng::run(|| {
            for _ in 0..scaled(10, 100) {
                let pool = single("short-lived").unwrap();
                let detached = task().on(&pool).go(|| launch(async { go(|| 5).await.unwrap() }).join().unwrap());
                drop(pool);
                // Cancelled with the pool, or done before.
                drop(detached.join());
            }
        });
        // A runtime's dispatcher does not keep it.
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let dispatcher = runtime.dispatcher();
        assert_eq!(on(&dispatcher, || 5).unwrap(), 5);
        runtime.shutdown();
        assert!(matches!(on(&dispatcher, || ()), Err(OnError::Refused(_))));
    });
}
