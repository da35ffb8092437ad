//! Waiting, for every kind of task: who waits, for what, what may end it. `README.md` tells the protocol.
//!
//! A goroutine's header begins with a [`Waiter`]; a plain thread has one of its own. To wait: [`arm`] the current one, hand [`Ticket`]s to
//! whatever may end the wait, [`Wait::park`]. To end a wait: [`Ticket::fire`], and if that says `true`, [`Ticket::wake`].
//!
//! Invariants:
//! - W1: an armed waiter's owner does not return from the waiting call before the wait has been fired *and* the wake it owes delivered
//!   (or it has itself retracted it). So whatever lies in the waiting frame is alive until `wake`, for the one who fired.
//! - W2: a ticket is used only while its waiter is known to be alive: under the lock of the list it is registered in (the owner takes it out of every list before it
//!   returns), or by holding the task.
//! - W3: `home` is set before the first `arm`; it changes between the turns of a coroutine only, when that neither waits nor has a scope open.
//! - W4: levels, interrupts and deliveries belong to the waiter's home.

mod alarm;
mod level;
#[cfg(all(test, loom))]
mod loom_tests;
pub(crate) mod permits;
mod word;

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::cancelled::Cancelled;
use crate::context::{Context, ContextCell};
#[cfg(not(loom))]
use crate::fiber::Fiber;
use crate::home::local::{self, Local};
use crate::home::{Home, Message};
use crate::shim::AtomicPtr;
pub(crate) use alarm::{Alarm, Call};
use level::Level;
pub(crate) use level::{InterruptPoint, Link};
use word::Generation;
pub(crate) use word::{Cause, Heeds, Met, Word};

/// See the module's header. `repr(C)`: the message comes first, so that a message of a ready list is its waiter.
#[repr(C)]
pub(crate) struct Waiter {
    message: Message,
    word: Word,
    /// Null: not settled yet. A coroutine's changes between its turns. (Not modelled: it is published by `arm` and by `enter`.)
    home: std::sync::atomic::AtomicPtr<Home>,
    /// The fiber whose stack a started goroutine runs on.
    #[cfg(not(loom))]
    fiber: Cell<Option<NonNull<Fiber>>>,
    base: Level,
    /// The innermost scope or shield the running code is inside of. Written by the owner; a canceller reads whether there is one.
    scopes: AtomicPtr<Link>,
    /// What the task has inherited, and hands down.
    context: ContextCell,
}

// SAFETY: the word is atomic, the message goes by H1, `home` is written before the waiter is shared through `arm` (W3), the rest is its home's (W4).
unsafe impl Sync for Waiter {}
// SAFETY: as above; an unstarted goroutine's waiter has no home yet.
unsafe impl Send for Waiter {}

impl Waiter {
    /// One without a home yet: an unstarted goroutine's.
    pub(crate) fn new(context: Context, undecided: bool) -> Waiter {
        Waiter {
            message: Message::new(),
            word: Word::new(undecided),
            home: std::sync::atomic::AtomicPtr::new(ptr::null_mut()),
            #[cfg(not(loom))]
            fiber: Cell::new(None),
            base: Level::new(),
            scopes: AtomicPtr::new(ptr::null_mut()),
            context: ContextCell::new(context),
        }
    }

    pub(crate) fn at(home: &'static Home) -> Waiter {
        let waiter = Waiter::new(Context::default(), false);
        waiter.settle(home);
        waiter
    }

    /// The goroutine starts: here it stays. A coroutine begins a turn: here it stays until that is over (W3). Returns whether it had not settled anywhere before.
    #[inline]
    pub(crate) fn settle(&self, home: &'static Home) -> bool {
        let first = self.home().is_null();
        // Relaxed: who needs it has seen something later of ours, a wait or an open scope.
        self.home.store(ptr::from_ref(home).cast_mut(), Ordering::Relaxed);
        first
    }

    #[inline]
    fn home(&self) -> *const Home {
        // Relaxed: as in `settle`.
        self.home.load(Ordering::Relaxed)
    }

    /// Whether this is where it has settled.
    #[cfg(not(loom))]
    pub(crate) fn is_at(&self, home: &Home) -> bool {
        ptr::eq(self.home(), home)
    }

