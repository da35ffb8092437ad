//! The children of one owner: a scope's, or those that hang off a worker's root.
//!
//! The list belongs to the owner's home, so linking, unlinking and counting need no atomics. A child that ends elsewhere sends its header home
//! as the message (`outgoing.rs`); a child that is spawned elsewhere (by a sibling that was stolen) is announced by a message before it can run. An inbox keeps the order of pushes, so an
//! announcement is read before the end of the child, and before the end of the sibling that made it: `pending` never reaches zero too early.
//!
//! Invariants:
//! - C1: everything here but `cancelled` and `shared` is touched by the home's thread only.
//! - C2: the owner does not go away while `pending` is not zero, or while a task or thread that could spawn into it still runs.
//! - C3: a child that is linked after the others were told is cancelled as it is linked, and not run if it had not started.

mod cancelling;

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scope_record::ScopeRecord;
use super::{Header, List, Ran};
use crate::cancelled::Cancelled;
use crate::cause::{Cause, Completion, Failed};
use crate::home::local::Local;
use crate::home::{Home, Message};
use crate::lock::SpinLock;
use crate::waiter::{Heeds, InterruptPoint, Link, Ticket, Waiter, arm};
use cancelling::cancel_from_outside;
pub(crate) use cancelling::cause_here;

/// `repr(C)`: the link comes first, so that a link is its owner.
#[repr(C)]
pub(crate) struct Children {
    link: Link,
    home: &'static Home,
    /// Whose runtime the owner's task belongs to, and so the children do; null: to the default one. (Its address: what it is only higher layers know.)
    runtime: *const (),
    /// The task that opened the scope; none: a plain thread did, or it is a root.
    opener: Option<NonNull<Header>>,
    /// Where; none: a root.
    site: Option<&'static Location<'static>>,
    cancelled: AtomicBool,
    shared: SpinLock<Shared>,
    books: Books,
}

/// What others may ask for.
#[derive(Default)]
struct Shared {
    /// Why they were cancelled. Set before `cancelled` is.
    cause: Option<Cause>,
    record: Option<Arc<ScopeRecord>>,
}

/// The flag of `shared` that says that there is a record.
const RECORD: u32 = 1 << 1;

/// What the home keeps of the children (C1). On cache lines of its own: children that run elsewhere read what lies above as they start and end, while the home writes this with every spawn.
#[repr(align(64))]
struct Books {
    list: List,
    pending: Cell<usize>,
    /// Who waits for `pending` to become zero.
    waiting: Cell<Option<Ticket>>,
    /// Whose own code is to be interrupted when a child fails: while the scope is open.
    body: Cell<Option<NonNull<Waiter>>>,
    interrupted: Cell<bool>,
    /// The children have been told to end.
    told: Cell<bool>,
    /// They were told from outside, and `cut`: there were some.
    outside: Cell<bool>,
    cut: Cell<bool>,
    /// The owner's own code is over. Read by others, as a hint: Relaxed.
    waits: AtomicBool,
}

// SAFETY: C1.
unsafe impl Sync for Children {}
// SAFETY: C1; it is moved before it has children only.
unsafe impl Send for Children {}

/// A child spawned away from its owner's home, on its way there.
#[repr(C)]
struct Announcement {
    message: Message,
    child: NonNull<Header>,
}

/// Who may know a child that is being linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    ToUsOnly,
    /// It may run already.
    Elsewhere,
}

impl Children {
    /// A root's.
    pub(crate) fn of_root(home: &'static Home, runtime: *const ()) -> Children {
        Children::new(home, runtime, None, None)
    }

    /// A scope's, to be opened by whoever runs.
    pub(crate) fn of_scope(local: &Local, runtime: *const (), site: &'static Location<'static>) -> Children {
        let opener = (!local.is_thread()).then(|| Header::of_waiter(NonNull::from(local.current())));
        Children::new(local.home(), runtime, opener, Some(site))
    }

    fn new(home: &'static Home, runtime: *const (), opener: Option<NonNull<Header>>, site: Option<&'static Location<'static>>) -> Children {
        Children {
            link: Link::new(cancel_from_outside),
            home,
            runtime,
            opener,
            site,
            cancelled: AtomicBool::new(false),
            shared: SpinLock::new(Shared::default()),
            books: Books {
                list: List::new(),
                pending: Cell::new(0),
                waiting: Cell::new(None),
                body: Cell::new(None),
                interrupted: Cell::new(false),
                told: Cell::new(false),
                outside: Cell::new(false),
                cut: Cell::new(false),
                waits: AtomicBool::new(false),
            },
        }
    }

