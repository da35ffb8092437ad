//! Cancelled coroutines: told where they wait for what is ours, cut off where they do not, shielded.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use throng::channel::{RecvError, SendError};
use throng::future::Wait;
use throng::{
    Cancelled, Elapsed, JoinError, Mutex, bounded, cause, check, go, launch, rendezvous, scope, shield_async, sleep_async, timeout,
    timeout_async, yield_now, yield_now_async,
};

use crate::common::{Aviary, Dice, on_runtime, on_runtimes, scaled};

const LONG: Duration = Duration::from_secs(3600);

/// Each future of ours returns its cancellation: mid-wait, and when it comes to it later; what it waited for is as it was.
#[test]
fn ours_return_it() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let (tx, rx) = rendezvous::<u32>();
            let mutex = Arc::new(Mutex::new(0));
            let held = mutex.lock().unwrap();
            let never = Arc::new(parking());
            macro_rules! cancelled {
                ($what:literal, $held:ident => $future:expr, $expect:pat) => {{
                    let $held = $held.clone();
                    let handle = launch(async move {
                        let $held = &$held;
                        let first = $future.await;
                        let again = $future.await;
                        (first, again, cause().map(|cause| cause.to_string()))
                    });
                    for _ in 0..3 {
                        yield_now().unwrap();
                    }
                    handle.cancel_with("enough");
                    // (Not run at all, if it was quicker than the start.)
                    match handle.join() {
                        Ok((first, again, cause)) => {
                            assert!(matches!(first, $expect), "{label}: {}", $what);
                            assert!(matches!(again, $expect), "{label}: {} again", $what);
                            assert_eq!(cause.as_deref(), Some("enough"), "{label}: {}", $what);
                        }
                        Err(JoinError::TaskCancelled(cause)) => assert_eq!(cause.to_string(), "enough"),
                        Err(other) => panic!("{label}: {}: {other}", $what),
                    }
                }};
            }
            cancelled!("recv", rx => rx.recv_async(), Err(RecvError::Cancelled));
            cancelled!("send", tx => tx.send_async(7), Err(SendError::Cancelled(7)));
            cancelled!("lock", mutex => async { mutex.lock_async().await.map(|guard| *guard) }, Err(Cancelled { .. }));
            cancelled!("sleep", mutex => { let _ = mutex; sleep_async(LONG) }, Err(Cancelled { .. }));
            cancelled!("yield", mutex => async { let _ = mutex; loop { yield_now_async().await?; } #[allow(unreachable_code)] Ok::<(), Cancelled>(()) }, Err(Cancelled { .. }));
            cancelled!("join", never => async { let _ = never; go(|| throng::sleep(LONG)).await.map(drop) }, Err(JoinError::Cancelled));
            cancelled!("a limit", rx => timeout_async(LONG, rx.recv_async()), Ok(Err(RecvError::Cancelled)));
            drop(held);
            // Nothing is left in the queues.
            let receiver = go(move || rx.recv());
            tx.send(3).unwrap();
            assert_eq!(receiver.join().unwrap(), Ok(3), "{label}");
            assert_eq!(*mutex.lock().unwrap(), 0, "{label}");
        });
    });
}

fn parking() -> impl Send + Sync {}

/// A future of somebody else's is dropped where it waits, and the task has ended by its cancellation.
#[test]
fn others_are_cut_off() {
    let aviary = Aviary::new();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for _ in 0..scaled(5, 50) {
                let (started, has_started) = bounded(1);
                let canary = aviary.canary();
                let handle = launch(async move {
                    canary.sing();
                    started.send_async(()).await.unwrap();
                    pending::<()>().await;
                });
                has_started.recv().unwrap();
                handle.cancel_with("over");
                let Err(JoinError::TaskCancelled(cause)) = handle.join() else { panic!("{label}: not cancelled") };
                assert_eq!(cause.to_string(), "over", "{label}");
            }
            // As a child: no failure of the scope.
            let ended = scope(|s| {
                s.launch(pending::<()>());
                let stop = s.launch(async {
                    yield_now_async().await?;
                    Ok::<_, Cancelled>(())
                });
                let _ = stop.join();
                s.cancel();
                Ok::<_, Cancelled>(())
            });
            assert!(ended.is_ok() || ended == Err(Cancelled::new()), "{label}");
        });
    });
    assert_eq!(aviary.alive(), 0);
}

