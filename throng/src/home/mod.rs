//! A home: what a thread of the program is to everyone else. Others reach the thread's tasks only by a message to its home.
//!
//! **What it owns.** A worker thread is the home of the goroutines that started there and of the scopes they opened; a plain thread is the home of itself.
//! Whatever belongs to a home is touched by its thread alone, so it needs no atomics; another thread that has something to say
//! (your task is ready, your child has ended) pushes a [`Message`], which lies inside the very thing it is about.
//!
//! **States** of the inbox word:
//! ```text
//!   null ── push ──> list ── push ──> list ..        null, list: the thread is awake and will look
//!    ^                │
//!    └─── take all ───┘        null ── sleep ──> ASLEEP ── push ──> list  (this pusher, and no other, unparks the thread)
//!                                      null <── deadline ── ASLEEP
//! ```
//! **Why no wake-up is lost.** Going to sleep is a compare-and-swap from null: it fails if a message is there. A message that comes later replaces ASLEEP,
//! and the one pusher that saw ASLEEP unparks. There is no second variable, so there is no fence to forget.
//!
//! **Invariants.**
//! - H1: a message is in at most one list at a time; who pushes it owns it until the push, the home's thread from the moment it takes it.
//! - H2: homes are never freed, only used again by later threads (`pool`), so the unpark that follows a push may be as late as it
//!   likes: the pushed message may be gone, the thread may be gone, the home is still there, and a stray unpark is harmless.

#[cfg(not(loom))]
pub(crate) mod alarm;
mod errand;
pub(crate) mod local;
mod parker;
mod ready;
#[cfg(not(loom))]
mod switch;

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::shim::AtomicPtr;
use local::Local;
pub(crate) use parker::Parker;

/// A link in an inbox or in a ready list, and what to do on the home's thread when it is taken out.
pub(crate) struct Message {
    next: Cell<*const Message>,
    deliver: Cell<Deliver>,
}

/// Runs on the home's thread, outside any task.
///
/// # Safety
/// The message is the one the function was posted with, and is no longer in any list.
pub(crate) type Deliver = unsafe fn(NonNull<Message>, &Local);

impl Message {
    pub(crate) const fn new() -> Message {
        Message { next: Cell::new(ptr::null()), deliver: Cell::new(nothing) }
    }

    /// The link, for whoever owns the message at present (H1).
    #[inline]
    pub(crate) fn next(&self) -> &Cell<*const Message> {
        &self.next
    }
}

unsafe fn nothing(_: NonNull<Message>, _: &Local) {}

/// See the module's header.
#[repr(align(128))] // A line of its own: others push while the owner works on what lies beside.
pub(crate) struct Home {
    inbox: AtomicPtr<Message>,
    parker: Parker,
}

/// What `Home::sleep` returned for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    Message,
    Deadline,
}

fn asleep() -> *mut Message {
    ptr::without_provenance_mut(1)
}

impl Home {
    fn new() -> Home {
        Home { inbox: AtomicPtr::new(ptr::null_mut()), parker: Parker::new() }
    }

    /// Anyone: posts `message`; the home's thread will call `deliver` with it.
    ///
    /// # Safety
    /// The caller owns the message (H1) and it stays where it is until it is delivered.
    #[inline]
    pub(crate) unsafe fn push(&self, message: NonNull<Message>, deliver: Deliver) {
        // SAFETY: by contract.
        if unsafe { self.post(message, deliver) } {
            self.unpark();
        }
    }

