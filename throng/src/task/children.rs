//! The children of one owner: a scope's, or those that hang off a worker's root.
//!
//! The list belongs to the owner's home, so linking, unlinking and counting need no atomics. A child that ends elsewhere sends its header home
//! as the message; a child that is spawned elsewhere (by a sibling that was stolen) is announced by a message before it can run. An inbox keeps the order of pushes, so an
//! announcement is read before the end of the child, and before the end of the sibling that made it: `pending` never reaches zero too early.
//!
//! Invariants:
//! - C1: everything here but `cancelled` is touched by the home's thread only.
//! - C2: the owner does not go away while `pending` is not zero, or while a task or thread that could spawn into it still runs.
//! - C3: a child that is linked after `cancel` is cancelled as it is linked, and not run if it had not started.

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Header, LINKED, List, Ran, complete, free, release};
use crate::cancelled::Cancelled;
use crate::home::local::{self, Local};
use crate::home::{Home, Message};
use crate::waiter::{Cause, Heeds, InterruptPoint, Ticket, arm};

pub(crate) struct Children {
    home: &'static Home,
    /// Whose runtime the owner's task belongs to, and so the children do; null: to the default one. (Its address: what it is only higher layers know.)
    runtime: *const (),
    cancelled: AtomicBool,
    books: Books,
}

/// What the home keeps of the children (C1). On cache lines of its own: children that run elsewhere read what lies above as they start and end, while the home writes this with every spawn.
#[repr(align(64))]
struct Books {
    list: List,
    pending: Cell<usize>,
    /// Who waits for `pending` to become zero.
    waiting: Cell<Option<Ticket>>,
    /// Where the owner's own code is to be interrupted when a child fails.
    body: Cell<Option<InterruptPoint>>,
    interrupted: Cell<bool>,
}

// SAFETY: C1.
unsafe impl Sync for Children {}
// SAFETY: C1; it is moved before it has children only.
unsafe impl Send for Children {}

/// The cancellation of a scope, on its way to its home.
#[repr(C)]
struct Order {
    message: Message,
    children: *const Children,
}

/// A child spawned away from its owner's home, on its way there.
#[repr(C)]
struct Announcement {
    message: Message,
    child: NonNull<Header>,
}

impl Children {
    pub(crate) fn new(home: &'static Home, runtime: *const ()) -> Children {
        Children {
            home,
            runtime,
            cancelled: AtomicBool::new(false),
            books: Books {
                list: List::new(),
                pending: Cell::new(0),
                waiting: Cell::new(None),
                body: Cell::new(None),
                interrupted: Cell::new(false),
            },
        }
    }

    pub(crate) fn runtime(&self) -> *const () {
        self.runtime
    }

    /// From now on a failing child interrupts the code at `body`.
    pub(crate) fn interrupts(&self, body: InterruptPoint) {
        self.books.body.set(Some(body));
    }

    /// Whether the children are to end. From anywhere.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        // Relaxed: a hint for those not yet started; the running ones are told by their waiter words.
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Marks the children as to be ended. From anywhere; the home must follow with `cancel`.
    pub(crate) fn mark_cancelled(&self) {
        // Relaxed: see `is_cancelled`.
        self.cancelled.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.books.pending.get() == 0
    }

    /// Makes `child` one of ours, before it can run. From anywhere.
    ///
    /// # Safety
    /// The child is new and nobody else's, and C2 holds.
    #[inline]
    pub(crate) unsafe fn adopt(&self, child: NonNull<Header>, local: &Local) {
        // SAFETY: new, so ours.
        unsafe { child.as_ref() }.owner.set(self);
        if ptr::eq(local.home(), self.home) {
            self.link(child);
        } else {
            self.announce(child);
        }
    }

    #[inline]
    fn link(&self, child: NonNull<Header>) {
        // SAFETY: new, or announced: linked before its end can be read.
        unsafe { self.books.list.link(child) };
        self.books.pending.set(self.books.pending.get() + 1);
        if self.is_cancelled() {
            // SAFETY: as above.
            unsafe { child.as_ref() }.waiter.cancel();
        }
    }

