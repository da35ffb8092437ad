//! Computations, pairs that talk, and a timer, all at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ::throng::channel::rendezvous;
use ::throng::{Scope, scope, sleep};

use super::Result;
use crate::measure::{BenchError, Measured, check, sum_below};
use crate::systems::mix::{NAP, compute, lateness};
use crate::workload::PAIRS;

/// Until the pairs are through: as many tasks that compute as there are workers, each followed by another, and one that sleeps again and again.
pub(super) fn compute_mix(n: u64) -> Result<Measured> {
    let (stop, computed) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let late = &Mutex::new(Vec::new());
    let workers = ::throng::metrics().map_or(1, |metrics| metrics.workers.len());
    let each = n / PAIRS;
    let mut wall = None;
    scope(|s| {
        for _ in 0..workers {
            s.go(move || computing(s, stop, computed));
        }
        s.go(move || {
            loop {
                let start = Instant::now();
                sleep(NAP)?;
                late.lock().map_err(BenchError::failed)?.push(lateness(start));
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        });
        let start = Instant::now();
        let talked = scope(|s| {
            let pairs: Vec<_> = (0..PAIRS).map(|_| s.go(move || talking(each))).collect();
            let mut sum = 0;
            for pair in pairs {
                sum += pair.join()?;
            }
            Ok::<u64, BenchError>(sum)
        });
        wall = Some(start.elapsed());
        stop.store(true, Ordering::Relaxed);
        check("sum of replies", talked?, PAIRS * (sum_below(each) + each))
    })?;
    if computed.load(Ordering::Relaxed) == 0 {
        return Err(BenchError::failed("nothing was computed meanwhile"));
    }
    let late = std::mem::take(&mut *late.lock().map_err(BenchError::failed)?);
    Measured::new(wall.unwrap_or_default(), n).with_lateness(late)
}

/// Computes, and starts the next that does.
fn computing<'scope>(s: &'scope Scope<'scope, '_, BenchError>, stop: &'scope AtomicBool, computed: &'scope AtomicU64) {
    compute();
    computed.fetch_add(1, Ordering::Relaxed);
    if !stop.load(Ordering::Relaxed) {
        s.go(move || computing(s, stop, computed));
    }
}

/// A pair: the sum of the replies.
fn talking(n: u64) -> Result<u64> {
    let (ping, pings) = rendezvous::<u64>();
    let (pong, pongs) = rendezvous::<u64>();
    scope(|s| {
        s.go(move || {
            for value in pings {
                pong.send(value + 1)?;
            }
            Ok::<(), BenchError>(())
        });
        let mut sum = 0;
        for i in 0..n {
            ping.send(i)?;
            sum += pongs.recv()?;
        }
        // Or the other would wait for more.
        drop(ping);
        Ok(sum)
    })
}
