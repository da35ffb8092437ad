//! Example: a call that blocks its thread, given to `blocking`, and one that nobody has thought of.

use std::sync::mpsc;

use super::{Outcome, Output};
use throng::{Error, Runtime, blocking, go, rendezvous, scope, yield_now};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    // One worker: if its thread is blocked nobody else runs there.
    let runtime = Runtime::builder().workers(1).build()?;
    runtime.run(|| given(out))?;
    Ok(runtime.run(|| forgotten(out))?)
}

fn given(out: &Output) -> Result<(), Error> {
    // std's: its recv() blocks the thread.
    let (tell, told) = mpsc::channel();
    scope(|s| {
        let (begin, begun) = rendezvous();
        s.go(move || {
            // Runs on another thread, while the goroutine parks; so it may borrow, as it does `out`.
            let word = blocking(move || {
                out.line("listener: blocks a thread kept for that");
                begin.send(()).ok();
                told.recv()
            })?;
            out.line(format_args!("listener: was told {word:?}"));
            Ok(())
        });
        begun.recv()?;
        for step in 1..=3 {
            out.line(format_args!("teller: step {step}, on the worker"));
            yield_now()?;
        }
        tell.send("done").ok();
        Ok(())
    })
}

fn forgotten(out: &Output) -> Result<(), Error> {
    out.line("listener: will block the only worker");
    let (tell, told) = mpsc::channel();
    // Not started yet, and the worker will not come to it.
    let teller = go({
        let out = out.clone();
        move || {
            out.line("teller: a spare worker has started me");
            tell.send("done").ok();
        }
    });
    let word = told.recv();
    out.line(format_args!("listener: was told {word:?}"));
    Ok(teller.join()?)
}
