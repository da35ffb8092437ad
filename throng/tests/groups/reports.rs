//! What cannot be seen from inside: names in reports. In a process of its own.

use std::hint::black_box;

use throng::{Cancelled, Runtime, group};

use crate::common::processes::{child, is_child};

#[allow(unconditional_recursion)]
#[inline(never)]
fn dig(depth: u64) -> u64 {
    let frame = black_box([depth; 8]);
    dig(depth + 1) + frame[3]
}

#[test]
fn tasks_of_a_group_have_its_name() {
    let (_, text) = child("reports::child_named");
    assert!(text.contains("goroutine 'mole' (spawned at "), "{text}");
}

#[test]
#[ignore = "child process"]
fn child_named() {
    if is_child() {
        let runtime = Runtime::builder().workers(1).stack_size(64 << 10).build().expect("a runtime");
        let _ = runtime.run(|| group().name("mole").map([0], |depth| Ok::<_, Cancelled>(black_box(dig(depth)))));
    }
}
