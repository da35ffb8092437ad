//! What has been found out about a file, and how that is printed.
//!
//! As text, a line is what `sha256sum` and its like print: the digest, two spaces, the path in its
//! own bytes. A path with a backslash, a newline or a carriage return has those escaped, and a
//! backslash in front of the line says so. (`b3sum` alone prints U+FFFD for what is not UTF-8.)
//!
//! As JSON, a line is an object with `path`, `algo`, `digest` and `bytes`. Strings there are Unicode
//! while paths are bytes: a path that is not UTF-8 has U+FFFD in `path` for what is not, and all
//! of its bytes, in hexadecimal, in `path_bytes`, a key which no other path has.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::hash::{Algorithm, Digest};
use super::walk::Job;

/// A file that has been digested.
#[derive(Clone, Debug)]
pub(super) struct Record {
    path: PathBuf,
    order: u64,
    digest: Digest,
    bytes: u64,
}

impl Record {
    pub(super) fn new(job: Job, digest: Digest, bytes: u64) -> Self {
        let Job { path, order, .. } = job;
        Self { path, order, digest, bytes }
    }

    /// By the bytes of the path (a `Path` compares by components); then by what was found first.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let here = (bytes_of(&self.path), self.order);
        here.cmp(&(bytes_of(&other.path), other.order))
    }
}

/// Prints a line for each record to standard output.
pub(super) fn print(records: &[Record], algorithm: Algorithm, json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for record in records {
        if json {
            write_json(&mut out, record, algorithm)?;
        } else {
            write_text(&mut out, record)?;
        }
    }
    out.flush()
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn write_text(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let path = bytes_of(&record.path);
    if !path.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
        write!(out, "{}  ", record.digest)?;
        out.write_all(path)?;
        return out.write_all(b"\n");
    }
    write!(out, "\\{}  ", record.digest)?;
    for &byte in path {
        match byte {
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            _ => out.write_all(&[byte])?,
        }
    }
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Line<'a> {
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    algo: &'static str,
    digest: String,
    bytes: u64,
}

fn write_json(out: &mut impl Write, record: &Record, algorithm: Algorithm) -> io::Result<()> {
    let path = String::from_utf8_lossy(bytes_of(&record.path));
    let lossy = matches!(path, Cow::Owned(_));
    let line = Line {
        path,
        path_bytes: lossy.then(|| hexadecimal(bytes_of(&record.path))),
        algo: algorithm.name(),
        digest: record.digest.to_string(),
        bytes: record.bytes,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A path as it is named in a complaint: control characters and what is not UTF-8 are escaped, so
/// that no name plays tricks on a terminal.
pub(super) fn printable(path: &Path) -> String {
    let mut text = String::new();
    for chunk in bytes_of(path).utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::super::walk::Source;
    use super::*;

    const DIGEST: &str = "abababababababababababababababab";

    fn record(path: &[u8], order: u64) -> Record {
        let job = Job { order, path: OsString::from_vec(path.to_vec()).into(), source: Source::File };
        Record::new(job, Digest::new(&[0xab; 16]), 7)
    }

    fn text(path: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_text(&mut out, &record(path, 0)).expect("a Vec takes everything");
        out
    }

    fn json(path: &[u8]) -> String {
        let mut out = Vec::new();
        write_json(&mut out, &record(path, 0), Algorithm::Md5).expect("a Vec takes everything");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn a_plain_path_is_printed_in_its_own_bytes() {
        let expected = [DIGEST.as_bytes(), b"  a b\t\xff\n"].concat();
        assert_eq!(text(b"a b\t\xff"), expected);
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let expected = format!("\\{DIGEST}  a\\nb\\rc\\\\d\n");
        assert_eq!(text(b"a\nb\rc\\d"), expected.into_bytes());
    }

    #[test]
    fn json_has_the_bytes_only_of_a_path_that_is_not_utf8() {
        assert_eq!(json("ä\"".as_bytes()), format!(r#"{{"path":"ä\"","algo":"md5","digest":"{DIGEST}","bytes":7}}"#) + "\n");
        assert_eq!(json(b"a\xff"), format!(r#"{{"path":"a�","path_bytes":"61ff","algo":"md5","digest":"{DIGEST}","bytes":7}}"#) + "\n");
    }

    #[test]
    fn the_order_is_that_of_the_bytes() {
        // By components, a/b would come before a-b; as a number, two before ten.
        let mut records = [record(b"a/b", 2), record(b"-", 10), record(b"a-b", 3), record(b"-", 2)];
        records.sort_unstable_by(Record::compare);
        let orders = records.map(|record| record.order);
        assert_eq!(orders, [2, 10, 3, 2]);
    }

    #[test]
    fn a_complaint_names_a_path_in_printable_characters() {
        let path = OsString::from_vec(b"a\n\xff\x1b[1m \xc3\xa4".to_vec());
        assert_eq!(printable(path.as_ref()), r"a\n\xff\u{1b}[1m ä");
    }
}
