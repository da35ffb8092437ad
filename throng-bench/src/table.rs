//! What a comparison found, as a table for people and as JSON for programs.
//!
//! A [`Row`] is one figure of one workload at one size: the spread of each system, the ratio of one system's median to each
//! other's, and the goal. A system that does not have the workload is absent from the row; one that failed is listed
//! with its reason.

use std::collections::BTreeMap;
use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::compare::Delivered;
use crate::stats::Spread;
use crate::systems::System;
use crate::workload::{Goal, Metric, Workload};

/// Everything a comparison found.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// The system that is compared with the others.
    pub(crate) of: System,
    pub(crate) workers: usize,
    pub(crate) rounds: u64,
    /// In the order they took turns.
    pub(crate) systems: Vec<System>,
    pub(crate) rows: Vec<Row>,
}

/// One figure of one workload at one size.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    workload: Workload,
    n: u64,
    metric: Metric,
    systems: BTreeMap<System, Spread>,
    failed: BTreeMap<System, String>,
    /// The median of the system that is compared, over the peer's.
    ratios: BTreeMap<System, f64>,
    goal: Option<Goal>,
    /// The goal as a ratio to each peer of the run that it can be carried over to.
    goal_ratios: BTreeMap<System, f64>,
    /// Whether the goal is reached, where this run can tell.
    met: Option<bool>,
}

impl Row {
    pub(crate) fn new(of: System, workload: Workload, n: u64, metric: Metric, delivered: &[Delivered]) -> Self {
        let mut systems = BTreeMap::new();
        let mut failed = BTreeMap::new();
        for (system, lines) in delivered {
            let spread = lines.as_ref().map_err(Clone::clone).and_then(|lines| {
                let figures: Option<Vec<f64>> = lines.iter().map(|line| metric.of(line)).collect();
                let spread = figures.and_then(Spread::of);
                spread.ok_or_else(|| format!("its lines have no {}", metric.name()))
            });
            match spread {
                Ok(spread) => _ = systems.insert(*system, spread),
                Err(reason) => _ = failed.insert(*system, reason),
            }
        }
        let ours = systems.get(&of);
        let peers = systems.iter().filter(|(system, _)| **system != of);
        let ratios: BTreeMap<System, f64> = peers.filter_map(|(peer, spread)| Some((*peer, ours?.ratio_to(spread)?))).collect();
        let goal = workload.goal(of, metric);
        let goal_ratios: BTreeMap<System, f64> =
            ratios.keys().filter_map(|peer| Some((*peer, workload.goal_against(goal?, &peer.to_string())?))).collect();
        let met = match goal {
            Some(Goal::AtMost(most)) => ours.map(|ours| ours.median <= most),
            Some(Goal::Ratio { peer, .. }) => judge(&goal_ratios, peer).map(|judge| ratios[&judge] <= goal_ratios[&judge]),
            None => None,
        };
        Row { workload, n, metric, systems, failed, ratios, goal, goal_ratios, met }
    }

    /// The cell of one system.
    fn figure(&self, system: System) -> String {
        match self.systems.get(&system) {
            Some(spread) => format!("{} ({}..{})", number(spread.median), number(spread.min), number(spread.max)),
            None if self.failed.contains_key(&system) => "failed".to_owned(),
            None => "-".to_owned(),
        }
    }

    fn goal_text(&self) -> String {
        let Some(goal) = self.goal else {
            return "-".to_owned();
        };
        let mut text = match goal {
            Goal::AtMost(most) => number(most),
            Goal::Ratio { peer, ratio } => {
                let mut text = format!("{} of {peer}", ratio_text(ratio));
                if let Some(judge) = judge(&self.goal_ratios, peer).filter(|judge| judge.to_string() != peer) {
                    text += &format!(" (~{} of {judge})", ratio_text(self.goal_ratios[&judge]));
                }
                text
            }
        };
        match self.met {
            Some(true) => text += ", met",
            Some(false) => text += ", missed",
            None => {}
        }
        text
    }
}

/// The peer a goal is judged by: the one it names, else tokio, which has every workload, else any.
fn judge(goal_ratios: &BTreeMap<System, f64>, named: &str) -> Option<System> {
    let of = |wanted: &dyn Fn(System) -> bool| goal_ratios.keys().copied().find(|system| wanted(*system));
    of(&|system| system.to_string() == named).or_else(|| of(&|system| system == System::Tokio)).or_else(|| of(&|_| true))
}

impl Comparison {
    /// Measurements that did not come to an end, or to a wrong one.
    pub(crate) fn failures(&self) -> usize {
        self.rows.iter().map(|row| row.failed.len()).sum()
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("all keys are names")
    }

    /// What it can be compared to: nothing when it is not in the run itself.
    fn peers(&self) -> Vec<System> {
        if !self.systems.contains(&self.of) {
            return Vec::new();
        }
        self.systems.iter().copied().filter(|system| *system != self.of).collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers();
        let mut header = vec!["workload".to_owned(), "n".to_owned(), "figure".to_owned()];
        header.extend(self.systems.iter().map(System::to_string));
        header.extend(peers.iter().map(|peer| format!("{}/{peer}", self.of)));
        header.push("goal".to_owned());

        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(header);
        for row in &self.rows {
            let mut cells = vec![row.workload.to_string(), row.n.to_string(), row.metric.name().to_owned()];
            cells.extend(self.systems.iter().map(|system| row.figure(*system)));
            cells.extend(peers.iter().map(|peer| row.ratios.get(peer).copied().map_or("-".to_owned(), ratio_text)));
            cells.push(row.goal_text());
            table.add_row(cells);
        }
        let numeric = 1..3 + self.systems.len() + peers.len();
        for column in numeric.filter(|column| *column != 2) {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "{table}")?;
        write!(f, "median (min..max) of {} rounds, {} workers; `~` is a goal carried over from another peer", self.rounds, self.workers)
    }
}

