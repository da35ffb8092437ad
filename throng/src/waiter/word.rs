//! The waiter word: who ended the wait, decided once. The protocol is told in `README.md` beside this file.
//!
//! ```text
//!  63                          24 23        8   7   6   5   4   3   2  1 0
//! +------------------------------+-----------+---+---+---+---+---+---+-----+
//! |          generation          |   cause   | H | A | U | I | N | C |state|
//! +------------------------------+-----------+---+---+---+---+---+---+-----+
//!  state: 0 idle, 1 armed, 2 fired      C: the task is cancelled (sticky)
//!  N: this wait ignores C               I: this wait ignores interrupts too (nothing but its own wakers end it)
//!  U: undecided: the task has not been queued, and who clears this bit decides what becomes of it
//!  A: it was cancelled alone, not with its scope      H: somebody wants to be told when it is cancelled
//! ```
//!
//! Only the owner takes the word from idle or fired to armed; anyone may take it from armed to fired, once; anyone may set C, A and H, and clear U.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::shim::AtomicU64;

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

const STATE: u64 = 0b11;
const IDLE: u64 = 0;
const ARMED: u64 = 1;
const FIRED: u64 = 2;
const CANCELLED: u64 = 1 << 2;
const IGNORE_CANCEL: u64 = 1 << 3;
const IGNORE_ALL: u64 = 1 << 4;
const UNDECIDED: u64 = 1 << 5;
const ALONE: u64 = 1 << 6;
const WATCHED: u64 = 1 << 7;
/// What others set while the word is the owner's. (U is gone before the task runs.)
const OTHERS: u64 = CANCELLED | ALONE | WATCHED;
const CAUSE_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 24;

/// Numbers the waits of one waiter, so that a waker left over from an earlier wait can be told from a current one. Forty bits: at ten
/// million waits a second a waker would have to be thirty hours late to be taken for a current one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Generation(u64);

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
    /// It runs, or waits for something that cancellation does not end, or has not started, or has ended.
    Busy,
}

pub(crate) struct Word(AtomicU64);

impl Word {
    /// `undecided`: the word of a task that is not queued yet.
    pub(crate) fn new(undecided: bool) -> Word {
        Word(AtomicU64::new(if undecided { UNDECIDED } else { IDLE }))
    }

    /// Owner: begins a wait. Returns its generation and whether the task had been cancelled before.
    ///
    /// Nobody else changes an idle or fired word except to set C, A or H, so adding the difference between the old and the new word leaves those as they are
    /// and, being one read-modify-write, is ordered with the canceller's: either we see its bit, or it sees us armed.
    #[inline]
    pub(crate) fn arm(&self, heeds: Heeds) -> (Generation, bool) {
        // Relaxed: apart from those bits, which the addition leaves alone, the word is ours.
        let old = self.0.load(Ordering::Relaxed) & !OTHERS;
        debug_assert_ne!(old & STATE, ARMED, "a waiter waits for one thing at a time");
        debug_assert_eq!(old & UNDECIDED, 0, "what runs has been decided on");
        let ignores = match heeds {
            Heeds::Everything => 0,
            Heeds::Interrupts => IGNORE_CANCEL,
            Heeds::Nothing => IGNORE_CANCEL | IGNORE_ALL,
        };
        let generation = (old >> GENERATION_SHIFT).wrapping_add(1) << GENERATION_SHIFT;
        let new = generation | ignores | ARMED;
        // Release pairs with the Acquire of `fire` and `cancel`: who fires us sees our home and everything else set before we waited.
        let seen = self.0.fetch_add(new.wrapping_sub(old), Ordering::Release);
        (Generation(generation), seen & CANCELLED != 0)
    }

