//! How the children of an owner are cancelled, and why.
//!
//! **From inside** (a child or the body failed, or `Scope::cancel`): the children are cancelled, and the owner's own code is interrupted. **From outside** (the owner's task was
//! cancelled, or a scope or a timeout around this one in the same task): the children are cancelled; the code meets its cancellation by itself.
//!
//! Whoever cancels marks, from anywhere; the home follows and tells each child.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::{Children, RECORD};
use crate::cause::Cause;
use crate::home::Message;
use crate::home::local::{self, Local};
use crate::task::{Header, cancel_all};
use crate::waiter::Link;

/// The cancellation of a scope, on its way to its home.
#[repr(C)]
struct Order {
    message: Message,
    children: *const Children,
}

impl Children {
    /// Whether the children are to end. From anywhere.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        // Relaxed: a hint for those not yet started; the running ones are told by their waiter words.
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Why they are to end. From anywhere.
    pub(crate) fn cause(&self) -> Option<Cause> {
        // Acquire pairs with the Release of `mark_cancelled`: the cause is there.
        self.cancelled.load(Ordering::Acquire).then(|| self.shared.lock().cause.clone()).flatten()
    }

    /// Gives the reason of a cancellation that will follow, unless there is one.
    pub(crate) fn note_cause(&self, cause: Cause) {
        let mut cause = Some(cause);
        let mut shared = self.shared.lock();
        if shared.cause.is_none() {
            shared.cause = cause.take();
        }
        drop(shared);
    }

    /// Marks the children as to be ended, for this cause or for the owner's task's own. From anywhere; the home must follow with `cancel`.
    pub(crate) fn mark_cancelled(&self, cause: Option<&Cause>) {
        if self.is_cancelled() {
            return;
        }
        if self.shared.lock().cause.is_none() {
            let cause = cause.cloned().or_else(|| self.opener().and_then(Header::cause));
            self.note_cause(cause.unwrap_or(if self.site.is_some() { Cause::Asked } else { Cause::Shutdown }));
        }
        // Release pairs with the Acquire of `cause`.
        self.cancelled.store(true, Ordering::Release);
    }

    /// Tells every child, once. On the home.
    fn tell(&self, cause: Option<&Cause>) {
        self.mark_cancelled(cause);
        if self.books.told.replace(true) {
            return;
        }
        // Cancelling queues and wakes; it runs nothing here and ends no task, so the list stays as it is.
        cancel_all(false, |cancel| self.books.list.for_each(cancel));
        if self.shared.flags() & RECORD != 0 {
            let record = self.shared.lock().record.clone();
            if let (Some(record), Some(cause)) = (record, self.cause()) {
                record.cancelling(&cause);
            }
        }
    }

    /// Cancels the children there are, and not those to come. On the home.
    pub(crate) fn cancel_present(&self) {
        // As in `tell`.
        cancel_all(true, |cancel| self.books.list.for_each(cancel));
    }

    /// On the home: cancels every child, and interrupts the owner's own code.
    pub(crate) fn cancel(&self, local: &Local, cause: Option<&Cause>) {
        self.tell(cause);
        if let Some(body) = self.body()
            && !self.books.interrupted.replace(true)
        {
            let cause = self.cause();
            // SAFETY: on the home; the body's frame is the one that waits for us.
            unsafe { body.interrupt(local, cause.as_ref()) };
        }
    }

    /// On the home: cancels every child. The owner's own code is being cancelled, too, or interrupted further out.
    pub(super) fn cancel_from_outside(&self, _: &Local, cause: Option<&Cause>) {
        if self.books.told.get() {
            return;
        }
        self.books.outside.set(true);
        if self.has_unended() {
            self.books.cut.set(true);
        }
        self.tell(cause);
    }

    /// `cancel`, from wherever. The caller could still spawn here.
    pub(crate) fn cancel_from_anywhere(&self, cause: Option<&Cause>) {
        local::with(|local| {
            if self.is_home(local) {
                return self.cancel(local, cause);
            }
            self.mark_cancelled(cause);
            let order = NonNull::from(Box::leak(Box::new(Order { message: Message::new(), children: self })));
            // SAFETY: a new message, owned until it is delivered; `deliver_order` frees it. It is read before the end of the child that sends it, as an announcement is.
            unsafe { self.home.push(order.cast(), deliver_order) };
        });
    }
}

/// Why a park of the running code would be refused now.
pub(crate) fn cause_here(local: &Local) -> Option<Cause> {
    let waiter = local.current();
    if !waiter.is_cancelled() {
        return None;
    }
    // SAFETY: on the home, and nothing goes on meanwhile.
    let mut scope = unsafe { Children::innermost(waiter) };
    while let Some(children) = scope {
        if let Some(cause) = children.cause() {
            return Some(cause);
        }
        scope = children.outer();
    }
    if waiter.is_task_cancelled() && !local.is_thread() {
        // SAFETY: on a worker the current waiter is a task's, which runs and so is alive.
        let header = unsafe { Header::of_waiter(NonNull::from(waiter)).as_ref() };
        return header.cause();
    }
    // Neither the task nor a scope: a timeout.
    Some(Cause::Elapsed)
}

pub(super) unsafe fn cancel_from_outside(link: NonNull<Link>, local: &Local, cause: Option<&Cause>) {
    // SAFETY: this function is that of the links in `Children`.
    unsafe { link.cast::<Children>().as_ref() }.cancel_from_outside(local, cause);
}

unsafe fn deliver_order(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by `cancel_from_anywhere` for this delivery.
    let order = unsafe { Box::from_raw(message.cast::<Order>().as_ptr()) };
    // SAFETY: C2: who sent it could still spawn.
    unsafe { &*order.children }.cancel(local, None);
}
