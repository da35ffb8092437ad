//! The waiter word: who ended the wait, decided once. The protocol is told in `README.md` beside this file.
//!
//! ```text
//!        wait                                                marks
//!  31                     4   3   2  1 0                   3   2   1   0
//! +-------------------------+---+---+-----+              +---+---+---+---+
//! |       generation        | I | N |state|              | H | A | U | C |
//! +-------------------------+---+---+-----+              +---+---+---+---+
//!  state: 0 idle, 1 armed, 2 fired                        C: the task is cancelled (sticky)
//!  N: this wait ignores C                                 U: undecided: the task has not been queued, and who clears this bit
//!  I: this wait ignores interrupts too (nothing              decides what becomes of it
//!     but its own wakers end it)                          A: it was cancelled alone, not with its scope
//!                                                         H: somebody wants to be told when it is cancelled
//! ```
//!
//! Only the owner takes `wait` from idle or fired to armed; anyone may take it from armed to fired, once. Anyone may set C, A and H, and clear U.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::fence;
use crate::shim::{AtomicU8, AtomicU16, AtomicU32};

/// Why a wait ended. Small numbers are the waiting operation's own (the index of a select's arm, say).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cause(pub(crate) u16);

impl Cause {
    /// The wait's task was cancelled, or a scope or a timeout around it ended it.
    pub(crate) const CANCELLED: Cause = Cause(u16::MAX);
    /// The wait's deadline came.
    pub(crate) const TIMED_OUT: Cause = Cause(u16::MAX - 1);
    /// The thing waited for was closed: the low bits still say which.
    pub(crate) const CLOSED: u16 = 0x4000;
}

const STATE: u32 = 0b11;
const IDLE: u32 = 0;
const ARMED: u32 = 1;
const FIRED: u32 = 2;
const IGNORE_CANCEL: u32 = 1 << 2;
const IGNORE_ALL: u32 = 1 << 3;
const GENERATION_SHIFT: u32 = 4;

const CANCELLED: u8 = 1 << 0;
const UNDECIDED: u8 = 1 << 1;
const ALONE: u8 = 1 << 2;
const WATCHED: u8 = 1 << 3;

/// Numbers the waits of one waiter, so that a waker left over from an earlier wait can be told from a current one. (As a ticket is used under a lock that its owner must take before it
/// leaves, 28 bits are more than enough: who meets his own number again has held that lock over 2^28 waits of one task that needs it.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Generation(u32);

/// What may end a wait besides the wakers it registers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heeds {
    /// Cancellation of the task, interrupts, deadlines.
    Everything,
    /// Interrupts of the innermost shielded level, but not the cancellation of the task.
    Interrupts,
    /// Nothing else.
    Nothing,
}

/// What a cancellation met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    /// It was cancelled before: nothing is to be done.
    Cancelled,
    /// It waited and has been fired: the canceller owes it a wake.
    Waiting,
    /// It has not been queued: whoever wins `decide` is to queue it.
    Undecided,
    /// It runs, or waits for something that cancellation does not end, or has not started, or has ended; or it is just beginning a wait, and the canceller must make sure that
    /// one of the two learns of the other (`README.md`, race 4).
    Busy,
}

pub(crate) struct Word {
    wait: AtomicU32,
    /// Why the wait ended. Written by whoever fired it, before the wake; read by the owner, after it.
    cause: AtomicU16,
    marks: AtomicU8,
}

impl Word {
    /// `undecided`: the word of a task that is not queued yet.
    pub(crate) fn new(undecided: bool) -> Word {
        Word { wait: AtomicU32::new(IDLE), cause: AtomicU16::new(0), marks: AtomicU8::new(if undecided { UNDECIDED } else { 0 }) }
    }

    /// Owner: begins a wait. Returns its generation and whether the task has been cancelled. (The canceller may have seen the wait, too.)
    #[inline]
    pub(crate) fn arm(&self, heeds: Heeds) -> (Generation, bool) {
        // Relaxed: nobody else changes it while it is not armed.
        let old = self.wait.load(Ordering::Relaxed);
        debug_assert_ne!(old & STATE, ARMED, "a waiter waits for one thing at a time");
        debug_assert!(!self.is_undecided(), "what runs has been decided on");
        let ignores = match heeds {
            Heeds::Everything => 0,
            Heeds::Interrupts => IGNORE_CANCEL,
            Heeds::Nothing => IGNORE_CANCEL | IGNORE_ALL,
        };
        let generation = (old >> GENERATION_SHIFT).wrapping_add(1) << GENERATION_SHIFT;
        // Release pairs with the Acquire of `fire`: who fires us sees our home and everything else set before we waited.
        self.wait.store(generation | ignores | ARMED, Ordering::Release);
        // Pairs with the canceller's heavy fence, if he is on another thread and we have not settled yet (README, race 4).
        fence::light();
        // Acquire pairs with the Release of `cancel`.
        (Generation(generation), self.marks.load(Ordering::Acquire) & CANCELLED != 0)
    }