    /// Anyone: ends the wait `generation` with `cause`, if it has not ended. The one that gets `true` owes the waiter its wake.
    #[inline]
    pub(crate) fn fire(&self, generation: Generation, cause: Cause) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & STATE != ARMED || seen >> GENERATION_SHIFT != generation.0 >> GENERATION_SHIFT {
                return false;
            }
            let fired = (seen & !STATE) | FIRED | u64::from(cause.0) << CAUSE_SHIFT;
            // Acquire pairs with the Release of `arm`. Release is not needed: what the waker hands over travels with the wake.
            match self.0.compare_exchange_weak(seen, fired, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Anyone: marks the task cancelled for good and ends its present wait if that heeds cancellation. The flag that comes back says whether somebody wants to be told.
    pub(crate) fn cancel(&self, alone: bool) -> (Met, bool) {
        let bits = if alone { CANCELLED | ALONE } else { CANCELLED };
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & CANCELLED != 0 {
                // The first canceller has set A as it wanted it, and made known what it had to.
                return (Met::Cancelled, false);
            }
            let (mut new, mut met) = (seen | bits, Met::Busy);
            if seen & UNDECIDED != 0 {
                met = Met::Undecided;
            } else if seen & STATE == ARMED && seen & IGNORE_CANCEL == 0 {
                new = (new & !STATE) | FIRED | u64::from(Cause::CANCELLED.0) << CAUSE_SHIFT;
                met = Met::Waiting;
            }
            // Acquire as in `fire`; Release pairs with the Acquire load of `is_cancelled`, so that who sees C sees what came before it.
            match self.0.compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return (met, seen & WATCHED != 0),
                Err(now) => seen = now,
            }
        }
    }

    /// Anyone: from now on the canceller is asked to tell. `false`: the task is cancelled already.
    pub(crate) fn watch(&self) -> bool {
        // AcqRel: as in `cancel`, on either side of it.
        self.0.fetch_or(WATCHED, Ordering::AcqRel) & CANCELLED == 0
    }

    /// Anyone: claims the right to decide what becomes of a task that is not queued yet.
    pub(crate) fn decide(&self) -> bool {
        // Relaxed: a look that spares the read-modify-write where there is nothing to decide.
        if self.0.load(Ordering::Relaxed) & UNDECIDED == 0 {
            return false;
        }
        // AcqRel: what was done with the task before is seen by the one who decides.
        self.0.fetch_and(!UNDECIDED, Ordering::AcqRel) & UNDECIDED != 0
    }

    /// Whether nobody has decided yet.
    pub(crate) fn is_undecided(&self) -> bool {
        // Relaxed: out of date at once.
        self.0.load(Ordering::Relaxed) & UNDECIDED != 0
    }

    /// Whether it was cancelled, and that alone.
    pub(crate) fn is_cancelled_alone(&self) -> bool {
        // Acquire as in `is_cancelled`.
        self.0.load(Ordering::Acquire) & ALONE != 0
    }

    /// The owner's thread, the owner not running: ends its present wait, whichever it is, if that heeds interrupts. `true`: a wake is owed.
    pub(crate) fn interrupt(&self) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        if seen & STATE != ARMED || seen & IGNORE_ALL != 0 {
            return false;
        }
        self.fire(Generation(seen >> GENERATION_SHIFT << GENERATION_SHIFT), Cause::CANCELLED)
    }

    /// Whether the task was cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        // Acquire pairs with the Release of `cancel`.
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Owner, after its wake: the cause of the wait that ended.
    #[inline]
    pub(crate) fn cause(&self) -> Cause {
        // Relaxed: the wake that brought us here came after the firing.
        let seen = self.0.load(Ordering::Relaxed);
        debug_assert_eq!(seen & STATE, FIRED, "woken without having been fired");
        Cause((seen >> CAUSE_SHIFT & 0xffff) as u16)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.0.load(Ordering::Relaxed);
        let state = ["idle", "armed", "fired", "?"][(seen & STATE) as usize];
        f.debug_struct("Word")
            .field("state", &state)
            .field("generation", &(seen >> GENERATION_SHIFT))
            .field("cancelled", &(seen & CANCELLED != 0))
            .finish()
    }
}