    /// The fiber it runs on, once started; of a plain thread, none. For the home's thread only.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn fiber(&self) -> &Cell<Option<NonNull<Fiber>>> {
        &self.fiber
    }

    /// It has been woken and will soon run: asks for what the switch to it reads first.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn prefetch_fiber(&self) {
        if let Some(fiber) = self.fiber.get() {
            crate::shim::prefetch(fiber.addr().get());
        }
    }

    /// It waits, and will soon be woken: asks, step by step, for what the switch to it reads.
    #[cfg(not(loom))]
    fn foresee(&self, step: u32) {
        let Some(fiber) = self.fiber.get() else { return };
        match step {
            1 => crate::shim::prefetch(fiber.addr().get()),
            // SAFETY: it waits, so it is suspended.
            _ => unsafe { Fiber::prefetch(fiber) },
        }
    }

    // In a model every waiter is a thread.
    #[cfg(loom)]
    fn foresee(&self, _: u32) {}

    /// The context of the running task.
    #[inline]
    pub(crate) fn context(&self) -> &ContextCell {
        &self.context
    }

    #[inline]
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// The waiter a ready message belongs to.
    #[inline]
    pub(crate) fn of_message(message: NonNull<Message>) -> NonNull<Waiter> {
        message.cast()
    }

    /// Cancels the task for good, from anywhere: its present and every further park returns `Cancelled`, `shield` apart. `alone`: not with its scope. The flag that comes back says
    /// whether somebody wants to be told.
    pub(crate) fn cancel(&self, alone: bool) -> (Met, bool) {
        let met = self.word.cancel(alone);
        self.wake_cancelled(met.0);
        met
    }

    /// The second half of `cancel`, for those who have called the word's under a lock.
    pub(crate) fn wake_cancelled(&self, met: Met) {
        if met == Met::Waiting {
            let waiter = NonNull::from(self);
            // SAFETY: `cancel` fired the wait, so this wake is owed and the waiter is alive until it comes (W1).
            unsafe { wake(waiter) };
        }
    }

    /// Of a task that is cancelled: ends its present wait, if that heeds cancellation, and wakes it. (What the canceller has not seen may be seen now.)
    pub(crate) fn end_cancelled_wait(&self) -> bool {
        let ended = self.word.end_cancelled_wait();
        self.wake_cancelled(if ended { Met::Waiting } else { Met::Busy });
        ended
    }

    /// What the word knows of the task besides its waits.
    #[inline]
    pub(crate) fn word(&self) -> &Word {
        &self.word
    }

    /// Whether the task was cancelled, shielded or not.
    #[inline]
    pub(crate) fn is_task_cancelled(&self) -> bool {
        self.word.is_cancelled()
    }

    /// Where it has settled. (A coroutine may be elsewhere by now.)
    #[cfg(not(loom))]
    pub(crate) fn settled_at(&self) -> Option<&'static Home> {
        // SAFETY: homes are never freed (H2).
        unsafe { self.home().as_ref() }
    }

    /// Where it has settled, if it has and is inside of a scope: who cancels it must tell that home (`cancel_scopes`) unless the cancellation woke it.
    pub(crate) fn home_of_scopes(&self) -> Option<&'static Home> {
        // Acquire pairs with the Release of `enter`: the home was set before.
        if self.scopes.load(Ordering::Acquire).is_null() {
            return None;
        }
        // SAFETY: homes are never freed (H2).
        unsafe { self.home().as_ref() }
    }

    /// Whether it is inside of a scope, and this is its home.
    pub(crate) fn has_scopes_at(&self, home: &Home) -> bool {
        self.home_of_scopes().is_some_and(|at| ptr::eq(at, home))
    }

    /// `Err` if a park would return it now.
    #[inline]
    pub(crate) fn check(&self, local: &Local) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(self.cancelled(local)) } else { Ok(()) }
    }

    /// The running code meets its cancellation, holding no lock.
    #[cold]
    fn cancelled(&self, local: &Local) -> Cancelled {
        self.level().deliver();
        if !self.is_shielded() && self.word.is_cancelled() {
            self.cancel_scopes(local);
        }
        Cancelled::new()
    }

    /// The same of code that is about to wait, perhaps under the lock of what it is to wait for: nobody is told now, since that may need the same lock. Whoever cancelled the task has
    /// told its scopes, or missed the one that was being opened; that is told when it starts a child, waits, or ends.
    #[cold]
    fn refused(&self) -> Cancelled {
        self.level().deliver();
        Cancelled::new()
    }
}

impl Waiter {
    /// It is cancelled, and the wait that has just been armed heeds that. `Ok`: the canceller has seen the wait as we have seen him, and was quicker to end it: a wake is on its way, for which it must be parked.
    #[cold]
    fn retract_cancelled(&self, generation: Generation) -> Result<(), Cancelled> {
        if self.word.fire(generation, Cause::CANCELLED) { Err(self.refused()) } else { Ok(()) }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("word", &self.word).finish_non_exhaustive()
    }
}

/// A wait that has begun and must be ended by `park`, or by `retract` if nothing was registered.
#[must_use]
pub(crate) struct Wait<'a> {
    local: &'a Local,
    waiter: &'a Waiter,
    generation: Generation,
    /// It waits although the task is cancelled: its scopes may have to be told.
    untold: bool,
}

/// The right to end one wait of one waiter. Good for that wait only (a later one has another generation).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    waiter: NonNull<Waiter>,
    generation: Generation,
}

// SAFETY: what a ticket gives access to is atomic, or the home's and reached by message.
unsafe impl Send for Ticket {}

