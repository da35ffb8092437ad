//! Example: a million goroutines, a hundred thousand of them parked at the same time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Outcome, Output};
use throng::{Cancelled, WaitGroup, rendezvous, scope};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    start(out, 1_000_000, 100_000)
}

/// Starts so many goroutines, of which so many park until all of those are there.
pub fn start(out: &Output, goroutines: usize, parked: usize) -> Outcome {
    throng::run(|| {
        let begin = Instant::now();
        let ended = AtomicU64::new(0);
        let arrived = WaitGroup::new();
        arrived.add(parked);
        let (open, gate) = rendezvous::<()>();

        scope(|s| {
            for number in 0..goroutines {
                let (ended, arrived, gate) = (&ended, &arrived, &gate);
                s.go(move || {
                    if number < parked {
                        arrived.done();
                        let _ = gate.recv(); // parks until the gate is closed
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
            arrived.wait()?;
            out.line(format_args!("goroutines parked: {parked}"));
            out.line(format_args!("threads: {}", of_this_process("Threads")));
            open.close();
            Ok::<_, Cancelled>(())
        })?;

        let ended = ended.into_inner();
        out.line(format_args!("goroutines ended: {ended}"));
        out.line(format_args!("peak memory: {}", of_this_process("VmHWM")));
        out.line(format_args!("time: {:.1?}", begin.elapsed()));
        Ok(())
    })
}

/// What the kernel says about this process under this name.
fn of_this_process(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let named = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
    let found = status.lines().find_map(named);
    found.unwrap_or_else(|| "not available here".to_owned())
}
