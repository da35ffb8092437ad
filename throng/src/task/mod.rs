//! A task: one allocation that holds its header, then its closure, then what came of it.
//!
//! ```text
//!  Header                                                          Body (one place, used twice)
//! +----------------+--------+-------+----------+------+------------+  +------------------------+
//! | waiter         | vtable | owner | siblings | join | about      |  | closure -> Outcome<T>  |
//! +----------------+--------+-------+----------+------+------------+  +------------------------+
//! ```
//!
//! **Life.** Made by a spawn with two references, the *runtime*'s and the *handle*'s; queued; started on the worker whose it is from then on; run; done. Then its
//! owner (see `children/`) is told on the owner's home, which lets go of the runtime's reference. Who lets go last frees the block.
//!
//! The flags of the `join` lock say which of these is true; they change under that lock, and the store that releases it is the last touch of
//! whoever gives up its reference:
//! - `HANDLE`: a handle exists. Cleared once, by its drop.
//! - `RUNTIME`: the runtime still uses the block.
//! - `JOBS`: somebody refers to it as a job (`record.rs`).
//! - `WAKERS`: wakers of a coroutine may be there (`turns.rs`).
//! - `DONE`: the outcome is in place, and belongs to the handle.
//! - `LOST`: besides `DONE`: it did not end with a value of its own, but cancelled or, with `FAILED`, failed.
//!
//! Invariants:
//! - K1: until `DONE`, the body belongs to the runtime (first as a closure, which `run` consumes exactly once, then as an outcome); from `DONE` on, to the handle.
//! - K2: a task that completes without a handle drops its outcome itself, as part of its own run: no user code runs outside a task.
//! - K3: the siblings are touched by the home of the owner. `owner` is written before the task is known to others; the owner is there while `RUNTIME` is set.

mod about;
mod body;
mod cancelling;
pub(crate) mod children;
mod coroutine;
mod list;
mod outgoing;
pub(crate) mod record;
pub(crate) mod scope_record;
#[cfg(test)]
mod size_tests;
mod turn_word;
mod turns;

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::cause::Cause;
use crate::lock::{SpinGuard, SpinLock};
use crate::panics::Caught;
use crate::waiter::Waiter;
use crate::waiter::permits::{PERMITS, Permits};
use crate::waitq::WaitQueue;
use about::About;
pub(crate) use body::{Report, Spec, create, free, put};
pub(crate) use cancelling::cancel_all;
use children::Children;
pub(crate) use coroutine::{create_coroutine, renew_budget, spend};
pub(crate) use list::List;
use list::Siblings;
pub(crate) use outgoing::{Outgoing, finish, finish_away};
use turn_word::WAKERS;
pub(crate) use turns::{Schedule, ShieldedPart, Why, gives_way, pause, queue_again, wakes_current};

const HANDLE: u32 = 1 << 1;
const RUNTIME: u32 = 1 << 2;
const DONE: u32 = 1 << 3;
const LOST: u32 = 1 << 4;
const JOBS: u32 = 1 << 5;
const FAILED: u32 = 1 << 9;
/// Handlers wait for it, in its record.
const HANDLERS: u32 = 1 << 10;
/// Its body is a future.
const COROUTINE: u32 = 1 << 11;
/// It needs permits to run, or is a child of another scheduler's scope: a dispatcher has sent it.
pub(crate) const LIMITED: u32 = 1 << 13;
pub(crate) const VISITOR: u32 = 1 << 14;
/// Its end takes more than the usual.
const WATCHED: u32 = JOBS | HANDLERS | WAKERS;
/// Who may keep the block besides the runtime.
const OTHERS: u32 = HANDLE | JOBS | WAKERS;
/// Who may keep the block.
const REFERENCES: u32 = OTHERS | RUNTIME;
/// Its body runs even if it was cancelled before.
pub(crate) const ATOMIC: u32 = 1 << 6;
/// Its name is that of the task that started it, or of one above that.
pub(crate) const INHERITED: u32 = 1 << 8;
/// It has no body: somebody else provides its outcome.
pub(crate) const PROMISE: u32 = 1 << 7;

/// What every task has. `repr(C)`: the waiter comes first, so that a ready waiter on a worker is its task.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) waiter: Waiter,
    vtable: &'static Vtable,
    /// Whose child it is: null for a goroutine started from outside the runtime.
    owner: Cell<*const Children>,
    siblings: Siblings,
    pub(crate) join: SpinLock<WaitQueue<()>>,
    about: About,
}

// Two cache lines; a word more is felt where a million are made.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Header>() <= 128);

/// A name behind a thin pointer: most tasks have none.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) Box<str>);

/// What is known of a task's closure and value once their types are forgotten.
struct Vtable {
    /// Consumes the closure, running it or, if `skip`, only dropping it, and puts the outcome in its place; gives a coroutine a turn.
    run: unsafe fn(NonNull<Header>, skip: bool) -> Ran,
    /// Moves the `Outcome<T>` to the given place.
    take: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the outcome where it lies.
    drop_outcome: unsafe fn(NonNull<Header>),
    layout: std::alloc::Layout,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// Not to its end: a coroutine that waits.
    Pending,
    Well,
    /// It did not run, or ended by its cancellation.
    Cancelled,
    /// It failed, which is its own affair.
    Failed,
    /// It failed its scope: the others are to be cancelled.
    FailedScope,
}

