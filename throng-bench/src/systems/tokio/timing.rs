//! Workloads that are judged by the processor time they take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::tokio::spawn;
use ::tokio::task::JoinHandle;
use ::tokio::time::sleep;

use super::Result;
use crate::measure::{BenchError, Measured, check};
use crate::sys;
use crate::workload::{DROPS, TICK, naps};

pub(super) async fn timers(n: u64) -> Result<Measured> {
    let naps = naps(n);
    let longest = Duration::from_millis(naps.iter().copied().max().unwrap_or(0));
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    let nap_for = async |nap| {
        sleep(Duration::from_millis(nap)).await;
        nap
    };
    let sleepers: Vec<JoinHandle<u64>> = naps.iter().map(|&nap| spawn(nap_for(nap))).collect();
    let mut slept = 0;
    for sleeper in sleepers {
        slept += sleeper.await.map_err(BenchError::failed)?;
    }
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("sum of sleeps", slept, naps.iter().sum())?;
    Measured::new(wall, n).with_timers(longest, cpu)
}

pub(super) async fn trickle(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.store(0, Ordering::Relaxed);
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    for _ in 0..n {
        sleep(TICK).await;
        for _ in 0..DROPS {
            drop(spawn(async { COUNT.fetch_add(1, Ordering::Relaxed) }));
        }
    }
    while COUNT.load(Ordering::Relaxed) < n * DROPS {
        sleep(TICK).await;
    }
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("count of tasks", COUNT.load(Ordering::Relaxed), n * DROPS)?;
    Ok(Measured::new(wall, n).with_cpu(cpu))
}
