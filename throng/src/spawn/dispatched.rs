//! Starting tasks that have a dispatcher of their own, given or inherited.

use std::ptr::{self, NonNull};

use super::error::Refusal;
use super::{JoinHandle, Kind, SpawnError, Start, set_launch};
use crate::dispatch::external::External;
use crate::dispatch::{Dispatcher, Target};
use crate::home::local;
use crate::rt;
use crate::sched::{Outside, Scheduler};
use crate::task::children::Children;
use crate::task::{self, Header, LIMITED, Schedule, Spec, VISITOR, Why};

/// Has a task made and sends it where its dispatcher says.
///
/// # Safety
/// As for `start_made`. (That the dispatcher's scheduler does not end before the task is seen to here.)
#[cold]
pub(super) unsafe fn start<T>(
    mut spec: Spec,
    how: Start,
    kind: Kind,
    owner: Option<&Children>,
    dispatcher: &Dispatcher,
    make: impl FnOnce(Spec, NonNull<Schedule>) -> Result<NonNull<Header>, SpawnError>,
) -> Result<JoinHandle<T>, SpawnError> {
    if dispatcher.permits().is_some() {
        spec.flags |= LIMITED;
    }
    let outside = match dispatcher.target() {
        Target::Scheduler(scheduler) => {
            if let Some(refused) = scheduler.out_of_stacks() {
                return Err(SpawnError(Refusal::Stacks(refused)));
            }
            if owner.is_some_and(|owner| !is_of(owner, scheduler)) {
                spec.flags |= VISITOR;
            }
            scheduler.outside()
        }
        Target::External(external) => {
            if kind == Kind::Goroutine && !External::takes_goroutines(external) {
                return Err(SpawnError(Refusal::CoroutinesOnly));
            }
            if owner.is_some() {
                spec.flags |= VISITOR;
            }
            external.outside()
        }
    };
    let visitor = spec.flags & VISITOR != 0;
    let schedule = dispatcher.schedule();
    let task = make(spec, schedule)?;
    // SAFETY: new, so this is its one handle.
    let handle = unsafe { JoinHandle::new(task) };
    if how.is_put_off() {
        set_launch(task, schedule);
    }
    // SAFETY: new; the owner waits for it.
    unsafe { take_in(task, owner, visitor, outside) }?;
    if !how.is_put_off() {
        // SAFETY: the schedule is the dispatcher's.
        let queue = unsafe { schedule.as_ref() }.queue;
        // SAFETY: new, so ours to queue.
        unsafe { queue(task, schedule, Why::Started) };
    }
    Ok(handle)
}

/// Gives a new task its owner, or, without one, a place among those from outside. Where it is to run keeps going until it has ended.
///
/// # Safety
/// The task is new; `owner`, if any, waits for it.
unsafe fn take_in(task: NonNull<Header>, owner: Option<&Children>, visitor: bool, outside: &Outside) -> Result<(), SpawnError> {
    let taken = match owner {
        // SAFETY: by contract.
        None => unsafe { outside.admit(task) },
        // SAFETY: new, so alive.
        Some(_) if visitor => outside.admit_visitor(unsafe { task.as_ref() }),
        Some(_) => Ok(()),
    };
    if taken.is_err() {
        // SAFETY: never queued: it is run here, without its closure, so that its handle can let go of it.
        unsafe { task::discard(task) };
    } else if let Some(owner) = owner {
        // SAFETY: by contract.
        local::with(|local| unsafe { owner.adopt(task, local) });
    }
    taken
}

/// Whether the owner's task runs on this scheduler, which therefore waits for it.
fn is_of(owner: &Children, scheduler: &Scheduler) -> bool {
    let runtime = owner.runtime();
    if runtime.is_null() { rt::is_default(scheduler) } else { ptr::eq(runtime, ptr::from_ref(scheduler).cast()) }
}