impl Ran {
    /// Those of a task that has ended like this.
    #[inline]
    fn flags(self) -> u32 {
        match self {
            Ran::Pending => unreachable!("what has not ended is not completed"),
            Ran::Well => DONE,
            Ran::Cancelled => DONE | LOST,
            Ran::Failed | Ran::FailedScope => DONE | LOST | FAILED,
        }
    }
}

/// What came of a task.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Value(T),
    Panicked(Caught),
    /// Cancelled before it ran, or ended by its cancellation.
    Cancelled(Cause),
    /// Its error went to its scope.
    Failed,
}

// SAFETY: see K1 to K3; everything else is atomic or under the `join` lock.
unsafe impl Sync for Header {}

impl Header {
    /// The task a waiter on a worker belongs to.
    #[inline]
    pub(crate) fn of_waiter(waiter: NonNull<Waiter>) -> NonNull<Header> {
        waiter.cast()
    }

    #[inline]
    pub(crate) fn owner(&self) -> Option<&Children> {
        // SAFETY: an owner outlives its children: it waits for them.
        unsafe { self.owner.get().as_ref() }
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.about.site()
    }

    /// The name it was given, or is called after.
    pub(crate) fn name(&self) -> Option<&str> {
        self.about.name()
    }

    /// The name it was given.
    pub(crate) fn own_name(&self) -> Option<&str> {
        if self.join.flags() & INHERITED == 0 { self.name() } else { None }
    }

    /// Whether it is cancelled, itself or with its owner. While the owner is there.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.waiter.is_task_cancelled() || self.owner().is_some_and(Children::is_cancelled)
    }

    /// Whether an error it returns is its cancellation, which it has met. While the owner is there.
    pub(crate) fn has_ended_by_cancellation(&self) -> bool {
        self.waiter.has_met_cancellation() && self.is_cancelled()
    }

    /// Whether a dispatcher has sent it.
    #[inline]
    pub(crate) fn is_dispatched(&self) -> bool {
        self.join.flags() & (LIMITED | VISITOR) != 0
    }

    /// Whether it is the child of a scope of another runtime, or of none.
    pub(crate) fn is_visitor(&self) -> bool {
        self.join.flags() & VISITOR != 0
    }

    /// The permits it needs to run. For whoever is about to run it.
    pub(crate) fn permits(&self) -> Option<Arc<Permits>> {
        if self.join.flags() & LIMITED == 0 {
            return None;
        }
        self.waiter.context().get().peek(&PERMITS, |permits| permits.cloned().flatten())
    }

    /// Whether its body must not be run any more.
    #[inline]
    pub(crate) fn is_to_be_skipped(&self) -> bool {
        self.is_cancelled() && self.join.flags() & ATOMIC == 0
    }

    /// Whether it is a promise, which is never started.
    pub(crate) fn is_promise(&self) -> bool {
        self.join.flags() & PROMISE != 0
    }

    /// Whether the outcome is in place, asked by the holder of the `join` lock.
    pub(crate) fn is_done_locked(join: &mut SpinGuard<'_, WaitQueue<()>>) -> bool {
        *join.flags() & DONE != 0
    }

    /// Whether the outcome is in place.
    pub(crate) fn is_done(&self) -> bool {
        self.join.flags() & DONE != 0
    }
}

/// Asks for the cache lines of a task that will soon run: its header and what follows it.
#[inline]
pub(crate) fn prefetch(task: NonNull<Header>) {
    crate::shim::prefetch_lines(task.addr().get(), 3);
}

/// The same of a coroutine, whose future is more than a closure, as a rule.
#[inline]
pub(crate) fn prefetch_coroutine(task: NonNull<Header>) {
    crate::shim::prefetch_lines(task.addr().get(), 5);
}

/// Runs the task, from its first instruction to the outcome in its place; or gives a coroutine a turn, at the end of which it may be pending.
///
/// # Safety
/// Called once, or for each turn of a coroutine, on the fiber the task was settled on, as the current waiter of the thread.
#[inline]
pub(crate) unsafe fn run(task: NonNull<Header>, skip: bool) -> Ran {
    // SAFETY: not run yet, so the runtime's reference keeps it.
    let vtable = unsafe { task.as_ref() }.vtable;
    // SAFETY: by contract; the closure is in place (K1).
    unsafe { (vtable.run)(task, skip) }
}

