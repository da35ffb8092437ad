//! What the operating system says of this process: memory and CPU time.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::measure::BenchError;

fn usage() -> Option<Usage> {
    getrusage(UsageWho::RUSAGE_SELF).ok()
}

/// Resident memory now, in bytes.
pub(crate) fn rss_bytes() -> Result<u64, BenchError> {
    memory_stats::memory_stats()
        .map(|stats| stats.physical_mem as u64)
        .ok_or_else(|| BenchError::failed("the system does not tell how much memory is resident"))
}

/// The most memory that was ever resident, in KiB; 0 when the system does not tell.
pub(crate) fn peak_rss_kb() -> u64 {
    // Apple's systems count bytes here, all others KiB.
    let unit = if cfg!(target_vendor = "apple") { 1024 } else { 1 };
    usage().map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or(0) / unit)
}

/// User and system time of all threads so far.
pub(crate) fn cpu_time() -> Result<Duration, BenchError> {
    let usage = usage().ok_or_else(|| BenchError::failed("the system does not tell the CPU time"))?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn memory_that_is_touched_counts() {
        let before = rss_bytes().expect("told");
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = rss_bytes().expect("told");
        assert!(after >= before + (32 << 20), "{before} {after}");
        assert!(peak_rss_kb() >= 32 << 10);
        drop(block);
    }

    #[test]
    fn cpu_time_goes_on() {
        let before = cpu_time().expect("told");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        assert!(cpu_time().expect("told") > before);
    }
}
