//! Outcomes that nobody takes.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::handler::{Failure, What};
use crate::join::Panic;
use crate::panics::Caught;
use crate::task::{Header, Outcome};

/// Drops a task's outcome; a panic, its own or that of the drop, goes to the handler of its context.
#[inline]
pub(crate) fn drop_unseen<T>(outcome: Outcome<T>, task: &Header, path: impl FnOnce() -> String) {
    match outcome {
        // Nobody will join it: this is the last chance to say so.
        Outcome::Panicked(caught) => {
            let panic = Panic::new(caught);
            report(task, path(), What::Panicked(&panic));
            forget_panics(|| drop(panic));
        }
        Outcome::Value(value) => {
            if mem::needs_drop::<T>()
                && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value)))
            {
                let panic = Panic::new(Caught::new(payload));
                report(task, path(), What::Dropping(&panic));
                mem::forget(panic);
            }
        }
        Outcome::Cancelled(cause) => drop(cause),
        Outcome::Failed => {}
    }
}

/// Tells the handler of the task's context.
pub(crate) fn report(task: &Header, path: String, what: What<'_>) {
    Failure { kind: task.kind(), name: task.own_name(), site: task.site(), path, what }.report(&task.waiter.context().get());
}

/// Drops what nobody will see. A panic of that goes no further than to the panic hook.
pub(crate) fn forget_panics(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // A payload whose own drop panics could go on for ever.
        mem::forget(payload);
    }
}
