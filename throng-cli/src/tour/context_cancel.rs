//! Example: a loop looks at a token in each round; somebody else cancels it after three seconds.

use std::time::Duration;

use super::{Outcome, Output};
use throng::{CancelToken, Cancelled, go, select, sleep};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        let token = CancelToken::new();
        let done = token.done();
        let printer = out.clone();
        let rounds = go(move || {
            loop {
                select! {
                    recv(done) -> _ => return Ok(()),
                    default => {
                        printer.line("for loop");
                        sleep(Duration::from_millis(500))?;
                    }
                }
            }
        });

        sleep(Duration::from_secs(3))?;
        token.cancel();
        let ended: Result<(), Cancelled> = rounds.join().map_err(|error| error.to_string())?;
        ended?;
        out.line("finish");
        Ok(())
    })
}
