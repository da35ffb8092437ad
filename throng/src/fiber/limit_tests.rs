//! Memory: how much a parked fiber takes, and what happens at the limits. Each test runs in a process of its own.

use std::cell::Cell;
use std::ptr::NonNull;

use super::crash_tests::{is_child, run_child};
use super::guard::GuardKind;
use super::*;

thread_local! {
    static STARTING: Cell<Option<NonNull<Fiber>>> = const { Cell::new(None) };
}

fn assert_passes(test: &str) {
    let (output, text) = run_child(module_path!(), test);
    assert!(output.status.success(), "{test}: {output:?}");
    eprintln!("{text}");
}

/// Resident memory in bytes, page tables included, and the number of mappings.
fn memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
    let kib = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a Linux system");
    ((kib("VmRSS:") + kib("VmPTE:")) << 10, maps.lines().count())
}

#[test]
fn a_hundred_thousand_parked_fibers_are_a_page_each_in_few_mappings() {
    assert_passes("child_hundred_thousand");
}

#[test]
#[ignore = "child process"]
fn child_hundred_thousand() {
    const COUNT: usize = 100_000;
    if !is_child() || GuardKind::probe() == GuardKind::Protection {
        return;
    }
    let slab = Slab::new(64 << 10).expect("slab");
    let mut fibers: Vec<NonNull<Fiber>> = Vec::with_capacity(COUNT);
    fibers.resize(COUNT, NonNull::dangling());
    let (before, maps_before) = memory();
    for fiber in &mut fibers {
        *fiber = Fiber::new(slab.take().expect("a stack"), || {
            let me = STARTING.get().expect("set below");
            // SAFETY: that is this fiber.
            unsafe { Fiber::suspend(me) };
        });
    }
    for &fiber in &fibers {
        STARTING.set(Some(fiber));
        // SAFETY: new, and this is its thread.
        assert_eq!(unsafe { Fiber::resume(fiber) }, Resumed::Suspended);
    }
    let (after, maps_after) = memory();
    let each = (after - before) / COUNT;
    let maps = maps_after - maps_before;
    eprintln!("{COUNT} parked fibers: {each} bytes each, page tables included; {maps} mappings more");
    assert!(each < 4500, "{each} bytes a fiber");
    assert!(maps < 100, "{maps} mappings");
    for &fiber in &fibers {
        // SAFETY: suspended, and this is its thread.
        assert_eq!(unsafe { Fiber::resume(fiber) }, Resumed::Finished);
        // SAFETY: finished, and not used after this.
        slab.give(unsafe { Fiber::into_stack(fiber) });
    }
    assert_eq!(slab.trim(16), COUNT - 16);
    let (trimmed, _) = memory();
    eprintln!("after a trim: {} KiB more than at first", trimmed.saturating_sub(before) >> 10);
    assert!(trimmed.saturating_sub(before) < 64 << 20, "{trimmed} bytes resident");
    drop(slab);
    assert!(memory().1 <= maps_after - maps + 8);
}

#[test]
fn at_the_limit_on_mappings_there_is_an_error_and_a_way_back() {
    assert_passes("child_mappings");
}

#[test]
#[ignore = "child process"]
fn child_mappings() {
    if !is_child() {
        return;
    }
    let Some(limit) = sys::mappings_limit().filter(|&limit| limit < 300_000) else {
        return;
    };
    let slab = Slab::with_guard(16 << 10, GuardKind::Protection).expect("slab");
    let mut stacks = Vec::new();
    assert_eq!(slab.is_exhausted(), None);
    let error = loop {
        match slab.take() {
            Ok(stack) => stacks.push(stack),
            Err(error) => break error,
        }
    };
    eprintln!("{} stacks, then: {error}", stacks.len());
    assert!(error.to_string().contains(&format!("vm.max_map_count = {limit}")), "{error}");
    assert!(stacks.len() > limit as usize / 2 - 2000);
    assert!(error.to_string().contains(&format!("{} stacks of 16 KiB", stacks.len())), "{error}");
    assert_eq!(slab.is_exhausted(), Some(error.clone()));
    assert_eq!(slab.take().expect_err("still"), error);
    slab.give_many(stacks.drain(stacks.len() - 10..));
    assert_eq!(slab.is_exhausted(), None);
    assert_eq!(slab.take_many(30, &mut stacks).expect("ten, then no more"), 10);
    assert_eq!(slab.is_exhausted(), None, "ten were had");
    slab.take().expect_err("none left");
    assert!(slab.is_exhausted().is_some());
    slab.give_many(stacks);
    assert_eq!(slab.is_exhausted(), None);
    assert_eq!(slab.stats().live, 0);
}

#[test]
fn a_limit_on_the_address_space_is_named() {
    assert_passes("child_address_space");
}

#[test]
#[ignore = "child process"]
fn child_address_space() {
    if !is_child() {
        return;
    }
    let limit = libc::rlimit { rlim_cur: 512 << 20, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a whole rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    let slab = Slab::new(1 << 20).expect("slab");
    let mut stacks = Vec::new();
    let error = loop {
        match slab.take() {
            Ok(stack) => stacks.push(stack),
            Err(error) => break error,
        }
    };
    eprintln!("{} stacks, then: {error}", stacks.len());
    assert!(stacks.len() > 300, "small chunks fill what the big ones left");
    assert!(error.to_string().contains("limited to 512 MiB"), "{error}");
    slab.give(stacks.pop().expect("many"));
    stacks.push(slab.take().expect("the one just given back"));
}
