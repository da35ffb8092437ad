//! Ctrl-C during `throng digest`.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far more than the 100 ms promised, for machines that are busy, and far less than what the
/// command would take if nobody interrupted it.
const PATIENCE: Duration = Duration::from_secs(10);

fn start(directory: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.current_dir(directory).arg("digest").args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("throng starts")
}

/// Waits until this file of the child's is open, which is the case once it reads it.
fn wait_until_open(child: &Child, path: &Path) {
    let descriptors = format!("/proc/{}/fd", child.id());
    let is_open = || {
        let open = fs::read_dir(&descriptors).expect("a running child");
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path))
    };
    while !is_open() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends SIGINT to this child, and waits for its end.
fn interrupt(child: Child) -> (Output, Duration) {
    let begin = Instant::now();
    let kill = format!("kill -INT {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.expect("sh runs").success());
    let ran = child.wait_with_output().expect("throng ends");
    (ran, begin.elapsed())
}

fn assert_interrupted(ran: &Output) -> String {
    assert_eq!(ran.status.code(), Some(130));
    assert!(ran.stdout.is_empty());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("throng: digest: interrupted after "), "{said}");
    assert!(said.ends_with(" bytes\n"), "{said}");
    said
}

/// A file without an end: digesters come back from each read, and the scope ends in order.
#[test]
fn it_ends_between_two_reads() {
    let home = TempDir::new().expect("a directory");
    fs::write(home.path().join("small"), b"seven b").expect("a file");
    let child = start(home.path(), &["--jobs", "1", "small", "/dev/zero"]);
    wait_until_open(&child, Path::new("/dev/zero"));
    let (ran, took) = interrupt(child);
    let said = assert_interrupted(&ran);
    assert!(said.contains(" 1 of the 2 files found, "), "{said}");
    assert!(took < PATIENCE, "{took:?}");
}

/// A read that nobody can interrupt: the grace is over, and it exits all the same.
#[test]
fn it_does_not_wait_for_a_read_that_never_ends() {
    let home = TempDir::new().expect("a directory");
    let fifo = home.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let child = start(home.path(), &["fifo"]);
    let mut writer = File::options().write(true).open(&fifo).expect("a reader");
    writer.write_all(b"abc").expect("a reader");
    wait_until_open(&child, &fifo.canonicalize().expect("a path"));
    let (ran, took) = interrupt(child);
    let said = assert_interrupted(&ran);
    assert!(said.contains(" 0 of the 1 files found, "), "{said}");
    assert!(took < PATIENCE, "{took:?}");
}

/// A tree of many files, interrupted somewhere on the way.
#[test]
fn it_ends_amid_a_tree() {
    let home = TempDir::new().expect("a directory");
    for directory in 0..20 {
        let directory = home.path().join(directory.to_string());
        fs::create_dir(&directory).expect("a directory");
        for file in 0..50 {
            fs::write(directory.join(file.to_string()), [0; 100]).expect("a file");
        }
    }
    // Last on the command line, so the walker is through the tree before it is interrupted.
    let child = start(home.path(), &[".", "/dev/zero"]);
    wait_until_open(&child, Path::new("/dev/zero"));
    let (ran, took) = interrupt(child);
    let said = assert_interrupted(&ran);
    assert!(said.contains(" of the 1001 files found, "), "{said}");
    assert!(took < PATIENCE, "{took:?}");
}

/// The handler leaves nothing behind that a run without Ctrl-C would notice.
#[test]
fn without_it_all_is_as_ever() {
    let home = TempDir::new().expect("a directory");
    fs::write(home.path().join("abc"), b"abc").expect("a file");
    let ran = start(home.path(), &["abc"]).wait_with_output().expect("throng ends");
    let lines: Vec<_> = BufReader::new(&*ran.stdout).lines().collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(ran.status.code(), Some(0));
}
