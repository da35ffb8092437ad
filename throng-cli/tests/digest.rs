//! `throng digest` beside `find`, `sha256sum` and `md5sum`, on trees with odd names in them.

#![cfg(target_os = "linux")]

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The command, in this directory.
fn throng(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.current_dir(directory).arg("digest");
    command
}

fn digest<A: AsRef<OsStr>>(directory: &Path, args: &[A]) -> Output {
    throng(directory).args(args).output().expect("throng runs")
}

/// What the system's own tools print, in this directory: a command line for the shell.
fn system(directory: &Path, script: &str) -> Vec<u8> {
    let mut shell = Command::new("sh");
    shell.current_dir(directory).env("LC_ALL", "C");
    let ran = shell.args(["-c", script]).output().expect("sh runs");
    ran.stdout
}

/// The digests of all regular files below, by path, from the system's own tools.
fn expected(directory: &Path, sum: &str, below: &str) -> Vec<u8> {
    let script = format!("find {below} -type f -print0 | sort -z | xargs -0 -r {sum} --");
    system(directory, &script)
}

fn mkfifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo runs").success());
}

/// Bytes that no two files share.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A tree with everything in it that a file system has.
fn odd_tree() -> TempDir {
    let home = TempDir::new().expect("a directory");
    let tree = home.path().join("tree");
    fs::create_dir_all(tree.join("deep/er/and/deeper")).expect("directories");
    fs::create_dir(tree.join("empty directory")).expect("a directory");
    let names: [&[u8]; 15] = [
        b"plain",
        b"with space",
        b" ",
        b"-leading-dash",
        b"--help",
        b"new\nline",
        b"back\\slash",
        b"carriage\rreturn",
        b"tab\tquote'\"",
        b"not utf-8 \xff\xfe",
        "gr\u{fc}n \u{1f980}".as_bytes(),
        b"\x1b[31mescape",
        b"deep.er",
        b"deep/er/and/deeper/file",
        b"deep/er-",
    ];
    for (index, name) in names.iter().enumerate() {
        let content = noise(index as u64, index * 1000);
        fs::write(tree.join(OsStr::from_bytes(name)), content).expect("a file");
    }
    fs::write(tree.join("deep/five megabytes"), noise(99, 5_000_001)).expect("a file");
    fs::write(tree.join("a chunk"), noise(98, 256 * 1024)).expect("a file");
    symlink("plain", tree.join("link to file")).expect("a link");
    symlink("deep", tree.join("link to directory")).expect("a link");
    symlink(".", tree.join("deep/loop")).expect("a link");
    symlink("itself", tree.join("itself")).expect("a link");
    symlink("nowhere", tree.join("dangling")).expect("a link");
    mkfifo(&tree.join("fifo"));
    UnixListener::bind(tree.join("socket")).expect("a socket");
    home
}

/// Compared as text, so that a failure can be read.
#[track_caller]
fn assert_same(ours: &[u8], theirs: &[u8]) {
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\n", "\n");
    assert_eq!(shown(ours), shown(theirs));
}

#[test]
fn a_tree_is_digested_as_find_and_sha256sum_do_it() {
    let home = odd_tree();
    let theirs = expected(home.path(), "sha256sum", "tree");
    assert_eq!(theirs.iter().filter(|&&byte| byte == b'\n').count(), 17);
    for args in [&["tree"][..], &["tree", "--jobs", "1"], &["--algo=sha256", "--jobs=7", "tree"]] {
        let ran = digest(home.path(), args);
        assert_same(&ran.stdout, &theirs);
        assert_same(&ran.stderr, b"");
        assert_eq!(ran.status.code(), Some(0));
    }
}

#[test]
fn md5_is_that_of_md5sum() {
    let home = odd_tree();
    let ran = digest(home.path(), &["--algo", "md5", "tree"]);
    assert_same(&ran.stdout, &expected(home.path(), "md5sum", "tree"));
    assert_eq!(ran.status.code(), Some(0));
}

/// b3sum is not everywhere; its format is that of the others.
#[test]
fn blake3_is_printed_in_the_same_format() {
    let home = TempDir::new().expect("a directory");
    fs::write(home.path().join("a\\b"), b"").expect("a file");
    let ran = digest(home.path(), &["--algo", "blake3", "a\\b"]);
    assert_same(&ran.stdout, b"\\af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262  a\\\\b\n");
}

#[test]
fn the_path_is_spelled_as_the_argument_is() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    for below in [".", "./", "deep", "deep/", "deep//", "./deep/../deep"] {
        let ran = digest(&tree, &[below]);
        assert_same(&ran.stdout, &expected(&tree, "sha256sum", below));
    }
}

