//! How far the pipeline has come, and everything that is said about it on stderr: the progress bar
//! (on a terminal only), the complaints, and the last word when it is interrupted.
//!
//! Shared by the walker and all digesters. The counts are exact once the pipeline has ended; before
//! that they may trail behind. The bar's own lock is never held over anything that parks.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::output;
use crate::cli::{complain, reason};

/// The counts, and the bar that shows them.
#[derive(Debug)]
pub(super) struct Progress {
    found: AtomicU64,
    done: AtomicU64,
    bytes: AtomicU64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing found yet. A bar is shown if stderr is a terminal.
    pub(super) fn on_stderr() -> Self {
        Self { found: AtomicU64::new(0), done: AtomicU64::new(0), bytes: AtomicU64::new(0), bar: io::stderr().is_terminal().then(bar) }
    }

    /// A file has been found.
    pub(super) fn found(&self) {
        let found = self.found.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.set_length(found);
        }
    }

    /// So many more bytes have been read.
    pub(super) fn read(&self, count: usize) {
        let bytes = self.bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        if let Some(bar) = &self.bar {
            bar.set_message(HumanBytes(bytes).to_string());
        }
    }

    /// A file has been read to its end.
    pub(super) fn file_done(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Complains about something that could not be read.
    pub(super) fn failed(&self, path: &Path, error: &io::Error) {
        self.complain(path, &reason(error));
    }

    /// Says something about a path, above the bar if there is one.
    pub(super) fn complain(&self, path: &Path, about: &str) {
        let message = format!("digest: {}: {about}", output::printable(path));
        match &self.bar {
            Some(bar) => bar.suspend(|| complain(&message)),
            None => complain(&message),
        }
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Says how far it came.
    pub(super) fn interrupted(&self) {
        self.clear();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        complain(&format!(
            "digest: interrupted after {} of the {} files found, and {} bytes",
            count(&self.done),
            count(&self.found),
            count(&self.bytes)
        ));
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_bar} {pos}/{len} files, {msg}").expect("the template is well-formed");
    ProgressBar::new(0).with_style(style).with_message(HumanBytes(0).to_string())
}
