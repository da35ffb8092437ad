//! Example: time limits inside of time limits. Each ends its own code, and all that was started in there.

use std::time::{Duration, Instant};

use super::{Outcome, Output};
use throng::{cause, scope, shield, sleep, timeout};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        // The inner limit is reached first. The outer one has nothing to do with that.
        let outer = timeout(LONG, || {
            let inner = timeout(SHORT, || sleep(LONG));
            out.line(format_args!("inner: {inner:?}"));
            "goes on"
        });
        out.line(format_args!("outer: {outer:?}"));

        // The outer limit is reached first. It ends the inner code, which sees that this was not its own limit.
        let outer = timeout(SHORT, || {
            let inner = timeout(LONG, || sleep(LONG));
            out.line(format_args!("inner: {inner:?}"));
        });
        out.line(format_args!("outer: {outer:?}"));

        // A limit is met where a goroutine parks. This one computes and does not park: it is late, and has its value.
        let late = timeout(SHORT, || {
            let begin = Instant::now();
            while begin.elapsed() < 2 * SHORT {}
            "a late value"
        });
        out.line(format_args!("late: {late:?}"));

        // What was started inside is cancelled, too, and waited for.
        let parent = timeout(SHORT, || {
            scope(|s| {
                // Undispatched: it has begun when `go` returns, however busy the machine is.
                s.task().undispatched().go(|| {
                    let over = sleep(LONG);
                    out.line(format_args!("child: {over:?}, since {}", cause().unwrap_or_default()));
                    shield(|| sleep(SHORT))?; // clean-up
                    out.line("child: has cleaned up");
                    over
                });
                Ok(())
            })
        });
        out.line(format_args!("parent: {parent:?}"));
        Ok(())
    })
}
