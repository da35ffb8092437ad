//! A goroutine that overflows its stack says who it is and aborts; other faults stay what they are. In processes of their own.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;

use crate::common::processes::{child, is_child};

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

#[allow(unconditional_recursion)]
#[inline(never)]
fn dig(depth: u64) -> u64 {
    let frame = black_box([depth; 8]);
    dig(depth + 1) + frame[3]
}

#[inline(never)]
fn big_frame() -> u8 {
    let frame = black_box([1_u8; 1 << 20]);
    frame[black_box(77)]
}

struct DigsOnDrop;

impl Drop for DigsOnDrop {
    fn drop(&mut self) {
        black_box(dig(0));
    }
}

/// `parks`: so that it has a fiber of its own rather than the worker's.
fn on_a_goroutine(name: &'static str, parks: bool, body: fn()) {
    let runtime = throng::Runtime::builder().workers(2).stack_size(64 << 10).build().expect("a runtime");
    runtime.run(|| {
        let digger = throng::task().name(name).go(move || {
            if parks {
                throng::yield_now().expect("not cancelled");
            }
            body();
        });
        _ = digger.join();
    });
}

fn assert_reported(test: &str, who: &str) {
    let (output, text) = child(test);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    assert!(text.contains(&format!("throng: {who} (spawned at ")), "{text}");
    assert!(text.contains(file!()) && text.contains("has overflowed its stack"), "{text}");
    assert!(text.contains("65536 bytes"), "{text}");
}

#[test]
fn overflow_reports_and_aborts() {
    assert_reported("crashes::child_recursion", "goroutine 'worm'");
    assert_reported("crashes::child_recursion_unparked", "goroutine 'mole'");
    assert_reported("crashes::child_big_frame", "goroutine 'whale'");
    assert_reported("crashes::child_in_drop", "goroutine 'badger'");
    assert_reported("crashes::child_in_a_coroutine", "coroutine 'ant'");
}

#[test]
#[ignore = "child process"]
fn child_in_a_coroutine() {
    if is_child() {
        let runtime = throng::Runtime::builder().workers(2).stack_size(64 << 10).build().expect("a runtime");
        _ = runtime.run(|| throng::task().name("ant").launch(async { black_box(dig(0)) }).join());
    }
}

#[test]
#[ignore = "child process"]
fn child_recursion() {
    if is_child() {
        on_a_goroutine("worm", true, || _ = black_box(dig(0)));
    }
}

#[test]
#[ignore = "child process"]
fn child_recursion_unparked() {
    if is_child() {
        on_a_goroutine("mole", false, || _ = black_box(dig(0)));
    }
}

#[test]
#[ignore = "child process"]
fn child_big_frame() {
    if is_child() {
        on_a_goroutine("whale", true, || _ = black_box(big_frame()));
    }
}

#[test]
#[ignore = "child process"]
fn child_in_drop() {
    if is_child() {
        on_a_goroutine("badger", true, || drop(DigsOnDrop));
    }
}

#[test]
fn other_faults_stay_what_they_are() {
    let (output, text) = child("crashes::child_stray_pointer");
    assert_eq!(output.status.signal(), Some(SIGSEGV), "{output:?}");
    assert!(!text.contains("overflowed"), "{text}");
    for (test, thread) in [("crashes::child_thread", "digger"), ("crashes::child_blocking", "throng-blocking")] {
        let (output, text) = child(test);
        assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
        assert!(text.contains(&format!("thread '{thread}")), "{text}");
        assert!(text.contains("overflowed its stack") && !text.contains("throng: goroutine"), "{text}");
    }
}

#[test]
#[ignore = "child process"]
fn child_stray_pointer() {
    if is_child() {
        on_a_goroutine("stray", true, || {
            let nowhere = black_box(std::ptr::without_provenance::<u8>(8));
            // SAFETY: unsound, on purpose.
            black_box(unsafe { nowhere.read_volatile() });
        });
    }
}

#[test]
#[ignore = "child process"]
fn child_thread() {
    if is_child() {
        on_a_goroutine("calm", true, || ());
        _ = std::thread::Builder::new().name("digger".into()).spawn(|| dig(0)).expect("a thread").join();
    }
}

#[test]
#[ignore = "child process"]
fn child_blocking() {
    if is_child() {
        on_a_goroutine("patient", true, || _ = throng::blocking(|| black_box(dig(0))));
    }
}
