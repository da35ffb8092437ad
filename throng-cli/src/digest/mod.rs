//! `throng digest`: the digests of files, computed by a pipeline of goroutines.
//!
//! ```text
//!             bounded              bounded
//! walker ------------> digester ------------> collector
//!    |     files to   > digester >  reports       ^
//!    |     be read    > digester >                |
//!    +--------------------------------------------+
//!                what could not be walked
//! ```
//!
//! The walker names the files, so many digesters read them, and the collector keeps what they
//! found until it can be sorted. All three block in `throng::blocking` only: system calls and
//! hashing hold up a thread of their own, never a worker. Hashing is in there too because a
//! digester stays on the worker on which it started, which is the same one for all of them as
//! long as none has had anything to do.
//!
//! **Memory.** The channels are bounded, so files that have been found wait for the digesters in a
//! queue of fixed length, and each digester has one buffer. What does grow with the tree is one
//! record for each file (its path, 33 bytes of digest, two numbers), since the output is sorted and
//! the last file found may be the first one printed, and the walker's list of directories that it
//! has not opened yet.
//!
//! **Cancellation.** Ctrl-C cancels a token. The body of the scope waits for that as well as for the
//! collector, and fails the scope when it comes; digesters also look at it between two reads. A
//! read that does not come back cannot be interrupted: the process exits over it, after a grace.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::builder::{OsStringValueParser, TypedValueParser};
use throng::{CancelToken, Cancelled, Receiver, Runtime, Sender, bounded, scope, select};

use crate::cli::{FAILED, INTERRUPTED, complain, output_failed};

mod digester;
mod hash;
mod interrupt;
mod output;
mod progress;
mod walk;

use hash::Algorithm;
use output::Record;
use progress::Progress;

/// Files that wait for a digester, and reports that wait for the collector, at most.
const QUEUE: usize = 256;

/// The most digesters that can be asked for: each holds a thread and a buffer.
const MOST_JOBS: usize = 1024;

/// The arguments of `throng digest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, directories (all regular files below them, as `find PATH -type f`), or - for
    /// standard input
    // clap's own parser for paths refuses an empty one before anyone can say what is wrong with it.
    #[arg(value_name = "PATH", required = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    paths: Vec<PathBuf>,
    /// Which digest
    #[arg(long, value_enum, default_value_t = Algorithm::Sha256)]
    algo: Algorithm,
    /// How many files are read at a time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,
    /// Print a JSON object for each file: path, algo, digest, bytes; and path_bytes, in
    /// hexadecimal, for a path that is not UTF-8
    #[arg(long)]
    json: bool,
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().ok().filter(|jobs: &NonZeroUsize| jobs.get() <= MOST_JOBS).ok_or_else(|| format!("give a number from 1 to {MOST_JOBS}"))
}

/// What comes out of the pipeline for each path, in no particular order.
#[derive(Debug)]
enum Report {
    Digested(Record),
    /// It has been complained about already.
    Failed,
}

/// What the pipeline leaves behind.
#[derive(Debug, Default)]
struct Harvest {
    records: Vec<Record>,
    failed: bool,
}

/// `throng digest`: returns the exit code.
pub(crate) fn command(args: &Args) -> u8 {
    let stop = CancelToken::new();
    let progress = Arc::new(Progress::on_stderr());
    let interrupt = match interrupt::watch(stop.clone(), Arc::clone(&progress)) {
        Ok(interrupt) => interrupt,
        Err(error) => {
            complain(&format!("digest: cannot listen to Ctrl-C: {error}"));
            return FAILED;
        }
    };
    let jobs = args.jobs.or_else(|| thread::available_parallelism().ok());
    let jobs = jobs.map_or(1, NonZeroUsize::get);
    // The walker needs a thread besides those of the digesters.
    let runtime = match Runtime::builder().max_blocking_threads(jobs + 1).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("digest: cannot start a runtime: {error}"));
            return FAILED;
        }
    };
    let harvest = runtime.run(|| pipeline(args, jobs, &stop, &progress));
    runtime.shutdown();

    progress.clear();
    let code = match harvest {
        Ok(harvest) => print(args, harvest),
        Err(_) => INTERRUPTED,
    };
    interrupt.end(code)
}

/// Walks, digests and collects, all in one scope, which ends when the last of them has: with
/// `Cancelled` if `stop` was cancelled first.
fn pipeline(args: &Args, jobs: usize, stop: &CancelToken, progress: &Progress) -> Result<Harvest, Cancelled> {
    scope(|s| {
        let (found, files) = bounded(QUEUE);
        let (reports, reported) = bounded(QUEUE);
        let (harvests, harvested) = bounded(1);
        for _ in 0..jobs {
            let (files, reports) = (files.clone(), reports.clone());
            s.go(move || digester::digest_all(args.algo, files, &reports, stop, progress));
        }
        s.go(move || walk::walk(&args.paths, &found, &reports, progress));
        s.go(move || collect(&reported, &harvests));

        // Its own end of the files would keep the walker going when all digesters have gone.
        drop(files);
        let stopped = stop.done();
        select! {
            recv(harvested) -> harvest => harvest.map_err(|_| Cancelled::new()),
            recv(stopped) -> _ => Err(Cancelled::new()),
        }?
    })
}

/// The collector: keeps all reports, and hands them on when there are no more.
fn collect(reported: &Receiver<Report>, harvests: &Sender<Harvest>) -> Result<(), Cancelled> {
    let mut harvest = Harvest::default();
    for report in reported {
        match report {
            Report::Digested(record) => harvest.records.push(record),
            Report::Failed => harvest.failed = true,
        }
    }
    // The iteration ends on cancellation too, and then half of the files are missing.
    throng::check()?;
    harvests.send(harvest).map_err(|_| Cancelled::new())
}

/// Prints the records by path, and returns the exit code.
fn print(args: &Args, mut harvest: Harvest) -> u8 {
    harvest.records.sort_unstable_by(Record::compare);
    match output::print(&harvest.records, args.algo, args.json) {
        Ok(()) if harvest.failed => FAILED,
        Ok(()) => 0,
        Err(error) => output_failed("digest", &error),
    }
}
