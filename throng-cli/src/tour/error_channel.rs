//! Example: workers report what they found, errors too, to a parent that decides.

use std::collections::BTreeMap;
use std::num::{IntErrorKind, ParseIntError};

use super::{Outcome, Output};
use throng::{Cancelled, scope, unbounded};

const PORTS: [&str; 5] = ["80", "http", "443", "99999", "8080"];

/// What a worker found in the entry of this index.
struct Report(usize, Result<u16, ParseIntError>);

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        let reports: BTreeMap<usize, _> = scope(|s| {
            let (reports, reported) = unbounded();
            for (index, text) in PORTS.iter().enumerate() {
                let reports = reports.clone();
                // Returning the error would cancel the other workers: this one only reports it.
                s.go(move || {
                    let _ = reports.send(Report(index, text.parse()));
                });
            }
            drop(reports); // so that the channel is closed when the last worker has reported
            let in_order = reported.iter().map(|Report(index, port)| (index, port));
            Ok::<_, Cancelled>(in_order.collect())
        })?;

        for (index, port) in reports {
            let text = PORTS[index];
            match port {
                Ok(port) => out.line(format_args!("{text}: port {port}")),
                Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
                    out.line(format_args!("{text}: {error}; taking {}", u16::MAX));
                }
                Err(error) => out.line(format_args!("{text}: {error}; leaving it out")),
            }
        }
        Ok(())
    })
}
