//! Computations, pairs that talk, and a timer, all at once: as coroutines.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ::throng::channel::rendezvous;
use ::throng::{Scope, scope, sleep_async};

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
            computing(s, stop, computed);
        }
        s.launch(async move {
            loop {
                let start = Instant::now();
                sleep_async(NAP).await?;
                late.lock().map_err(BenchError::failed)?.push(lateness(start));
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        });
        let start = Instant::now();
        let talked = scope(|s| {
            let pairs: Vec<_> = (0..PAIRS)
                .map(|_| {
                    let (ping, pings) = rendezvous::<u64>();
                    let (pong, pongs) = rendezvous::<u64>();
                    s.launch(async move {
                        while let Ok(value) = pings.recv_async().await {
                            pong.send_async(value + 1).await?;
                        }
                        Ok(())
                    });
                    s.launch(async move {
                        let mut sum = 0;
                        for i in 0..each {
                            ping.send_async(i).await?;
                            sum += pongs.recv_async().await?;
                        }
                        Ok(sum)
                    })
                })
                .collect();
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

/// Starts one that computes, and then starts the next.
fn computing<'scope>(s: &'scope Scope<'scope, '_, BenchError>, stop: &'scope AtomicBool, computed: &'scope AtomicU64) {
    s.launch(async move {
        compute();
        computed.fetch_add(1, Ordering::Relaxed);
        if !stop.load(Ordering::Relaxed) {
            computing(s, stop, computed);
        }
    });
}
