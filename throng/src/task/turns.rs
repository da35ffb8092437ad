//! The turns of a coroutine: who may poll it, who is to queue it, who keeps its memory.
//!
//! A coroutine is a task whose body is a future. It runs in turns: a worker takes it from a queue, polls it, and, unless it is done, leaves it until it is woken. A waker is a
//! counted reference to the task's block, and may be used from anywhere, any number of times, also when the task has ended.
//!
//! ```text
//!   31            3    2     1   0             B: it is being polled, or in a queue where it was put by whoever made it or by itself
//!  +----------------+-----+---+---+            N: it has been woken since its last turn began
//!  |     wakers     |ENDED| N | B |
//!  +----------------+-----+---+---+
//!   (made) ──> B ──begin──> B (polled) ──pause──> 0 ──wake──> N ──begin──> B
//!                           │    ^                                          B, woken: BN; its pause leaves N, and whoever pauses queues it
//!                           └────┘ gives way: queued as it is
//! ```
//! **Who queues.** The wake that finds neither B nor N; or, if N has come during a turn, the pause that ends it. So a coroutine is in one queue at most, and is polled by one worker at a time.
//!
//! **The word** is a type of its own, in `turn_word.rs`.
//!
//! **Who frees.** The flag `WAKERS` of the `join` lock says that wakers may be there. It goes up with the first waker, and stays up until the task has ended and the last
//! one has gone: whoever is later of the two takes it down.
//!
//! Invariants:
//! - T1: the body is touched by the one who has begun a turn, until `pause`; from the end on by the handle (K1).
//! - T2: B is never taken down when the task has ended. So no wake queues it again.
//! - T3: the first waker is made by the borrowed one that a poll is given, so during a turn.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::turn_word::{Turn, TurnWord};
use super::{COROUTINE, Header, REFERENCES, free};
use crate::home::local::{self, Local};
use crate::kind::TaskKind;

/// Where a task is queued: the first thing in whatever queues tasks, with the function that does.
#[repr(C, align(8))]
pub(crate) struct Schedule {
    pub(crate) queue: unsafe fn(NonNull<Header>, NonNull<Schedule>, Why),
}

/// Why a task is queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// It was made, or somebody wants it who was to start it.
    Started,
    /// A coroutine was woken.
    Woken,
}

/// See the module's header.
pub(super) struct Turns {
    word: TurnWord,
    /// Parts of the future that cancellation must not cut off: how many.
    shields: AtomicU32,
    schedule: Place,
}

// A parked coroutine takes its future and 160 bytes at most: these, the header, and where it reports.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Turns>() == 16);

/// Where it is queued; and, in the lowest bit, that it waits for nothing but its next turn. The bit is written by the one whose turn it is (T1), the rest never; so all of it is
/// Relaxed.
struct Place(AtomicPtr<Schedule>);

const GIVES_WAY: usize = 1;

impl Place {
    fn schedule(&self) -> NonNull<Schedule> {
        let place = self.0.load(Ordering::Relaxed).map_addr(|address| address & !GIVES_WAY);
        // SAFETY: never null.
        unsafe { NonNull::new_unchecked(place) }
    }

    fn give_way(&self) {
        let place = self.0.load(Ordering::Relaxed);
        self.0.store(place.map_addr(|address| address | GIVES_WAY), Ordering::Relaxed);
    }

    /// Whether it gives way. It does so once.
    #[inline]
    fn take_gives_way(&self) -> bool {
        let place = self.0.load(Ordering::Relaxed);
        let gives_way = place.addr() & GIVES_WAY != 0;
        if gives_way {
            self.0.store(place.map_addr(|address| address & !GIVES_WAY), Ordering::Relaxed);
        }
        gives_way
    }
}

/// A coroutine, whatever its future.
#[repr(C)]
struct Coroutine {
    header: Header,
    turns: Turns,
}

impl Turns {
    pub(super) fn new(schedule: NonNull<Schedule>) -> Turns {
        Turns { word: TurnWord::new(), shields: AtomicU32::new(0), schedule: Place(AtomicPtr::new(schedule.as_ptr())) }
    }

