//! This crate's futures, polled by other executors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use throng::channel::RecvError;
use throng::{Mutex, Runtime, bounded, go, launch, rendezvous, shield_async, sleep_async, timeout_async, yield_now_async};

use crate::common::{on_runtimes, scaled, watched};

/// One of everything.
async fn tour(mutex: Arc<Mutex<u32>>) -> u32 {
    let start = Instant::now();
    sleep_async(Duration::from_millis(1)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(1), "early");
    yield_now_async().await.unwrap();
    let (tx, rx) = rendezvous();
    let doubled = launch(async move { rx.recv_async().await.map(|n: u32| 2 * n) });
    tx.send_async(4).await.unwrap();
    let eight = doubled.await.unwrap().unwrap();
    let (_quiet, never) = bounded::<()>(1);
    assert!(timeout_async(Duration::from_millis(1), never.recv_async()).await.is_err());
    let cancelled = launch(std::future::pending::<()>());
    cancelled.cancel();
    assert!(cancelled.await.is_err());
    *mutex.lock_async().await.unwrap() += 1;
    shield_async(async { go(|| 30).await.unwrap() }).await + eight
}

#[test]
fn on_the_executors_of_futures() {
    watched("block_on", || {
        let mutex = Arc::new(Mutex::new(0));
        assert_eq!(block_on(tour(Arc::clone(&mutex))), 38);
        let all = futures::future::join_all((0..10).map(|_| tour(Arc::clone(&mutex))));
        assert_eq!(block_on(all), [38; 10]);
        assert_eq!(*mutex.try_lock().unwrap(), 11);
    });
}

#[test]
fn on_tokio() {
    watched("tokio", || {
        let mutex = Arc::new(Mutex::new(0));
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio.block_on(async {
            let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(tour(Arc::clone(&mutex)))).collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), 38);
            }
            // Dropped where it waits, by another's rules.
            let (tx, rx) = rendezvous::<u32>();
            let waiting = tokio::spawn(async move {
                let got = rx.recv_async().await;
                (got, rx)
            });
            tokio::task::yield_now().await;
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
            assert!(tx.send_async(1).await.is_err(), "nobody is left to receive");
        });
        assert_eq!(*mutex.try_lock().unwrap(), 20);
    });
}

/// A channel with its ends in two worlds.
#[test]
fn between_tokio_and_us() {
    on_runtimes(|runtime, label| {
        for capacity in [0, 3] {
            let n = scaled(200, 2_000) as u64;
            let ((there, from_us), (back, from_tokio)) = (bounded(capacity), bounded(capacity));
            let thread = std::thread::spawn(move || {
                let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
                tokio.block_on(async {
                    let echo = tokio::spawn(async move {
                        loop {
                            match from_us.recv_async().await {
                                Ok(item) => back.send_async(item).await.unwrap(),
                                Err(RecvError::Closed) => break,
                                Err(other) => panic!("{other}"),
                            }
                        }
                    });
                    echo.await.unwrap();
                });
            });
            let sum = echoed(runtime, n, there, from_tokio);
            thread.join().unwrap();
            assert_eq!(sum, n * (n - 1) / 2, "{label}, capacity {capacity}");
        }
    });
}

fn echoed(runtime: &Runtime, n: u64, there: throng::Sender<u64>, from_tokio: throng::Receiver<u64>) -> u64 {
    runtime.run(|| {
        let sender = go(move || (0..n).for_each(|item| there.send(item).unwrap()));
        let sum = launch(async move {
            let mut sum = 0;
            while let Ok(item) = from_tokio.recv_async().await {
                sum += item;
            }
            sum
        });
        sender.join().unwrap();
        sum.join().unwrap()
    })
}
