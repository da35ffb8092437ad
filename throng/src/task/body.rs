//! The typed half of a task: making one, running its closure, what a scope makes of its result.

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;

use super::list::Siblings;
use super::{Described, HANDLE, Header, Name, Outcome, RUNTIME, Ran, Vtable, block};
use crate::lock::SpinLock;
use crate::spawn::SpawnError;
use crate::waiter::Waiter;
use crate::waitq::WaitQueue;

/// A task with its types.
#[repr(C)]
struct Task<F, R: Report> {
    header: Header,
    report: R,
    body: UnsafeCell<Body<F, R::Value>>,
}

/// `repr(C)`: both lie at the beginning, so that a pointer to one is a pointer to the other.
#[repr(C)]
union Body<F, T> {
    closure: ManuallyDrop<F>,
    outcome: ManuallyDrop<Outcome<T>>,
}

/// Where a task's result goes besides its handle.
pub(crate) trait Report {
    /// What the closure returns.
    type Returned;
    /// What the handle gets.
    type Value;

    /// Decides what a returned result means. `cancelled`: the task itself was cancelled.
    fn returned(&self, result: Self::Returned, cancelled: bool) -> (Outcome<Self::Value>, Ran);

    /// Decides what a panic means.
    fn panicked(&self, payload: Box<dyn Any + Send>) -> (Outcome<Self::Value>, Ran);
}

/// A task on its own: what it returns is its value, and its panic is its handle's.
pub(crate) struct NoScope<T>(PhantomData<fn() -> T>);

impl<T> NoScope<T> {
    pub(crate) fn new() -> NoScope<T> {
        NoScope(PhantomData)
    }
}

impl<T> Report for NoScope<T> {
    type Returned = T;
    type Value = T;

    #[inline]
    fn returned(&self, result: T, _: bool) -> (Outcome<T>, Ran) {
        (Outcome::Value(result), Ran::Well)
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) -> (Outcome<T>, Ran) {
        (Outcome::Panicked(payload), Ran::Well)
    }
}

/// What is said about a task when it is made.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Box<str>>,
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
            take: take::<F, R>,
            drop_outcome: drop_outcome::<F, R>,
            layout: std::alloc::Layout::new::<Task<F, R>>(),
        }
    };
    let place = block::alloc(vtable.layout).ok_or(SpawnError::out_of_memory(vtable.layout.size()))?;
    let task = Task {
        header: Header {
            waiter: Waiter::new(),
            vtable,
            owner: std::cell::Cell::new(std::ptr::null()),
            siblings: Siblings::none(),
            join: SpinLock::with_flags(WaitQueue::new(), HANDLE | RUNTIME),
            site: spec.site,
            name: spec.name.map(|name| Box::new(Name(name))),
        },
        report,
        body: UnsafeCell::new(Body { closure: ManuallyDrop::new(closure) }),
    };
    let place = place.cast::<Task<F, R>>();
    // SAFETY: a fresh block of this layout.
    unsafe { place.write(task) };
    Ok(place.cast())
}

unsafe fn run<F, R>(task: NonNull<Header>, skip: bool) -> Ran
where
    F: FnOnce() -> R::Returned,
    R: Report,
{
    // SAFETY: the vtable is its type's; the runtime's reference keeps it.
    let task = unsafe { task.cast::<Task<F, R>>().as_ref() };
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
        Ok(Some(value)) => task.report.returned(value, task.header.waiter.is_task_cancelled()),
        Ok(None) => (Outcome::Cancelled, Ran::Well),
        Err(payload) => task.report.panicked(payload),
    };
    // SAFETY: the closure is gone, the body is ours (K1).
    unsafe { body.cast::<Outcome<R::Value>>().write(outcome) };
    ran
}

unsafe fn take<F, R: Report>(task: NonNull<Header>, to: *mut ()) {
    // SAFETY: the vtable is its type's; the caller's reference keeps it.
    let body = unsafe { task.cast::<Task<F, R>>().as_ref() }.body.get();
    // SAFETY: the outcome is in place and the caller's (K1).
    let outcome = unsafe { body.cast::<Outcome<R::Value>>().read() };
    // SAFETY: the caller gave a place for it.
    unsafe { to.cast::<Outcome<R::Value>>().write(outcome) };
}

unsafe fn drop_outcome<F, R: Report>(task: NonNull<Header>) {
    // SAFETY: as in `take`.
    let typed = unsafe { task.cast::<Task<F, R>>().as_ref() };
    // SAFETY: as in `take`.
    let outcome = unsafe { typed.body.get().cast::<Outcome<R::Value>>().read() };
    let dropped = catch_unwind(AssertUnwindSafe(|| match outcome {
        // Nobody will join it: this is the last chance to say so.
        Outcome::Panicked(payload) => {
            report_panic(&typed.header, &*payload, "panicked");
            drop(payload);
        }
        other => drop(other),
    }));
    if let Err(payload) = dropped {
        report_panic(&typed.header, &*payload, "panicked while its result was dropped");
        // A payload whose own drop panics could go on for ever.
        std::mem::forget(payload);
    }
}

fn report_panic(header: &Header, payload: &(dyn Any + Send), what: &str) {
    eprintln!("throng: {} {what}: {}", Described(header), payload_text(payload));
}

/// What a panic said.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(a payload that is not text)")
}