    /// A turn begins.
    #[inline]
    pub(super) fn begin(&self) {
        self.word.begin();
    }

    /// A turn is over, and the task has not ended. `true`: it was woken meanwhile, or gives way, and is the caller's to queue. Else it may be gone when this returns.
    #[inline]
    fn pause(&self) -> bool {
        // Who gives way keeps B, so whoever wakes it meanwhile does not queue it.
        self.schedule.take_gives_way() || self.word.pause()
    }

    /// Its turn is to be followed by another one.
    #[cold]
    pub(super) fn wake_itself(&self) {
        let turn = self.word.notify();
        debug_assert_eq!(turn, Turn::Taken, "it has the turn");
    }

    /// Whether a part of it is shielded.
    pub(super) fn is_shielded(&self) -> bool {
        // Relaxed: changed by its own turns; a part that has moved elsewhere says so when it likes.
        self.shields.load(Ordering::Relaxed) != 0
    }
}

impl Header {
    /// The turns of a coroutine.
    fn turns(&self) -> Option<&Turns> {
        if self.join.flags() & COROUTINE == 0 {
            return None;
        }
        let coroutine: *const Coroutine = std::ptr::from_ref(self).cast();
        // SAFETY: the flag says that the header is a coroutine's, whose turns follow it.
        Some(unsafe { &(*coroutine).turns })
    }

    /// Whether it is a coroutine.
    pub(crate) fn is_coroutine(&self) -> bool {
        self.join.flags() & COROUTINE != 0
    }

    pub(crate) fn kind(&self) -> TaskKind {
        if self.is_coroutine() { TaskKind::Coroutine } else { TaskKind::Goroutine }
    }

    /// A coroutine is to have another turn. The caller knows it to be there. `true`: it may be in a turn just now.
    pub(crate) fn wake_coroutine(&self) -> bool {
        let Some(turns) = self.turns() else { return false };
        let turn = turns.word.notify();
        if turn == Turn::Due {
            let schedule = turns.schedule.schedule();
            // SAFETY: it has not ended (T2), so its schedule is there.
            let queue = unsafe { schedule.as_ref() }.queue;
            // SAFETY: `notify` has made it ours to queue.
            unsafe { queue(NonNull::from(self), schedule, Why::Woken) };
        }
        turn == Turn::Taken
    }

    /// Its last turn is over, its future gone. Still with the runtime's reference.
    #[inline]
    pub(crate) fn end_turns(&self) {
        if let Some(turns) = self.turns() {
            turns.word.end(&self.join);
        }
    }
}

/// A coroutine's turn is over, and it has not ended. `true`: it is the caller's to queue. Else it may be gone, or another worker may have it.
///
/// # Safety
/// The turn is the caller's.
#[inline]
pub(crate) unsafe fn pause(task: NonNull<Header>) -> bool {
    // SAFETY: by contract it is alive.
    let turns = unsafe { &(*task.cast::<Coroutine>().as_ptr()).turns };
    turns.pause()
}

/// Queues a coroutine that has been paused and is to have another turn, where it belongs.
///
/// # Safety
/// The coroutine is the caller's to queue.
pub(crate) unsafe fn queue_again(task: NonNull<Header>) {
    // SAFETY: by contract it is alive.
    let turns = unsafe { &(*task.cast::<Coroutine>().as_ptr()).turns };
    let schedule = turns.schedule.schedule();
    // SAFETY: it has not ended, so its schedule is there.
    let queue = unsafe { schedule.as_ref() }.queue;
    // SAFETY: by contract.
    unsafe { queue(task, schedule, Why::Woken) };
}

// Wakers.

static WAKER_VTABLE: RawWakerVTable = RawWakerVTable::new(clone_waker, wake, wake_by_ref, drop_waker);

