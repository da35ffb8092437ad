//! Sleeping: never early, and taken back from wherever.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use throng::future::Wait;
use throng::{Cancelled, Error, launch, scope, sleep_async, sleep_until_async, timeout_async, yield_now_async};

use crate::common::{on_runtimes, scaled};

#[test]
fn sleepers_wake_in_time_and_never_early() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            scope(|s| {
                for n in 0..scaled(50, 500) as u64 {
                    s.launch(async move {
                        let start = Instant::now();
                        let duration = Duration::from_micros(n * 37 % 3_000);
                        sleep_async(duration).await?;
                        assert!(start.elapsed() >= duration, "early");
                        sleep_until_async(start).await
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap_or_else(|_| panic!("{label}"));
        });
    });
}

/// Sleeps that are given up, on the worker they were begun on or on another thread.
#[test]
fn sleeps_are_taken_back() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let ended: Result<(), Error> = scope(|s| {
                for _ in 0..4 {
                    s.launch(async move {
                        for round in 0..scaled(50, 500) {
                            let mut sleep = Box::pin(sleep_async(Duration::from_secs(3600)));
                            assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                            yield_now_async().await?;
                            match round % 3 {
                                0 => drop(sleep),
                                1 => std::thread::scope(|threads| drop(threads.spawn(move || drop(sleep)))),
                                // Polled here instead, by then perhaps another worker.
                                _ => assert!(timeout_async(Duration::ZERO, sleep).await.is_err()),
                            }
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            assert!(ended.is_ok(), "{label}");
        });
    });
}

/// Begun in a runtime that ends before it is over.
#[test]
fn a_sleep_outlives_its_runtime() {
    let start = Instant::now();
    let mut sleep = Box::pin(sleep_async(Duration::from_millis(30)));
    sleep = throng::run(move || {
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        sleep
    });
    assert_eq!(sleep.wait(), Ok(Ok(())));
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_plain_thread_can_sleep_in_a_future() {
    let start = Instant::now();
    let both = async {
        let mut long = pin!(sleep_async(Duration::from_secs(3600)));
        let short = sleep_async(Duration::from_millis(3));
        assert_eq!(long.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        short.await
    };
    assert_eq!(both.wait(), Ok(Ok(())));
    assert!(start.elapsed() >= Duration::from_millis(3));
    let handle = launch(async { 1 });
    assert_eq!(async { handle.await.unwrap() }.wait(), Ok(1));
}
