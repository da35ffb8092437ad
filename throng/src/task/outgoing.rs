//! How a child's end reaches its owner's home.
//!
//! At home it is a few stores. From elsewhere the child's own message takes it there, or a parcel, which gathers children of the same owner while the worker goes on with others of them.

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

use super::children::Children;
use super::{Header, LINKED, Ran, complete, free, release};
use crate::home::local::Local;
use crate::home::{Home, Message};
use crate::memory::Pooled;

/// A child has run: completes it and tells its owner, at once if this is the owner's home, else by sending it there.
///
/// # Safety
/// Called once, after its run, on the thread it ran on, still as the current waiter; `end_of_run` is called when the last of its own code has run.
#[inline(always)]
pub(crate) unsafe fn finish(task: NonNull<Header>, ran: Ran, local: &Local, outgoing: &Outgoing, end_of_run: impl FnOnce()) {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    let Some(owner) = header.owner() else { unreachable!("an outside task is finished by its runtime") };
    if owner.is_home(local) {
        let unlink = || {
            local.conceal_current();
            // SAFETY: in its owner's list since `adopt`, and this is its home.
            unsafe { owner.unlink(task) };
        };
        // SAFETY: run.
        let last = unsafe { complete(task, ran, Some(unlink)) };
        end_of_run();
        if last {
            // SAFETY: nobody refers to it any more.
            unsafe { free(task) };
        }
        owner.ended(ran, local);
    } else {
        if ran == Ran::FailedScope {
            owner.mark_cancelled(None);
        }
        // SAFETY: run.
        unsafe { complete(task, ran, LINKED) };
        end_of_run();
        if ran == Ran::FailedScope {
            // Its siblings are to be cancelled now.
            // SAFETY: it has run, so its message is in no list; the runtime's reference keeps it until the delivery.
            unsafe { owner.home().push(NonNull::from(header.waiter.message()), deliver_failed) };
        } else {
            // SAFETY: C2: it is still pending there.
            unsafe { outgoing.add(owner, task) };
        }
    }
}

/// `finish`, for a child that ran nowhere: a promise that has been given its outcome, by whichever thread. Gives the home of its owner notice of it.
///
/// # Safety
/// Called once, after the outcome has been put in its place; the owner waits for the task.
pub(crate) unsafe fn finish_away(task: NonNull<Header>, ran: Ran) {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    let Some(owner) = header.owner() else { unreachable!("an outside task is finished by its runtime") };
    if ran == Ran::FailedScope {
        owner.mark_cancelled(None);
    }
    let deliver = if ran == Ran::FailedScope { deliver_failed } else { deliver_ended };
    // SAFETY: by contract.
    unsafe { complete(task, ran, LINKED) };
    // SAFETY: it never waits, so its message is in no list; the runtime's reference keeps it until the delivery.
    unsafe { owner.home().push(NonNull::from(header.waiter.message()), deliver) };
}

/// Ended children on their way to their owner's home, gathered while this worker goes on with others of the same owner.
///
/// A worker that has stolen a batch of small tasks would otherwise send a message for each, and its owner would find them as a chain through cold memory. Waiting harms
/// nobody: the owner cannot end before the sibling that runs meanwhile, and whoever joins a child is told by the child itself. The worker flushes
/// before it does anything else than run a sibling (`Worker::run_loop`).
///
/// A parcel that is full is sent; but while the owner's home sleeps, which would have to be woken only to see that others are to come, up to [`PARCELS`] of them are kept.
pub(crate) struct Outgoing {
    owner: Cell<*const Children>,
    parcel: Cell<Option<Pooled<Parcel>>>,
}

const PARCEL: usize = 32;

/// Bounds what is kept of tasks that have ended: they are the worker's and nobody counts them.
const PARCELS: usize = 64;

#[repr(C)]
struct Parcel {
    message: Message,
    children: [NonNull<Header>; PARCEL],
    /// So many of the places are filled.
    len: usize,
    /// A full one that was kept, and goes with this one; and how many go in all.
    before: Option<Pooled<Parcel>>,
    parcels: usize,
}

