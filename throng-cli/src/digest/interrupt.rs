//! Ctrl-C: asks the pipeline to stop, and ends the process if it does not stop in time.
//!
//! Two threads settle which of them has the last word: the one that ran the pipeline, which calls
//! [`Interrupt::end`] when all is done, and the one that the signal arrives on. Either the former
//! sets `ended` first, and the process exits with its code; or the grace is over first, and the
//! latter exits the process while it holds the lock, so that `end` does not return.
//!
//! The grace also ends an output that nobody reads on: it is written after the pipeline has ended,
//! but before `end`.

use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use throng::CancelToken;

use super::progress::Progress;
use crate::cli::INTERRUPTED;

/// How long a read may go on that nobody can interrupt. From Ctrl-C to the end of the process it
/// shall take no more than 100 ms.
const GRACE: Duration = Duration::from_millis(60);

#[derive(Debug)]
struct Shared {
    ended: Mutex<bool>,
    changed: Condvar,
    progress: Arc<Progress>,
}

/// Listens to Ctrl-C until [`end`](Self::end).
#[derive(Debug)]
#[must_use = "Ctrl-C ends the process after the grace until `end` is called"]
pub(super) struct Interrupt {
    shared: Arc<Shared>,
}

/// From now on Ctrl-C cancels `stop` and, unless all has ended after a grace, exits the process.
/// Once in a process, since there is one Ctrl-C.
pub(super) fn watch(stop: CancelToken, progress: Arc<Progress>) -> Result<Interrupt, ctrlc::Error> {
    let shared = Arc::new(Shared { ended: Mutex::new(false), changed: Condvar::new(), progress });
    let on_signal = Arc::clone(&shared);
    ctrlc::set_handler(move || {
        stop.cancel();
        on_signal.wait_or_exit();
    })?;
    Ok(Interrupt { shared })
}

impl Shared {
    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the signal's thread.
    fn wait_or_exit(&self) {
        let (ended, _) = self.changed.wait_timeout_while(self.ended(), GRACE, |ended| !*ended).unwrap_or_else(PoisonError::into_inner);
        if !*ended {
            self.progress.interrupted();
            process::exit(i32::from(INTERRUPTED)); // with the lock held
        }
    }
}

impl Interrupt {
    /// All is done, and the process is about to exit with this code: returns it, having said how
    /// far it came if that is because of Ctrl-C.
    pub(super) fn end(self, code: u8) -> u8 {
        *self.shared.ended() = true;
        self.shared.changed.notify_all();
        if code == INTERRUPTED {
            self.shared.progress.interrupted();
        }
        code
    }
}
