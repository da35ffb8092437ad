//! Example: a sum by halves. Each half is a goroutine that borrows its part of the numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Outcome, Output};
use throng::{Cancelled, Scope, WaitGroup, scope};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    start(out, 1 << 20)
}

/// Sums up the steps that the numbers from 1 to `count` need to reach 1 (Collatz).
pub fn start(out: &Output, count: u64) -> Outcome {
    throng::run(|| {
        let numbers: Vec<u64> = (1..=count).collect();
        let sum = Sum::default();
        scope(|s| {
            sum.fork(s, &numbers);
            sum.open.wait()?;
            out.line(format_args!("sum: {}", sum.total.load(Ordering::Relaxed)));
            Ok::<_, Cancelled>(())
        })?;

        let workers = throng::metrics().map(|metrics| metrics.workers);
        for (number, worker) in workers.unwrap_or_default().iter().enumerate() {
            let (started, stolen) = (worker.started, worker.stolen);
            out.line(format_args!("worker {number}: {started} goroutines started, {stolen} of them stolen"));
        }
        Ok(())
    })
}

#[derive(Default)]
struct Sum {
    total: AtomicU64,
    /// The goroutines whose part is not in the total yet.
    open: WaitGroup,
}

impl Sum {
    /// Leaves one half after the other to a goroutine, until the rest is small.
    fn fork<'scope>(&'scope self, s: &'scope Scope<'scope, '_, Cancelled>, mut numbers: &'scope [u64]) {
        while numbers.len() > 4096 {
            let (half, rest) = numbers.split_at(numbers.len() / 2);
            self.open.add(1);
            s.go(move || {
                self.fork(s, half);
                self.open.done();
            });
            numbers = rest;
        }
        let part: u64 = numbers.iter().map(|&number| steps(number)).sum();
        self.total.fetch_add(part, Ordering::Relaxed);
    }
}

fn steps(mut number: u64) -> u64 {
    let mut steps = 0;
    while number > 1 {
        number = if number.is_multiple_of(2) { number / 2 } else { 3 * number + 1 };
        steps += 1;
    }
    steps
}
