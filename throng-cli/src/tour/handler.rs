//! Example: the handler of failures is told what nobody else hears of. It stops nothing.

use std::panic::resume_unwind;

use super::{Outcome, Output};
use throng::{ExceptionHandler, never, rendezvous, scope, task, unbounded};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    let (tell, told) = unbounded();
    let handler = ExceptionHandler::new(move |failure| {
        let _ = tell.send(format!("'{}' failed: {}", failure.name().unwrap_or_default(), failure.panic().unwrap_or_default()));
    });

    let body = || {
        // A child of a scope. Its failure is the scope's, which cancels the other child.
        let (ready, is_ready) = rendezvous();
        let failed = scope(|s| {
            s.task().name("other child").go(|| {
                ready.send(())?;
                let over = never::<()>().recv(); // parks until it is cancelled
                out.line(format_args!("the other child: {over:?}"));
                Ok(over?)
            });
            s.task().name("child").go(|| {
                is_ready.recv()?;
                Outcome::Err("no paper".into())
            });
            Ok(())
        });
        out.line(format_args!("the scope: {failed:?}"));
        out.line(format_args!("the handler: {:?}", told.try_recv()));

        // A goroutine that is joined. Its failure is the joiner's. (`panic!` would speak on stderr, too.)
        let joined = task().name("joined").go(|| resume_unwind(Box::new("no toner")));
        out.line(format_args!("the joiner: {:?}", joined.join().map_err(|error| error.to_string())));
        out.line(format_args!("the handler: {:?}", told.try_recv()));

        // A goroutine that nobody joins: the handle is gone.
        drop(task().name("detached").go(|| resume_unwind(Box::new("no ink"))));
        out.line(format_args!("the handler: {:?}", told.recv()));
        Ok(())
    };
    throng::run(|| handler.scope(body))
}
