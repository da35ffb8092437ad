//! What a measurement is: the size asked for, the figures that come back, and the ways to fail.
//!
//! Invariant: a [`Measured`] exists only for work whose own sum or count was right; [`check`] stands between the two.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::systems::System;
use crate::workload::Workload;

/// How much to run, and on how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) n: u64,
    pub(crate) workers: NonZeroUsize,
}

impl Run {
    /// The size of the warm-up that goes before the measured work.
    pub(crate) fn warm_up(&self) -> u64 {
        (self.n / 10).max(1)
    }
}

/// A workload as one system runs it: warm-up, work, check.
pub(crate) type Bench = fn(&Run) -> Result<Measured, BenchError>;

/// The figures of work that was done right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Time around the work only.
    pub(crate) wall: Duration,
    /// What `wall` is divided by: tasks, yields, round trips, items.
    pub(crate) ops: u64,
    pub(crate) own: OwnFields,
}

impl Measured {
    /// Figures of a workload that is judged by time per operation alone.
    pub(crate) fn new(wall: Duration, ops: u64) -> Self {
        Measured { wall, ops, own: OwnFields::default() }
    }

    /// Adds what `idle_mem` is judged by: resident memory before the tasks came, and with all of them parked.
    pub(crate) fn with_memory(self, before: u64, parked: u64) -> Self {
        let own = OwnFields { bytes_per_task: Some((parked as f64 - before as f64) / self.ops.max(1) as f64), ..self.own };
        Measured { own, ..self }
    }

    /// Adds what `timers` is judged by; fails when the last sleeper was woken too early.
    pub(crate) fn with_timers(self, longest: Duration, cpu: Duration) -> Result<Self, BenchError> {
        let Some(lag) = self.wall.checked_sub(longest) else {
            return Err(BenchError::failed("the longest sleep was cut short"));
        };
        let own = OwnFields { lag_ms: Some(lag.as_secs_f64() * 1e3), ..self.own };
        Ok(Measured { own, ..self }.with_cpu(cpu))
    }

    /// Adds what `trickle` is judged by, and `timers` in part.
    pub(crate) fn with_cpu(self, cpu: Duration) -> Self {
        let own = OwnFields { cpu_ms: Some(cpu.as_secs_f64() * 1e3), ..self.own };
        Measured { own, ..self }
    }

    /// Adds the other figure of `deep_tree`: how long it took from the cancellation to the end of all.
    pub(crate) fn with_cancel(self, cancel: Duration) -> Self {
        let own = OwnFields { cancel_ns_per_op: Some(cancel.as_nanos() as f64 / self.ops.max(1) as f64), ..self.own };
        Measured { own, ..self }
    }

    /// Adds the other figure of `compute_mix`: how late the timers were, of which there must be some, and none may be early.
    pub(crate) fn with_lateness(self, mut late: Vec<Option<Duration>>) -> Result<Self, BenchError> {
        late.sort_unstable();
        // The smallest is an early one, if there is any.
        let (Some(Some(_)), Some(Some(p99))) = (late.first(), late.get(late.len() * 99 / 100)) else {
            return Err(BenchError::failed("a timer was early, or none rang"));
        };
        let own = OwnFields { timer_p99_ms: Some(p99.as_secs_f64() * 1e3), ..self.own };
        Ok(Measured { own, ..self })
    }
}

/// Fields that only some workloads report, next to the common ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OwnFields {
    /// `idle_mem`: resident bytes that each parked task added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_task: Option<f64>,
    /// `timers`: wall time beyond the longest sleep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lag_ms: Option<f64>,
    /// `timers`, `trickle`: user and system time of the whole process during the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ms: Option<f64>,
    /// `deep_tree`: what cancelling each level and waiting for its end took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancel_ns_per_op: Option<f64>,
    /// `compute_mix`: how late a timer of a millisecond was, but for the worst hundredth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer_p99_ms: Option<f64>,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{workload} is not available in {system}")]
    NotAvailable { workload: Workload, system: System },
    #[error("wrong result: {what} is {got}, not {want}")]
    Wrong { what: &'static str, got: u64, want: u64 },
    #[error("{0}")]
    Failed(String),
}

impl BenchError {
    /// An error of the system under test.
    pub(crate) fn failed(error: impl Display) -> Self {
        BenchError::Failed(error.to_string())
    }
}

/// The workload's own check.
pub(crate) fn check(what: &'static str, got: u64, want: u64) -> Result<(), BenchError> {
    if got == want { Ok(()) } else { Err(BenchError::Wrong { what, got, want }) }
}

/// 0 + 1 + .. + (n - 1)
pub(crate) fn sum_below(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_names_what_is_wrong() {
        assert!(check("sum", 3, 3).is_ok());
        let error = check("sum", 3, 4).unwrap_err();
        assert_eq!(error.to_string(), "wrong result: sum is 3, not 4");
    }

    #[test]
    fn not_available_names_both() {
        let error = BenchError::NotAvailable { workload: Workload::Yield, system: System::Rayon };
        assert_eq!(error.to_string(), "yield is not available in rayon");
    }

    #[test]
    fn memory_is_counted_by_task() {
        let measured = Measured::new(Duration::from_secs(1), 4).with_memory(1000, 1400);
        assert_eq!(measured.own.bytes_per_task, Some(100.0));
    }

    #[test]
    fn lag_is_what_exceeds_the_longest_sleep() {
        let measured = Measured::new(Duration::from_millis(1250), 4);
        let timed = measured.with_timers(Duration::from_secs(1), Duration::from_millis(30)).expect("not early");
        assert_eq!(timed.own.lag_ms, Some(250.0));
        assert_eq!(timed.own.cpu_ms, Some(30.0));
        assert!(measured.with_timers(Duration::from_secs(2), Duration::ZERO).is_err());
    }

    #[test]
    fn the_worst_hundredth_of_the_timers_is_left_out() {
        let late = |ms: u64| Some(Duration::from_millis(ms));
        let measured = Measured::new(Duration::from_secs(1), 4);
        let all: Vec<_> = (1..=200).rev().map(late).collect();
        assert_eq!(measured.with_lateness(all).expect("none early").own.timer_p99_ms, Some(199.0));
        assert!(measured.with_lateness(vec![late(1), None]).is_err());
        assert!(measured.with_lateness(Vec::new()).is_err());
    }

    #[test]
    fn cancellation_is_counted_by_level() {
        let measured = Measured::new(Duration::from_secs(1), 4).with_cancel(Duration::from_nanos(600));
        assert_eq!(measured.own.cancel_ns_per_op, Some(150.0));
    }

    #[test]
    fn sums() {
        assert_eq!(sum_below(0), 0);
        assert_eq!(sum_below(1), 0);
        assert_eq!(sum_below(5), 10);
    }
}