/// Begins a wait of whoever runs on `local`. `Err`: it is cancelled, and the wait was to heed that.
///
/// While a panic unwinds a goroutine, a park must not switch (std counts panics by thread, and the goroutine
/// that ran meanwhile would find the thread panicking): such a wait is refused as cancelled.
#[inline(always)] // Every wait begins here; what is left of it in the usual case is short.
pub(crate) fn arm(local: &Local, heeds: Heeds) -> Result<Wait<'_>, Cancelled> {
    let waiter = local.current();
    if heeds == Heeds::Everything && waiter.heeds_plainly() && !unwinding() {
        let (generation, cancelled) = waiter.word.arm(heeds);
        if cancelled {
            waiter.retract_cancelled(generation)?;
        }
        return Ok(Wait { local, waiter, generation, untold: false });
    }
    arm_otherwise(local, heeds)
}

/// `arm`, in a scope or a shield, with interrupts under way, for a wait that heeds less, or while a panic unwinds.
fn arm_otherwise(local: &Local, heeds: Heeds) -> Result<Wait<'_>, Cancelled> {
    let waiter = local.current();
    if heeds == Heeds::Nothing {
        let (generation, untold) = waiter.word.arm(heeds);
        return Ok(Wait { local, waiter, generation, untold });
    }
    if waiter.is_cancelled() || !local.is_thread() && unwinding() {
        return Err(waiter.refused());
    }
    let shielded = waiter.is_shielded();
    let (generation, cancelled) = waiter.word.arm(if shielded { Heeds::Interrupts } else { heeds });
    if cancelled && !shielded {
        waiter.retract_cancelled(generation)?;
    }
    Ok(Wait { local, waiter, generation, untold: cancelled && shielded })
}

/// Whether a panic is unwinding this thread.
#[inline]
pub(crate) fn unwinding() -> bool {
    std::thread::panicking()
}

impl Wait<'_> {
    #[inline]
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { waiter: NonNull::from(self.waiter), generation: self.generation }
    }

    /// Ends a wait whose condition turned out to be met before any ticket was given out, or only to lists that have been left again.
    /// `false`: it has been fired, a wake is on its way, and `park` must take it.
    pub(crate) fn retract(&self) -> bool {
        self.waiter.word.fire(self.generation, Cause(0))
    }

    /// Gives the thread to others until the wait is over, at `deadline` at the latest.
    #[inline(always)]
    pub(crate) fn park(self, deadline: Option<Instant>) -> Result<Cause, Cancelled> {
        if self.untold {
            self.waiter.cancel_scopes(self.local);
        }
        // Of a limited task: others may run while it waits.
        let held = if self.local.limit().get().is_null() { ptr::null() } else { permits::give_up(self.local) };
        match deadline {
            None => self.local.park(),
            Some(at) => {
                let key = self.local.set_alarm(at, Alarm::EndWait(self.ticket()));
                self.local.park();
                self.local.remove_alarm(key);
            }
        }
        let cause = self.waiter.word.cause();
        if !held.is_null() {
            permits::take_again(self.local, held);
        }
        match cause {
            Cause::CANCELLED => Err(self.waiter.cancelled(self.local)),
            cause => Ok(cause),
        }
    }
}

impl Ticket {
    /// Ends the wait. `true`: it was this call that did, and the caller owes a [`wake`](Ticket::wake). The waiter must be known to be alive (W2).
    ///
    /// # Safety
    /// W2.
    #[inline]
    pub(crate) unsafe fn fire(&self, cause: Cause) -> bool {
        // SAFETY: W2, by contract.
        unsafe { self.waiter.as_ref() }.word.fire(self.generation, cause)
    }

    /// Makes the waiter's task ready on its home. After this the waiting frame may be gone.
    ///
    /// # Safety
    /// `fire` returned `true` to the caller, who has not woken it yet.
    #[inline]
    pub(crate) unsafe fn wake(self) {
        // SAFETY: fired and not yet woken, by contract.
        unsafe { wake(self.waiter) }
    }
}

/// # Safety
/// The waiter was fired by the caller and not yet woken, so it is alive (W1).
#[inline]
unsafe fn wake(waiter: NonNull<Waiter>) {
    // SAFETY: by contract.
    let waiter = unsafe { waiter.as_ref() };
    let home = waiter.home();
    let here = local::try_with(|local| {
        let here = ptr::eq(local.home(), home);
        if here {
            local.push_ready(waiter);
        }
        here
    });
    if here != Some(true) {
        // SAFETY: homes are never freed (H2).
        let home = unsafe { &*home };
        // SAFETY: the one wake that is owed owns the message (H1, L2).
        unsafe { home.push(NonNull::from(&waiter.message), deliver_wake) };
    }
}

unsafe fn deliver_wake(message: NonNull<Message>, local: &Local) {
    // SAFETY: the waiter is parked until it is taken from the ready list (W1).
    local.push_woken_elsewhere(unsafe { Waiter::of_message(message).as_ref() });
}
