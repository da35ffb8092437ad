//! Two tasks that begin on two workers.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::measure::{BenchError, Run};

/// Where the two tasks of a pair meet as they begin, if they are to begin apart.
pub(super) enum Meeting {
    /// They begin wherever they do.
    None,
    /// Each keeps its worker busy until the other has begun, too: so that is on another.
    Apart(AtomicU64),
}

impl Meeting {
    pub(super) fn apart() -> Meeting {
        Meeting::Apart(AtomicU64::new(0))
    }

    /// Each of the two calls this once.
    pub(super) fn begin(&self) {
        if let Meeting::Apart(begun) = self {
            // Relaxed: only the count matters.
            begun.fetch_add(1, Ordering::Relaxed);
            while begun.load(Ordering::Relaxed) < 2 {
                spin_loop();
            }
        }
    }
}

/// Where there is one worker, two tasks would wait for each other in vain.
pub(super) fn with_two(run: &Run) -> Result<&Run, BenchError> {
    if run.workers.get() < 2 { Err(BenchError::failed("it takes two workers to be apart")) } else { Ok(run) }
}
