//! Example: three children of a supervisor. One fails, which cancels nobody.

use super::{Outcome, Output};
use throng::{Error, check, rendezvous, supervisor};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        let total = supervisor(|s| {
            let (failed, until_failed) = rendezvous::<()>();
            let [oslo, lima] = [("Oslo", -4), ("Lima", 19)].map(|(city, degrees)| {
                let until_failed = &until_failed;
                s.task().name(city).go(move || {
                    let _ = until_failed.recv(); // parks until the channel is closed
                    check()?; // would be `Err(Cancelled)` in a scope
                    Ok::<i32, Error>(degrees)
                })
            });
            let cairo = s.task().name("Cairo").go(|| "hot".parse::<i32>());

            // In a scope this failure would come out, and joining would only say that it does. Here it is the joiner's.
            out.line(format_args!("Cairo: {:?}", cairo.join()?));
            drop(failed); // the last sender: this closes the channel
            let (oslo, lima) = (oslo.join()??, lima.join()??);
            out.line(format_args!("Oslo: {oslo} degrees"));
            out.line(format_args!("Lima: {lima} degrees"));
            Ok::<i32, Error>(oslo + lima)
        })?;
        out.line(format_args!("the supervisor has ended well: {total} degrees in all"));
        Ok(())
    })
}
