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
//! - W3: `home` is set before the first `arm` and never changes.
//! - W4: `level`, interrupts and deliveries belong to the waiter's home.

mod word;

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::cancelled::Cancelled;
#[cfg(not(loom))]
use crate::fiber::Fiber;
use crate::home::local::{self, Local};
use crate::home::{Home, Message};
use crate::timer::Action;
pub(crate) use word::{Cause, Heeds};
use word::{Generation, Word};

/// See the module's header. `repr(C)`: the message comes first, so that a message of a ready list is its waiter.
#[repr(C)]
pub(crate) struct Waiter {
    message: Message,
    word: Word,
    home: Cell<*const Home>,
    /// The fiber whose stack a started goroutine runs on.
    #[cfg(not(loom))]
    fiber: Cell<Option<NonNull<Fiber>>>,
    /// The innermost `shield` around the running code; null: none.
    level: Cell<*const Level>,
    base: Level,
}

// SAFETY: the word is atomic, the message goes by H1, `home` is written before the waiter is shared through `arm` (W3), the rest is its home's (W4).
unsafe impl Sync for Waiter {}
// SAFETY: as above; an unstarted goroutine's waiter has no home yet.
unsafe impl Send for Waiter {}

/// A stretch of a task's stack in which the same interrupts count: the task itself, or the inside of one `shield`.
#[derive(Debug)]
pub(crate) struct Level {
    /// How many scopes and timeouts opened at this level want its parks to return `Cancelled`.
    interrupts: Cell<u32>,
    /// How often a park at this level has returned `Cancelled`: lets a timeout know whether it was its own interrupt that was heeded.
    deliveries: Cell<u32>,
}

impl Level {
    fn new() -> Level {
        Level { interrupts: Cell::new(0), deliveries: Cell::new(0) }
    }
}

impl Waiter {
    /// One without a home yet: an unstarted goroutine's.
    pub(crate) fn new() -> Waiter {
        Waiter {
            message: Message::new(),
            word: Word::new(),
            home: Cell::new(ptr::null()),
            #[cfg(not(loom))]
            fiber: Cell::new(None),
            level: Cell::new(ptr::null()),
            base: Level::new(),
        }
    }

    pub(crate) fn at(home: &'static Home) -> Waiter {
        let waiter = Waiter::new();
        waiter.settle(home);
        waiter
    }

    /// The goroutine starts: here it stays (W3).
    #[inline]
    pub(crate) fn settle(&self, home: &'static Home) {
        self.home.set(home);
    }

    /// Whether this is where it has settled.
    #[cfg(not(loom))]
    pub(crate) fn is_at(&self, home: &Home) -> bool {
        ptr::eq(self.home.get(), home)
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

    #[inline]
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// The waiter a ready message belongs to.
    #[inline]
    pub(crate) fn of_message(message: NonNull<Message>) -> NonNull<Waiter> {
        message.cast()
    }

    /// Cancels the task for good, from anywhere. Its present and every further park returns `Cancelled`, `shield` apart.
    pub(crate) fn cancel(&self) {
        if self.word.cancel() {
            let waiter = NonNull::from(self);
            // SAFETY: `cancel` fired the wait, so this wake is owed and the waiter is alive until it comes (W1).
            unsafe { wake(waiter) };
        }
    }

    /// Whether the task was cancelled, shielded or not.
    #[inline]
    pub(crate) fn is_task_cancelled(&self) -> bool {
        self.word.is_cancelled()
    }

    fn level(&self) -> &Level {
        // SAFETY: a level lies in the frame of a `shield` that this task is inside of.
        unsafe { self.level.get().as_ref() }.unwrap_or(&self.base)
    }

    /// Whether a park would return `Cancelled` now. On the home's thread.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.level().interrupts.get() != 0 || self.level.get().is_null() && self.word.is_cancelled()
    }

    /// The place where an interrupt would count now. On the home's thread, by the running task.
    pub(crate) fn interrupt_point(&self) -> InterruptPoint {
        InterruptPoint { waiter: NonNull::from(self), level: NonNull::from(self.level()) }
    }

    /// Runs `f` in a level of its own: cancellation and the interrupts of scopes and timeouts outside do not reach it.
    pub(crate) fn shielded<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Waiter, *const Level);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.level.set(self.1);
            }
        }
        let level = Level::new();
        let _restore = Restore(self, self.level.replace(&level));
        f()
    }

    /// `Err` if a park would return it now.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(self.cancelled()) } else { Ok(()) }
    }

    fn cancelled(&self) -> Cancelled {
        let deliveries = &self.level().deliveries;
        deliveries.set(deliveries.get().wrapping_add(1));
        Cancelled::new()
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("word", &self.word).finish_non_exhaustive()
    }
}

/// Where a scope or a timeout interrupts its task: at the level it was opened at, so that a `shield` inside it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterruptPoint {
    waiter: NonNull<Waiter>,
    level: NonNull<Level>,
}

