//! Other executors that run inside a task, and block its thread: what they wait for comes all the same, if it does not hang on that thread.

use std::time::{Duration, Instant};

use futures::executor::{LocalPool, block_on};
use futures::task::LocalSpawnExt;
use throng::{blocking, bounded, go, launch, rendezvous, sleep_async, timeout_async};

use crate::common::on_runtimes;

const SHORT: Duration = Duration::from_millis(2);

/// Also with one worker, whose timers nobody looks at while it blocks.
#[test]
fn a_sleep_ends_though_its_worker_blocks() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let start = Instant::now();
            block_on(sleep_async(SHORT)).unwrap();
            assert!(start.elapsed() >= SHORT, "{label}: early");
            let (_tx, rx) = bounded::<u32>(1);
            assert!(block_on(timeout_async(SHORT, rx.recv_async())).is_err(), "{label}");
            // In a coroutine's turn, and with a sleep that has begun in it.
            let nested = launch(async {
                let mut sleep = Box::pin(sleep_async(SHORT));
                let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(sleep.as_mut().poll(cx).is_pending())).await;
                block_on(sleep).unwrap();
                begun
            });
            nested.join().unwrap();
        });
    });
}

#[test]
fn what_comes_from_a_thread_is_received() {
    on_runtimes(|runtime, label| {
        let (tx, rx) = rendezvous();
        let thread = std::thread::spawn(move || (0..50).for_each(|n| tx.send(n).unwrap()));
        let sum: u32 = runtime.run(|| go(move || (0..50).map(|_| block_on(rx.recv_async()).unwrap()).sum()).join().unwrap());
        thread.join().unwrap();
        assert_eq!(sum, 1225, "{label}");
    });
}

/// Off the workers, where blocking harms nobody.
#[test]
fn blocking_threads_run_executors() {
    on_runtimes(|runtime, label| {
        let sum = runtime.run(|| {
            let (tx, rx) = bounded(2);
            let sender = launch(async move {
                for n in 0..100 {
                    tx.send_async(n).await.unwrap();
                }
            });
            let sum = blocking(move || {
                let mut pool = LocalPool::new();
                let total = std::rc::Rc::new(std::cell::Cell::new(0));
                for _ in 0..3 {
                    let (rx, total) = (rx.clone(), total.clone());
                    let add = async move {
                        while let Ok(n) = rx.recv_async().await {
                            total.set(total.get() + n);
                        }
                    };
                    pool.spawner().spawn_local(add).unwrap();
                }
                pool.run();
                total.get()
            });
            sender.join().unwrap();
            sum
        });
        assert_eq!(sum.unwrap(), 4950, "{label}");
    });
}
