//! The systems: throng and its peers, a file each.
//!
//! Each file answers `bench(workload)` with the function that runs it there, or `None` where the system has nothing
//! that fits; no other list says who has what. All do the same work, each in the fastest form a user of that system
//! would write: a warm-up of n/10, then the clock around the work only, then the check.

mod apart;
mod mix;
mod parked;
mod rayon;
mod smol;
mod threads;
mod throng;
mod throng_co;
mod tokio;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::measure::Bench;
use crate::workload::Workload;

/// A system that runs workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// This project's runtime: goroutines.
    Throng,
    /// The same runtime: coroutines.
    ThrongCo,
    /// tokio's multi-thread runtime.
    Tokio,
    /// smol's executor.
    Smol,
    /// rayon's thread pool (fork-join only).
    Rayon,
    /// Threads and channels of std; the number of workers means nothing to them.
    Threads,
}

impl System {
    pub(crate) const ALL: [System; 6] = [System::Throng, System::ThrongCo, System::Tokio, System::Smol, System::Rayon, System::Threads];
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            System::Throng => "throng",
            System::ThrongCo => "throng-co",
            System::Tokio => "tokio",
            System::Smol => "smol",
            System::Rayon => "rayon",
            System::Threads => "threads",
        })
    }
}

/// How `system` runs `workload`; `None` when it cannot.
pub(crate) fn bench(system: System, workload: Workload) -> Option<Bench> {
    match system {
        System::Throng => throng::bench(workload),
        System::ThrongCo => throng_co::bench(workload),
        System::Tokio => tokio::bench(workload),
        System::Smol => smol::bench(workload),
        System::Rayon => rayon::bench(workload),
        System::Threads => threads::bench(workload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_system_once() {
        assert_eq!(System::ALL, System::value_variants());
    }

    #[test]
    fn names_are_the_ones_on_the_command_line() {
        for system in System::ALL {
            let value = system.to_possible_value().expect("not hidden");
            assert_eq!(value.get_name(), system.to_string());
            let json = serde_json::to_string(&system).expect("serializes");
            assert_eq!(json, format!("\"{system}\""));
        }
    }

    #[test]
    fn throng_has_every_workload_and_tokio_all_but_its_own() {
        for workload in Workload::ALL {
            assert!(bench(System::Throng, workload).is_some(), "{workload}");
            for system in [System::ThrongCo, System::Tokio] {
                assert_eq!(bench(system, workload).is_some(), workload != Workload::DeepTree, "{workload} on {system}");
            }
        }
    }
}
