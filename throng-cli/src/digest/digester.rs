//! A digester: takes files from the walker, reads and hashes them, reports what came out.
//!
//! Handing work to a blocking thread costs about as much as digesting a small file, so a digester
//! does a *stint* there: it goes from file to file for as long as some are waiting, until it has
//! read [`STINT_BYTES`] or has [`STINT_FILES`] reports to hand over. It takes one file at a time,
//! so no file waits behind a big one while another digester has nothing to do.
//!
//! States between two stints: no file, or one that is half read.

use throng::channel::RecvError;
use throng::{CancelToken, Cancelled, Receiver, Sender, blocking};

use super::Report;
use super::hash::{Algorithm, Reading};
use super::output::Record;
use super::progress::Progress;
use super::walk::Job;

/// How much is read at once. Cancellation is seen between two reads.
const BUFFER: usize = 256 * 1024;
const STINT_BYTES: usize = 8 * 1024 * 1024;
const STINT_FILES: usize = 64;

/// Digests files until there are no more, or cancelled.
pub(super) fn digest_all(
    algorithm: Algorithm,
    files: Receiver<Job>,
    reports: &Sender<Report>,
    stop: &CancelToken,
    progress: &Progress,
) -> Result<(), Cancelled> {
    let mut digester = Digester { algorithm, files, stop, progress, buffer: vec![0; BUFFER], half_read: None, finished: Vec::new() };
    loop {
        if digester.half_read.is_none() {
            match digester.files.recv() {
                Ok(job) => blocking(|| digester.stint(Some(job)))?,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Cancelled) => return Err(Cancelled::new()),
            }
        } else {
            blocking(|| digester.stint(None))?;
        }
        if stop.is_cancelled() {
            return Err(Cancelled::new());
        }
        for report in digester.finished.drain(..) {
            reports.send(report).map_err(|_| Cancelled::new())?;
        }
    }
}

struct Digester<'a> {
    algorithm: Algorithm,
    files: Receiver<Job>,
    stop: &'a CancelToken,
    progress: &'a Progress,
    buffer: Vec<u8>,
    half_read: Option<(Job, Reading)>,
    finished: Vec<Report>,
}

impl Digester<'_> {
    /// Goes on with the half-read file, or begins with this one, and then takes others.
    fn stint(&mut self, first: Option<Job>) {
        let mut left = STINT_BYTES;
        if let Some(job) = first {
            self.begin(job);
        }
        loop {
            self.read_on(&mut left);
            if self.half_read.is_some() || left == 0 || self.finished.len() == STINT_FILES {
                return;
            }
            match self.files.try_recv() {
                Ok(job) => self.begin(job),
                Err(_) => return, // none is waiting, or there will be none
            }
        }
    }

    fn begin(&mut self, job: Job) {
        match Reading::open(&job, self.algorithm) {
            Ok(reading) => self.half_read = Some((job, reading)),
            Err(error) => self.fail(&job, &error),
        }
    }

    /// Reads until the end of the file, or as much as is left to be read in this stint.
    fn read_on(&mut self, left: &mut usize) {
        while let Some((job, mut reading)) = self.half_read.take() {
            if *left == 0 || self.stop.is_cancelled() {
                self.half_read = Some((job, reading));
                return;
            }
            match reading.advance(&mut self.buffer) {
                Ok(0) => {
                    let (digest, bytes) = reading.finish();
                    self.progress.file_done();
                    let record = Record::new(job, digest, bytes);
                    self.finished.push(Report::Digested(record));
                }
                Ok(count) => {
                    *left = left.saturating_sub(count);
                    self.progress.read(count);
                    self.half_read = Some((job, reading));
                }
                Err(error) => self.fail(&job, &error),
            }
        }
    }

    fn fail(&mut self, job: &Job, error: &std::io::Error) {
        self.progress.failed(&job.path, error);
        self.finished.push(Report::Failed);
    }
}
