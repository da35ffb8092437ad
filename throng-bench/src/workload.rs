//! The workloads: their names, sizes, what is measured of each, and the goals.
//!
//! A workload is the same work on every system; how a system does it is in `systems`. Figures taken of the peers
//! before throng existed are kept here too, because they turn "0.2 of Go" into a ratio to a peer that is in the run.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::report::Line;
use crate::systems::System;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// One task spawns N tasks that each count 1, and waits for all; structured where the system can (1,000,000)
    SpawnJoin,
    /// The same with detached tasks and a counter to wait on (1,000,000)
    SpawnJoinWg,
    /// N times in a row: spawn one task, join its value (1,000,000)
    SpawnOne,
    /// 1000 tasks, N/1000 yields each (1,000,000)
    Yield,
    /// Two tasks, two rendezvous channels, N round trips (500,000)
    PingPong,
    /// The same, by two tasks that begin on two workers (500,000)
    PingPongApart,
    /// N items from one task to another over a channel of capacity 128 (5,000,000)
    ChanSpsc,
    /// Two producers on two rendezvous channels; a consumer selects over both and a done channel (1,000,000)
    Select2,
    /// A 10-way tree to N leaves; each node sums its children over one channel of capacity 10 (1,000,000)
    Skynet,
    /// The same tree, each node summing the values its children are joined for (1,000,000)
    SkynetJoin,
    /// Resident bytes of a task that is parked on a receive (200,000 and 1,000,000)
    IdleMem,
    /// N tasks sleep 1 to 1000 ms: lag and CPU time (200,000)
    Timers,
    /// A task sleeps a millisecond, N times, and starts 8 others each time: CPU time (1,000)
    Trickle,
    /// A parent with N parked children is cancelled: from then to the end of the last (100,000)
    CancelTree,
    /// A chain of N scopes, each in the only child of the one before: built and ended, and once more, cancelled at the top (100,000 and 10,000)
    DeepTree,
    /// Four ping-pong pairs, N round trips in all, among tasks that compute a millisecond each; and how late a timer of 1 ms is (4,000)
    ComputeMix,
}

/// A figure of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Metric {
    #[serde(rename = "ns/op")]
    NsPerOp,
    #[serde(rename = "bytes/task")]
    BytesPerTask,
    #[serde(rename = "lag ms")]
    LagMs,
    #[serde(rename = "CPU ms")]
    CpuMs,
    #[serde(rename = "cancel ns/op")]
    CancelNsPerOp,
    #[serde(rename = "timer p99 ms")]
    TimerP99Ms,
}

impl Metric {
    /// Its unit, as the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Metric::NsPerOp => "ns/op",
            Metric::BytesPerTask => "bytes/task",
            Metric::LagMs => "lag ms",
            Metric::CpuMs => "CPU ms",
            Metric::CancelNsPerOp => "cancel ns/op",
            Metric::TimerP99Ms => "timer p99 ms",
        }
    }

    /// The figure in a line; `None` when the line does not have it.
    pub(crate) fn of(self, line: &Line) -> Option<f64> {
        match self {
            Metric::NsPerOp => Some(line.ns_per_op),
            Metric::BytesPerTask => line.own.bytes_per_task,
            Metric::LagMs => line.own.lag_ms,
            Metric::CpuMs => line.own.cpu_ms,
            Metric::CancelNsPerOp => line.own.cancel_ns_per_op,
            Metric::TimerP99Ms => line.own.timer_p99_ms,
        }
    }
}

/// What throng is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// At most `ratio` times what `peer` takes.
    Ratio { peer: &'static str, ratio: f64 },
    /// At most this much.
    AtMost(f64),
}

impl Workload {
    pub(crate) const ALL: [Workload; 16] = [
        Workload::SpawnJoin,
        Workload::SpawnJoinWg,
        Workload::SpawnOne,
        Workload::Yield,
        Workload::PingPong,
        Workload::PingPongApart,
        Workload::ChanSpsc,
        Workload::Select2,
        Workload::Skynet,
        Workload::SkynetJoin,
        Workload::IdleMem,
        Workload::Timers,
        Workload::Trickle,
        Workload::CancelTree,
        Workload::DeepTree,
        Workload::ComputeMix,
    ];