    #[cold]
    fn announce(&self, child: NonNull<Header>) {
        let announcement = NonNull::from(Box::leak(Box::new(Announcement { message: Message::new(), child })));
        // SAFETY: a new message, owned until it is delivered; `deliver_announcement` frees it.
        unsafe { self.home.push(announcement.cast(), deliver_announcement) };
    }

    /// A child has ended and been unlinked.
    #[inline]
    fn ended(&self, ran: Ran, local: &Local) {
        if ran == Ran::Failed {
            self.cancel(local);
        }
        let pending = self.books.pending.get() - 1;
        self.books.pending.set(pending);
        if pending == 0
            && let Some(ticket) = self.books.waiting.take()
        {
            // SAFETY: who waits for us takes its ticket back before it goes on (W2).
            if unsafe { ticket.fire(Cause(0)) } {
                // SAFETY: just fired.
                unsafe { ticket.wake() };
            }
        }
    }

    /// On the home: cancels every child, and interrupts the owner's own code.
    pub(crate) fn cancel(&self, local: &Local) {
        self.mark_cancelled();
        // Cancelling runs nothing here, so the list stays as it is.
        self.books.list.for_each(|child| child.waiter.cancel());
        if let Some(body) = self.books.body.get()
            && !self.books.interrupted.replace(true)
        {
            // SAFETY: on the home; the body's frame is the one that waits for us.
            unsafe { body.interrupt(local) };
        }
    }

    /// `cancel`, from wherever.
    pub(crate) fn cancel_from_anywhere(&self) {
        local::with(|local| {
            if ptr::eq(local.home(), self.home) {
                return self.cancel(local);
            }
            self.mark_cancelled();
            let order = NonNull::from(Box::leak(Box::new(Order { message: Message::new(), children: self })));
            // SAFETY: a new message, owned until it is delivered; `deliver_order` frees it. It is read before the end of the child that sends it, as an announcement is.
            unsafe { self.home.push(order.cast(), deliver_order) };
        });
    }

    /// The owner's task: waits for all children, cancelling them if it is cancelled itself while it waits. `Err`: that happened.
    pub(crate) fn wait(&self, local: &Local) -> Result<(), Cancelled> {
        // What was announced before we came here counts.
        local.read_mail();
        let mut result = Ok(());
        while !self.is_empty() {
            let heeds = if result.is_ok() && !self.books.interrupted.get() { Heeds::Everything } else { Heeds::Nothing };
            let ended = arm(local, heeds).and_then(|wait| {
                self.books.waiting.set(Some(wait.ticket()));
                wait.park(None)
            });
            self.books.waiting.set(None);
            if let Err(cancelled) = ended
                && heeds == Heeds::Everything
            {
                // By our own failing child, or from outside?
                if !self.books.interrupted.get() {
                    result = Err(cancelled);
                }
                self.cancel(local);
            }
        }
        // The body is over: what interrupted it must not outlive it.
        if let Some(body) = self.books.body.take()
            && self.books.interrupted.get()
        {
            // SAFETY: on the home, in the body's own frame.
            unsafe { body.resume() };
        }
        result
    }
}

/// A child has run: completes it and tells its owner, at once if this is the owner's home, else by sending it there.
///
/// # Safety
/// Called once, after its run, on the thread it ran on, still as the current waiter; `end_of_run` is called when the last of its own code has run.
#[inline]
pub(crate) unsafe fn finish(task: NonNull<Header>, ran: Ran, local: &Local, outgoing: &Outgoing, end_of_run: impl FnOnce()) {
    // SAFETY: the runtime's reference keeps it.
    let header = unsafe { task.as_ref() };
    let Some(owner) = header.owner() else { unreachable!("an outside task is finished by its runtime") };
    if ptr::eq(owner.home, local.home()) {
        // SAFETY: in its owner's list since `adopt`, and this is its home.
        let unlink = || unsafe { owner.books.list.unlink(task) };
        // SAFETY: run.
        let last = unsafe { complete(task, Some(unlink)) };
        end_of_run();
        if last {
            // SAFETY: nobody refers to it any more.
            unsafe { free(task) };
        }
        owner.ended(ran, local);
    } else {
        let home = owner.home;
        if ran == Ran::Failed {
            owner.mark_cancelled();
        }
        // SAFETY: run.
        unsafe { complete(task, LINKED) };
        end_of_run();
        if ran == Ran::Failed {
            // Its siblings are to be cancelled now.
            // SAFETY: it has run, so its message is in no list; the runtime's reference keeps it until the delivery.
            unsafe { home.push(NonNull::from(header.waiter.message()), deliver_failed) };
        } else {
            // SAFETY: C2: it is still pending there.
            unsafe { outgoing.add(owner, task) };
        }
    }
}