    /// Anyone: ends the wait `generation` with `cause`, if it has not ended. The one that gets `true` owes the waiter its wake.
    #[inline]
    pub(crate) fn fire(&self, generation: Generation, cause: Cause) -> bool {
        self.fire_if(cause, |seen| seen >> GENERATION_SHIFT == generation.0 >> GENERATION_SHIFT)
    }

    /// Anyone who has marked the task cancelled, or knows it to be: ends its present wait if that heeds cancellation. `true`: a wake is owed.
    pub(crate) fn end_cancelled_wait(&self) -> bool {
        self.fire_if(Cause::CANCELLED, |seen| seen & IGNORE_CANCEL == 0)
    }

    /// The owner's thread, the owner not running: ends its present wait, whichever it is, if that heeds interrupts. `true`: a wake is owed.
    pub(crate) fn interrupt(&self) -> bool {
        self.fire_if(Cause::CANCELLED, |seen| seen & IGNORE_ALL == 0)
    }

    #[inline(always)]
    fn fire_if(&self, cause: Cause, condition: impl Fn(u32) -> bool) -> bool {
        let mut seen = self.wait.load(Ordering::Relaxed);
        while seen & STATE == ARMED && condition(seen) {
            // Acquire pairs with the Release of `arm`. Release is not needed: what the waker hands over travels with the wake.
            match self.wait.compare_exchange_weak(seen, seen & !STATE | FIRED, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    // Relaxed: it travels with the wake, too.
                    self.cause.store(cause.0, Ordering::Relaxed);
                    return true;
                }
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Anyone: marks the task cancelled for good and ends its present wait, if there is one to be seen and it heeds cancellation. The flag that comes back says whether somebody wants to be told.
    pub(crate) fn cancel(&self, alone: bool) -> (Met, bool) {
        let bits = if alone { CANCELLED | ALONE } else { CANCELLED };
        let mut seen = self.marks.load(Ordering::Relaxed);
        loop {
            if seen & CANCELLED != 0 {
                // The first canceller has set A as it wanted it, and made known what it had to.
                return (Met::Cancelled, false);
            }
            // Release pairs with the Acquire of `is_cancelled` and `arm`, so that who sees C sees what came before it; Acquire with that of `watch` and `decide`.
            match self.marks.compare_exchange_weak(seen, seen | bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        let met = if seen & UNDECIDED != 0 {
            Met::Undecided
        } else if self.end_cancelled_wait() {
            Met::Waiting
        } else {
            Met::Busy
        };
        (met, seen & WATCHED != 0)
    }

    /// Anyone: from now on the canceller is asked to tell. `false`: the task is cancelled already.
    pub(crate) fn watch(&self) -> bool {
        // AcqRel: as in `cancel`, on either side of it.
        self.marks.fetch_or(WATCHED, Ordering::AcqRel) & CANCELLED == 0
    }

    /// Anyone: claims the right to decide what becomes of a task that is not queued yet.
    pub(crate) fn decide(&self) -> bool {
        // Relaxed: a look that spares the read-modify-write where there is nothing to decide.
        if self.marks.load(Ordering::Relaxed) & UNDECIDED == 0 {
            return false;
        }
        // AcqRel: what was done with the task before is seen by the one who decides.
        self.marks.fetch_and(!UNDECIDED, Ordering::AcqRel) & UNDECIDED != 0
    }

    /// Whether nobody has decided yet.
    pub(crate) fn is_undecided(&self) -> bool {
        // Relaxed: out of date at once.
        self.marks.load(Ordering::Relaxed) & UNDECIDED != 0
    }

    /// Whether it was cancelled, and that alone.
    pub(crate) fn is_cancelled_alone(&self) -> bool {
        // Acquire as in `is_cancelled`.
        self.marks.load(Ordering::Acquire) & ALONE != 0
    }

    /// Whether the task was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        // Acquire pairs with the Release of `cancel`.
        self.marks.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Owner, after its wake: the cause of the wait that ended.
    #[inline]
    pub(crate) fn cause(&self) -> Cause {
        debug_assert_eq!(self.wait.load(Ordering::Relaxed) & STATE, FIRED, "woken without having been fired");
        // Relaxed: the wake that brought us here came after the firing.
        Cause(self.cause.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.wait.load(Ordering::Relaxed);
        let state = ["idle", "armed", "fired", "?"][(seen & STATE) as usize];
        f.debug_struct("Word")
            .field("state", &state)
            .field("generation", &(seen >> GENERATION_SHIFT))
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
