//! Workers that have always come for their few tasks themselves: nobody is woken for those any more, until one keeps its thread for once.

use std::sync::mpsc;
use std::time::Duration;

use throng::{JoinHandle, Runtime, go, launch, sleep};

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

/// A little to do now and then, until nobody else wakes for it, and the other worker has slept for so long that it will not wake by itself. (On a machine that is busy with other things trust may
/// not be earned. What is asked of it afterwards holds all the same.)
fn earn_trust(runtime: &Runtime, spawn: impl Fn() -> JoinHandle<()>) {
    for _ in 0..20 {
        let before = sleeps_of_the_other(runtime);
        for _ in 0..300 {
            sleep(Duration::from_millis(1)).unwrap();
            spawn().join().unwrap();
        }
        if sleeps_of_the_other(runtime) == before {
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
        for _ in 0..3 {
            earn_trust(&runtime, &spawn);
            let (tx, rx) = mpsc::channel();
            let child = blocked(tx);
            // Blocks the thread, not only the goroutine.
            assert_ne!(rx.recv().unwrap(), std::thread::current().id());
            child.join().unwrap();
        }
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
