//! Tasks whose body is a future: making one, giving it a turn.
//!
//! A turn is a poll, on the fiber of the worker's loop and with the task as the current one. So a poll may call whatever parks: then the fiber under it is the coroutine's until the
//! poll returns, as a goroutine's is. Between polls there is no stack, and the next turn may be on another worker.
//!
//! **Cancellation.** A cancelled coroutine gets another turn, in which the calls and futures of this crate that would wait return `Cancelled`. If it comes to wait all the same, it waits for something
//! that knows nothing of cancellation; then it is cut off there: its future is dropped, and it has ended by its cancellation. A part of it that is shielded prevents that while it lasts.

use std::cell::{Cell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::body::{Body, Report, Spec, Task, drop_outcome, header, take};
use super::turns::{Schedule, Turns, borrowed_waker};
use super::{COROUTINE, Header, Outcome, Ran, Vtable};
use crate::memory;
use crate::panics::Caught;
use crate::spawn::SpawnError;

/// Makes a coroutine with both its references, to be queued at `schedule`. `Err`: the future is dropped.
///
/// # Safety
/// The caller sees to it that the task has run and is done before anything that `F` or `R` borrow is gone; `schedule` is there until then.
pub(crate) unsafe fn create_coroutine<F, R>(
    mut spec: Spec,
    report: R,
    future: F,
    schedule: NonNull<Schedule>,
) -> Result<NonNull<Header>, SpawnError>
where
    F: Future<Output = R::Returned>,
    R: Report,
{
    let vtable = const {
        &Vtable {
            run: turn::<F, R>,
            take: take::<Turns, F, R>,
            drop_outcome: drop_outcome::<Turns, F, R>,
            layout: std::alloc::Layout::new::<Task<Turns, F, R>>(),
        }
    };
    let place = memory::alloc(vtable.layout).ok_or(SpawnError::out_of_memory(vtable.layout.size()))?;
    spec.flags |= COROUTINE;
    let body = UnsafeCell::new(Body { closure: ManuallyDrop::new(future) });
    let task = Task { header: header(spec, vtable), kind: Turns::new(schedule), report, body };
    let place = place.cast::<Task<Turns, F, R>>();
    // SAFETY: a fresh block of this layout.
    unsafe { place.write(task) };
    Ok(place.cast())
}

/// Gives it a turn. With `skip`, the future is only dropped.
unsafe fn turn<F, R>(task: NonNull<Header>, skip: bool) -> Ran
where
    F: Future<Output = R::Returned>,
    R: Report,
{
    let waker = borrowed_waker(task);
    // SAFETY: the vtable is its type's; the runtime's reference keeps it.
    let task = unsafe { task.cast::<Task<Turns, F, R>>().as_ref() };
    task.kind.begin();
    let place = task.body.get().cast::<F>();
    // A cancellation that comes during the turn wakes it for another one, so that whatever waits by then is told.
    let cancelled = task.header.waiter.is_task_cancelled();
    let mut polled = Ok(None);
    if !skip {
        renew_budget();
        // SAFETY: until the outcome is written the body holds the future, and this turn has it (T1).
        let future = unsafe { &mut *place };
        // SAFETY: a block is not moved, and the future is dropped in it.
        let future = unsafe { Pin::new_unchecked(future) };
        polled = match catch_unwind(AssertUnwindSafe(|| future.poll(&mut Context::from_waker(&waker)))) {
            Ok(Poll::Ready(value)) => Ok(Some(value)),
            Ok(Poll::Pending) if !cancelled || task.kind.is_shielded() => {
                // One that came while the turn was parked has ended that wait, and woken nobody.
                if !cancelled && task.header.waiter.is_task_cancelled() {
                    task.kind.wake_itself();
                }
                return Ran::Pending;
            }
            Ok(Poll::Pending) => Ok(None),
            Err(payload) => Err(payload),
        };
    }
    // SAFETY: as above, and it is not polled again.
    let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { place.drop_in_place() }));
    let (outcome, ran) = match (polled, dropped) {
        (Ok(Some(value)), Ok(())) => task.report.returned(value, &task.header),
        (Ok(None), Ok(())) => (Outcome::Cancelled(task.header.cause().unwrap_or_default()), Ran::Cancelled),
        (Err(payload), Ok(())) => task.report.panicked(Caught::new(payload), &task.header),
        (polled, Err(payload)) => {
            // It was to be dropped, and panicked over that. What it came to before goes the way of a second panic.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(polled))) {
                // A payload whose own drop panics could go on for ever.
                std::mem::forget(payload);
            }
            task.report.panicked(Caught::new(payload), &task.header)
        }
    };
    // SAFETY: the future is gone, the body is ours (K1).
    unsafe { task.body.get().cast::<Outcome<R::Value>>().write(outcome) };
    ran
}

thread_local! {
    /// What is left to the running turn of the operations that it may complete without a pause.
    static BUDGET: Cell<u32> = const { Cell::new(FULL) };
}

/// How many operations of this crate a turn may complete: after that they say that they have to wait, so that a future which is always ready gives way now and then. (tokio's number.)
const FULL: u32 = 128;

/// A turn begins, or whoever polls a future polls it again.
#[inline]
pub(crate) fn renew_budget() {
    BUDGET.set(FULL);
}

/// Takes one operation from the budget. `false`: it is used up; the operation wakes its task and waits. (The next turn has a new one, whoever polls.)
#[inline]
pub(crate) fn spend() -> bool {
    let left = BUDGET.get();
    if left == 0 {
        BUDGET.set(FULL);
        return false;
    }
    BUDGET.set(left - 1);
    true
}
