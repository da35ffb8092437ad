//! Workers that have always come for their few tasks themselves: nobody is woken for those any more, until one keeps its thread for once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use throng::{JoinHandle, Runtime, go, launch, sleep, yield_now};

use crate::common::watched;

/// Without spare workers, so that only the other worker can help.
fn runtime() -> Runtime {
    let builder = Runtime::builder().workers(2).max_spare_workers(0).stack_size(64 << 10);
    builder.report_stalls_after(Duration::from_secs(60)).build().expect("a runtime")
}

/// How often workers have slept so far, who are not the one that has started most.
fn sleeps_of_the_other(runtime: &Runtime) -> u64 {
    let metrics = runtime.metrics();
    let busiest = (0..2).max_by_key(|&id| metrics.workers[id].started).unwrap();
    metrics.workers[1 - busiest].sleeps
}

/// A little to do now and then, until the other worker is hardly ever woken for it, and has slept for so long (200 ms, so that it has tidied up) that it will not wake by itself. (On a machine that is
/// busy with other things trust may not be earned. What is asked of it afterwards holds all the same.)
fn earn_trust(runtime: &Runtime, spawn: impl Fn() -> JoinHandle<()>) {
    for _ in 0..10 {
        let before = sleeps_of_the_other(runtime);
        for _ in 0..40 {
            sleep(Duration::from_millis(10)).unwrap();
            spawn().join().unwrap();
        }
        // Two are woken to see whether there is something to steal by now, and one sleep is interrupted for the tidying up.
        if sleeps_of_the_other(runtime) - before <= 4 {
            return;
        }
    }
}

/// The task that waits for a thread that does not come back runs on the other.
fn relieved(
    spawn: impl Fn() -> JoinHandle<()> + Send + Sync,
    blocked: impl Fn(mpsc::Sender<std::thread::ThreadId>) -> JoinHandle<()> + Send + Sync,
) {
    let runtime = runtime();
    runtime.run(|| {
        for _ in 0..2 {
            earn_trust(&runtime, &spawn);
            let (tx, rx) = mpsc::channel();
            let child = blocked(tx);
            // Blocks the thread, not only the goroutine.
            assert_ne!(rx.recv().unwrap(), std::thread::current().id());
            child.join().unwrap();
        }
    });
}

/// A worker that always has a few tasks waiting, and comes for all of them, gets help all the same.
#[test]
fn a_trusted_worker_that_never_gets_ready_is_helped() {
    watched("2 workers", || {
        let runtime = runtime();
        runtime.run(|| {
            earn_trust(&runtime, || go(|| ()));
            let home = std::thread::current().id();
            let helped = Arc::new(AtomicBool::new(false));
            while !helped.load(Ordering::Relaxed) {
                for _ in 0..6 {
                    let helped = Arc::clone(&helped);
                    drop(go(move || {
                        let begun = Instant::now();
                        while begun.elapsed() < Duration::from_micros(100) {
                            std::hint::spin_loop();
                        }
                        helped.fetch_or(std::thread::current().id() != home, Ordering::Relaxed);
                    }));
                }
                (0..5).for_each(|_| yield_now().unwrap());
            }
        });
    });
}

#[test]
fn what_a_trusted_worker_does_not_come_for_runs_elsewhere() {
    watched("goroutines", || {
        relieved(|| go(|| ()), |tx| go(move || tx.send(std::thread::current().id()).unwrap()));
    });
    watched("coroutines", || {
        relieved(|| launch(async {}), |tx| launch(async move { tx.send(std::thread::current().id()).unwrap() }));
    });
}
