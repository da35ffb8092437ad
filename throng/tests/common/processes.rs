//! Tests that need a process of their own: they start this binary again with one of its ignored tests, which do nothing unless they are such a child.

use std::process::{Command, Output};

const CHILD: &str = "THRONG_TEST_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the ignored test `test` of this binary in a process of its own: what it ended with, and what it wrote to stderr.
pub fn child(test: &str) -> (Output, String) {
    child_with(test, &[])
}

/// The same with these in its environment.
pub fn child_with(test: &str, environment: &[(&str, &str)]) -> (Output, String) {
    let output = Command::new(std::env::current_exe().expect("the test binary"))
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .envs(environment.iter().copied())
        .output()
        .expect("the test binary starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    assert!(ran, "no such test: {test}");
    (output, text)
}

/// The same, for one that must pass.
pub fn child_passes(test: &str) -> String {
    child_passes_with(test, &[])
}

pub fn child_passes_with(test: &str, environment: &[(&str, &str)]) -> String {
    let (output, text) = child_with(test, environment);
    assert!(output.status.success(), "{test}: {}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    text
}

/// How many threads this process has.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("a Linux system").count()
}
