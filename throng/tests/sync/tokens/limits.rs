//! Tokens where no thread can be had: in processes of their own, which lower their limits.

use std::thread::ThreadId;
use std::time::Duration;
use std::{panic, thread};

use throng::CancelToken;

use crate::common::processes::{child_passes_with, is_child};
use crate::common::{panic_on_purpose, watched};

/// The stack of a thread: so much that a limit on the address space means these and nothing else.
const THREAD_STACK: u64 = 1 << 30;

fn limit(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a plain system call on a plain struct.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

fn no_more_threads() {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux system");
    let pages: u64 = statm.split_whitespace().next().and_then(|pages| pages.parse().ok()).expect("a number of pages");
    limit(pages * 4096 + THREAD_STACK / 2);
    assert!(thread::Builder::new().spawn(|| ()).is_err(), "the limit holds");
}

#[test]
fn no_threads() {
    for test in ["tokens::limits::child_no_clock", "tokens::limits::child_no_goroutine"] {
        child_passes_with(test, &[("RUST_MIN_STACK", &THREAD_STACK.to_string())]);
    }
}

/// Without a clock, who asks is told; when there is one again, it catches up.
#[test]
#[ignore = "child process"]
fn child_no_clock() {
    if !is_child() {
        return;
    }
    watched("child", || {
        no_more_threads();
        let root = CancelToken::new();
        let [asked, checked, waited] = [(); 3].map(|()| root.child_with_timeout(Duration::from_millis(1)));
        let done = waited.done();
        while !asked.child().is_cancelled() {
            thread::yield_now();
        }
        assert_eq!(asked.cause().unwrap().to_string(), "the time limit was reached");
        while checked.check().is_ok() {
            thread::yield_now();
        }
        assert!(asked.done().is_closed() && !done.is_closed() && !root.is_cancelled());
        limit(libc::RLIM_INFINITY);
        let next = root.child_with_timeout(Duration::from_secs(3600));
        assert!(done.recv().is_err() && !next.is_cancelled());
        assert!(waited.is_cancelled());
    });
}

/// Without a runtime, `on_cancel` runs its closure here, when all is cancelled.
#[test]
#[ignore = "child process"]
fn child_no_goroutine() {
    if !is_child() {
        return;
    }
    watched("child", || {
        let token = CancelToken::new();
        let (tx, rx) = std::sync::mpsc::channel::<ThreadId>();
        panic::catch_unwind(|| panic_on_purpose(0)).unwrap_err(); // the hook is there before the limit
        let late = token.child();
        token.on_cancel(|| panic_on_purpose(1));
        token.on_cancel({
            let (late, tx) = (late.clone(), tx.clone());
            move || {
                assert!(late.is_cancelled());
                tx.send(thread::current().id()).unwrap();
            }
        });
        let stopped = token.on_cancel(|| unreachable!("it is stopped"));
        assert!(stopped.stop());
        no_more_threads();
        assert!(token.cancel());
        assert_eq!(rx.try_recv(), Ok(thread::current().id()), "before `cancel` returns");
        let handle = late.on_cancel(move || tx.send(thread::current().id()).unwrap());
        assert!(!handle.stop());
        assert_eq!(rx.iter().collect::<Vec<_>>(), [thread::current().id()]);
        limit(libc::RLIM_INFINITY);
    });
}