/// Three digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn ratio_text(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::OwnFields;
    use crate::report::Line;

    fn delivered(system: System, workload: Workload, figures: &[f64]) -> Delivered {
        let lines = figures.iter().map(|&figure| Line {
            system,
            workload,
            workers: 2,
            n: 10,
            wall_ns: 1,
            ns_per_op: figure,
            rss_peak_kb: 1,
            own: OwnFields { bytes_per_task: (workload == Workload::IdleMem).then_some(figure), ..OwnFields::default() },
        });
        (system, Ok(lines.collect()))
    }

    fn comparison(rows: Vec<Row>) -> Comparison {
        Comparison { of: System::Throng, workers: 2, rounds: 3, systems: vec![System::Throng, System::Tokio, System::Rayon], rows }
    }

    fn yields(throng: f64) -> Row {
        let workload = Workload::Yield;
        let all = [delivered(System::Throng, workload, &[throng, 9.0, 30.0]), delivered(System::Tokio, workload, &[50.0, 40.0, 60.0])];
        Row::new(System::Throng, workload, 10, Metric::NsPerOp, &all)
    }

    #[test]
    fn table_shows_medians_spreads_ratios_and_goals() {
        let text = comparison(vec![yields(10.0)]).to_string();
        for part in [
            "| workload ",
            "| throng/tokio |",
            "10.0 (9.00..30.0)",
            "50.0 (40.0..60.0)",
            " 0.20 |",
            "0.30 of tokio, met",
            "of 3 rounds, 2 workers",
        ] {
            assert!(text.contains(part), "{part:?} not in\n{text}");
        }
        let missed = comparison(vec![yields(20.0)]).to_string();
        assert!(missed.contains("0.30 of tokio, missed"), "{missed}");
    }

    #[test]
    fn goals_against_absent_peers_are_carried_over() {
        let workload = Workload::SpawnOne;
        let all = [delivered(System::Throng, workload, &[60.0]), delivered(System::Tokio, workload, &[698.0])];
        let row = Row::new(System::Throng, workload, 10, Metric::NsPerOp, &all);
        assert_eq!(row.goal_text(), "0.12 of go (~0.10 of tokio), met");
        assert_eq!(row.met, Some(true));
    }

    #[test]
    fn goals_that_are_not_ratios_need_no_peer() {
        let workload = Workload::IdleMem;
        let all = [delivered(System::Throng, workload, &[5000.0])];
        let row = Row::new(System::Throng, workload, 10, Metric::BytesPerTask, &all);
        assert_eq!(row.goal_text(), "4300, missed");
    }

    #[test]
    fn failures_and_absences_are_told_apart() {
        let workload = Workload::Yield;
        let all = [delivered(System::Tokio, workload, &[50.0]), (System::Throng, Err("exit status: 1".to_owned()))];
        let row = Row::new(System::Throng, workload, 10, Metric::NsPerOp, &all);
        assert_eq!(row.figure(System::Throng), "failed");
        assert_eq!(row.figure(System::Rayon), "-");
        assert_eq!(row.goal_text(), "0.30 of tokio");
        assert_eq!(comparison(vec![row]).failures(), 1);
    }

    #[test]
    fn no_ratio_columns_without_throng() {
        let mut without = comparison(vec![yields(10.0)]);
        without.systems.remove(0);
        assert!(!without.to_string().contains("throng/"), "{without}");
    }

    #[test]
    fn coroutines_have_goals_of_their_own() {
        let workload = Workload::Yield;
        let all = [
            delivered(System::ThrongCo, workload, &[33.0]),
            delivered(System::Throng, workload, &[10.0]),
            delivered(System::Tokio, workload, &[50.0]),
        ];
        let row = Row::new(System::ThrongCo, workload, 10, Metric::NsPerOp, &all);
        assert_eq!(row.goal_text(), "0.60 of tokio, missed");
        assert_eq!(row.ratios[&System::Throng], 3.3);
        let mut all = comparison(vec![row]);
        (all.of, all.systems) = (System::ThrongCo, vec![System::ThrongCo, System::Tokio]);
        assert!(all.to_string().contains("| throng-co/tokio |"), "{all}");
    }

    #[test]
    fn json_is_keyed_by_system() {
        let text = comparison(vec![yields(10.0)]).to_json();
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let row = &json["rows"][0];
        assert_eq!(row["workload"], "yield");
        assert_eq!(row["metric"], "ns/op");
        assert_eq!(row["systems"]["tokio"]["median"], 50.0);
        assert_eq!(row["systems"]["throng"]["samples"], serde_json::json!([10.0, 9.0, 30.0]));
        assert_eq!(row["ratios"]["tokio"], 0.2);
        assert_eq!(row["goal"]["ratio"]["peer"], "tokio");
        assert_eq!(row["met"], true);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(1234.5), "1234");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(ratio_text(0.0123), "0.012");
        assert_eq!(ratio_text(1.234), "1.23");
    }
}
