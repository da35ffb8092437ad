//! A queue of parked waiters that lies inside a lock, each with a value it offers or a place for the one it wants.
//!
//! Channels, locks, wait groups and joins are all made of this: state and queues under one [`SpinLock`], and [`Entry`]s, one for each waiting call, that
//! live in the frames of those calls. The one who ends a wait takes the entry out, moves the value, and wakes after unlocking.
//! All `unsafe` of waiting is in this file: what is built on it is safe code.
//!
//! **Futures** wait here, too: their entries lie in the future, and have a [`Waker`] instead of a ticket. A future can be moved to another task and dropped at any time, so nobody keeps its owner parked until
//! a wake: whoever claims such an entry takes the waker out under the lock, and does not touch the entry afterwards. Nothing else can end such a wait, so there is no word to fire.
//!
//! Invariants:
//! - Q1: a queued entry is pinned and alive: it leaves the queue, under the lock, when it is claimed, when it is found to have been fired by someone else,
//!   or at the latest in its own drop.
//! - Q2: links, `queued`, `ticket`, `case` and `value` of an entry are touched under the queue's lock while it is queued, by its claimer
//!   until the wake it owes, and by its owner otherwise (W1 keeps the owner parked until that wake). Those of a future's entry: under the lock only, from its being queued on until the owner
//!   has seen, under the lock, that it has left the queue.
//! - Q3: no waker is cloned, woken or dropped under the lock: that is others' code.

#[cfg(all(test, loom))]
mod loom_future_tests;
#[cfg(all(test, loom))]
pub(crate) mod loom_tests;

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomPinned;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::lock::{SpinGuard, SpinLock, Word};
use crate::shim::LockWord;
use crate::waiter::{Cause, Ticket};

/// First in, first out; `enqueue_first` for the one that has already waited. (`pub` as `Entry` is.)
pub struct WaitQueue<V> {
    first: *const Node<V>,
    last: *const Node<V>,
}

// SAFETY: the nodes hold tickets, which are Send, and values of V.
unsafe impl<V: Send> Send for WaitQueue<V> {}

struct Node<V> {
    previous: Cell<*const Node<V>>,
    next: Cell<*const Node<V>>,
    ticket: Cell<Option<Ticket>>,
    /// A future's, instead of a ticket.
    waker: KeptWaker,
    cause: Cell<u16>,
    queued: Cell<bool>,
    value: UnsafeCell<V>,
}