    /// The sizes `compare` runs; the first is the default of a single run.
    pub(crate) fn default_sizes(self) -> &'static [u64] {
        match self {
            Workload::SpawnJoin | Workload::SpawnJoinWg | Workload::SpawnOne | Workload::Yield => &[1_000_000],
            Workload::PingPong | Workload::PingPongApart => &[500_000],
            Workload::ChanSpsc => &[5_000_000],
            Workload::Select2 | Workload::Skynet | Workload::SkynetJoin => &[1_000_000],
            Workload::IdleMem => &[200_000, 1_000_000],
            Workload::Timers => &[200_000],
            Workload::Trickle => &[1_000],
            Workload::CancelTree => &[100_000],
            // Two, so that a cost that grows with the depth shows.
            Workload::DeepTree => &[100_000, 10_000],
            Workload::ComputeMix => &[4_000],
        }
    }

    /// The largest size not above `n` that the workload's shape allows.
    pub(crate) fn fit(self, n: u64) -> u64 {
        match self {
            Workload::Skynet | Workload::SkynetJoin => 10_u64.pow(n.max(1).ilog10()),
            Workload::Select2 => (n / 2).max(1) * 2,
            Workload::ComputeMix => (n / PAIRS).max(1) * PAIRS,
            Workload::Yield => {
                let (tasks, each) = yields(n);
                tasks * each
            }
            _ => n,
        }
    }

    /// What it is judged by.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Workload::IdleMem => &[Metric::BytesPerTask],
            Workload::Timers => &[Metric::LagMs, Metric::CpuMs],
            Workload::Trickle => &[Metric::CpuMs],
            Workload::DeepTree => &[Metric::NsPerOp, Metric::CancelNsPerOp],
            Workload::ComputeMix => &[Metric::NsPerOp, Metric::TimerP99Ms],
            _ => &[Metric::NsPerOp],
        }
    }

    /// The goal for `system`, where one is set.
    pub(crate) fn goal(self, system: System, metric: Metric) -> Option<Goal> {
        match system {
            System::Throng => self.goal_of_goroutines(metric),
            System::ThrongCo => self.goal_of_coroutines(metric),
            _ => None,
        }
    }

    fn goal_of_coroutines(self, metric: Metric) -> Option<Goal> {
        match (self, metric) {
            (Workload::SpawnJoin | Workload::Yield, _) => Some(Goal::Ratio { peer: "tokio", ratio: 0.6 }),
            (Workload::CancelTree, _) => Some(Goal::Ratio { peer: "smol", ratio: 0.5 }),
            (Workload::IdleMem, Metric::BytesPerTask) => Some(Goal::AtMost(200.0)),
            (Workload::Timers, Metric::LagMs) => Some(Goal::AtMost(60.0)),
            (Workload::Timers, Metric::CpuMs) => Some(Goal::AtMost(300.0)),
            _ => None,
        }
    }

    fn goal_of_goroutines(self, metric: Metric) -> Option<Goal> {
        let (peer, ratio) = match (self, metric) {
            (Workload::IdleMem, Metric::BytesPerTask) => return Some(Goal::AtMost(4300.0)),
            (Workload::Timers, Metric::LagMs) => return Some(Goal::AtMost(100.0)),
            (Workload::Timers, Metric::CpuMs) => return Some(Goal::AtMost(500.0)),
            (Workload::SpawnJoin | Workload::SpawnJoinWg, _) => ("go", 0.2),
            (Workload::SpawnOne, _) => ("go", 0.12),
            (Workload::Yield, _) => ("tokio", 0.3),
            (Workload::PingPong, _) => ("may", 0.5),
            (Workload::ChanSpsc, _) => ("go", 0.35),
            (Workload::Select2, _) => ("go", 0.2),
            (Workload::Skynet, _) => ("smol", 0.08),
            (Workload::CancelTree, _) => ("smol", 0.5),
            _ => return None,
        };
        Some(Goal::Ratio { peer, ratio })
    }

    /// ns/op of the peers, measured together on two cores before throng existed. Only their ratios mean anything.
    fn measured_before(self) -> &'static [(&'static str, f64)] {
        match self {
            Workload::SpawnJoin | Workload::SpawnJoinWg => &[("go", 731.0), ("tokio", 734.0), ("smol", 805.0), ("rayon", 349.0)],
            Workload::SpawnOne => &[("go", 586.0), ("tokio", 698.0), ("smol", 1564.0)],
            Workload::Yield => &[("go", 341.0), ("tokio", 53.0), ("smol", 258.0)],
            Workload::PingPong => &[("may", 217.0), ("go", 535.0), ("tokio", 669.0), ("smol", 1999.0)],
            Workload::ChanSpsc => &[("go", 72.0), ("tokio", 133.0), ("smol", 257.0), ("threads", 94.0)],
            Workload::Select2 => &[("go", 436.0), ("tokio", 694.0)],
            Workload::Skynet => &[("smol", 908.0), ("go", 1372.0), ("tokio", 1334.0)],
            Workload::CancelTree => &[("smol", 259.0), ("go", 703.0), ("tokio", 555.0)],
            _ => &[],
        }
    }

    /// The ratio to `peer` that `goal` amounts to; `None` when nothing is known of it.
    pub(crate) fn goal_against(self, goal: Goal, peer: &str) -> Option<f64> {
        let Goal::Ratio { peer: named, ratio } = goal else {
            return None;
        };
        if named == peer {
            return Some(ratio);
        }
        let before = |name: &str| {
            let mut known = self.measured_before().iter();
            known.find(|(peer, _)| *peer == name).map(|(_, ns)| *ns)
        };
        Some(ratio * before(named)? / before(peer)?)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("?", |value| value.get_name()))
    }
}

