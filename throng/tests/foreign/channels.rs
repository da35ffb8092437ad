//! The channels of `async-channel`, between goroutines that wait, coroutines and plain threads.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use throng::future::Wait;
use throng::{Cancelled, scope};

use crate::common::{on_runtimes, scaled};

/// Every item arrives once, whoever sends and whoever receives.
#[test]
fn between_goroutines_coroutines_and_threads() {
    on_runtimes(|runtime, label| {
        let each = scaled(100, 1_000) as u64;
        for capacity in [1, 16] {
            let (tx, rx) = async_channel::bounded(capacity);
            let sum = AtomicU64::new(0);
            std::thread::scope(|threads| {
                let (sender, receiver) = (tx.clone(), rx.clone());
                threads.spawn(move || (1..=each).for_each(|n| sender.send_blocking(n).unwrap()));
                let sum = &sum;
                threads.spawn(move || {
                    while let Ok(n) = receiver.recv_blocking() {
                        sum.fetch_add(n, Ordering::Relaxed);
                    }
                });
                let run = || -> Result<(), Cancelled> {
                    scope(|s| {
                        for _ in 0..3 {
                            let sender = tx.clone();
                            s.go(move || (1..=each).try_for_each(|n| sender.send(n).wait()?.map_err(|_| Cancelled::new())));
                            let sender = tx.clone();
                            s.launch(async move {
                                for n in 1..=each {
                                    sender.send(n).await.map_err(|_| Cancelled::new())?;
                                }
                                Ok(())
                            });
                            let receiver = rx.clone();
                            s.go(move || {
                                while let Ok(n) = receiver.recv().wait()? {
                                    sum.fetch_add(n, Ordering::Relaxed);
                                }
                                Ok::<_, Cancelled>(())
                            });
                            let receiver = rx.clone();
                            s.launch(async move { receiver.for_each(async |n| _ = sum.fetch_add(n, Ordering::Relaxed)).await });
                        }
                        drop((tx, rx));
                        Ok(())
                    })
                };
                runtime.run(run).unwrap();
            });
            assert_eq!(sum.into_inner(), 7 * each * (each + 1) / 2, "{label}, capacity {capacity}");
        }
    });
}

/// A wait that is cut off leaves the channel, and takes no item along.
#[test]
fn cut_off_waits_take_nothing_along() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for round in 0..scaled(20, 200) {
                let (tx, rx) = async_channel::bounded(1);
                let (waits, is_waiting) = throng::bounded(1);
                let receive = {
                    let rx = rx.clone();
                    crate::told(async move { rx.recv().await }, waits)
                };
                let waiting = if round % 2 == 0 { throng::launch(async { Ok(receive.await) }) } else { throng::go(|| receive.wait()) };
                is_waiting.recv().unwrap();
                if round % 3 == 0 {
                    throng::yield_now().unwrap();
                }
                waiting.cancel();
                tx.try_send(round).unwrap();
                // It got the item before it was cut off, or the item is still there.
                match waiting.join() {
                    Ok(Ok(got)) => assert_eq!(got, Ok(round), "{label}"),
                    Ok(Err(Cancelled { .. })) | Err(_) => assert_eq!(rx.try_recv(), Ok(round), "{label}"),
                }
                assert!(rx.is_empty(), "{label}");
            }
        });
    });
}