impl Parcel {
    fn new(first: NonNull<Header>, before: Option<Pooled<Parcel>>) -> Pooled<Parcel> {
        let parcels = before.as_ref().map_or(0, |before| before.parcels) + 1;
        Pooled::new(Parcel { message: Message::new(), children: [first; PARCEL], len: 1, before, parcels })
    }
}

impl Outgoing {
    pub(crate) fn new() -> Outgoing {
        Outgoing { owner: Cell::new(ptr::null()), parcel: Cell::new(None) }
    }

    /// # Safety
    /// `task` is a completed child of `owner`, which counts it as pending.
    unsafe fn add(&self, owner: &Children, task: NonNull<Header>) {
        if !ptr::eq(self.owner.get(), owner) {
            self.flush();
            self.owner.set(owner);
        }
        let parcel = match self.parcel.take() {
            None => Parcel::new(task, None),
            Some(mut parcel) if parcel.len < PARCEL => {
                let place = parcel.len;
                parcel.children[place] = task;
                parcel.len = place + 1;
                parcel
            }
            Some(full) if full.parcels < PARCELS && owner.home().is_asleep() => Parcel::new(task, Some(full)),
            Some(full) => {
                // SAFETY: `owner` waits for the children in the parcel, and for `task`.
                unsafe { send(full, owner.home()) };
                Parcel::new(task, None)
            }
        };
        self.parcel.set(Some(parcel));
    }

    /// Whether what has been gathered may wait until `task` has run, too.
    #[inline]
    pub(crate) fn may_wait_for(&self, task: NonNull<Header>) -> bool {
        // SAFETY: not ended, so alive.
        ptr::eq(unsafe { task.as_ref() }.owner.get(), self.owner.get())
    }

    /// Sends what has been gathered.
    #[inline]
    pub(crate) fn flush(&self) {
        if !self.owner.get().is_null() {
            self.send();
        }
    }

    fn send(&self) {
        let owner = self.owner.replace(ptr::null());
        if let Some(parcel) = self.parcel.take() {
            // SAFETY: C2: it waits for the children in the parcel. (No reference to it is left when they are on their way.)
            let home = unsafe { &*owner }.home();
            // SAFETY: as above.
            unsafe { send(parcel, home) };
        }
    }
}

/// # Safety
/// This is the home of the owner that waits for the children in the parcel.
unsafe fn send(parcel: Pooled<Parcel>, home: &'static Home) {
    // SAFETY: a new message, owned until it is delivered; `deliver_parcel` frees it.
    unsafe { home.push(parcel.into_raw().cast(), deliver_parcel) };
}

unsafe fn deliver_parcel(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by `Outgoing::add` for this delivery.
    let mut next = Some(unsafe { Pooled::from_raw(message.cast::<Parcel>()) });
    while let Some(mut parcel) = next {
        next = parcel.before.take();
        let children = &parcel.children[..parcel.len];
        for (i, &child) in children.iter().enumerate() {
            if let Some(&later) = children.get(i + 4) {
                super::prefetch(later);
            }
            // SAFETY: completed by `finish`, and this is the home of its owner.
            unsafe { end_at_home(child, Ran::Well, local) };
        }
    }
}

unsafe fn deliver_ended(message: NonNull<Message>, local: &Local) {
    // SAFETY: pushed by `finish_away` for this delivery.
    unsafe { end_at_home(message.cast(), Ran::Well, local) };
}

unsafe fn deliver_failed(message: NonNull<Message>, local: &Local) {
    // SAFETY: pushed by `finish` for this delivery.
    unsafe { end_at_home(message.cast(), Ran::FailedScope, local) };
}

/// # Safety
/// The task is a completed child of an owner whose home this is.
unsafe fn end_at_home(task: NonNull<Header>, ran: Ran, local: &Local) {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    let owner = header.owner.get();
    // SAFETY: C2: its owner waits for it.
    let owner = unsafe { &*owner };
    // SAFETY: its owner's list since `adopt`.
    unsafe { owner.unlink(task) };
    // SAFETY: completed by `finish`, released here once.
    if unsafe { release(task) } {
        // SAFETY: nobody refers to it any more.
        unsafe { free(task) };
    }
    owner.ended(ran, local);
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("owner", &self.owner).finish_non_exhaustive()
    }
}
