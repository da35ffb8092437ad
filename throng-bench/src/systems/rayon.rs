//! rayon: fork-join only, so only the workloads that never wait for anything but their children.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ::rayon::{ThreadPoolBuilder, scope};

use crate::measure::{Bench, BenchError, Measured, Run, check, sum_below};
use crate::workload::{Workload, tree_tasks};

pub(super) fn bench(workload: Workload) -> Option<Bench> {
    match workload {
        Workload::SpawnJoin => Some(|run| measure(run, spawn_join)),
        Workload::SpawnOne => Some(|run| measure(run, spawn_one)),
        Workload::SkynetJoin => Some(|run| measure(run, skynet_join)),
        _ => None,
    }
}

fn measure(run: &Run, body: fn(u64) -> Result<Measured, BenchError>) -> Result<Measured, BenchError> {
    let pool = ThreadPoolBuilder::new().num_threads(run.workers.get()).build().map_err(BenchError::failed)?;
    pool.install(|| {
        body(run.warm_up())?;
        body(run.n)
    })
}

fn spawn_join(n: u64) -> Result<Measured, BenchError> {
    let count = AtomicU64::new(0);
    let start = Instant::now();
    scope(|s| {
        for _ in 0..n {
            s.spawn(|_| _ = count.fetch_add(1, Ordering::Relaxed));
        }
    });
    let wall = start.elapsed();
    check("count of tasks", count.into_inner(), n)?;
    Ok(Measured::new(wall, n))
}

/// There is no handle to join, so each task gets a scope of its own and leaves its value in a local.
fn spawn_one(n: u64) -> Result<Measured, BenchError> {
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..n {
        let mut value = 0;
        scope(|s| s.spawn(|_| value = i));
        sum += value;
    }
    let wall = start.elapsed();
    check("sum of values", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

fn skynet_join(leaves: u64) -> Result<Measured, BenchError> {
    let mut sum = 0;
    let start = Instant::now();
    scope(|s| s.spawn(|_| sum = node(0, leaves)));
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

fn node(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let each = leaves / 10;
    let mut sums = [0; 10];
    scope(|s| {
        for (child, sum) in (0..).zip(&mut sums) {
            s.spawn(move |_| *sum = node(first + child * each, each));
        }
    });
    sums.iter().sum()
}