/// What the task of `trickle` sleeps.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Tasks started at a time in `trickle`.
pub(crate) const DROPS: u64 = 8;

/// Pairs in `compute_mix`.
pub(crate) const PAIRS: u64 = 4;

/// Tasks, and yields of each, that make up about `n` yields.
pub(crate) fn yields(n: u64) -> (u64, u64) {
    let tasks = n.clamp(1, 1000);
    (tasks, n.max(1) / tasks)
}

/// Tasks in a 10-way tree with `leaves` leaves, a power of ten.
pub(crate) fn tree_tasks(leaves: u64) -> u64 {
    if leaves <= 1 { 1 } else { leaves + tree_tasks(leaves / 10) }
}

/// How long, in milliseconds, each of `n` sleepers sleeps: 1..=1000, the same in every run and for every system.
pub(crate) fn naps(n: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(0x7472_6F6E_6721);
    (0..n).map(|_| random.u64(1..=1000)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_workload_once() {
        assert_eq!(Workload::ALL, Workload::value_variants());
    }

    #[test]
    fn default_sizes_fit() {
        for workload in Workload::ALL {
            for &n in workload.default_sizes() {
                assert_eq!(workload.fit(n), n, "{workload}");
            }
        }
    }

    #[test]
    fn sizes_are_cut_to_the_shape() {
        assert_eq!(Workload::Skynet.fit(1), 1);
        assert_eq!(Workload::Skynet.fit(999), 100);
        assert_eq!(Workload::Select2.fit(1), 2);
        assert_eq!(Workload::Select2.fit(7), 6);
        assert_eq!(Workload::ComputeMix.fit(1), 4);
        assert_eq!(Workload::ComputeMix.fit(11), 8);
        assert_eq!(Workload::Yield.fit(7), 7);
        assert_eq!(Workload::Yield.fit(2_500), 2_000);
        assert_eq!(Workload::Timers.fit(7), 7);
    }

    #[test]
    fn tree_has_the_tasks_it_is_known_for() {
        assert_eq!(tree_tasks(1), 1);
        assert_eq!(tree_tasks(10), 11);
        assert_eq!(tree_tasks(1_000_000), 1_111_111);
    }

    #[test]
    fn naps_repeat_and_stay_in_range() {
        let naps = super::naps(200_000);
        assert_eq!(naps, super::naps(200_000));
        assert_eq!(naps.iter().min(), Some(&1));
        assert_eq!(naps.iter().max(), Some(&1000));
    }

    #[test]
    fn goals_are_carried_over_to_other_peers() {
        let spawn = Workload::SpawnJoin;
        let goal = spawn.goal(System::Throng, Metric::NsPerOp).expect("set");
        assert_eq!(spawn.goal_against(goal, "go"), Some(0.2));
        let tokio = spawn.goal_against(goal, "tokio").expect("known");
        assert!((tokio - 0.2 * 731.0 / 734.0).abs() < 1e-9);
        assert_eq!(spawn.goal_against(goal, "threads"), None);
        let idle = Workload::IdleMem;
        let goal = idle.goal(System::Throng, Metric::BytesPerTask).expect("set");
        assert_eq!(idle.goal_against(goal, "tokio"), None);
    }

    #[test]
    fn names_are_the_ones_on_the_command_line() {
        assert_eq!(Workload::SpawnJoinWg.to_string(), "spawn_join_wg");
        assert_eq!(Workload::Select2.to_string(), "select2");
        assert_eq!(serde_json::to_string(&Workload::Select2).expect("serializes"), "\"select2\"");
    }
}