/// The waker that a poll is given: borrowed, not counted.
#[inline]
pub(super) fn borrowed_waker(task: NonNull<Header>) -> ManuallyDrop<Waker> {
    // SAFETY: the table's functions keep the contract of wakers; this one is not counted, so never dropped, and not used after the turn.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(task.as_ptr().cast(), &WAKER_VTABLE)) })
}

/// # Safety
/// A waker's pointer.
unsafe fn coroutine<'a>(waker: *const ()) -> &'a Coroutine {
    // SAFETY: by contract it is a coroutine's, which the waker keeps.
    unsafe { &*waker.cast::<Coroutine>() }
}

unsafe fn clone_waker(waker: *const ()) -> RawWaker {
    // SAFETY: by contract.
    let coroutine = unsafe { coroutine(waker) };
    coroutine.turns.word.add_waker(&coroutine.header.join);
    RawWaker::new(waker, &WAKER_VTABLE)
}

unsafe fn wake(waker: *const ()) {
    // SAFETY: by contract.
    unsafe { wake_by_ref(waker) };
    // SAFETY: by contract.
    unsafe { drop_waker(waker) };
}

unsafe fn wake_by_ref(waker: *const ()) {
    // SAFETY: by contract.
    unsafe { coroutine(waker) }.header.wake_coroutine();
}

unsafe fn drop_waker(waker: *const ()) {
    // SAFETY: by contract.
    let coroutine = unsafe { coroutine(waker) };
    let task = NonNull::from(coroutine).cast::<Header>();
    if coroutine.turns.word.drop_waker(&coroutine.header.join, REFERENCES) {
        // SAFETY: nobody refers to it any more.
        unsafe { free(task) };
    }
}

/// The coroutine whose turn it is on this thread, if one has it.
fn current(local: &Local) -> Option<NonNull<Header>> {
    if local.is_thread() {
        return None;
    }
    let task = Header::of_waiter(NonNull::from(local.current()));
    // SAFETY: not the thread's own waiter, so a task's, which runs.
    unsafe { task.as_ref() }.is_coroutine().then_some(task)
}

/// Whether this waker wakes the running coroutine, and nobody in between: whoever polls with another one may block the thread until it is woken.
#[inline]
pub(crate) fn wakes_current(waker: &Waker, local: &Local) -> bool {
    std::ptr::eq(waker.vtable(), &WAKER_VTABLE) && current(local).is_some_and(|task| std::ptr::eq(waker.data(), task.as_ptr().cast()))
}

/// The running coroutine, if it is the one that this waker wakes, is to have its next turn after those that are queued. `false`: whoever the waker is of has to be woken.
pub(crate) fn gives_way(waker: &Waker, local: &Local) -> bool {
    let ours = wakes_current(waker, local);
    if ours {
        // SAFETY: its table says that it is a coroutine's; and it has the turn.
        unsafe { coroutine(waker.data()) }.turns.schedule.give_way();
    }
    ours
}

/// A part of a coroutine's future that must not be cut off when the task is cancelled. Keeps the task's block.
pub(crate) struct ShieldedPart(Waker);

impl ShieldedPart {
    /// For a part of the coroutine that runs on this thread, if one does.
    pub(crate) fn of_current() -> Option<ShieldedPart> {
        let task = local::with(current)?;
        let part = ShieldedPart(Waker::clone(&borrowed_waker(task)));
        // Relaxed: as in `is_shielded`.
        part.count().fetch_add(1, Ordering::Relaxed);
        Some(part)
    }

    /// Whether it is that of the coroutine that runs on this thread.
    pub(crate) fn is_of_current(&self) -> bool {
        local::with(current).is_some_and(|task| std::ptr::eq(self.0.data(), task.as_ptr().cast()))
    }

    fn count(&self) -> &AtomicU32 {
        // SAFETY: made from a waker with our table only.
        &unsafe { coroutine(self.0.data()) }.turns.shields
    }
}

impl Drop for ShieldedPart {
    fn drop(&mut self) {
        // Relaxed: as in `is_shielded`.
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for ShieldedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShieldedPart").finish_non_exhaustive()
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").finish_non_exhaustive()
    }
}
