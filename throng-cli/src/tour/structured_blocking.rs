//! Example: as `structured`, but the second child is in a blocking call when it is cancelled.

use std::thread;
use std::time::Duration;

use super::{Outcome, Output};
use throng::{Cancelled, blocking, go, scope, sleep};

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
                    // Nobody can interrupt this thread, so it is not interrupted.
                    blocking(|| thread::sleep(Duration::from_millis(2000)))?;
                    out.line("Will not be printed"); // but it is
                    Ok(())
                });
                Ok::<_, Cancelled>(())
            })
        });

        sleep(Duration::from_millis(1000))?;
        parent.cancel();
        let _ = parent.join(); // a second from now
        Ok(())
    })
}
