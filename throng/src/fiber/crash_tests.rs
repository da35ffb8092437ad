//! Overflows and other faults, in processes of their own. Each test starts this test binary again with one of the ignored
//! tests below, which do nothing unless they are such a child.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr;

use super::guard::GuardKind;
use super::*;

const CHILD: &str = "THRONG_TEST_CHILD";

pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn child(test: &str) -> (Output, String) {
    run_child(module_path!(), test)
}

/// Runs one ignored test of a module as the only one of a new process, on its main thread.
pub(super) fn run_child(module: &str, test: &str) -> (Output, String) {
    let (_, module) = module.split_once("::").expect("a module of a crate");
    let output = Command::new(std::env::current_exe().expect("the test binary"))
        .args([&format!("{module}::{test}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("the test binary starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

fn assert_reported(test: &str, size: usize) {
    let (output, text) = child(test);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{test}: {output:?}");
    assert!(text.contains("throng: goroutine 'worm' (spawned at src/dig.rs:7) has overflowed its stack\n"), "{text}");
    assert!(text.contains(&format!("throng: stack size {size} bytes; use Builder::stack_size")), "{text}");
}

fn describe(write: &mut dyn FnMut(&[u8])) {
    write(b"goroutine 'worm' (spawned at ");
    write(b"src/dig.rs:7)");
}

fn on_a_fiber(size: usize, body: impl FnOnce() + 'static) {
    set_describe(describe);
    install_overflow_report();
    install_overflow_report();
    let _alt = AltStack::ensure().expect("an alternate stack");
    let slab = Slab::new(size).expect("slab");
    let fiber = Fiber::new(slab.take().expect("a stack"), body);
    // SAFETY: new, and this is its thread.
    unsafe { Fiber::resume(fiber) };
    // SAFETY: it has finished if we are here at all: these bodies do not suspend.
    slab.give(unsafe { Fiber::into_stack(fiber) });
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn dig(depth: u64) -> u64 {
    let frame = black_box([depth; 8]);
    dig(depth + 1) + frame[3]
}

#[test]
fn recursion_is_reported() {
    assert_reported("child_recursion", 64 << 10);
}

#[test]
#[ignore = "child process"]
fn child_recursion() {
    if is_child() {
        on_a_fiber(64 << 10, || _ = dig(0));
    }
}

#[test]
fn a_frame_larger_than_the_stack_is_reported() {
    assert_reported("child_big_frame", 256 << 10);
}

#[inline(never)]
fn big_frame() -> u8 {
    let frame = black_box([1_u8; 1 << 20]);
    frame[black_box(77)]
}

#[test]
#[ignore = "child process"]
fn child_big_frame() {
    if is_child() {
        on_a_fiber(256 << 10, || _ = black_box(big_frame()));
    }
}

#[test]
fn recursion_in_a_drop_is_reported() {
    assert_reported("child_drop", 64 << 10);
}

struct DigOnDrop;

impl Drop for DigOnDrop {
    fn drop(&mut self) {
        dig(0);
    }
}

#[test]
#[ignore = "child process"]
fn child_drop() {
    if is_child() {
        on_a_fiber(64 << 10, || {
            let _unwound = std::panic::catch_unwind(|| {
                let _digger = DigOnDrop;
                std::panic::resume_unwind(Box::new(()));
            });
        });
    }
}

#[test]
fn recursion_in_foreign_code_is_reported() {
    assert_reported("child_foreign", 64 << 10);
}

extern "C" fn compare_by_sorting(_: *const libc::c_void, _: *const libc::c_void) -> libc::c_int {
    let mut pair = [2_u8, 1];
    // SAFETY: sorts a pair, with a comparison that never returns.
    unsafe { libc::qsort(pair.as_mut_ptr().cast(), 2, 1, Some(compare_by_sorting)) };
    i32::from(black_box(pair)[0])
}

#[test]
#[ignore = "child process"]
fn child_foreign() {
    if is_child() {
        on_a_fiber(64 << 10, || _ = compare_by_sorting(ptr::null(), ptr::null()));
    }
}

#[test]
fn an_unprobed_frame_of_16_kib_meets_the_guard() {
    assert_reported("child_unprobed", 64 << 10);
}

#[test]
#[ignore = "child process"]
fn child_unprobed() {
    if is_child() {
        on_a_fiber(64 << 10, || _ = unprobed(0));
    }
}

/// Touches only the far end of a 15 KiB frame, as foreign code does that was compiled without probes, in small steps.
#[allow(unconditional_recursion)]
#[inline(never)]
fn unprobed(depth: u64) -> u64 {
    let here = black_box(depth);
    let far = (&raw const here).cast::<u8>().wrapping_sub(15 << 10).cast_mut();
    // SAFETY: below the stack pointer, where nothing lives, until it is in the guard.
    unsafe { far.write_volatile(1) };
    unprobed(depth + 1) + here
}

#[test]
fn guards_by_protection_report_too() {
    assert_reported("child_protection", 64 << 10);
}

#[test]
#[ignore = "child process"]
fn child_protection() {
    if is_child() {
        set_describe(describe);
        install_overflow_report();
        let slab = Slab::with_guard(64 << 10, GuardKind::Protection).expect("slab");
        let fiber = Fiber::new(slab.take().expect("a stack"), || _ = dig(0));
        // SAFETY: new, and this is its thread.
        unsafe { Fiber::resume(fiber) };
    }
}

#[test]
fn a_thread_std_knows_nothing_of_reports_too() {
    assert_reported("child_foreign_thread", 64 << 10);
}

#[test]
#[ignore = "child process"]
fn child_foreign_thread() {
    if is_child() {
        let off = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: libc::SIGSTKSZ };
        // SAFETY: the thread is without an alternate stack, as one that C code started.
        unsafe { libc::sigaltstack(&raw const off, ptr::null_mut()) };
        on_a_fiber(64 << 10, || _ = dig(0));
    }
}

#[test]
fn an_overflow_after_a_sent_signal_is_still_reported() {
    assert_reported("child_sent_once", 64 << 10);
}

#[test]
#[ignore = "child process"]
fn child_sent_once() {
    if is_child() {
        install_overflow_report();
        // (To this thread: `kill` would have another one handle it, perhaps while this one overflows, and for a moment std's handler leaves the default in its place.)
        // SAFETY: raises a signal that is handled.
        unsafe { libc::raise(libc::SIGSEGV) };
        on_a_fiber(64 << 10, || _ = dig(0));
    }
}

#[test]
fn a_signal_sent_twice_kills() {
    let (output, text) = child("child_sent_twice");
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
    assert!(text.contains("still here"), "{text}");
    assert!(!text.contains("overflowed"), "{text}");
}

#[test]
#[ignore = "child process"]
fn child_sent_twice() {
    if is_child() {
        install_overflow_report();
        // SAFETY: raises a signal that is handled.
        unsafe { libc::raise(libc::SIGSEGV) };
        eprintln!("still here");
        // SAFETY: raises a signal that is handled.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
}

#[test]
fn a_null_dereference_on_a_fiber_dies_as_ever() {
    let (output, text) = child("child_null");
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
    assert!(!text.contains("overflowed"), "{text}");
}

#[test]
#[ignore = "child process"]
fn child_null() {
    if is_child() {
        on_a_fiber(64 << 10, || {
            let nowhere = black_box(ptr::without_provenance::<u8>(8));
            // SAFETY: unsound, on purpose.
            black_box(unsafe { nowhere.read_volatile() });
        });
    }
}

#[test]
fn overflows_of_threads_are_left_to_std() {
    for test in ["child_main_thread", "child_other_thread"] {
        let (output, text) = child(test);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        assert!(text.contains("thread '") && text.contains("has overflowed its stack"), "{text}");
        assert!(!text.contains("throng: goroutine"), "{text}");
    }
}

#[test]
#[ignore = "child process"]
fn child_main_thread() {
    if is_child() {
        on_a_fiber(64 << 10, || ());
        dig(0);
    }
}

#[test]
#[ignore = "child process"]
fn child_other_thread() {
    if is_child() {
        on_a_fiber(64 << 10, || ());
        let _ = std::thread::Builder::new().name("digger".into()).spawn(|| dig(0)).expect("a thread").join();
    }
}

extern "C" fn say_and_leave(_: libc::c_int) {
    sys::write_stderr(b"a handler of one's own\n");
    // SAFETY: _exit is async-signal-safe.
    unsafe { libc::_exit(9) };
}

#[test]
fn a_plain_handler_installed_before_gets_other_faults() {
    let (output, text) = child("child_plain_handler");
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert!(text.contains("a handler of one's own"), "{text}");
}

#[test]
#[ignore = "child process"]
fn child_plain_handler() {
    if is_child() {
        let handler = say_and_leave as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::signal(libc::SIGSEGV, handler) };
        child_null();
    }
}

#[test]
fn no_handler_before_means_the_default_for_other_faults() {
    for test in ["child_default", "child_ignored", "child_default_sent"] {
        let (output, text) = child(test);
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{test}: {output:?}");
        assert!(!text.contains("overflowed"), "{text}");
    }
}

#[test]
#[ignore = "child process"]
fn child_default() {
    if is_child() {
        // SAFETY: the default action.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        child_null();
    }
}

#[test]
#[ignore = "child process"]
fn child_ignored() {
    if is_child() {
        // SAFETY: ignores what is sent; faults cannot be ignored.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_IGN) };
        install_overflow_report();
        // SAFETY: raises a signal that is ignored.
        unsafe { libc::raise(libc::SIGSEGV) };
        child_null();
    }
}

#[test]
#[ignore = "child process"]
fn child_default_sent() {
    if is_child() {
        // SAFETY: the default action.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        install_overflow_report();
        // SAFETY: raises a signal whose default is death.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
}

#[test]
fn a_panic_that_leaves_a_body_aborts() {
    let (output, text) = child("child_panic");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    assert!(text.contains("a panic left the body of a fiber"), "{text}");
}

#[test]
#[ignore = "child process"]
fn child_panic() {
    if is_child() {
        on_a_fiber(64 << 10, || panic!("out of here"));
    }
}

#[test]
fn locked_memory_gets_guards_by_protection() {
    assert_reported("child_locked", 64 << 10);
}

#[test]
#[ignore = "child process"]
fn child_locked() {
    if is_child() {
        set_describe(describe);
        install_overflow_report();
        let slab = Slab::new(64 << 10).expect("slab");
        // SAFETY: locks what is mapped from now on, as it is touched. Without the right to, the test proves less.
        unsafe { libc::mlockall(libc::MCL_FUTURE | libc::MCL_ONFAULT) };
        let fiber = Fiber::new(slab.take().expect("a stack"), || _ = dig(0));
        // SAFETY: new, and this is its thread.
        unsafe { Fiber::resume(fiber) };
    }
}
