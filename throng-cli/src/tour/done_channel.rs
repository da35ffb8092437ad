//! Example: a generator sends random numbers for as long as somebody wants them.

use super::{Outcome, Output};
use rand::RngExt;
use throng::{Cancelled, JoinHandle, Receiver, go, rendezvous, select};

/// Sends rolls of a die until `done` is closed.
fn rolls(done: Receiver<()>) -> (Receiver<u8>, JoinHandle<Result<(), Cancelled>>) {
    let (rolls, rolled) = rendezvous();
    let generator = go(move || {
        // Belongs to the thread, and is held over every send: that is sound, since a goroutine
        // that has started never changes its thread.
        let mut die = rand::rng();
        loop {
            let wanted = select! {
                recv(done) -> _ => false,
                send(rolls, die.random_range(1..=6)) -> sent => sent.is_ok(),
            }?;
            if !wanted {
                return Ok(());
            }
        }
    });
    (rolled, generator)
}

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        let (close_when_done, done) = rendezvous();
        let (rolled, generator) = rolls(done);

        for roll in rolled.iter().take(3) {
            out.line(format_args!("rolled a {roll}"));
        }
        drop(close_when_done); // the last sender: this closes the channel

        let ended = generator.join().map_err(|error| error.to_string())?;
        out.line(format_args!("the generator has ended: {ended:?}"));
        out.line(format_args!("and sends no more: {:?}", rolled.recv()));
        Ok(())
    })
}
