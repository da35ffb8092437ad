//! The command line: parsing, and the way into each command.
//!
//! Exit codes: 0 all went well; 1 something failed, and was named on stderr; 2 the command line
//! was wrong; 130 interrupted by Ctrl-C; 141 whoever read the output went away (both as a shell
//! reports a process that its signal, SIGINT or SIGPIPE, has ended).

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{digest, tour};

/// Something failed, and was named on stderr.
pub(crate) const FAILED: u8 = 1;
/// The command line was wrong.
pub(crate) const USAGE: u8 = 2;
/// 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// 128 + SIGPIPE.
const READER_GONE: u8 = 141;

/// Goroutines and structured concurrency for Rust: a tour of the runtime, and a tool made with it.
#[derive(Debug, Parser)]
#[command(name = "throng", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show and run short examples of the runtime (what `throng` alone does, too)
    Tour(tour::Args),
    /// Print the digests of files and of all files under directories, sorted by path
    Digest(digest::Args),
}

/// Parses the process's arguments and runs the command they name.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let code = match command.unwrap_or(Command::Tour(tour::Args::default())) {
        Command::Tour(args) => tour::command(&args),
        Command::Digest(args) => digest::command(&args),
    };
    ExitCode::from(code)
}

/// The exit code for output that could not be written. A reader that went away (`| head`) has all
/// it wanted, so nothing is said about that.
pub(crate) fn output_failed(command: &str, error: &io::Error) -> u8 {
    if error.kind() == ErrorKind::BrokenPipe {
        return READER_GONE;
    }
    complain(&format!("{command}: standard output: {}", reason(error)));
    FAILED
}

/// Says on stderr what went wrong. A stderr that is closed is no reason to stop.
pub(crate) fn complain(message: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "throng: {message}");
}

/// What an I/O error says, in the words of the C library alone: `Permission denied`, without the
/// `(os error 13)` that std adds.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_reason_leaves_out_the_number() {
        let missing = std::fs::File::open("/no/such/file").expect_err("no such file");
        assert_eq!(reason(&missing), "No such file or directory");
        assert_eq!(reason(&io::Error::other("odd")), "odd");
    }
}
