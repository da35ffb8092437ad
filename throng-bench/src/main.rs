//! `throng-bench`: one workload on one system, or many systems against each other.
//!
//! Two forms. `throng-bench --system tokio spawn_join 1000` measures once and prints one JSON line.
//! `throng-bench compare` runs the first form as a fresh child process for every measurement, lets the systems take
//! turns, and prints a table of medians and ratios. Both exit with 1 when a workload's own check fails.

mod cli;
mod compare;
mod measure;
mod report;
mod stats;
mod sys;
mod systems;
mod table;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, RunArgs};
use crate::measure::{BenchError, Run};
use crate::report::Line;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match (cli.command, cli.run) {
        (Some(Command::Compare(args)), _) => compare::compare(&args),
        (None, Some(args)) => run(&args),
        // clap asks for a workload when there is no subcommand.
        (None, None) => Err(BenchError::Failed("no workload given".into())),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throng-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> Result<(), BenchError> {
    let workload = args.workload;
    let n = workload.fit(args.n.unwrap_or(workload.default_sizes()[0]));
    let run = Run { n, workers: args.workers };
    let bench = systems::bench(args.system, workload).ok_or(BenchError::NotAvailable { workload, system: args.system })?;
    let line = Line::new(args.system, workload, &run, &bench(&run)?);
    println!("{}", line.to_json());
    Ok(())
}
