//! The combinators of `futures`.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Aborted, Either, abortable, join_all, select, try_join_all};
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt, TryStreamExt, join, try_join};
use throng::future::Wait;
use throng::{Cancelled, bounded, go, launch, rendezvous, scope, sleep_async, yield_now, yield_now_async};

use crate::common::{Aviary, on_runtimes, scaled};
use crate::everywhere;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn joins() {
    everywhere(
        || async {
            let (tx, rx) = rendezvous();
            let sent = async { tx.send_async(2).await.is_ok() };
            let task = go(|| 3).into_future();
            let (slept, sent, got, joined) = join!(sleep_async(Duration::from_micros(50)), sent, rx.recv_async(), task);
            let many = join_all((0..20).map(|n| launch(async move { n }).into_future())).await;
            (slept.is_ok() && sent, got.unwrap() + joined.unwrap(), many.into_iter().map(Result::unwrap).sum::<u32>())
        },
        |got, label| assert_eq!(got, (true, 5, 190), "{label}"),
    );
}

/// The first error drops the others.
#[test]
fn failed_joins_drop_the_rest() {
    let aviary = Aviary::new();
    everywhere(
        || {
            let (one, two) = (aviary.canary(), aviary.canary());
            async move {
                let waits = async {
                    let _canary = one;
                    pending::<Result<(), &str>>().await
                };
                let fails = async {
                    let _canary = two;
                    yield_now_async().await.map_err(|_| "cancelled")?;
                    Err::<(), _>("failed")
                };
                let pair = try_join!(waits, fails);
                let many =
                    try_join_all((0..5).map(|n| async move { if n == 3 { Err(n) } else { sleep_async(LONG).await.map_err(|_| 9) } }));
                (pair, many.await)
            }
        },
        |got, label| {
            assert_eq!(got, (Err("failed"), Err(3)), "{label}");
            assert_eq!(aviary.alive(), 0, "{label}");
        },
    );
}

/// A receive that loses a select has not happened.
#[test]
fn selects_lose_nothing() {
    on_runtimes(|runtime, label| {
        let each = scaled(200, 3_000) as u64;
        let (sum, seen) = runtime.run(|| {
            let ((left, lefts), (right, rights)) = (rendezvous(), bounded(2));
            scope(|s| {
                s.go(move || (0..each).try_for_each(|n| left.send(n).map_err(|_| Cancelled::new())));
                s.launch(async move {
                    for n in 0..each {
                        right.send_async(n).await.map_err(|_| Cancelled::new())?;
                    }
                    Ok(())
                });
                let selects = s.launch(async move {
                    let (mut sum, mut seen) = (0, 0);
                    while seen < 2 * each {
                        let item = match select(pin!(lefts.recv_async()), pin!(rights.recv_async())).await {
                            Either::Left((Ok(item), _)) | Either::Right((Ok(item), _)) => item,
                            // One side is done: the other has the rest.
                            Either::Left((Err(_), right)) => right.await.map_err(|_| Cancelled::new())?,
                            Either::Right((Err(_), left)) => left.await.map_err(|_| Cancelled::new())?,
                        };
                        (sum, seen) = (sum + item, seen + 1);
                    }
                    Ok((sum, seen))
                });
                selects.join().map_err(|_| Cancelled::new())
            })
            .unwrap()
        });
        assert_eq!((sum, seen), (each * (each - 1), 2 * each), "{label}");
    });
}

#[test]
fn the_select_macro() {
    everywhere(
        || async {
            let ((tx, rx), (_quiet, never)) = (bounded(1), rendezvous::<u32>());
            launch(async move { tx.send_async(7).await });
            let (mut got, mut none) = (pin!(rx.recv_async().fuse()), pin!(never.recv_async().fuse()));
            futures::select! {
                item = got => item,
                item = none => item,
            }
        },
        |got, label| assert_eq!(got, Ok(7), "{label}"),
    );
}

/// Many futures under wakers of their own, in one task. Half of the second set is dropped before its end.
#[test]
fn unordered_sets() {
    let aviary = Aviary::new();
    everywhere(
        || {
            let aviary = aviary.clone();
            async move {
                let part = |n: u64| {
                    let canary = aviary.canary();
                    async move {
                        match n % 4 {
                            0 => sleep_async(Duration::from_micros(n * 7)).await.unwrap(),
                            1 => yield_now_async().await.unwrap(),
                            2 => go(|| yield_now().unwrap()).await.unwrap(),
                            _ => launch(sleep_async(Duration::from_micros(n))).await.unwrap().unwrap(),
                        }
                        canary.sing();
                        n
                    }
                };
                let all: u64 = (0..40).map(part).collect::<FuturesUnordered<_>>().fold(0, |sum, n| async move { sum + n }).await;
                let mut some = (0..40).map(part).collect::<FuturesUnordered<_>>();
                for _ in 0..20 {
                    assert!(some.next().await.is_some());
                }
                (all, some.len())
            }
        },
        |got, label| {
            assert_eq!(got, (780, 20), "{label}");
            assert_eq!(aviary.alive(), 0, "{label}");
        },
    );
}

/// One task's value for coroutines, goroutines and a thread.
#[test]
fn shared() {
    on_runtimes(|runtime, label| {
        let (open, gate) = rendezvous::<()>();
        let task = runtime.launch(async move {
            let _ = gate.recv_async().await;
            String::from("value")
        });
        let value = async { task.await.unwrap() }.boxed().shared();
        let mut waiting = Vec::new();
        for n in 0..6 {
            let value = value.clone();
            waiting.push(if n % 2 == 0 { runtime.launch(value) } else { runtime.go(|| value.wait().unwrap()) });
        }
        let thread = std::thread::spawn({
            let value = value.clone();
            || value.wait().unwrap()
        });
        assert!(value.peek().is_none());
        drop(open);
        for one in waiting {
            assert_eq!(one.join().unwrap(), "value", "{label}");
        }
        assert_eq!((thread.join().unwrap(), value.wait().unwrap()), ("value".into(), "value".into()), "{label}");
    });
}

#[test]
fn streams() {
    everywhere(
        || async {
            let (tx, rx) = bounded(3);
            launch(async move {
                for n in 1..=50_u64 {
                    tx.send_async(n).await.unwrap();
                }
            });
            let items = stream::unfold(rx, |rx| async { rx.recv_async().await.ok().map(|item| (item, rx)) });
            let squares = items.map(|n| launch(async move { n * n }).into_future()).buffer_unordered(8);
            let sum: u64 = squares.try_fold(0, |sum, square| async move { Ok(sum + square) }).await.unwrap();
            let ordered: Vec<u64> =
                stream::iter(0..20).map(|n| go(move || n).into_future()).buffered(5).map(Result::unwrap).collect().await;
            (sum, ordered)
        },
        |(sum, ordered), label| assert!(sum == 42_925 && ordered.into_iter().eq(0..20), "{label}"),
    );
}

#[test]
fn aborts() {
    let aviary = Aviary::new();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for ours in [false, true] {
                let (waits, is_waiting) = bounded(1);
                let canary = aviary.canary();
                let (future, abort) = abortable(crate::told(
                    async move {
                        let _canary = canary;
                        if ours {
                            let _ = sleep_async(LONG).await;
                        } else {
                            pending::<()>().await;
                        }
                    },
                    waits,
                ));
                let coroutine = launch(future);
                is_waiting.recv().unwrap();
                abort.abort();
                assert_eq!(coroutine.join().unwrap(), Err(Aborted), "{label}");
            }
        });
        assert_eq!(aviary.alive(), 0, "{label}");
    });
}
