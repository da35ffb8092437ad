//! Threads and channels of std, as a floor to compare with: only where a thread per task makes sense.

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use crate::measure::{Bench, BenchError, Measured, Run, check, sum_below};
use crate::workload::Workload;

pub(super) fn bench(workload: Workload) -> Option<Bench> {
    match workload {
        Workload::PingPong | Workload::PingPongApart => Some(|run| measure(run, ping_pong)),
        Workload::ChanSpsc => Some(|run| measure(run, chan_spsc)),
        _ => None,
    }
}

fn measure(run: &Run, body: fn(u64) -> Result<Measured, BenchError>) -> Result<Measured, BenchError> {
    body(run.warm_up())?;
    body(run.n)
}

fn ping_pong(n: u64) -> Result<Measured, BenchError> {
    let (ping, pings) = sync_channel::<u64>(0);
    let (pong, pongs) = sync_channel::<u64>(0);
    let start = Instant::now();
    let sum = thread::scope(|s| {
        s.spawn(move || {
            for value in pings {
                if pong.send(value + 1).is_err() {
                    break;
                }
            }
        });
        let pinger = s.spawn(move || {
            let mut sum = 0;
            for i in 0..n {
                ping.send(i).map_err(BenchError::failed)?;
                sum += pongs.recv().map_err(BenchError::failed)?;
            }
            Ok::<u64, BenchError>(sum)
        });
        pinger.join().map_err(|_| BenchError::failed("a thread panicked"))?
    })?;
    let wall = start.elapsed();
    check("sum of replies", sum, sum_below(n) + n)?;
    Ok(Measured::new(wall, n))
}

fn chan_spsc(n: u64) -> Result<Measured, BenchError> {
    let (items, inlet) = sync_channel::<u64>(128);
    let start = Instant::now();
    let sum = thread::scope(|s| {
        s.spawn(move || (0..n).try_for_each(|i| items.send(i)));
        let consumer = s.spawn(move || inlet.iter().sum::<u64>());
        consumer.join().map_err(|_| BenchError::failed("a thread panicked"))
    })?;
    let wall = start.elapsed();
    check("sum of items", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}