/// Ended children on their way to their owner's home, gathered while this worker goes on with others of the same owner.
///
/// A worker that has stolen a batch of small tasks would otherwise send a message for each, and its owner would find them as a chain through cold memory. Waiting harms
/// nobody: the owner cannot end before the sibling that runs meanwhile, and whoever joins a child is told by the child itself. The worker flushes
/// before it does anything else than start a sibling (`Worker::run_loop`).
pub(crate) struct Outgoing {
    owner: Cell<*const Children>,
    parcel: Cell<Option<Box<Parcel>>>,
}

const PARCEL: usize = 32;

#[repr(C)]
struct Parcel {
    message: Message,
    children: Vec<NonNull<Header>>,
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
        let mut parcel =
            self.parcel.take().unwrap_or_else(|| Box::new(Parcel { message: Message::new(), children: Vec::with_capacity(PARCEL) }));
        parcel.children.push(task);
        let full = parcel.children.len() == PARCEL;
        self.parcel.set(Some(parcel));
        if full {
            self.flush();
        }
    }

    /// Whether what has been gathered may wait until `task` has run, too.
    #[inline]
    pub(crate) fn may_wait_for(&self, task: NonNull<Header>) -> bool {
        // SAFETY: not started, so alive.
        ptr::eq(unsafe { task.as_ref() }.owner.get(), self.owner.get())
    }

    /// Sends what has been gathered.
    #[inline]
    pub(crate) fn flush(&self) {
        let owner = self.owner.replace(ptr::null());
        if let Some(parcel) = self.parcel.take() {
            // SAFETY: C2: it waits for the children in the parcel.
            let home = unsafe { &*owner }.home;
            // SAFETY: a new message, owned until it is delivered; `deliver_parcel` frees it.
            unsafe { home.push(NonNull::from(Box::leak(parcel)).cast(), deliver_parcel) };
        }
    }
}

unsafe fn deliver_parcel(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by `Outgoing::add` for this delivery.
    let parcel = unsafe { Box::from_raw(message.cast::<Parcel>().as_ptr()) };
    for (i, &child) in parcel.children.iter().enumerate() {
        if let Some(&later) = parcel.children.get(i + 4) {
            super::prefetch(later);
        }
        // SAFETY: completed by `finish`, and this is the home of its owner.
        unsafe { end_at_home(child, Ran::Well, local) };
    }
}

unsafe fn deliver_failed(message: NonNull<Message>, local: &Local) {
    // SAFETY: pushed by `finish` for this delivery.
    unsafe { end_at_home(message.cast(), Ran::Failed, local) };
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
    unsafe { owner.books.list.unlink(task) };
    // SAFETY: completed by `finish`, released here once.
    if unsafe { release(task) } {
        // SAFETY: nobody refers to it any more.
        unsafe { free(task) };
    }
    owner.ended(ran, local);
}

unsafe fn deliver_order(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by `cancel_from_anywhere` for this delivery.
    let order = unsafe { Box::from_raw(message.cast::<Order>().as_ptr()) };
    // SAFETY: C2: who sent it could still spawn.
    unsafe { &*order.children }.cancel(local);
}

unsafe fn deliver_announcement(message: NonNull<Message>, _: &Local) {
    // SAFETY: made by `announce` for this delivery.
    let announcement = unsafe { Box::from_raw(message.cast::<Announcement>().as_ptr()) };
    // SAFETY: its end is behind us in the inbox.
    let header = unsafe { announcement.child.as_ref() };
    // SAFETY: C2.
    let owner = unsafe { &*header.owner.get() };
    owner.link(announcement.child);
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