    /// `push` in two halves, for those who hold a spin lock: if this returns `true`, [`unpark`](Home::unpark) must follow.
    ///
    /// # Safety
    /// As for `push`.
    #[must_use]
    #[inline]
    pub(crate) unsafe fn post(&self, message: NonNull<Message>, deliver: Deliver) -> bool {
        // SAFETY: the caller owns the message, so it is alive and nobody else touches it.
        let link = unsafe { message.as_ref() };
        link.deliver.set(deliver);
        let mut head = self.inbox.load(Ordering::Relaxed);
        loop {
            link.next.set(if head == asleep() { ptr::null() } else { head });
            // Release pairs with the Acquire of `take`: the home sees the message and all that came before. After it, `link` is the home's.
            match self.inbox.compare_exchange_weak(head, message.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        head == asleep()
    }

    /// Wakes the home's thread; at worst it looks around and sleeps again (H2).
    pub(crate) fn unpark(&self) {
        self.parker.unpark();
    }

    /// Whether there is mail. A hint for others, exact for the home's own thread until the next push.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        // Relaxed: `take` synchronises.
        let head = self.inbox.load(Ordering::Relaxed);
        !head.is_null() && head != asleep()
    }

    /// Whether the next push would have to wake the thread: a hint.
    #[inline]
    pub(crate) fn is_asleep(&self) -> bool {
        self.inbox.load(Ordering::Relaxed) == asleep()
    }

    /// The home's thread: takes all messages, oldest first.
    #[inline]
    pub(crate) fn take(&self) -> Mail {
        if !self.has_mail() {
            return Mail(ptr::null());
        }
        // Acquire pairs with the Release of every push that is in the list (they form one release sequence of read-modify-writes).
        let mut newest: *const Message = self.inbox.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest = ptr::null();
        while !newest.is_null() {
            // SAFETY: the taken list is ours (H1), each of its messages alive until delivered.
            let next = unsafe { &(*newest).next };
            let rest = next.replace(oldest);
            oldest = newest;
            newest = rest;
        }
        Mail(oldest)
    }

    /// The home's thread: sleeps until there is mail, or until `deadline`.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> Woken {
        // Relaxed: nothing is published by falling asleep; what the waker wrote is acquired by `take`.
        if self.inbox.compare_exchange(ptr::null_mut(), asleep(), Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Woken::Message;
        }
        loop {
            let in_time = self.parker.park(deadline);
            if self.inbox.load(Ordering::Relaxed) != asleep() {
                return Woken::Message;
            }
            if !in_time {
                // Relaxed as above. If it fails, mail has come at the last moment.
                let woken = self.inbox.compare_exchange(asleep(), ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
                return if woken.is_ok() { Woken::Deadline } else { Woken::Message };
            }
        }
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("mail", &self.has_mail()).finish_non_exhaustive()
    }
}

/// Messages taken from an inbox, oldest first. Deliver them all: a message that is dropped is a task that never wakes.
#[must_use]
pub(crate) struct Mail(*const Message);

impl Mail {
    /// Delivers every message.
    #[inline]
    pub(crate) fn deliver(self, local: &Local) {
        let mut at = self.0;
        while let Some(message) = NonNull::new(at.cast_mut()) {
            // SAFETY: the mail is ours (H1) and this message not yet delivered.
            let link = unsafe { message.as_ref() };
            // Read before delivery, which may post the message again or free it.
            at = link.next.get();
            let deliver = link.deliver.get();
            // SAFETY: posted together with `deliver`, and out of the list now.
            unsafe { deliver(message, local) };
        }
    }
}

/// Homes of threads that have ended, for threads to come (H2).
pub(crate) mod pool {
    use super::Home;

    #[cfg(not(loom))]
    static FREE: std::sync::Mutex<Vec<&'static Home>> = std::sync::Mutex::new(Vec::new());

    #[cfg(not(loom))]
    pub(crate) fn take() -> &'static Home {
        let free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        free.unwrap_or_else(|| Box::leak(Box::new(Home::new())))
    }

    #[cfg(not(loom))]
    pub(crate) fn give(home: &'static Home) {
        FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(home);
    }

    // A model's homes belong to one execution of it.
    #[cfg(loom)]
    pub(crate) fn take() -> &'static Home {
        Box::leak(Box::new(Home::new()))
    }

    #[cfg(loom)]
    pub(crate) fn give(_: &'static Home) {}
}

// SAFETY: the inbox is a lock-free list whose links are touched under H1 only; the parker is made of std's primitives.
unsafe impl Sync for Home {}
