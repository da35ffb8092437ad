//! The command line, as clap reads it. Nothing here does any work.

use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::systems::System;
use crate::workload::Workload;

/// Workloads that compare throng with its peers.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Option<RunArgs>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let the systems take turns and print medians and ratios.
    Compare(CompareArgs),
}

/// Measure one workload on one system and print one JSON line.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The system that runs the workload.
    #[arg(long, value_enum, default_value_t = System::Throng)]
    pub(crate) system: System,
    /// Threads of the system's pool.
    #[arg(long, env = "WORKERS", default_value = "2")]
    pub(crate) workers: NonZeroUsize,
    /// What to run.
    #[arg(value_enum)]
    pub(crate) workload: Workload,
    /// How much of it [default: the workload's own].
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) n: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Turns each system gets; medians of fewer than 3 say nothing.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..))]
    pub(crate) rounds: u64,
    /// Systems that take turns, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = System::ALL)]
    pub(crate) systems: Vec<System>,
    /// The system that the others are compared with, and whose goals are looked at.
    #[arg(long, value_enum, default_value_t = System::Throng)]
    pub(crate) of: System,
    /// Threads of each system's pool.
    #[arg(long, env = "WORKERS", default_value = "2")]
    pub(crate) workers: NonZeroUsize,
    /// Seconds after which a single measurement is killed and counted as failed.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Workloads, each as NAME or NAME=N [default: all, at their default sizes].
    #[arg(value_name = "WORKLOAD[=N]")]
    pub(crate) workloads: Vec<Asked>,
}

/// A workload and, perhaps, how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) workload: Workload,
    pub(crate) n: Option<u64>,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, n) = match text.split_once('=') {
            None => (text, None),
            Some((name, n)) => match n.replace('_', "").parse() {
                Ok(n) if n > 0 => (name, Some(n)),
                _ => return Err(format!("`{n}` is not a positive number")),
            },
        };
        Ok(Asked { workload: Workload::from_str(name, false)?, n })
    }
}

impl CompareArgs {
    /// Every workload and size to measure, in the order asked for.
    pub(crate) fn sizes(&self) -> Vec<(Workload, u64)> {
        let all = || Workload::ALL.map(|workload| Asked { workload, n: None }).to_vec();
        let asked = if self.workloads.is_empty() { all() } else { self.workloads.clone() };
        asked
            .iter()
            .flat_map(|one| match one.n {
                Some(n) => vec![(one.workload, one.workload.fit(n))],
                None => one.workload.default_sizes().iter().map(|&n| (one.workload, n)).collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run_args(line: &[&str]) -> RunArgs {
        Cli::try_parse_from(line).expect("parses").run.expect("run form")
    }

    fn compare_args(line: &[&str]) -> CompareArgs {
        let cli = Cli::try_parse_from(line).expect("parses");
        let Some(Command::Compare(args)) = cli.command else {
            panic!("not the compare form: {cli:?}");
        };
        args
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_form() {
        let args = run_args(&["b", "--system", "tokio", "--workers", "3", "spawn_join", "1000"]);
        assert_eq!(args.system, System::Tokio);
        assert_eq!(args.workload, Workload::SpawnJoin);
        assert_eq!(args.workers.get(), 3);
        assert_eq!(args.n, Some(1000));
        assert_eq!(run_args(&["b", "yield"]).system, System::Throng);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for line in [
            &["b", "--system", "tokio"][..],
            &["b", "no_such_workload"],
            &["b", "yield", "0"],
            &["b", "--workers", "0", "yield"],
            &["b", "compare", "--rounds", "2"],
            &["b", "compare", "yield=0"],
            &["b", "compare", "yield=x"],
            &["b", "--system", "tokio", "compare"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn compare_form() {
        let args = compare_args(&["b", "compare", "--rounds", "5", "--systems", "throng,tokio", "yield=1_000", "idle_mem"]);
        assert_eq!(args.rounds, 5);
        assert_eq!(compare_args(&["b", "compare", "--of", "throng-co"]).of, System::ThrongCo);
        assert_eq!(args.systems, [System::Throng, System::Tokio]);
        assert_eq!(args.sizes(), [(Workload::Yield, 1000), (Workload::IdleMem, 200_000), (Workload::IdleMem, 1_000_000)]);
    }

    #[test]
    fn compare_takes_everything_when_nothing_is_named() {
        let args = compare_args(&["b", "compare"]);
        assert_eq!(args.systems, System::ALL);
        assert_eq!(args.of, System::Throng);
        // Two of the workloads have two sizes.
        assert_eq!(args.sizes().len(), Workload::ALL.len() + 2);
    }
}
