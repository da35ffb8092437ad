//! Example: what a task hands down to those it starts: a name, values, a handler of failures.

use std::panic::resume_unwind;

use super::{Outcome, Output};
use throng::{Error, ExceptionHandler, context_local, go, job, rendezvous, task, unbounded};

context_local! {
    /// Whom all this is done for.
    static USER: &'static str;
}

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    let (tell, told) = unbounded();
    let handler_of = |whose: &'static str| {
        let tell = tell.clone();
        ExceptionHandler::new(move |failure| {
            let _ = tell.send(format!("{whose} handler was told of {}", failure.panic().unwrap_or_default()));
        })
    };
    let (handler, other) = (handler_of("request's"), handler_of("audit's"));
    let (told, out) = (told.clone(), out.clone());

    let request = move || {
        out.line(format_args!("task:       {}", who()));
        out.line(format_args!("child:      {}", go(who).join()?));
        out.line(format_args!("grandchild: {}", go(|| go(who).join()).join()??));
        out.line(format_args!("overridden: {}", task().name("audit").with(&USER, "Bob").go(who).join()?));

        // A child has what its parent had when it was started: what is set later does not reach it.
        let (set, is_set) = rendezvous();
        let early = go(move || is_set.recv().map(|()| who()));
        let late = USER.scope("Eve", || set.send(()).map(|()| go(who)))?;
        out.line(format_args!("early:      {}", early.join()??));
        out.line(format_args!("late:       {}", late.join()?));

        // Nobody joins these, so it is their handler that is told.
        drop(go(|| resume_unwind(Box::new("a lost letter"))));
        out.line(told.recv()?);
        drop(task().handler(other).go(|| resume_unwind(Box::new("a lost file"))));
        out.line(told.recv()?);
        Ok::<_, Error>(())
    };
    let request = throng::run(|| task().name("request").with(&USER, "Ada").handler(handler).go(request).join());
    Ok(request??)
}

/// What the calling task has been given, or has inherited.
fn who() -> String {
    let job = job();
    let name = job.as_ref().and_then(|job| job.name());
    format!("'{}' for {}", name.unwrap_or("unnamed"), USER.get().unwrap_or("nobody"))
}
