//! Threads that cannot be had: what waits for them runs on those that exist, and when there is room again they are had. In processes of their own, which lower their limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Runtime, go};

use crate::common::processes::{child_passes_with, is_child};
use crate::common::watched;
use crate::gate::Gate;

/// What the stack of a thread takes in the children: so much that a limit on the address space means these and nothing else.
const THREAD_STACK: u64 = 1 << 30;

fn limit_address_space(limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a plain system call on a plain struct.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Room for no more threads, but for whatever else is needed.
fn no_more_threads() {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux system");
    let pages: u64 = statm.split_whitespace().next().and_then(|pages| pages.parse().ok()).expect("a number of pages");
    limit_address_space(pages * 4096 + THREAD_STACK * 3 / 4);
}

fn limited(test: &str) {
    child_passes_with(test, &[("RUST_MIN_STACK", &THREAD_STACK.to_string())]);
}

#[test]
fn thread_limit() {
    limited("limits::child_elastic_pool_without_threads");
    limited("limits::child_no_spare_thread");
}

#[test]
#[ignore = "child process"]
fn child_elastic_pool_without_threads() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let pool = Runtime::builder().workers(8).stack_size(64 << 10).elastic(true).build().unwrap();
        no_more_threads();
        // On the one thread there is.
        let done = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..500)
            .map(|_| {
                let done = Arc::clone(&done);
                pool.go(move || {
                    let done = Arc::clone(&done);
                    go(move || done.fetch_add(1, Ordering::Relaxed)).join().unwrap();
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!((done.load(Ordering::Relaxed), pool.metrics().workers.len()), (500, 1));
        // They need eight at once, and nothing comes after them.
        let gate = Arc::new(Gate::new());
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let gate = Arc::clone(&gate);
                pool.go(move || gate.pass())
            })
            .collect();
        gate.wait_for(1);
        limit_address_space(libc::RLIM_INFINITY);
        gate.wait_for(8);
        gate.open();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(pool.metrics().workers.len(), 8);
    });
}

/// Every worker is blocked and there is no thread for a spare one; then there is.
#[test]
#[ignore = "child process"]
fn child_no_spare_thread() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let runtime = Runtime::builder().workers(2).stack_size(64 << 10).build().unwrap();
        let gate = Arc::new(Gate::new());
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            runtime.go(move || gate.pass());
        }
        gate.wait_for(2);
        no_more_threads();
        let done = Arc::new(Gate::new());
        for _ in 0..500 {
            let done = Arc::clone(&done);
            runtime.go(move || done.pass_open());
        }
        // It has been asked for in vain by then. (Were it not so, this would prove less, not fail.)
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(runtime.metrics().spare_workers.is_empty());
        limit_address_space(libc::RLIM_INFINITY);
        done.wait_for(500);
        // And the other way round: the workers come back while no thread can be had.
        gate.open();
    });
    watched("child, nobody comes", || {
        let runtime = Runtime::builder().workers(2).stack_size(64 << 10).build().unwrap();
        let gate = Arc::new(Gate::new());
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            runtime.go(move || gate.pass());
        }
        gate.wait_for(2);
        no_more_threads();
        let tasks: Vec<_> = (0..500).map(|_| runtime.go(|| ())).collect();
        std::thread::sleep(std::time::Duration::from_millis(50));
        gate.open();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert!(runtime.metrics().spare_workers.is_empty());
        limit_address_space(libc::RLIM_INFINITY);
    });
}
