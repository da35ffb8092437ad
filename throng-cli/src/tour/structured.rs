//! Example: a parent with two children is cancelled between the ends of the two.

use std::time::Duration;

use super::{Outcome, Output};
use throng::{Cancelled, go, scope, sleep};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        let out = out.clone();
        let parent = go(move || {
            scope(|s| {
                s.go(|| {
                    sleep(Duration::from_millis(500))?;
                    out.line("Will be printed");
                    Ok(())
                });
                s.go(|| {
                    sleep(Duration::from_millis(2000))?; // cancelled in here
                    out.line("Will not be printed");
                    Ok(())
                });
                Ok::<_, Cancelled>(())
            })
        });

        sleep(Duration::from_millis(1000))?;
        parent.cancel();
        // Comes back when both children have ended; the parent has returned Err(Cancelled).
        let _ = parent.join();
        Ok(())
    })
}