impl InterruptPoint {
    /// Makes the parks at this level return `Cancelled` from now on, the present one included.
    ///
    /// # Safety
    /// On the task's home thread, the task being inside the frame that took the point.
    pub(crate) unsafe fn interrupt(&self, local: &Local) {
        // SAFETY: the caller's frame, and so the task and its level, are there.
        let waiter = unsafe { self.waiter.as_ref() };
        // SAFETY: as above.
        let level = unsafe { self.level.as_ref() };
        level.interrupts.set(level.interrupts.get() + 1);
        if ptr::eq(waiter.level(), level) && waiter.word.interrupt() {
            local.push_ready(waiter);
        }
    }

    /// How often `Cancelled` has been returned at this level.
    ///
    /// # Safety
    /// As for `interrupt`.
    pub(crate) unsafe fn deliveries(&self) -> u32 {
        // SAFETY: as in `interrupt`.
        unsafe { self.level.as_ref() }.deliveries.get()
    }

    /// Takes one `interrupt` back.
    ///
    /// # Safety
    /// As for `interrupt`.
    pub(crate) unsafe fn resume(&self) {
        // SAFETY: as in `interrupt`.
        let level = unsafe { self.level.as_ref() };
        level.interrupts.set(level.interrupts.get() - 1);
    }
}

/// A wait that has begun and must be ended by `park`, or by `retract` if nothing was registered.
#[must_use]
pub(crate) struct Wait<'a> {
    local: &'a Local,
    waiter: &'a Waiter,
    generation: Generation,
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
#[inline]
pub(crate) fn arm(local: &Local, heeds: Heeds) -> Result<Wait<'_>, Cancelled> {
    let waiter = local.current();
    if heeds == Heeds::Nothing {
        let (generation, _) = waiter.word.arm(heeds);
        return Ok(Wait { local, waiter, generation });
    }
    if waiter.is_cancelled() || !local.is_thread() && unwinding() {
        return Err(waiter.cancelled());
    }
    let shielded = !waiter.level.get().is_null();
    let (generation, cancelled) = waiter.word.arm(if shielded { Heeds::Interrupts } else { heeds });
    if cancelled && !shielded {
        // Cancelled since we looked. Nobody has a ticket, and a canceller that came before the arming fires nothing.
        let retracted = waiter.word.fire(generation, Cause::CANCELLED);
        debug_assert!(retracted);
        return Err(waiter.cancelled());
    }
    Ok(Wait { local, waiter, generation })
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
        match deadline {
            None => self.local.park(),
            Some(at) => {
                let key = self.local.set_alarm(at, Alarm::EndWait(self.ticket()));
                self.local.park();
                self.local.remove_alarm(key);
            }
        }
        match self.waiter.word.cause() {
            Cause::CANCELLED => Err(self.waiter.cancelled()),
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
    let home = waiter.home.get();
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
    local.push_ready(unsafe { Waiter::of_message(message).as_ref() });
}

/// What a home's timer does.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// The deadline of a wait.
    EndWait(Ticket),
    /// The deadline of a stretch of code: calls the function with the pointer.
    Call(unsafe fn(NonNull<()>, &Local), NonNull<()>),
}

impl Action for Alarm {
    const STEPS: u32 = 3;

    fn foresee(&self, step: u32) {
        let Alarm::EndWait(ticket) = self else { return };
        if step == 0 {
            return crate::shim::prefetch(ticket.waiter.addr().get());
        }
        #[cfg(not(loom))]
        // SAFETY: the waiter waits, so it is there (T1), on this thread.
        if let Some(fiber) = unsafe { ticket.waiter.as_ref() }.fiber.get() {
            match step {
                1 => crate::shim::prefetch(fiber.addr().get()),
                // SAFETY: it waits, so it is suspended.
                _ => unsafe { Fiber::prefetch(fiber) },
            }
        }
    }
}

impl Alarm {
    /// It will ring soon: asks for what it will touch.
    pub(crate) fn prefetch(&self) {
        let target = match self {
            Alarm::EndWait(ticket) => ticket.waiter.addr(),
            Alarm::Call(_, frame) => frame.addr(),
        };
        crate::shim::prefetch(target.get());
    }

    /// On the home's thread.
    pub(crate) fn ring(self, local: &Local) {
        match self {
            Alarm::EndWait(ticket) => {
                // SAFETY: the waiting frame takes its alarm out before it returns (T1), so the waiter is there.
                let waiter = unsafe { ticket.waiter.as_ref() };
                if waiter.word.fire(ticket.generation, Cause::TIMED_OUT) {
                    local.push_ready(waiter);
                }
            }
            // SAFETY: set together; the frame pointed to takes its alarm out before it returns (T1).
            Alarm::Call(f, frame) => unsafe { f(frame, local) },
        }
    }
}