impl<V> WaitQueue<V> {
    pub(crate) const fn new() -> WaitQueue<V> {
        WaitQueue { first: ptr::null(), last: ptr::null() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Claims the first waiter whose wait has not ended otherwise: its wait is over, with the cause its entry was queued with. `hand_over` moves the value in or out.
    #[inline]
    pub(crate) fn claim<R>(&mut self, hand_over: impl FnOnce(&mut V) -> R) -> Option<(R, Woken)> {
        while let Some(node) = NonNull::new(self.first.cast_mut()) {
            // SAFETY: queued, so alive (Q1), and its queue is locked, `self` being inside the lock (Q2).
            let node = unsafe { node.as_ref() };
            self.unlink(node);
            let wakes = match node.ticket.get() {
                // SAFETY: the owner cannot have left before taking the lock that we hold (W2).
                Some(ticket) if !unsafe { ticket.fire(Cause(node.cause.get())) } => continue,
                Some(ticket) => Wakes::Ticket(ticket),
                // Nothing else can have ended a future's wait.
                None => Wakes::Future(node.waker.take_queued()),
            };
            // SAFETY: claimed: a parked one's value is ours until the wake, a future's as long as we have the lock (Q2).
            let value = unsafe { &mut *node.value.get() };
            return Some((hand_over(value), Woken(ManuallyDrop::new(wakes))));
        }
        None
    }

    /// Claims all, with `mark` added to their causes, and hands each value to `hand_over`.
    #[inline(always)] // A task that ends claims those who join it: none, as a rule, or one.
    pub(crate) fn claim_all(&mut self, mark: u16, mut hand_over: impl FnMut(&mut V)) -> WokenAll<V> {
        let mut all = WokenAll { first: ptr::null(), wakers: ManuallyDrop::new(None) };
        let mut last: *const Node<V> = ptr::null();
        while let Some(at) = NonNull::new(self.first.cast_mut()) {
            // SAFETY: as in `claim`.
            let node = unsafe { at.as_ref() };
            self.unlink(node);
            let Some(ticket) = node.ticket.get() else {
                if let Some(waker) = node.waker.take() {
                    node.cause.set(node.cause.get() | mark);
                    // SAFETY: as in `claim`.
                    hand_over(unsafe { &mut *node.value.get() });
                    all.wakers.get_or_insert_default().push(waker);
                }
                continue;
            };
            // SAFETY: as in `claim`.
            if !unsafe { ticket.fire(Cause(node.cause.get() | mark)) } {
                continue;
            }
            // SAFETY: as in `claim`.
            hand_over(unsafe { &mut *node.value.get() });
            // Claimed nodes stay until they are woken (W1), so they can be chained where they are.
            // SAFETY: `last` is such a node.
            match unsafe { last.as_ref() } {
                Some(last) => last.next.set(node),
                None => all.first = node,
            }
            last = node;
        }
        all
    }

    /// Whether somebody is parked in it. (A future that was forgotten stays in its queue for ever, and waits for nothing.)
    fn has_parked(&self) -> bool {
        let mut at = self.first;
        // SAFETY: queued, so alive (Q1): what is pinned and forgotten is not freed.
        while let Some(node) = unsafe { at.as_ref() } {
            if node.ticket.get().is_some() {
                return true;
            }
            at = node.next.get();
        }
        false
    }

    fn link_last(&mut self, node: &Node<V>) {
        node.previous.set(self.last);
        node.next.set(ptr::null());
        // SAFETY: queued, so alive (Q1).
        match unsafe { self.last.as_ref() } {
            Some(last) => last.next.set(node),
            None => self.first = node,
        }
        self.last = node;
        node.queued.set(true);
    }

    fn link_first(&mut self, node: &Node<V>) {
        node.next.set(self.first);
        node.previous.set(ptr::null());
        // SAFETY: queued, so alive (Q1).
        match unsafe { self.first.as_ref() } {
            Some(first) => first.previous.set(node),
            None => self.last = node,
        }
        self.first = node;
        node.queued.set(true);
    }

    fn unlink(&mut self, node: &Node<V>) {
        let (previous, next) = (node.previous.get(), node.next.replace(ptr::null()));
        // SAFETY: neighbours are queued, so alive (Q1).
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.set(next),
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.previous.set(previous),
            None => self.last = previous,
        }
        node.queued.set(false);
    }
}

impl<V> Drop for WaitQueue<V> {
    fn drop(&mut self) {
        debug_assert!(!self.has_parked(), "an object was dropped under a task that waits for it");
    }
}

impl<V> fmt::Debug for WaitQueue<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitQueue").field("is_empty", &self.is_empty()).finish()
    }
}