/// The outcome is in place: hands it to the handle and wakes who waits for it, or drops it if there is no handle. Still part of the task's run (K2).
///
/// With `unlink`, which takes the task out of its owner's list, it also lets go of the runtime's reference in the same step. Until the last of the task's own code
/// has run it stays in that list, so that a cancellation finds it. Returns whether the block is the caller's to free (only with `unlink`).
///
/// # Safety
/// Called once, after `run`.
#[inline(always)] // Called from two places, and hot in one of them.
pub(crate) unsafe fn complete(task: NonNull<Header>, ran: Ran, unlink: Option<impl FnOnce()>) -> bool {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    let flags = header.join.flags();
    if flags & WATCHED != 0 || flags & HANDLE != 0 && ran != Ran::Well {
        // SAFETY: by contract.
        return unsafe { record::complete(task, ran, unlink) };
    }
    let mut dropped = false;
    if flags & HANDLE == 0 {
        dropped = true;
        // SAFETY: no handle, so the outcome is still ours (K1, K2).
        unsafe { (header.vtable.drop_outcome)(task) };
        if let Some(unlink) = unlink {
            // SAFETY: as above.
            return unsafe { record::let_go(task, ran, unlink) };
        }
        // Away from its owner's home another thread may just now be making a job of it: there only the lock can tell.
    }
    let mut join = header.join.lock();
    let held = *join.flags();
    if held & WATCHED != 0 || !dropped && held & HANDLE == 0 {
        // Somebody came or went just now.
        drop(join);
        // SAFETY: as above.
        return unsafe { record::complete_late(task, ran, unlink, dropped) };
    }
    *join.flags() |= ran.flags();
    if let Some(unlink) = unlink {
        unlink();
        *join.flags() &= !RUNTIME;
    }
    let woken = join.claim_all(0, |()| {});
    // With `unlink`, this is our last touch of the block.
    drop(join);
    drop(woken);
    false
}

/// For `complete` without an `unlink`.
pub(crate) const LINKED: Option<fn()> = None;

/// Lets go of the runtime's reference of a completed task. Returns whether the block is the caller's to free.
///
/// # Safety
/// Called once, if `complete` was called without `unlink`.
pub(crate) unsafe fn release(task: NonNull<Header>) -> bool {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    // The flags were read after the last touch of the handle and of the jobs, if those are gone: nobody else knows the block.
    if header.join.flags() & OTHERS == 0 {
        return true;
    }
    let mut join = header.join.lock();
    *join.flags() &= !RUNTIME;
    *join.flags() & OTHERS == 0
}

/// The handle's side: moves the outcome out, once it is `DONE`.
///
/// # Safety
/// `T` is the task's; `DONE`; called once, by the handle, which afterwards lets go with `taken`.
pub(crate) unsafe fn take<T>(task: NonNull<Header>) -> Outcome<T> {
    let mut outcome = std::mem::MaybeUninit::<Outcome<T>>::uninit();
    // SAFETY: the handle's reference keeps it.
    let vtable = unsafe { task.as_ref() }.vtable;
    // SAFETY: by contract the outcome is in place and ours (K1), of this type.
    unsafe { (vtable.take)(task, outcome.as_mut_ptr().cast()) };
    // SAFETY: just moved there.
    unsafe { outcome.assume_init() }
}

/// The handle lets go. `taken`: it has taken the outcome.
///
/// # Safety
/// Called once, by the handle.
#[inline(always)]
pub(crate) unsafe fn drop_handle(task: NonNull<Header>, mut taken: bool) {
    // SAFETY: the handle's reference keeps it.
    let header = unsafe { task.as_ref() };
    loop {
        let flags = header.join.flags();
        if flags & DONE != 0 && !taken {
            taken = true;
            // SAFETY: done and not taken: the outcome is the handle's (K1). Outside the lock, as it is user code.
            unsafe { (header.vtable.drop_outcome)(task) };
        }
        if flags & (DONE | RUNTIME | JOBS | WAKERS) == DONE {
            // SAFETY: the runtime has let go, and so do we.
            unsafe { free(task) };
            return;
        }
        let mut join = header.join.lock();
        if *join.flags() & DONE != 0 && !taken {
            continue;
        }
        *join.flags() &= !HANDLE;
        let last = *join.flags() & (REFERENCES & !HANDLE) == 0;
        // Our last touch, if the runtime or a job is still there.
        drop(join);
        if last {
            // SAFETY: as above.
            unsafe { free(task) };
        }
        return;
    }
}

/// Gives up a task that was never queued: its closure is dropped here, and its handle finds it cancelled.
///
/// # Safety
/// The task is new, and known to nobody but the caller and its handle.
pub(crate) unsafe fn discard(task: NonNull<Header>) {
    // SAFETY: never queued, so this is its one run.
    unsafe { run(task, true) };
    // SAFETY: the runtime's reference keeps it.
    unsafe { task.as_ref() }.end_turns();
    // SAFETY: just run.
    unsafe { complete(task, Ran::Cancelled, LINKED) };
    // SAFETY: just completed.
    if unsafe { release(task) } {
        // SAFETY: nobody refers to it any more.
        unsafe { free(task) };
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("name", &self.name())
            .field("site", &format_args!("{}", self.site()))
            .field("done", &self.is_done())
            .field("cancelled", &self.waiter.is_task_cancelled())
            .finish()
    }
}
