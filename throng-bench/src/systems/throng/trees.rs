//! Trees of scopes that are cancelled: wide ones and deep ones.
//!
//! What waits, waits in a receive from one channel that all share and nobody sends on: that is what most tasks wait in, every system has something like
//! it, and whoever is cancelled there has to leave the queue. The clock starts when the runtime has counted all of them as parked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::throng::channel::{Receiver, RecvError, never, rendezvous};
use ::throng::{Cancelled, metrics, scope, sleep};

use crate::measure::{BenchError, Measured, check};

type Result<T> = std::result::Result<T, BenchError>;

/// Each child has a flag of its own for its end, which takes no atomic.
pub(super) fn cancel_tree(n: u64) -> Result<Measured> {
    let mut ended = vec![false; n as usize];
    let wall = scope(|s| {
        let before = Parks::so_far()?;
        let parent = s.go(|| {
            let children = scope(|s| {
                for ended in &mut ended {
                    s.go(|| *ended = never::<()>().recv() == Err(RecvError::Cancelled));
                }
                Ok::<(), Cancelled>(())
            });
            Ok(children.is_err())
        });
        // The children, and the parent in its scope.
        before.until_more(n + 1)?;
        let start = Instant::now();
        parent.cancel();
        let cancelled = parent.join()?;
        let wall = start.elapsed();
        check("cancelled parents", cancelled.into(), 1)?;
        Ok::<_, BenchError>(wall)
    })?;
    check("cancelled children", ended.into_iter().filter(|ended| *ended).count() as u64, n)?;
    Ok(Measured::new(wall, n))
}

/// A chain of goroutines, each in a scope around the next. First it comes to its end by itself as soon as it is built; then it is built again, with a
/// last one that waits for ever, and cancelled at the top.
pub(super) fn deep_tree(n: u64) -> Result<Measured> {
    let chain = Chain { quiet: None, ended: AtomicU64::new(0), cancelled: AtomicU64::new(0) };
    let start = Instant::now();
    scope(|s| {
        s.go(|| _ = chain.level(n));
        Ok::<(), BenchError>(())
    })?;
    let wall = start.elapsed();
    chain.check(n, 0)?;

    let (_gate, quiet) = rendezvous();
    let chain = Chain { quiet: Some(quiet), ended: AtomicU64::new(0), cancelled: AtomicU64::new(0) };
    let cancel = scope(|s| {
        let before = Parks::so_far()?;
        let top = s.go(|| _ = chain.level(n));
        before.until_more(n)?;
        let start = Instant::now();
        top.cancel();
        top.join()?;
        Ok::<_, BenchError>(start.elapsed())
    })?;
    chain.check(0, n)?;
    Ok(Measured::new(wall, n).with_cancel(cancel))
}

struct Chain {
    /// What the last level waits for, if it is to wait.
    quiet: Option<Receiver<()>>,
    /// Levels that ended well.
    ended: AtomicU64,
    /// Levels that were cancelled.
    cancelled: AtomicU64,
}

impl Chain {
    /// A level with `left - 1` below it.
    fn level(&self, left: u64) -> std::result::Result<(), Cancelled> {
        let result = match &self.quiet {
            _ if left > 1 => scope(|s| {
                s.go(|| self.level(left - 1));
                Ok(())
            }),
            Some(quiet) => quiet.recv().map_err(|_| Cancelled::new()),
            None => Ok(()),
        };
        let count = if result.is_ok() { &self.ended } else { &self.cancelled };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn check(self, ended: u64, cancelled: u64) -> Result<()> {
        check("levels that ended", self.ended.into_inner(), ended)?;
        check("levels that were cancelled", self.cancelled.into_inner(), cancelled)
    }
}

/// Counts goroutines as they park: by the runtime's own count, which a worker brings up to date before it rests.
struct Parks(u64);

impl Parks {
    fn now() -> u64 {
        metrics().map_or(0, |metrics| metrics.workers.iter().chain(&metrics.spare_workers).map(|worker| worker.parked).sum())
    }

    /// Begins to count, when nobody but the caller runs any more.
    fn so_far() -> Result<Parks> {
        let mut seen = Parks::now();
        loop {
            sleep(Duration::from_millis(1))?;
            let now = Parks::now();
            // Our own nap, and nothing else.
            if now == seen + 1 {
                return Ok(Parks(now));
            }
            seen = now;
        }
    }

    /// Waits until `n` have parked. Each must park only once meanwhile.
    fn until_more(self, n: u64) -> Result<()> {
        let mut naps = 0;
        while Parks::now() < self.0 + naps + n {
            sleep(Duration::from_millis(1))?;
            naps += 1;
        }
        check("goroutines that have parked", Parks::now() - self.0 - naps, n)
    }
}
