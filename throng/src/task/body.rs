//! The typed half of a task: making one, running its closure, what a scope makes of its result.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use super::list::Siblings;
use super::{About, HANDLE, Header, Name, Outcome, RUNTIME, Ran, Vtable};
use crate::context::Context;
use crate::lock::SpinLock;
use crate::memory;
use crate::panics::Caught;
use crate::spawn::SpawnError;
use crate::waiter::Waiter;
use crate::waitq::WaitQueue;

/// A task with its types. `K`: what its kind needs besides.
#[repr(C)]
pub(super) struct Task<K, F, R: Report> {
    pub(super) header: Header,
    pub(super) kind: K,
    pub(super) report: R,
    pub(super) body: UnsafeCell<Body<F, R::Value>>,
}

/// `repr(C)`: both lie at the beginning, so that a pointer to one is a pointer to the other.
#[repr(C)]
pub(super) union Body<F, T> {
    pub(super) closure: ManuallyDrop<F>,
    outcome: ManuallyDrop<Outcome<T>>,
}

/// Where a task's result goes besides its handle.
pub(crate) trait Report {
    /// What the closure returns.
    type Returned;
    /// What the handle gets.
    type Value;

    /// Decides what a returned result means.
    fn returned(&self, result: Self::Returned, task: &Header) -> (Outcome<Self::Value>, Ran);

    /// Decides what a panic means.
    fn panicked(&self, caught: Caught, task: &Header) -> (Outcome<Self::Value>, Ran);

    /// Nobody will take this outcome: it is reported, if it is a failure, and dropped. Must not panic.
    fn unseen(&self, outcome: Outcome<Self::Value>, task: &Header);
}

/// What is said about a task when it is made.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Arc<Name>>,
    pub(crate) context: Context,
    /// Flags of the task: `ATOMIC`, `PROMISE`.
    pub(crate) flags: u32,
    /// It is not to be queued at once.
    pub(crate) undecided: bool,
}

/// A new task's, with both references.
#[inline(always)]
pub(super) fn header(spec: Spec, vtable: &'static Vtable) -> Header {
    Header {
        waiter: Waiter::new(spec.context, spec.undecided),
        vtable,
        owner: std::cell::Cell::new(std::ptr::null()),
        siblings: Siblings::none(),
        join: SpinLock::with_flags(WaitQueue::new(), HANDLE | RUNTIME | spec.flags),
        about: About::new(spec.site, spec.name),
    }
}

/// Makes a task with both its references. `Err` gives the closure back.
///
/// # Safety
/// The caller sees to it that the task has run and is done before anything that `F` or `R` borrow is gone.
#[inline]
pub(crate) unsafe fn create<F, R>(spec: Spec, report: R, closure: F) -> Result<NonNull<Header>, SpawnError>
where
    F: FnOnce() -> R::Returned,
    R: Report,
{
    let vtable = const {
        &Vtable {
            run: run::<F, R>,
            take: take::<(), F, R>,
            drop_outcome: drop_outcome::<(), F, R>,
            layout: std::alloc::Layout::new::<Task<(), F, R>>(),
        }
    };
    let place = memory::alloc(vtable.layout).ok_or(SpawnError::out_of_memory(vtable.layout.size()))?;
    let task = Task { header: header(spec, vtable), kind: (), report, body: UnsafeCell::new(Body { closure: ManuallyDrop::new(closure) }) };
    let place = place.cast::<Task<(), F, R>>();
    // SAFETY: a fresh block of this layout.
    unsafe { place.write(task) };
    Ok(place.cast())
}

/// Frees a task's block.
///
/// # Safety
/// Nobody refers to it any more; its outcome is gone. (`complete`, `release` or `drop_handle` said so.)
#[inline]
pub(crate) unsafe fn free(task: NonNull<Header>) {
    // SAFETY: by contract it is ours.
    let layout = unsafe { task.as_ref() }.vtable.layout;
    // SAFETY: by contract nobody uses it again.
    unsafe { task.drop_in_place() };
    // SAFETY: allocated with this layout by `create`, or for a coroutine.
    unsafe { memory::free(task.cast(), layout) };
}

unsafe fn run<F, R>(task: NonNull<Header>, skip: bool) -> Ran
where
    F: FnOnce() -> R::Returned,
    R: Report,
{
    // SAFETY: the vtable is its type's; the runtime's reference keeps it.
    let task = unsafe { task.cast::<Task<(), F, R>>().as_ref() };
    let body = task.body.get();
    // SAFETY: until the outcome is written the body holds the closure, and this is its one run (K1).
    let closure = unsafe { body.cast::<F>().read() };
    let result = catch_unwind(AssertUnwindSafe(|| {
        if skip {
            drop(closure);
            None
        } else {
            Some(closure())
        }
    }));
    let (outcome, ran) = match result {
        Ok(Some(value)) => task.report.returned(value, &task.header),
        Ok(None) => (Outcome::Cancelled(task.header.cause().unwrap_or_default()), Ran::Cancelled),
        Err(payload) => task.report.panicked(Caught::new(payload), &task.header),
    };
    // SAFETY: the closure is gone, the body is ours (K1).
    unsafe { body.cast::<Outcome<R::Value>>().write(outcome) };
    ran
}

pub(super) unsafe fn take<K, F, R: Report>(task: NonNull<Header>, to: *mut ()) {
    // SAFETY: the vtable is its type's; the caller's reference keeps it.
    let body = unsafe { task.cast::<Task<K, F, R>>().as_ref() }.body.get();
    // SAFETY: the outcome is in place and the caller's (K1).
    let outcome = unsafe { body.cast::<Outcome<R::Value>>().read() };
    // SAFETY: the caller gave a place for it.
    unsafe { to.cast::<Outcome<R::Value>>().write(outcome) };
}

pub(super) unsafe fn drop_outcome<K, F, R: Report>(task: NonNull<Header>) {
    // SAFETY: as in `take`.
    let typed = unsafe { task.cast::<Task<K, F, R>>().as_ref() };
    // SAFETY: as in `take`.
    let outcome = unsafe { typed.body.get().cast::<Outcome<R::Value>>().read() };
    typed.report.unseen(outcome, &typed.header);
}

/// Gives a promise its outcome: `run`, without a closure to run.
///
/// # Safety
/// `F` and `R` are the task's; called once, by the one who decided on it.
pub(crate) unsafe fn put<F, R: Report>(task: NonNull<Header>, outcome: Outcome<R::Value>) {
    // SAFETY: by contract; the runtime's reference keeps it.
    let body = unsafe { task.cast::<Task<(), F, R>>().as_ref() }.body.get();
    // SAFETY: until the outcome is written the body holds the closure (K1).
    drop(unsafe { body.cast::<F>().read() });
    // SAFETY: the closure is gone, the body is ours (K1).
    unsafe { body.cast::<Outcome<R::Value>>().write(outcome) };
}
