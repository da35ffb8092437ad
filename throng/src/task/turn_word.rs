//! The word that says whose turn it is with a coroutine, and how many wakers refer to it. `turns.rs` tells the protocol and names the invariants (T1 to T3).
//!
//! ```text
//!   31            3    2     1   0             B: it is being polled, or in a queue where it was put by whoever made it or by itself
//!  +----------------+-----+---+---+            N: it has been woken since its last turn began
//!  |     wakers     |ENDED| N | B |
//!  +----------------+-----+---+---+
//! ```
//! Who frees is settled together with the flags of a lock, the `join` lock of the task: the methods that take it do that part, too.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::lock::SpinLock;
use crate::shim::AtomicU32;

const BUSY: u32 = 1;
const NOTIFIED: u32 = 1 << 1;
const ENDED: u32 = 1 << 2;
const WAKER: u32 = 1 << 3;

/// The flag of the lock: there are wakers of the coroutine, or were.
pub(super) const WAKERS: u32 = 1 << 12;

/// Where a wake has found a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// It waited: the caller is to queue it.
    Due,
    /// It is, or is being, queued: its next turn sees what the waker did before.
    Queued,
    /// It is being polled, or is in a queue without having been woken.
    Taken,
}

pub(super) struct TurnWord(AtomicU32);

impl TurnWord {
    /// That of a coroutine which is about to be queued for its first turn.
    pub(super) fn new() -> TurnWord {
        TurnWord(AtomicU32::new(BUSY))
    }

    /// A turn begins.
    #[inline]
    pub(super) fn begin(&self) {
        // Relaxed: a wake that is missed here is found by `pause`.
        let seen = self.0.load(Ordering::Relaxed);
        if seen & NOTIFIED != 0 {
            // Acquire pairs with the Release of `notify`: this turn sees what the waker did before.
            if seen & BUSY == 0 {
                self.0.fetch_sub(NOTIFIED - BUSY, Ordering::Acquire)
            } else {
                self.0.fetch_and(!NOTIFIED, Ordering::Acquire)
            };
        }
    }

    /// A turn is over, and the task has not ended. `true`: it was woken meanwhile, and is the caller's to queue. Else it may be gone when this returns.
    #[inline]
    pub(super) fn pause(&self) -> bool {
        // Release pairs with the Acquire of the next `begin` by way of the wake; Acquire with the Release of a wake that came during the turn.
        self.0.fetch_and(!BUSY, Ordering::AcqRel) & NOTIFIED != 0
    }

    /// Notes a wake.
    #[inline]
    pub(super) fn notify(&self) -> Turn {
        // Release pairs with `begin`; Acquire with `pause`: the turn before is over.
        match self.0.fetch_or(NOTIFIED, Ordering::AcqRel) & (BUSY | NOTIFIED) {
            0 => Turn::Due,
            NOTIFIED => Turn::Queued,
            _ => Turn::Taken,
        }
    }

    /// One waker more.
    #[inline]
    pub(super) fn add_waker<T>(&self, join: &SpinLock<T>) {
        // Relaxed: whoever clones one has one, or has the turn.
        let before = self.0.fetch_add(WAKER, Ordering::Relaxed);
        if before >= 1 << 31 {
            // As `Arc` does: so many cannot be there but by leaking them.
            std::process::abort();
        }
        if before < WAKER && join.flags() & WAKERS == 0 {
            // The first, and the turn is not over before we return (T3).
            *join.lock().flags() |= WAKERS;
        }
    }

    /// One waker less. `true`: nobody refers to the task any more, by a waker or by one of the `references` among the flags; the caller is to free it.
    #[inline]
    pub(super) fn drop_waker<T>(&self, join: &SpinLock<T>, references: u32) -> bool {
        // AcqRel: what was done with the other wakers comes before the freeing; and see `end`.
        let before = self.0.fetch_sub(WAKER, Ordering::AcqRel);
        if before / WAKER != 1 || before & ENDED == 0 {
            return false;
        }
        let mut join = join.lock();
        *join.flags() &= !WAKERS;
        // The release of the lock is our last touch, if somebody else is still there.
        *join.flags() & references == 0
    }

    /// The last turn is over, the body gone. The caller still has a reference.
    #[inline]
    pub(super) fn end<T>(&self, join: &SpinLock<T>) {
        // Acquire pairs with the Release of `drop_waker`. Without wakers there will be none (T3), and nobody else cares for the rest of the word.
        let mut wakers = self.0.load(Ordering::Acquire) / WAKER;
        if wakers != 0 {
            // AcqRel: either the last waker sees ENDED, or we see it gone.
            wakers = self.0.fetch_or(ENDED, Ordering::AcqRel) / WAKER;
        }
        if wakers == 0 && join.flags() & WAKERS != 0 {
            *join.lock().flags() &= !WAKERS;
        }
    }
}

impl fmt::Debug for TurnWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: a glance.
        let seen = self.0.load(Ordering::Relaxed);
        f.debug_struct("TurnWord")
            .field("busy", &(seen & BUSY != 0))
            .field("notified", &(seen & NOTIFIED != 0))
            .field("ended", &(seen & ENDED != 0))
            .field("wakers", &(seen / WAKER))
            .finish()
    }
}
