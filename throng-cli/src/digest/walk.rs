//! The walker: turns the paths of the command line into files to be read.
//!
//! A directory is walked as `find PATH -type f` does it: regular files only, no symbolic link
//! followed, each path spelled as the argument plus what leads on from there. Any other argument
//! is opened and read as `sha256sum` does it, through symbolic links, and be it a pipe or a device. So a
//! symbolic link to a file is read and one to a directory is not walked (`LINK/` is the directory
//! itself, to the system as to `find`); nothing is said on stdout about the latter.
//!
//! Directories that are still to be opened are a list, not a recursion, so neither the depth of a
//! tree nor its width holds more than one of them open.

use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use throng::{Cancelled, Sender, blocking};

use super::Report;
use super::progress::Progress;

/// Entries of a directory that are read in one blocking call.
const BATCH: usize = 512;

/// Something to be read. `order` tells apart what has the same path, by which was found first.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) order: u64,
    pub(super) path: PathBuf,
    pub(super) source: Source,
}

/// Where the bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File,
    Stdin,
    /// Standard input once more: the first who reads it reads all of it.
    Nothing,
}

/// Finds all files and sends them on. What cannot be walked is complained about and reported.
/// Returns when the last one has been sent, or cancelled.
pub(super) fn walk(paths: &[PathBuf], files: &Sender<Job>, reports: &Sender<Report>, progress: &Progress) -> Result<(), Cancelled> {
    let mut walker = Walker { files, reports, progress, found: 0 };
    let mut stdin = Source::Stdin;
    for path in paths {
        if path.as_os_str() == "-" {
            walker.send(path.clone(), stdin)?;
            stdin = Source::Nothing;
            continue;
        }
        match blocking(|| Argument::of(path))? {
            Ok(Argument::Readable) => walker.send(path.clone(), Source::File)?,
            Ok(Argument::Directory) => walker.walk_below(path)?,
            Ok(Argument::LinkToDirectory) => {
                progress.complain(path, "is a symbolic link to a directory, which is not followed; put a / behind it to walk it")
            }
            Err(error) => walker.fail(path, &error)?,
        }
    }
    Ok(())
}

/// What an argument turns out to be.
enum Argument {
    Readable,
    Directory,
    LinkToDirectory,
}

impl Argument {
    fn of(path: &Path) -> io::Result<Self> {
        let itself = fs::symlink_metadata(path)?.file_type();
        if itself.is_dir() {
            Ok(Self::Directory)
        } else if itself.is_symlink() && fs::metadata(path)?.is_dir() {
            Ok(Self::LinkToDirectory)
        } else {
            Ok(Self::Readable)
        }
    }
}

struct Walker<'a> {
    files: &'a Sender<Job>,
    reports: &'a Sender<Report>,
    progress: &'a Progress,
    found: u64,
}

impl Walker<'_> {
    fn send(&mut self, path: PathBuf, source: Source) -> Result<(), Cancelled> {
        let order = self.found;
        self.found += 1;
        self.progress.found();
        let job = Job { order, path, source };
        // Closed as well: all digesters have gone, so the scope has failed and this ends with it.
        self.files.send(job).map_err(|_| Cancelled::new())
    }

    fn fail(&self, path: &Path, error: &io::Error) -> Result<(), Cancelled> {
        self.progress.failed(path, error);
        self.reports.send(Report::Failed).map_err(|_| Cancelled::new())
    }

    fn walk_below(&mut self, root: &Path) -> Result<(), Cancelled> {
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            let mut entries = match blocking(|| fs::read_dir(&directory))? {
                Ok(entries) => entries,
                Err(error) => {
                    self.fail(&directory, &error)?;
                    continue;
                }
            };
            loop {
                let batch = blocking(|| Batch::next(&mut entries, &directory))?;
                pending.extend(batch.directories);
                for file in batch.files {
                    self.send(file, Source::File)?;
                }
                for (path, error) in &batch.failed {
                    self.fail(path, error)?;
                }
                if batch.last {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A part of a directory's entries.
#[derive(Default)]
struct Batch {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    failed: Vec<(PathBuf, io::Error)>,
    last: bool,
}

impl Batch {
    fn next(entries: &mut ReadDir, directory: &Path) -> Self {
        let mut batch = Self::default();
        for _ in 0..BATCH {
            match entries.next() {
                Some(Ok(entry)) => batch.sort_in(&entry),
                // std reads no further after this either.
                Some(Err(error)) => batch.failed.push((directory.to_owned(), error)),
                None => {
                    batch.last = true;
                    break;
                }
            }
        }
        batch
    }

    fn sort_in(&mut self, entry: &DirEntry) {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => self.files.push(entry.path()),
            Ok(kind) if kind.is_dir() => self.directories.push(entry.path()),
            Ok(_) => {} // links, pipes, sockets, devices
            Err(error) => self.failed.push((entry.path(), error)),
        }
    }
}