/// Cancelled while it is parked in the middle of a turn, and then waiting for what knows nothing of that: it is cut off all the same.
#[test]
fn cancelled_in_a_park_and_cut_off_later() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for _ in 0..scaled(5, 50) {
                let (started, has_started) = rendezvous();
                let handle = launch(async move {
                    started.send(()).unwrap();
                    let met = throng::sleep(LONG); // parks, in the turn
                    assert_eq!(met, Err(Cancelled::new()));
                    pending::<()>().await;
                });
                has_started.recv().unwrap();
                yield_now().unwrap();
                handle.cancel();
                assert!(matches!(handle.join(), Err(JoinError::TaskCancelled(_))), "{label}");
            }
        });
    });
}

/// A shield holds: for our futures, and against being cut off, also where only a part of the future is shielded.
#[test]
fn shields() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let (started, has_started) = bounded(1);
            let (tx, rx) = rendezvous();
            let (gate, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let (open, polls) = (Arc::clone(&gate), Arc::clone(&opened));
            let handle = launch(async move {
                started.send_async(()).await.unwrap();
                let told = sleep_async(LONG).await;
                // Ours.
                let sent = shield_async(tx.send_async("cleaned up")).await;
                // Somebody else's.
                shield_async(poll_fn(|cx| {
                    polls.fetch_add(1, Ordering::SeqCst);
                    cx.waker().wake_by_ref();
                    if open.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
                }))
                .await;
                // The shield is over.
                (told, sent, check(), sleep_async(LONG).await)
            });
            has_started.recv().unwrap();
            handle.cancel();
            assert_eq!(rx.recv(), Ok("cleaned up"), "{label}");
            while opened.load(Ordering::SeqCst) < 3 {
                yield_now().unwrap();
            }
            gate.store(true, Ordering::SeqCst);
            let cancelled = Err(Cancelled::new());
            assert_eq!(handle.join().unwrap(), (cancelled, Ok(()), cancelled, cancelled), "{label}");
        });
    });
}

#[test]
fn limits_of_time() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let short = Duration::from_millis(2);
            let start = Instant::now();
            let over = launch(async move { timeout_async(short, pending::<()>()).await });
            assert!(matches!(over.join().unwrap(), Err(Elapsed { .. })), "{label}");
            assert!(start.elapsed() >= short, "{label}: never early");
            let inner = launch(async move { timeout_async(LONG, timeout_async(short, sleep_async(LONG))).await });
            assert!(matches!(inner.join().unwrap(), Ok(Err(Elapsed { .. }))), "{label}: the inner one");
            let outer = launch(async move { timeout_async(short, timeout_async(LONG, sleep_async(LONG))).await });
            assert!(matches!(outer.join().unwrap(), Err(Elapsed { .. })), "{label}: the outer one");
            let in_time = launch(async { timeout_async(LONG, async { 5 }).await });
            assert_eq!(in_time.join().unwrap(), Ok(5), "{label}");
            // A goroutine's limit around a wait for a future.
            assert!(matches!(timeout(short, || pending::<()>().wait()), Err(Elapsed { .. })), "{label}");
        });
    });
}

/// Cancelled at any moment: it ends, once, and everything it held is dropped.
#[test]
fn cancelled_at_any_moment() {
    let aviary = Aviary::new();
    for seed in 0..scaled(4, 24) as u64 {
        on_runtime(2, Some(seed), &mut |runtime, label| {
            runtime.run(|| {
                let mut dice = Dice::new(seed);
                for round in 0..scaled(50, 300) {
                    let (tx, rx) = bounded(1);
                    let canary = aviary.canary();
                    let handle = launch(async move {
                        canary.sing();
                        for n in 0..4 {
                            match round % 4 {
                                0 => yield_now_async().await?,
                                1 => sleep_async(Duration::from_micros(20)).await?,
                                2 => drop(rx.recv_async().await.map_err(|_| Cancelled::new())?),
                                _ => {
                                    let _ = timeout_async(Duration::from_micros(10 * n), pending::<()>()).await;
                                }
                            }
                        }
                        canary.sing();
                        Ok::<_, Cancelled>(())
                    });
                    for _ in 0..dice.below(6) {
                        let _ = tx.try_send(());
                        yield_now().unwrap();
                    }
                    handle.cancel();
                    match handle.join() {
                        Ok(_) | Err(JoinError::TaskCancelled(_)) => {}
                        Err(other) => panic!("{label}: {other}"),
                    }
                }
            });
        });
    }
    assert_eq!(aviary.alive(), 0);
}
