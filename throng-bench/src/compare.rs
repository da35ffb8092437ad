//! `compare`: systems take turns, each measurement in a fresh process.
//!
//! States of a system within one workload: measuring, or failed. A system that failed once (wrong sum, crash, timeout)
//! is not asked again for that workload; the others go on, the table says so, and the whole comparison ends with an
//! error. The order is A B C A B C .., so that a slow spell of the machine hits all of them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wait_timeout::ChildExt;

use crate::cli::CompareArgs;
use crate::measure::BenchError;
use crate::report::Line;
use crate::systems::{self, System};
use crate::table::{Comparison, Row};
use crate::workload::Workload;

/// What one system delivered of one workload: a line a round, or the reason why not.
pub(crate) type Delivered = (System, Result<Vec<Line>, String>);

/// Runs the comparison and prints it.
pub(crate) fn compare(args: &CompareArgs) -> Result<(), BenchError> {
    let child = Child {
        program: std::env::current_exe().map_err(BenchError::failed)?,
        workers: args.workers.get(),
        limit: Duration::from_secs(args.timeout),
    };
    let systems = without_repeats(&args.systems);
    let plan: Vec<(Workload, u64, Vec<System>)> = args
        .sizes()
        .into_iter()
        .map(|(workload, n)| {
            let able = |system: &System| systems::bench(*system, workload).is_some();
            (workload, n, systems.iter().copied().filter(able).collect())
        })
        .collect();

    let turns: usize = plan.iter().map(|(_, _, able)| able.len()).sum();
    let bar = progress(turns as u64 * args.rounds);
    let mut rows = Vec::new();
    for (workload, n, able) in &plan {
        let delivered = take_turns(&child, &bar, *workload, *n, able, args.rounds);
        rows.extend(workload.metrics().iter().map(|&metric| Row::new(args.of, *workload, *n, metric, &delivered)));
    }
    bar.finish_and_clear();

    let comparison = Comparison { of: args.of, workers: child.workers, rounds: args.rounds, systems, rows };
    if args.json {
        println!("{}", comparison.to_json());
    } else {
        println!("{comparison}");
    }
    match comparison.failures() {
        0 => Ok(()),
        failures => Err(BenchError::Failed(format!("{failures} measurements failed"))),
    }
}

fn without_repeats(systems: &[System]) -> Vec<System> {
    let mut once = Vec::new();
    for &system in systems {
        if !once.contains(&system) {
            once.push(system);
        }
    }
    once
}

/// A bar on a terminal; nothing where standard error is none.
fn progress(turns: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (left: {eta})").expect("a template that the tests have seen");
    ProgressBar::new(turns).with_style(style)
}

fn take_turns(child: &Child, bar: &ProgressBar, workload: Workload, n: u64, able: &[System], rounds: u64) -> Vec<Delivered> {
    let mut delivered: Vec<Delivered> = able.iter().map(|&system| (system, Ok(Vec::new()))).collect();
    for round in 1..=rounds {
        for (system, lines) in &mut delivered {
            bar.set_message(format!("{workload}={n} {system}, round {round}"));
            if let Ok(so_far) = lines {
                match child.measure(*system, workload, n) {
                    Ok(line) => so_far.push(line),
                    Err(reason) => {
                        bar.suspend(|| eprintln!("throng-bench: {workload}={n} on {system}: {reason}"));
                        *lines = Err(reason);
                    }
                }
            }
            bar.inc(1);
        }
    }
    delivered
}

/// How to start this program again for one measurement.
#[derive(Debug)]
struct Child {
    program: PathBuf,
    workers: usize,
    limit: Duration,
}

impl Child {
    fn measure(&self, system: System, workload: Workload, n: u64) -> Result<Line, String> {
        let line =
            self.run(&["--system", &system.to_string(), "--workers", &self.workers.to_string(), &workload.to_string(), &n.to_string()])?;
        serde_json::from_str(&line).map_err(|error| format!("not a result line: {error}: {line}"))
    }

    /// Runs to the end, or to the limit, and gives back what was printed. What the child says on standard error
    /// goes where ours goes.
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let program: &Path = &self.program;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        // Reading after the wait cannot block the child: one line fits into any pipe.
        let waited = child.wait_timeout(self.limit);
        let status = match waited {
            Ok(Some(status)) => status,
            ended => {
                // Errors here mean that it has ended by itself after all.
                let _ = child.kill();
                let _ = child.wait();
                return Err(match ended {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("not done after {} s", self.limit.as_secs()),
                });
            }
        };
        let mut printed = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut printed).map_err(|error| error.to_string())?;
        }
        if status.success() { Ok(printed) } else { Err(status.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(limit: Duration) -> Child {
        Child { program: PathBuf::from("sh"), workers: 1, limit }
    }

    #[test]
    fn systems_take_part_once() {
        let twice = [System::Tokio, System::Rayon, System::Tokio];
        assert_eq!(without_repeats(&twice), [System::Tokio, System::Rayon]);
    }

    #[test]
    fn progress_template_is_valid() {
        assert_eq!(progress(3).length(), Some(3));
    }

    #[test]
    fn children_are_heard_and_their_failures_seen() {
        let shell = shell(Duration::from_secs(20));
        assert_eq!(shell.run(&["-c", "echo hello"]).as_deref(), Ok("hello\n"));
        let failed = shell.run(&["-c", "exit 3"]).expect_err("fails");
        assert!(failed.contains('3'), "{failed}");
    }

    #[test]
    fn children_that_hang_are_killed() {
        let failed = shell(Duration::from_millis(100)).run(&["-c", "exec sleep 30"]).expect_err("hangs");
        assert!(failed.contains("not done"), "{failed}");
    }
}
