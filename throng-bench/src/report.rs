//! The JSON line of one measurement, which is also how `compare` hears from its children.

use serde::{Deserialize, Serialize};

use crate::measure::{Measured, OwnFields, Run};
use crate::sys;
use crate::systems::System;
use crate::workload::Workload;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) system: System,
    pub(crate) workload: Workload,
    pub(crate) workers: usize,
    pub(crate) n: u64,
    pub(crate) wall_ns: u64,
    pub(crate) ns_per_op: f64,
    /// Peak over the whole life of the process, warm-up included.
    pub(crate) rss_peak_kb: u64,
    #[serde(flatten)]
    pub(crate) own: OwnFields,
}

impl Line {
    pub(crate) fn new(system: System, workload: Workload, run: &Run, measured: &Measured) -> Self {
        let wall_ns = u64::try_from(measured.wall.as_nanos()).unwrap_or(u64::MAX);
        Line {
            system,
            workload,
            workers: run.workers.get(),
            n: run.n,
            wall_ns,
            ns_per_op: wall_ns as f64 / measured.ops.max(1) as f64,
            rss_peak_kb: sys::peak_rss_kb(),
            own: measured.own,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a line has no keys that are not strings and no failing field")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;

    fn line(own: OwnFields) -> Line {
        let run = Run { n: 4, workers: NonZeroUsize::MIN };
        let measured = Measured { own, ..Measured::new(Duration::from_nanos(1000), 8) };
        Line::new(System::Tokio, Workload::SpawnJoin, &run, &measured)
    }

    #[test]
    fn has_the_common_fields_and_no_others() {
        let json: serde_json::Value = serde_json::from_str(&line(OwnFields::default()).to_json()).expect("JSON");
        let object = json.as_object().expect("object");
        let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["n", "ns_per_op", "rss_peak_kb", "system", "wall_ns", "workers", "workload"]);
        assert_eq!(json["system"], "tokio");
        assert_eq!(json["workload"], "spawn_join");
        assert_eq!(json["wall_ns"], 1000);
        assert_eq!(json["ns_per_op"], 125.0);
        assert!(json["rss_peak_kb"].as_u64() > Some(0));
    }

    #[test]
    fn own_fields_lie_next_to_the_common_ones_and_come_back() {
        let line = line(OwnFields { lag_ms: Some(1.5), cpu_ms: Some(2.5), ..OwnFields::default() });
        let json = line.to_json();
        assert!(json.contains("\"lag_ms\":1.5"), "{json}");
        assert!(!json.contains("bytes_per_task"), "{json}");
        assert_eq!(serde_json::from_str::<Line>(&json).expect("a line"), line);
    }
}