    pub(crate) fn runtime(&self) -> *const () {
        self.runtime
    }

    pub(crate) fn home(&self) -> &'static Home {
        self.home
    }

    #[inline]
    pub(super) fn is_home(&self, local: &Local) -> bool {
        ptr::eq(local.home(), self.home)
    }

    pub(crate) fn site(&self) -> Option<&'static Location<'static>> {
        self.site
    }

    /// The task that opened the scope.
    pub(crate) fn opener(&self) -> Option<&Header> {
        // SAFETY: the task cannot end before its scope has.
        self.opener.map(|opener| unsafe { opener.as_ref() })
    }

    /// The scope around this one in the same task.
    pub(crate) fn outer(&self) -> Option<&Children> {
        // SAFETY: links are the first things of `Children`, and what is outside of a scope outlives it.
        unsafe { self.link.outer().cast::<Children>().as_ref() }
    }

    /// The innermost scope of whoever runs, or of a task of this thread.
    ///
    /// # Safety
    /// On the home's thread; the reference is not kept over anything that lets the task go on.
    pub(crate) unsafe fn innermost<'a>(waiter: &Waiter) -> Option<&'a Children> {
        // SAFETY: as in `outer`.
        unsafe { waiter.scopes().cast::<Children>().as_ref() }
    }

    /// The scope begins: its task knows of it, and a failing child interrupts the code inside. One that is opened in a cancelled task is cancelled from the start.
    ///
    /// # Safety
    /// The scope stays where it is until `close`, which is called by the same code.
    pub(crate) unsafe fn open(&self, local: &Local) {
        let waiter = local.current();
        let cancelled = waiter.is_cancelled();
        // SAFETY: by contract.
        unsafe { waiter.enter(&self.link) };
        self.books.body.set(Some(NonNull::from(waiter)));
        if cancelled {
            let cause = cause_here(local);
            self.cancel_from_outside(local, cause.as_ref());
        }
    }

    /// The scope has ended, its own code and its children, in this way. `failed` tells the failure it ended by, if it was cancelled for another cause before.
    pub(crate) fn close(&self, local: &Local, ran: Ran, failed: impl FnOnce() -> Cause) {
        local.current().leave(&self.link);
        if self.shared.flags() & RECORD == 0 {
            return;
        }
        let record = self.shared.lock().record.take();
        let Some(record) = record else { return };
        let cause = || self.cause().unwrap_or_default();
        record.close(match ran {
            Ran::Well | Ran::Pending => Completion::Completed,
            Ran::Cancelled => Completion::Cancelled(cause()),
            Ran::Failed | Ran::FailedScope => Completion::Failed(match cause() {
                cause @ Cause::Failed(_) => cause,
                _ => failed(),
            }),
        });
    }

    /// Where the scope's own code is interrupted. On the home.
    fn body(&self) -> Option<InterruptPoint> {
        self.books.body.get().map(|waiter| self.link.interrupt_point(waiter))
    }

    /// How often the scope's own code has met a cancellation, so far.
    pub(crate) fn deliveries(&self) -> u32 {
        // SAFETY: on the home, and the scope is open.
        self.body().map_or(0, |body| unsafe { body.deliveries() })
    }

    /// That the scope's own code failed: as a cause for others.
    pub(crate) fn failed(&self, panic: Option<&str>) -> Cause {
        let name = self.opener().and_then(Header::name).map(Box::from);
        Cause::Failed(Arc::new(Failed { name, site: self.site.unwrap_or(Location::caller()), panic: panic.map(Box::from) }))
    }

    /// The record by which others may know the scope, made if there is none.
    pub(crate) fn record(&self) -> Arc<ScopeRecord> {
        // Allocated outside of the lock.
        let made = Arc::new(ScopeRecord::new(self));
        let mut shared = self.shared.lock();
        *shared.flags() |= RECORD;
        Arc::clone(shared.record.get_or_insert(made))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.books.pending.get() == 0
    }

    /// Whether the owner's own code is over. From anywhere.
    pub(crate) fn waits(&self) -> bool {
        self.books.waits.load(Ordering::Relaxed)
    }

    /// Whether a child has not ended. (One that has ended elsewhere is listed until word of it has come.) On the home.
    fn has_unended(&self) -> bool {
        self.books.list.any(|child| !child.is_done())
    }

    /// The children, the oldest first. On the home; `f` must not change the list.
    pub(crate) fn for_each(&self, f: impl FnMut(&Header)) {
        self.books.list.for_each(f);
    }

    /// Makes `child` one of ours, before it can run. From anywhere.
    ///
    /// # Safety
    /// The child is new and nobody else's, and C2 holds.
    #[inline]
    pub(crate) unsafe fn adopt(&self, child: NonNull<Header>, local: &Local) {
        // SAFETY: new, so ours.
        unsafe { child.as_ref() }.owner.set(self);
        if self.is_home(local) {
            self.link(child, local, Known::ToUsOnly);
        } else {
            self.announce(child);
        }
    }

    #[inline]
    fn link(&self, child: NonNull<Header>, local: &Local, known: Known) {
        // SAFETY: new, or announced: linked before its end can be read.
        unsafe { self.books.list.link(child) };
        self.books.pending.set(self.books.pending.get() + 1);
        // A canceller that has just missed our link in the task left its mark in the task's word.
        // SAFETY: on the home, and the scope is open.
        let missed = || self.body().is_some_and(|body| unsafe { body.is_task_cancelled() });
        if self.is_cancelled() || missed() {
            self.link_late(child, local, known);
        }
    }

    #[cold]
    fn link_late(&self, child: NonNull<Header>, local: &Local, known: Known) {
        if !self.is_cancelled() {
            return self.cancel_from_outside(local, None);
        }
        if self.books.outside.get() {
            self.books.cut.set(true);
        }
        // SAFETY: just linked, so alive.
        let child = unsafe { child.as_ref() };
        match known {
            Known::ToUsOnly => child.cancel_new(),
            Known::Elsewhere => child.cancel(false),
        }
    }

    /// # Safety
    /// The child is in the list, and this is the home's thread.
    #[inline]
    pub(super) unsafe fn unlink(&self, child: NonNull<Header>) {
        // SAFETY: by contract.
        unsafe { self.books.list.unlink(child) };
    }

    #[cold]
    fn announce(&self, child: NonNull<Header>) {
        let announcement = NonNull::from(Box::leak(Box::new(Announcement { message: Message::new(), child })));
        // SAFETY: a new message, owned until it is delivered; `deliver_announcement` frees it.
        unsafe { self.home.push(announcement.cast(), deliver_announcement) };
    }

    /// A child has ended and been unlinked.
    #[inline]
    pub(super) fn ended(&self, ran: Ran, local: &Local) {
        if ran == Ran::FailedScope {
            self.cancel(local, None);
        }
        let pending = self.books.pending.get() - 1;
        self.books.pending.set(pending);
        if pending == 0
            && let Some(ticket) = self.books.waiting.take()
        {
            // SAFETY: who waits for us takes its ticket back before it goes on (W2).
            if unsafe { ticket.fire(crate::waiter::Cause(0)) } {
                // SAFETY: just fired.
                unsafe { ticket.wake() };
            }
        }
    }

    /// The owner's task: waits for all children, cancelling them if it is cancelled itself while it waits. `Err`: they were cancelled from outside, then or before.
    pub(crate) fn wait(&self, local: &Local) -> Result<(), Cancelled> {
        self.books.waits.store(true, Ordering::Relaxed);
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
                // By our own failing child, or from outside? And is there one that is cut short, or have all ended elsewhere, and word of it is on its way? (Who cancelled them from outside has
                // looked before, and noted it in `cut`: by now the first ones may have ended, and a look would go through all those.)
                if !self.books.interrupted.get() && !self.books.outside.get() && self.has_unended() {
                    result = Err(cancelled);
                }
                self.cancel(local, None);
            }
        }
        // The body is over: what interrupted it must not outlive it.
        if let Some(body) = self.body() {
            self.books.body.set(None);
            if self.books.interrupted.get() {
                // SAFETY: on the home, in the body's own frame.
                unsafe { body.resume() };
            }
        }
        if result.is_ok() && self.books.cut.get() {
            // The code meets its cancellation here: a timeout that caused it is to know.
            let _ = local.current().check(local);
            return Err(Cancelled::new());
        }
        result
    }
}

unsafe fn deliver_announcement(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by `announce` for this delivery.
    let announcement = unsafe { Box::from_raw(message.cast::<Announcement>().as_ptr()) };
    // SAFETY: its end is behind us in the inbox.
    let header = unsafe { announcement.child.as_ref() };
    // SAFETY: C2.
    let owner = unsafe { &*header.owner.get() };
    owner.link(announcement.child, local, Known::Elsewhere);
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
