//! Channels and locks between futures, goroutines and threads. Nothing is lost when a future is dropped at the wrong moment.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use throng::channel::{RecvError, SendError};
use throng::{Cancelled, Error, Mutex, bounded, launch, rendezvous, scope, unbounded, yield_now, yield_now_async};

use crate::common::{on_runtimes, scaled};

/// Every item arrives once, whoever sends and whoever receives.
#[test]
fn mixed_ends() {
    on_runtimes(|runtime, label| {
        for capacity in [0, 1, 7] {
            let each = scaled(200, 2_000) as u64;
            let (tx, rx) = bounded(capacity);
            let sum = std::sync::atomic::AtomicU64::new(0);
            runtime.run(|| {
                scope(|s| {
                    let sum = &sum;
                    for kind in 0..4 {
                        let (tx, rx) = (tx.clone(), rx.clone());
                        if kind % 2 == 0 {
                            s.go(move || (1..=each).try_for_each(|n| tx.send(n).map_err(|_| Cancelled::new())));
                            s.go(move || rx.iter().for_each(|n| _ = sum.fetch_add(n, Ordering::Relaxed)));
                        } else {
                            s.launch(async move {
                                for n in 1..=each {
                                    tx.send_async(n).await.map_err(|_| Cancelled::new())?;
                                }
                                Ok(())
                            });
                            s.launch(async move {
                                while let Ok(n) = rx.recv_async().await {
                                    sum.fetch_add(n, Ordering::Relaxed);
                                }
                            });
                        }
                    }
                    drop((tx, rx));
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            });
            assert_eq!(sum.into_inner(), 4 * each * (each + 1) / 2, "{label}, capacity {capacity}");
        }
    });
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_item_handed_to_a_future_that_goes_is_given_back_first() {
    for capacity in [0, 2] {
        let (tx, rx) = bounded(capacity);
        {
            let mut receive = Box::pin(rx.recv_async());
            assert!(poll(receive.as_mut()).is_pending());
            tx.try_send(1).unwrap();
            if capacity > 0 {
                tx.try_send(2).unwrap();
            }
            // Dropped with the 1 in its hands.
        }
        assert_eq!(rx.try_recv(), Ok(1), "capacity {capacity}");
        if capacity > 0 {
            assert_eq!(rx.try_recv(), Ok(2));
        }
        assert!(rx.try_recv().is_err() && (capacity > 0) == tx.try_send(3).is_ok());
    }
}

#[test]
fn an_item_given_back_goes_to_the_next_receiver() {
    let (tx, rx) = rendezvous();
    let mut first = Box::pin(rx.recv_async());
    let mut second = pin!(rx.recv_async());
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    tx.try_send("item").unwrap();
    drop(first);
    assert_eq!(poll(second.as_mut()), Poll::Ready(Ok("item")));
}

#[test]
fn a_rendezvous_stays_one_after_an_item_was_given_back() {
    let (tx, rx) = rendezvous();
    let mut receive = Box::pin(rx.recv_async());
    assert!(poll(receive.as_mut()).is_pending());
    tx.try_send(1).unwrap();
    drop(receive);
    let mut send = pin!(tx.send_async(2));
    assert!(poll(send.as_mut()).is_pending(), "nobody receives");
    assert_eq!(rx.try_recv(), Ok(1));
    assert!(poll(send.as_mut()).is_pending(), "still nobody receives");
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(poll(send.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn a_send_that_goes_takes_its_item_along_unless_it_was_taken() {
    let (tx, rx) = rendezvous();
    let mut send = Box::pin(tx.send_async(1));
    assert!(poll(send.as_mut()).is_pending());
    drop(send);
    assert!(rx.try_recv().is_err());
    let mut send = Box::pin(tx.send_async(2));
    assert!(poll(send.as_mut()).is_pending());
    assert_eq!(rx.try_recv(), Ok(2));
    drop(send);
    assert!(rx.try_recv().is_err());
}

#[test]
fn closing_ends_futures_that_wait() {
    let (tx, rx) = rendezvous::<u32>();
    let mut receive = pin!(rx.recv_async());
    assert!(poll(receive.as_mut()).is_pending());
    tx.close();
    assert_eq!(poll(receive.as_mut()), Poll::Ready(Err(RecvError::Closed)));
    let (tx, rx) = rendezvous();
    let mut send = pin!(tx.send_async(5));
    assert!(poll(send.as_mut()).is_pending());
    rx.close();
    assert_eq!(poll(send.as_mut()), Poll::Ready(Err(SendError::Closed(5))));
}

#[test]
fn the_clock_in_futures() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let start = std::time::Instant::now();
            let ms = std::time::Duration::from_millis;
            let coroutine = launch(async move {
                let after = throng::after(ms(2)).recv_async().await.unwrap();
                let ticks = throng::tick(ms(1));
                (after, ticks.recv_async().await.unwrap(), ticks.recv_async().await.unwrap())
            });
            let (after, first, second) = coroutine.join().unwrap();
            assert!(after >= start + ms(2) && first < second, "{label}");
            let cancelled = launch(async { throng::never::<()>().recv_async().await });
            yield_now().unwrap();
            cancelled.cancel();
            assert!(!matches!(cancelled.join(), Ok(Ok(()))), "{label}");
        });
    });
}

#[test]
fn locks_are_exclusive_and_passed_on() {
    on_runtimes(|runtime, label| {
        let (each, inside) = (scaled(100, 2_000), AtomicUsize::new(0));
        let mutex = Mutex::new(0);
        runtime.run(|| {
            let ended: Result<(), Error> = scope(|s| {
                for kind in 0..6 {
                    let (mutex, inside) = (&mutex, &inside);
                    if kind % 2 == 0 {
                        s.go(move || {
                            for _ in 0..each {
                                let mut guard = mutex.lock()?;
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                yield_now()?;
                                *guard += 1;
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                            Ok(())
                        });
                    } else {
                        s.launch(async move {
                            for round in 0..each {
                                // Polled once, and dropped: its turn is passed on.
                                if round % 3 == 0 {
                                    let mut given_up = Box::pin(mutex.lock_async());
                                    if let Poll::Ready(guard) = poll(given_up.as_mut()) {
                                        drop(guard?);
                                    } else {
                                        yield_now_async().await?;
                                    }
                                }
                                let mut guard = mutex.lock_async().await?;
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                yield_now_async().await?;
                                *guard += 1;
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                            Ok(())
                        });
                    }
                }
                Ok(())
            });
            ended.unwrap();
        });
        assert_eq!(mutex.into_inner(), 6 * each, "{label}");
    });
}

/// Receivers that come and go while items are sent: each item is received once, and one sender's in order.
#[test]
fn receivers_that_come_and_go() {
    on_runtimes(|runtime, label| {
        let n = scaled(500, 5_000);
        let got = runtime.run(|| {
            let (tx, rx) = bounded(1);
            let receiver = launch(async move {
                let mut got = Vec::new();
                'all: loop {
                    // Given up at once, or after a turn; perhaps with an item.
                    let mut given_up = Box::pin(rx.recv_async());
                    if let Poll::Ready(item) = poll(given_up.as_mut()) {
                        match item {
                            Ok(item) => got.push(item),
                            Err(_) => break 'all,
                        }
                    } else {
                        yield_now_async().await.unwrap();
                    }
                    drop(given_up);
                    match rx.recv_async().await {
                        Ok(item) => got.push(item),
                        Err(_) => break 'all,
                    }
                }
                got
            });
            (0..n).for_each(|item| tx.send(item).unwrap());
            drop(tx);
            receiver.join().unwrap()
        });
        assert_eq!(got, (0..n).collect::<Vec<_>>(), "{label}");
    });
}

/// Our futures polled by nobody of ours.
#[test]
fn on_a_plain_thread() {
    use throng::future::Wait;
    let (tx, rx) = unbounded();
    let sender = std::thread::spawn(move || (0..100).try_for_each(|n| tx.send_async(n).wait().unwrap()).unwrap());
    let sum = async {
        let mut sum = 0;
        while let Ok(n) = rx.recv_async().await {
            sum += n;
        }
        throng::sleep_async(std::time::Duration::from_millis(2)).await.unwrap();
        sum
    };
    assert_eq!(sum.wait(), Ok(4950));
    sender.join().unwrap();
    let shared = Arc::new(Mutex::new(1));
    assert_eq!(async { *shared.lock_async().await.unwrap() }.wait(), Ok(1));
}
