//! The ends of a channel: who refers to it, counted side by side, after the counter under `std::sync::mpmc`.
//!
//! ```text
//!   Sender, Sender    ──> senders: 2 ─┐
//!                                     ├─ gone: has one side left? ──> the channel
//!   Receiver          ──> receivers: 1 ┘
//! ```
//! The counts of the two sides are at the same time the counts of references: cloning an end is one read-modify-write, and dropping it another. The last end of a side closes the channel and sets
//! `gone`; the side that finds `gone` set is the second, and frees the channel.
//!
//! Invariant E1: an end counts in its side's count as long as it exists, and the channel exists until both counts have come to zero.

use std::marker::PhantomData;
use std::ops::Deref;
use std::process::abort;
use std::ptr::NonNull;

use super::shared::Shared;
use crate::memory::Pooled;
use crate::shim::{AtomicBool, AtomicUsize, Ordering};

/// What the ends refer to.
struct Channel<T> {
    senders: AtomicUsize,
    receivers: AtomicUsize,
    gone: AtomicBool,
    shared: Shared<T>,
}

/// One of the two sides.
pub(crate) trait Side: Sized {
    fn count<T>(end: &End<T, Self>) -> &AtomicUsize;

    /// The last end of this side goes.
    fn close<T>(shared: &Shared<T>);
}

/// The sending side: without it nothing more comes.
pub(crate) struct ToSend;

/// The receiving side: without it nobody wants what is there.
pub(crate) struct ToReceive;

impl Side for ToSend {
    #[inline]
    fn count<T>(end: &End<T, ToSend>) -> &AtomicUsize {
        &end.channel().senders
    }

    fn close<T>(shared: &Shared<T>) {
        shared.close();
    }
}

impl Side for ToReceive {
    #[inline]
    fn count<T>(end: &End<T, ToReceive>) -> &AtomicUsize {
        &end.channel().receivers
    }

    fn close<T>(shared: &Shared<T>) {
        shared.abandon();
    }
}

/// A counted reference to a channel.
pub(crate) struct End<T, S: Side> {
    channel: NonNull<Channel<T>>,
    side: PhantomData<(Pooled<Channel<T>>, S)>,
}

// SAFETY: it refers to what is `Sync` if items are `Send`, and may drop it, with the items, on any thread.
unsafe impl<T: Send, S: Side> Send for End<T, S> {}
// SAFETY: as above; what an end does by a shared reference it does on atomics and on the channel.
unsafe impl<T: Send, S: Side> Sync for End<T, S> {}

/// A new channel's two ends.
pub(super) fn ends<T>(shared: Shared<T>) -> (End<T, ToSend>, End<T, ToReceive>) {
    let channel = Channel { senders: AtomicUsize::new(1), receivers: AtomicUsize::new(1), gone: AtomicBool::new(false), shared };
    let channel = Pooled::new(channel).into_raw();
    (End { channel, side: PhantomData }, End { channel, side: PhantomData })
}

impl<T, S: Side> End<T, S> {
    #[inline]
    fn channel(&self) -> &Channel<T> {
        // SAFETY: E1.
        unsafe { self.channel.as_ref() }
    }

    /// Whether both refer to the same channel.
    pub(super) fn is_of_same(&self, other: &End<T, S>) -> bool {
        self.channel == other.channel
    }
}

impl<T, S: Side> Deref for End<T, S> {
    type Target = Shared<T>;

    #[inline]
    fn deref(&self) -> &Shared<T> {
        &self.channel().shared
    }
}

impl<T, S: Side> Clone for End<T, S> {
    #[inline]
    fn clone(&self) -> End<T, S> {
        // Relaxed: who clones an end has one.
        let count = S::count(self).fetch_add(1, Ordering::Relaxed);
        if count > isize::MAX as usize {
            // As in `Arc`: so many can only have been forgotten, and the count must not come round to zero.
            abort();
        }
        End { channel: self.channel, side: PhantomData }
    }
}

impl<T, S: Side> Drop for End<T, S> {
    #[inline]
    fn drop(&mut self) {
        // AcqRel: what the other ends of this side did comes before the closing.
        if S::count(self).fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        S::close(self);
        // AcqRel: what this side did comes before the freeing, whichever side is the second.
        if self.channel().gone.swap(true, Ordering::AcqRel) {
            // SAFETY: E1: both counts are zero, so nobody refers to it, and only the second side comes here.
            drop(unsafe { Pooled::from_raw(self.channel) });
        }
    }
}
