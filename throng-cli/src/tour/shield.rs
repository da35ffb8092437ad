//! Example: a cancelled task says goodbye. Without a shield it cannot, since that has to park.

use std::time::Duration;

use super::{Outcome, Output};
use throng::{Error, check, rendezvous, scope, shield, sleep, timeout};

const LONG: Duration = Duration::from_secs(3600);

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        let (goodbyes, heard) = rendezvous();
        let heard = scope(|s| {
            // Undispatched: it is in its sleep when `go` returns, and cancelled in there.
            let plain = s.task().undispatched().go(|| {
                let over = sleep(LONG);
                out.line(format_args!("plain: {:?}", goodbyes.send("goodbye")));
                Ok::<(), Error>(over?)
            });
            out.line(format_args!("plain: {:?}", plain.cancel_and_join()));

            let shielded = s.task().undispatched().go(|| {
                let over = sleep(LONG);
                out.line(format_args!("shielded: {:?}", shield(|| goodbyes.send("goodbye"))));
                // Nobody hears this one: clean-up can be given a limit.
                let second = shield(|| timeout(Duration::from_millis(50), || goodbyes.send("and farewell")));
                out.line(format_args!("shielded: {second:?}"));
                out.line(format_args!("behind the shield: {:?}", check()));
                Ok::<(), Error>(over?)
            });
            shielded.cancel();
            let heard = heard.recv()?;
            out.line(format_args!("shielded: {:?}", shielded.join()));
            Ok::<&str, Error>(heard)
        })?;
        out.line(format_args!("heard: {heard}"));
        Ok(())
    })
}