#[test]
fn files_as_arguments_are_read_as_sha256sum_does() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    let ran = digest(&tree, &["--", "-leading-dash", "link to file", "plain", "plain"]);
    let theirs = system(&tree, "sha256sum -- -leading-dash 'link to file' plain plain");
    assert_same(&ran.stdout, &theirs);
    assert_eq!(ran.status.code(), Some(0));
}

/// As `find` has it: the link is not followed, unless a slash makes it the directory itself.
#[test]
fn a_link_to_a_directory_is_not_walked() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    let ran = digest(&tree, &["link to directory"]);
    assert_same(&ran.stdout, b"");
    assert_same(
        &ran.stderr,
        b"throng: digest: link to directory: is a symbolic link to a directory, \
          which is not followed; put a / behind it to walk it\n",
    );
    assert_eq!(ran.status.code(), Some(0));

    let ran = digest(&tree, &["link to directory/"]);
    let theirs = expected(&tree, "sha256sum", "'link to directory/'");
    assert_same(&ran.stdout, &theirs);
    assert!(!theirs.is_empty());
}

#[test]
fn an_empty_tree_has_no_lines() {
    let home = odd_tree();
    for args in [&["tree/empty directory"][..], &["--json", "tree/empty directory"]] {
        let ran = digest(home.path(), args);
        assert_same(&ran.stdout, b"");
        assert_same(&ran.stderr, b"");
        assert_eq!(ran.status.code(), Some(0));
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_printed() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    let ran = digest(&tree, &["dangling", "plain", "itself", "gone/", "plain/", ""]);
    assert_same(&ran.stdout, &system(&tree, "sha256sum plain"));
    let complaints: HashSet<_> = ran.stderr.split(|&byte| byte == b'\n').collect();
    let expected: [&[u8]; 6] = [
        b"throng: digest: dangling: No such file or directory",
        b"throng: digest: itself: Too many levels of symbolic links",
        b"throng: digest: gone/: No such file or directory",
        b"throng: digest: plain/: Not a directory",
        b"throng: digest: : No such file or directory",
        b"",
    ];
    assert_eq!(complaints, HashSet::from(expected));
    assert_eq!(ran.status.code(), Some(1));
}

/// An argument that can be opened, but not read.
#[test]
fn a_failing_read_is_named_and_the_rest_is_printed() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    let ran = digest(&tree, &["plain", "/proc/self/mem"]);
    assert_same(&ran.stdout, &system(&tree, "sha256sum plain"));
    assert_same(&ran.stderr, b"throng: digest: /proc/self/mem: Input/output error\n");
    assert_eq!(ran.status.code(), Some(1));
}

/// Files and directories in a tree that nobody can open by their path, not even root.
#[test]
fn what_is_too_deep_is_named_and_the_rest_is_printed() {
    let home = TempDir::new().expect("a directory");
    let part = "x".repeat(250);
    let script = format!("for level in $(seq 20); do mkdir {part}; cd {part}; echo $level >y; echo $level >z; done");
    system(home.path(), &script);
    let ran = digest(home.path(), &["."]);
    let theirs = expected(home.path(), "sha256sum", ".");
    assert_same(&ran.stdout, &theirs);
    assert!(!theirs.is_empty());
    let complaints = String::from_utf8_lossy(&ran.stderr);
    assert!(!complaints.is_empty());
    for line in complaints.lines() {
        assert!(line.starts_with("throng: digest: ./xxx"), "{line}");
        assert!(line.ends_with("x: File name too long"), "{line}");
    }
    assert_eq!(ran.status.code(), Some(1));
}

/// Run by somebody who is not root, for whom modes count.
#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_printed() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    let forbid = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    };
    fs::create_dir(tree.join("secret")).expect("a directory");
    fs::write(tree.join("secret/file"), b"x").expect("a file");
    forbid(home.path(), 0o755);
    forbid(&tree.join("secret"), 0o000);
    forbid(&tree.join("plain"), 0o000);

    let mut command = throng(home.path());
    if fs::read(tree.join("plain")).is_ok() {
        command.uid(65534); // nobody
    }
    let ran = command.arg("tree").output();
    forbid(&tree.join("secret"), 0o755);
    forbid(&tree.join("plain"), 0o644);
    let Ok(ran) = ran else {
        eprintln!("skipped: nobody may not run what has been built here");
        return;
    };
    fs::remove_file(tree.join("plain")).expect("a file");
    fs::remove_dir_all(tree.join("secret")).expect("a directory");
    assert_same(&ran.stdout, &expected(home.path(), "sha256sum", "tree"));
    let complaints: HashSet<_> = ran.stderr.split(|&byte| byte == b'\n').collect();
    let expected: [&[u8]; 3] = [b"throng: digest: tree/plain: Permission denied", b"throng: digest: tree/secret: Permission denied", b""];
    assert_eq!(complaints, HashSet::from(expected));
    assert_eq!(ran.status.code(), Some(1));
}

