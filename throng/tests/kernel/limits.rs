//! What happens where the system says no: threads, address space. In processes of their own, which lower their limits.

use std::time::Duration;

use throng::{Cancelled, JoinHandle, Runtime, blocking, go, scope, sleep, try_go, yield_now};

use crate::common::processes::{child_passes, child_passes_with, is_child, threads};
use crate::common::{scaled, watched};

/// No more address space than this process has, and `more` bytes.
fn limit_address_space(more: u64) {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux system");
    let pages: u64 = statm.split_whitespace().next().and_then(|pages| pages.parse().ok()).expect("a number of pages");
    let bytes = pages * 4096 + more;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a plain system call on a plain struct.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// What the stack of a thread takes in the children that limit their threads: so much that a limit on the address space means these and nothing else.
const THREAD_STACK: u64 = 1 << 30;

/// Room for `n` more threads, and for whatever else is needed.
fn limit_threads(n: u64) {
    limit_address_space(n * THREAD_STACK + THREAD_STACK * 3 / 4);
}

fn lift_the_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

fn limited(test: &str) {
    child_passes_with(test, &[("RUST_MIN_STACK", &THREAD_STACK.to_string())]);
}

#[test]
fn thread_limit() {
    limited("limits::child_thread_limit_at_build");
    limited("limits::child_thread_limit_in_blocking");
    limited("limits::child_no_blocking_thread_at_all");
}

/// Threads cannot be had: an error, and nothing is left behind.
#[test]
#[ignore = "child process"]
fn child_thread_limit_at_build() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let before = threads();
        limit_threads(6);
        let error = Runtime::builder().workers(64).stack_size(64 << 10).build().expect_err("64 threads are too many");
        lift_the_limit();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error:?}");
        while threads() != before {
            std::thread::yield_now();
        }
        let runtime = Runtime::builder().workers(4).build().expect("now there is");
        assert_eq!(runtime.run(|| go(|| 5).join().unwrap()), 5);
    });
}

#[test]
#[ignore = "child process"]
fn child_thread_limit_in_blocking() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let runtime = Runtime::builder().workers(2).stack_size(64 << 10).build().unwrap();
        runtime.run(|| {
            let n = 100;
            // The stacks of the goroutines are there before.
            scope(|s| {
                for _ in 0..n {
                    s.go(|| sleep(Duration::from_millis(1)));
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            blocking(|| ()).unwrap();
            limit_threads(4);
            let done = scope(|s| {
                let calls: Vec<_> = (0..n).map(|_| s.go(|| blocking(|| std::thread::sleep(Duration::from_micros(200))))).collect();
                Ok::<_, Cancelled>(calls.into_iter().map(|call| call.join().is_ok()).filter(|ok| *ok).count())
            });
            let used = throng::metrics().unwrap().blocking_threads;
            lift_the_limit();
            assert_eq!(done, Ok(n));
            assert!(used < n, "the limit has not been met");
        });
    });
}

/// Not even one: then the worker has to do it.
#[test]
#[ignore = "child process"]
fn child_no_blocking_thread_at_all() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let runtime = Runtime::builder().workers(2).stack_size(64 << 10).build().unwrap();
        runtime.run(|| {
            yield_now().unwrap();
            limit_threads(0);
            let results: Vec<_> = (0..20).map(|i| blocking(move || i)).collect();
            lift_the_limit();
            assert!(results.into_iter().eq((0..20).map(Ok)));
            assert_eq!(throng::metrics().unwrap().blocking_threads, 0);
            assert_eq!(blocking(|| 5), Ok(5));
        });
    });
}

#[test]
fn out_of_stacks() {
    child_passes("limits::child_out_of_stacks");
}

#[test]
#[ignore = "child process"]
fn child_out_of_stacks() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let runtime = Runtime::builder().workers(2).stack_size(1 << 20).build().unwrap();
        // Both workers are there, with what a thread maps when it begins, its part of the heap among it.
        let both = std::sync::Barrier::new(2);
        runtime.run(|| {
            scope(|s| {
                for _ in 0..2 {
                    s.go(|| {
                        drop(std::hint::black_box(vec![1_u8; 1000]));
                        both.wait();
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        // The heap is not to be what runs out.
        let mut parked: Vec<JoinHandle<Result<(), Cancelled>>> = Vec::with_capacity(1 << 16);
        limit_address_space(512 << 20);
        let refused = runtime.run(|| {
            for _ in 0..1 << 16 {
                match try_go(|| sleep(Duration::from_secs(3600))) {
                    Ok(handle) => parked.push(handle),
                    Err(error) => return Some(error),
                }
                // They park one after another.
                yield_now().unwrap();
            }
            None
        });
        let refused = refused.expect("65,536 stacks of a megabyte do not fit into 512");
        let text = refused.to_string();
        assert!(text.contains("out of stacks") && text.contains("RLIMIT_AS"), "{text}");
        assert!(!refused.is_shut_down());
        assert!(parked.len() > 100, "{}", parked.len());
        // From outside too.
        assert!(runtime.try_go(|| ()).is_err());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(runtime.go(|| ())))).is_err());
        // The runtime lives, and when some have ended there is room again.
        parked.iter().for_each(JoinHandle::cancel);
        // Some may still wait for a stack to start on: cancelled before they ran.
        parked.into_iter().for_each(|task| drop(task.join()));
        let mut done = 0;
        while done < scaled(100, 1_000) {
            match runtime.try_go(|| yield_now().is_ok()) {
                Ok(task) => {
                    assert!(task.join().unwrap());
                    done += 1;
                }
                // The fibers are on their way back.
                Err(_) => std::thread::yield_now(),
            }
        }
        lift_the_limit();
    });
}
