//! The tree of jobs: up by owners, which a task that has not ended keeps alive; down at the home of the job.
//!
//! ```text
//!   root of a worker
//!    └ task 'main'                     header.owner: the root
//!       └ scope (src/main.rs:10)       opener: 'main'
//!          ├ task 'reader'             header.owner: the scope
//!          │  └ scope ..
//!          └ scope (src/main.rs:12)    opener: 'main', outer: the scope above: the same task opened it inside of that one
//! ```

use std::fmt::Write;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Job, Kind};
use crate::task::Header;
use crate::task::children::Children;
use crate::task::record::TaskRef;
use crate::waiter::Waiter;

/// How many ancestors a path names.
const NAMED: usize = 16;

/// A task's path, from the root. While the task has not ended, or its owner is known to be there.
pub(crate) fn path(header: &Header) -> String {
    let mut parts = vec![describe_task(header)];
    let mut scope = header.owner();
    while let Some(children) = scope {
        let Some(site) = children.site() else { break };
        parts.push(format!("scope at {site}"));
        scope = children.outer();
        if scope.is_none()
            && let Some(opener) = children.opener()
        {
            parts.push(describe_task(opener));
            scope = opener.owner();
        }
        if parts.len() > NAMED {
            parts.push("..".into());
            break;
        }
    }
    parts.reverse();
    parts.join(" / ")
}

/// The path of a task that hangs off a root.
pub(crate) fn root_path(header: &Header) -> String {
    describe_task(header)
}

fn describe_task(header: &Header) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match header.own_name() {
        Some(name) => write!(text, "'{name}'"),
        None => write!(text, "task at {}", header.site()),
    };
    text
}

/// The job above a scope: the scope around it, or the task that opened it.
pub(super) fn above(children: &Children) -> Option<Job> {
    match (children.outer(), children.opener()) {
        (Some(outer), _) => Some(Job(Kind::Scope(outer.record()))),
        (None, Some(opener)) => Some(Job(Kind::Task(TaskRef::new(opener)))),
        (None, None) => None,
    }
}

/// The jobs below a task: the outermost of the scopes it has open. On its home.
pub(super) fn below_task(header: &Header) -> Vec<Job> {
    let outermost = scopes_of(&header.waiter).last().map(|scope| Job(Kind::Scope(scope.record())));
    outermost.into_iter().collect()
}

/// The jobs below a scope: its children, and the next scope its own code has opened. On its home.
pub(super) fn below_scope(children: &Children) -> Vec<Job> {
    let mut jobs = Vec::new();
    children.for_each(|child| {
        // One that has ended elsewhere may still be on its way here.
        if !child.is_done() {
            jobs.push(Job(Kind::Task(TaskRef::new(child))));
        }
    });
    let task = children.opener().map(|opener| &opener.waiter);
    if let Some(inner) = task.and_then(|task| scopes_of(task).take_while(|scope| !std::ptr::eq(*scope, children)).last()) {
        jobs.push(Job(Kind::Scope(inner.record())));
    }
    jobs
}

/// The open scopes of a task, the innermost first. On its home.
pub(super) fn scopes_of(waiter: &Waiter) -> impl Iterator<Item = &Children> {
    // SAFETY: on the home, and the task does not go on while the iterator is used.
    let innermost = unsafe { Children::innermost(waiter) };
    std::iter::successors(innermost, |scope| scope.outer())
}

/// The innermost job of whoever runs.
pub(super) fn innermost(waiter: &Waiter, is_thread: bool) -> Option<Job> {
    if let Some(scope) = scopes_of(waiter).next() {
        return Some(Job(Kind::Scope(scope.record())));
    }
    // SAFETY: on a worker the current waiter is a task's, which runs and so is alive.
    let header = (!is_thread).then(|| unsafe { Header::of_waiter(NonNull::from(waiter)).as_ref() });
    header.map(|header| Job(Kind::Task(TaskRef::new(header))))
}

/// Whether it is the same job.
pub(super) fn same(one: &Job, other: &Job) -> bool {
    match (&one.0, &other.0) {
        (Kind::Task(one), Kind::Task(other)) => std::ptr::eq(one.header(), other.header()),
        (Kind::Scope(one), Kind::Scope(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