#[test]
fn standard_input_is_a_path_too_and_read_once() {
    let home = odd_tree();
    let tree = home.path().join("tree");
    let big = || Stdio::from(File::open(tree.join("deep/five megabytes")).expect("a file"));
    let ran = throng(&tree).args(["-", "plain", "-"]).stdin(big()).output();
    let mut shell = Command::new("sh");
    shell.current_dir(&tree).stdin(big());
    let theirs = shell.args(["-c", "sha256sum - - plain"]).output();
    assert_same(&ran.expect("throng runs").stdout, &theirs.expect("sh runs").stdout);

    let directory = Stdio::from(File::open(&tree).expect("a directory"));
    let ran = throng(&tree).arg("-").stdin(directory).output().expect("throng runs");
    assert_same(&ran.stderr, b"throng: digest: -: Is a directory\n");
    assert_eq!(ran.status.code(), Some(1));
}

#[test]
fn a_pipe_as_an_argument_is_read_to_its_end() {
    let home = TempDir::new().expect("a directory");
    let fifo = home.path().join("fifo");
    mkfifo(&fifo);
    let mut throng = throng(home.path());
    let reading = throng.arg("fifo").stdout(Stdio::piped()).spawn();
    let mut writer = File::options().write(true).open(&fifo).expect("a reader");
    writer.write_all(b"abc").expect("a reader");
    drop(writer);
    let ran = reading.expect("throng starts").wait_with_output();
    assert_same(&ran.expect("throng ends").stdout, b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  fifo\n");
}

/// Each line is an object from which the text line can be made again.
#[test]
fn json_says_the_same_as_the_text() {
    let home = odd_tree();
    let text = expected(home.path(), "md5sum -z", "tree");
    let ran = digest(home.path(), &["--json", "--algo", "md5", "tree"]);
    let mut again = Vec::new();
    for line in ran.stdout.split_inclusive(|&byte| byte == b'\n') {
        let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!(line["algo"], "md5");
        let path = line["path"].as_str().expect("a string");
        let path = match line["path_bytes"].as_str() {
            Some(hexadecimal) => unhex(hexadecimal),
            None => path.into(),
        };
        let len = fs::metadata(home.path().join(&path)).expect("a file").len();
        assert_eq!(line["bytes"], len);
        again.extend_from_slice(line["digest"].as_str().expect("a string").as_bytes());
        again.extend_from_slice(b"  ");
        again.extend_from_slice(path.as_bytes());
        again.push(0);
    }
    assert_same(&again, &text);
}

fn unhex(text: &str) -> OsString {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    OsString::from_vec((0..text.len()).step_by(2).map(byte).collect())
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let home = TempDir::new().expect("a directory");
    for (args, says) in [
        (&["--jobs", "0", "."][..], "give a number from 1 to 1024"),
        (&["--jobs", "many", "."], "give a number from 1 to 1024"),
        (&["--algo", "crc32", "."], "[possible values: md5, sha256, blake3]"),
        (&[], "<PATH>"),
    ] {
        let ran = digest(home.path(), args);
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert!(complaint.contains(says), "{complaint}");
        assert_eq!(ran.status.code(), Some(2));
        assert_same(&ran.stdout, b"");
    }
}

/// Nobody reads the output: no panic, nothing said, and the code a shell gives SIGPIPE.
#[test]
fn a_reader_that_goes_away_is_no_reason_to_complain() {
    let home = odd_tree();
    let mut command = throng(home.path());
    command.arg("tree").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("throng starts");
    drop(child.stdout.take());
    let ran = child.wait_with_output().expect("throng ends");
    assert_same(&ran.stderr, b"");
    assert_eq!(ran.status.code(), Some(141));
}

#[test]
fn a_full_device_is_an_error() {
    let home = odd_tree();
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let ran = throng(home.path()).arg("tree").stdout(full).output();
    let ran = ran.expect("throng runs");
    assert_same(&ran.stderr, b"throng: digest: standard output: No space left on device\n");
    assert_eq!(ran.status.code(), Some(1));
}
