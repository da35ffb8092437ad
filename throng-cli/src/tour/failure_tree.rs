//! Example: the tree of tasks before, while and after a failure goes up in it.

use super::{Outcome, Output};
use throng::{Cancelled, Cause, Completion, Job, Runtime, never, rendezvous, scope, shield, supervisor};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    // One worker, so that they take turns in the same order each time.
    Runtime::builder().workers(1).max_spare_workers(0).build()?.run(|| {
        let ((step, steps), (go_on, next)) = (rendezvous::<()>(), rendezvous::<()>());
        let work = || {
            step.send(())?;
            let over = never::<()>().recv(); // parks until it is cancelled
            let _ = shield(|| step.send(()).map(|()| next.recv())); // cleans up
            Ok(over?)
        };
        let burn = || {
            step.send(())?;
            next.recv()?;
            Outcome::Err("burnt".into())
        };
        let oven = || {
            scope(|s| {
                s.task().name("bread").go(work);
                s.task().name("cake").go(burn);
                Ok(())
            })
        };
        let kitchen = || {
            scope(|s| {
                s.task().name("oven").go(oven);
                s.task().name("sink").go(work);
                Ok(())
            })
        };
        supervisor(|s| {
            let kitchen = s.task().name("kitchen").go(kitchen);
            let shop = s.task().name("shop").go(work);
            (0..4).try_for_each(|_| steps.recv())?; // all are at work

            let tree = Tree::of("supervisor", s.job(), out)?;
            let show = |when: &str| {
                out.line(when);
                tree.draw(out, "", "");
            };
            show("before:");
            for when in ["while bread cleans up:", "while sink cleans up:"] {
                go_on.send(())?;
                steps.recv()?;
                show(when);
            }
            go_on.send(())?;
            out.line(format_args!("the supervisor joins the kitchen: {:?}", kitchen.join()?));
            show("after:");

            shop.cancel_with("it is late");
            steps.recv()?;
            go_on.send(())?;
            Ok(shop.job().join()?)
        })
    })
}

/// A job, and those that were below it when it was looked at.
struct Tree(String, Job, Vec<Tree>);

impl Tree {
    fn of(name: &str, job: Job, out: &Output) -> Result<Tree, Cancelled> {
        if !job.is_scope() {
            // A path names scopes by file and line: only the tasks' names are printed.
            let (out, ended, path) = (out.clone(), job.clone(), job.path());
            let names: Vec<_> = path.split(" / ").filter(|part| part.starts_with('\'')).map(str::to_owned).collect();
            job.on_completion(move |_| out.line(format_args!("* {}: {}", names.join(" / "), tell(&ended))));
        }
        let below = job.children()?.into_iter().map(|child| Tree::of(child.name().unwrap_or("scope"), child.clone(), out));
        Ok(Tree(name.to_owned(), job, below.collect::<Result<_, _>>()?))
    }

    fn draw(&self, out: &Output, branch: &str, margin: &str) {
        let Tree(name, job, below) = self;
        out.line(format_args!("{branch}{name}: {}", tell(job)));
        for (index, child) in below.iter().enumerate() {
            let (branch, bar) = if index + 1 < below.len() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
            child.draw(out, &format!("{margin}{branch}"), &format!("{margin}{bar}"));
        }
    }
}

/// How it is with a job, and why.
fn tell(job: &Job) -> String {
    match (job.completion(), job.cause()) {
        (Some(Completion::Failed(_)), _) => "Failed".to_owned(),
        (_, Some(Cause::Failed(task))) => format!("{}, since {} has failed", job.state(), task.name.as_deref().unwrap_or("a task")),
        (_, Some(cause)) => format!("{}, since {cause}", job.state()),
        (_, None) => job.state().to_string(),
    }
}