/// The waker of an entry that is a future's. (A cell of copies, so that entries that have none need not be dropped with care.)
struct KeptWaker(Cell<Option<(*const (), &'static RawWakerVTable)>>);

impl KeptWaker {
    const fn none() -> KeptWaker {
        KeptWaker(Cell::new(None))
    }

    fn replace(&self, waker: Waker) -> Option<Waker> {
        let waker = ManuallyDrop::new(waker);
        let before = self.take();
        self.0.set(Some((waker.data(), waker.vtable())));
        before
    }

    /// That of an entry which has just been taken out of its queue and has no ticket. (By value in two registers, so that a ticket, which is the rule, stays in registers, too.)
    #[cold]
    #[inline(never)]
    fn take_queued(&self) -> Waker {
        self.take().unwrap_or_else(|| unreachable!("a queued entry has a ticket or a waker"))
    }

    fn take(&self) -> Option<Waker> {
        let (data, vtable) = self.0.take()?;
        // SAFETY: kept by `replace`, which has forgotten it, and taken out once.
        Some(unsafe { Waker::from_raw(RawWaker::new(data, vtable)) })
    }
}

/// A claimed waiter, to be woken after unlocking: dropping this wakes it.
#[must_use = "drop it after the lock: that is the wake"]
pub(crate) struct Woken(ManuallyDrop<Wakes>);

enum Wakes {
    Ticket(Ticket),
    Future(Waker),
}

impl Drop for Woken {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a `Woken` is dropped once.
        match unsafe { ManuallyDrop::take(&mut self.0) } {
            // SAFETY: made by the claim that fired it, and dropped once.
            Wakes::Ticket(ticket) => unsafe { ticket.wake() },
            Wakes::Future(waker) => wake_future(waker),
        }
    }
}

#[cold]
fn wake_future(waker: Waker) {
    waker.wake();
}

/// Many claimed waiters, in the order they came. Dropping this wakes them.
#[must_use = "drop it after the lock: that is the wake"]
pub(crate) struct WokenAll<V> {
    first: *const Node<V>,
    /// Those of futures, of which there are none, as a rule: then this is one word. (Taken out in the drop, if there are any.)
    #[allow(clippy::box_collection, reason = "a vector is three words, to be written and moved wherever a task ends")]
    wakers: ManuallyDrop<Option<Box<Vec<Waker>>>>,
}

impl<V> Drop for WokenAll<V> {
    #[inline]
    fn drop(&mut self) {
        let mut at = self.first;
        // SAFETY: claimed and not yet woken, so alive (W1).
        while let Some(node) = unsafe { at.as_ref() } {
            at = node.next.replace(ptr::null());
            if let Some(ticket) = node.ticket.get() {
                // SAFETY: fired by `claim_all`, woken here once. After it the node may be gone.
                unsafe { ticket.wake() };
            }
        }
        if let Some(wakers) = self.wakers.take() {
            wake_futures(wakers);
        }
    }
}

#[cold]
#[allow(clippy::box_collection, clippy::boxed_local, reason = "as in `WokenAll`: one word to pass, too")]
fn wake_futures(wakers: Box<Vec<Waker>>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// One waiting call's place in a queue: lives in its frame, pinned. (`pub` since those of a `select!` lie in the caller's frame.)
pub struct Entry<'a, S, V, W: Word = LockWord> {
    lock: &'a SpinLock<S, W>,
    queue: fn(&mut S) -> &mut WaitQueue<V>,
    node: Node<V>,
    /// A future's: it has been queued, and its owner has not seen it leave.
    registered: bool,
    _pinned: PhantomPinned,
}

impl<'a, S, V, W: Word> Entry<'a, S, V, W> {
    /// `queue` picks the queue out of the state that `lock` guards.
    #[inline]
    pub(crate) fn new(lock: &'a SpinLock<S, W>, queue: fn(&mut S) -> &mut WaitQueue<V>, value: V) -> Self {
        Entry {
            lock,
            queue,
            node: Node {
                previous: Cell::new(ptr::null()),
                next: Cell::new(ptr::null()),
                ticket: Cell::new(None),
                waker: KeptWaker::none(),
                cause: Cell::new(0),
                queued: Cell::new(false),
                value: UnsafeCell::new(value),
            },
            registered: false,
            _pinned: PhantomPinned,
        }
    }

    /// Queues the entry: whoever claims it ends the wait of `ticket` with `cause`.
    #[inline]
    pub(crate) fn enqueue(self: Pin<&mut Self>, guard: &mut SpinGuard<'a, S, W>, ticket: Ticket, cause: u16) {
        self.prepare(guard, ticket, cause);
        (self.queue)(guard).link_last(&self.node);
    }

    /// Queues the entry before all others.
    pub(crate) fn enqueue_first(self: Pin<&mut Self>, guard: &mut SpinGuard<'a, S, W>, ticket: Ticket, cause: u16) {
        self.prepare(guard, ticket, cause);
        (self.queue)(guard).link_first(&self.node);
    }

    #[inline]
    fn prepare(&self, guard: &SpinGuard<'a, S, W>, ticket: Ticket, cause: u16) {
        assert!(ptr::eq(guard.owner(), self.lock), "an entry is queued under its own lock");
        assert!(!self.node.queued.get(), "an entry is queued once");
        self.node.ticket.set(Some(ticket));
        self.node.cause.set(cause);
    }

    /// Queues a future's entry: whoever claims it calls the waker.
    pub(crate) fn register(self: Pin<&mut Self>, guard: &mut SpinGuard<'a, S, W>, waker: Waker) {
        assert!(ptr::eq(guard.owner(), self.lock), "an entry is queued under its own lock");
        assert!(!self.registered, "an entry is queued once");
        // SAFETY: nothing is moved.
        let entry = unsafe { self.get_unchecked_mut() };
        entry.registered = true;
        let none = entry.node.waker.replace(waker);
        debug_assert!(none.is_none());
        (entry.queue)(guard).link_last(&entry.node);
    }

    /// Whether it has been registered, and not been seen to have left.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered
    }

    /// Looks whether a registered entry has been claimed: with which mark. If not, it is `waker` that is called from now on. The other waker that comes back is to be dropped without the lock.
    pub(crate) fn look(self: Pin<&mut Self>, guard: &mut SpinGuard<'a, S, W>, waker: Waker) -> (Option<u16>, Option<Waker>) {
        assert!(ptr::eq(guard.owner(), self.lock), "an entry is looked at under its own lock");
        // SAFETY: nothing is moved.
        let entry = unsafe { self.get_unchecked_mut() };
        if entry.node.queued.get() {
            return (None, entry.node.waker.replace(waker));
        }
        entry.registered = false;
        (Some(entry.node.cause.get()), Some(waker))
    }

    /// Takes a registered entry out of its queue, if it is there. `true`: it was; else it has been claimed. The waker is to be dropped without the lock.
    pub(crate) fn unregister(self: Pin<&mut Self>, guard: &mut SpinGuard<'a, S, W>) -> (bool, Option<Waker>) {
        assert!(ptr::eq(guard.owner(), self.lock), "an entry is taken out under its own lock");
        // SAFETY: nothing is moved.
        let entry = unsafe { self.get_unchecked_mut() };
        entry.registered = false;
        let queued = entry.node.queued.get();
        if queued {
            (entry.queue)(guard).unlink(&entry.node);
        }
        (queued, entry.node.waker.take())
    }

    /// Takes the entry out of its queue, if it is still there.
    pub(crate) fn dequeue(self: Pin<&mut Self>) {
        self.leave();
    }

    fn leave(&self) {
        let mut guard = self.lock.lock();
        // Read under the lock: the one who claims us writes it under the lock.
        if self.node.queued.get() {
            (self.queue)(&mut guard).unlink(&self.node);
        }
        self.node.ticket.set(None);
    }

    /// What is left to do for an entry that was queued, and has not been dequeued since: the frame it lies in unwinds, or its future was dropped.
    #[cold]
    #[inline(never)]
    fn leave_late(&self) {
        if self.node.ticket.get().is_some() {
            return self.leave();
        }
        let mut guard = self.lock.lock();
        if self.node.queued.get() {
            (self.queue)(&mut guard).unlink(&self.node);
        }
        drop(guard);
        // Out of the queue: it is ours.
        drop(self.node.waker.take());
    }

    /// The wait is over and this entry was claimed: it has left its queue already.
    #[inline]
    pub(crate) fn claimed(self: Pin<&mut Self>) {
        debug_assert!(!self.node.queued.get());
        self.node.ticket.set(None);
    }

    /// The value, when the entry is not queued (before it was, or after `dequeue` or `claimed`).
    #[inline]
    pub(crate) fn value(self: Pin<&mut Self>) -> &mut V {
        assert!(self.node.ticket.get().is_none() && !self.registered, "the value of a queued entry is others'");
        // SAFETY: without a ticket it is in no queue and claimed by nobody (Q2), and `&mut self` makes this the only borrow. The value itself is not pinned.
        unsafe { &mut *self.node.value.get() }
    }
}

impl<S, V, W: Word> Drop for Entry<'_, S, V, W> {
    #[inline]
    fn drop(&mut self) {
        // Never queued, or already out: nothing to do. (The ticket is written by the owner only.)
        if self.node.ticket.get().is_some() || self.registered {
            self.leave_late();
        }
    }
}

// SAFETY: an entry is used by its owner's thread; others reach its node through the queue, under the lock.
unsafe impl<S: Send, V: Send, W: Word + Sync> Send for Entry<'_, S, V, W> {}

impl<S, V, W: Word> fmt::Debug for Entry<'_, S, V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("queued", &self.node.queued.get()).finish_non_exhaustive()
    }
}
