//! Example: ways to start a task: when it runs, and whether it does if it is cancelled before.

use super::{Outcome, Output};
use throng::{Error, Runtime, check, rendezvous, scope};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    // One worker, and none that would come to help: what is queued does not start before the one who runs parks.
    let runtime = Runtime::builder().workers(1).max_spare_workers(0).build()?;
    runtime.run(|| started(out))?;
    Ok(runtime.run(|| cancelled_before(out))?)
}

fn started(out: &Output) -> Result<(), Error> {
    scope(|s| {
        let (go_on, next) = rendezvous();
        let undispatched = s.task().undispatched().go(|| {
            out.line("undispatched: runs before its caller goes on");
            next.recv()?; // parks, and from now on is a task like any other
            out.line("undispatched: has gone on");
            Ok(())
        });
        let lazy = s.task().lazy().go(|| out.line("lazy: somebody wants me"));
        let queued = s.go(|| out.line("queued: runs when its caller parks"));
        out.line("caller: has started them");
        queued.join()?;
        go_on.send(())?;
        undispatched.join()?;
        out.line(format_args!("caller: lazy is {}", lazy.job().state()));
        lazy.join()?; // or `start`, which does not park
        Ok(())
    })
}

fn cancelled_before(out: &Output) -> Result<(), Error> {
    scope(|s| {
        let queued = s.go(|| out.line("not printed"));
        let lazy = s.task().lazy().go(|| out.line("not printed"));
        // For a task that has something to hand on, or to close: a closure that is skipped is only dropped.
        let atomic = s.task().atomic().go(|| {
            out.line(format_args!("atomic: runs, and meets {:?}", check()));
            Ok(check()?)
        });
        let tasks = [("queued", queued), ("lazy", lazy), ("atomic", atomic)];
        tasks.iter().for_each(|(_, task)| task.cancel());
        for (name, task) in tasks {
            out.line(format_args!("{name}: {:?}", task.join()));
        }
        Ok(())
    })
}
