//! A spin lock that comes to favour a thread: after a long run of one thread's taking it, that thread takes it without an atomic read-modify-write, until another one wants it. Known as biased locking. The first that is favoured
//! is the only one that ever is.
//!
//! Where both ends of a channel live on one worker, which is where the scheduler brings those that talk to each other, all of its lock's traffic comes from one thread. The read-modify-writes were a sixth of what a rendezvous cost,
//! and half of what an item in a buffer cost.
//!
//! | word | written by | says |
//! |---|---|---|
//! | `favoured` | the one that holds `guests` | the number of the thread that need not take `guests`, or nobody's |
//! | `inside` | the thread that is, or was, favoured | it has the lock, or is looking whether it may |
//! | `guests` | everybody else | a spin lock |
//! | `flags` | the one that has the lock | as in `lock.rs` |
//! | `habit` | the one that holds `guests` | who took the lock last, and how often in a row; who was favoured first |
//!
//! **The favoured thread**, which has found its number in `favoured`: (1) `inside` := true; (2) light fence; (3) reads `favoured` again: if that is still its number, the lock is its own until (4) `inside` := false. Else (5) `inside` := false, and it is a guest.
//!
//! **A guest**: (a) takes `guests`; (b) if a thread is favoured, `favoured` := nobody's; (c) heavy fence; (d) waits until `inside` is false. The lock is its own until (e) it releases `guests`. If it has come long enough in a row, it sets `favoured` to its own number before.
//!
//! **Why they exclude each other.** Guests: by `guests`. A guest and the favoured thread: 1, 2, 3 and b, c, d are the two sides of `fence.rs`. Either 3 sees b, and the thread turns back, or d sees 1, and the guest waits. Only the thread itself makes itself the
//! favoured one, as a guest, so what 3 finds is never another favour than the one that was asked about in the meantime. What one wrote the next one sees: 4 and 5 pair with d, e with a; and who is favoured has held `guests` itself since anybody else was inside.
//!
//! **Why nobody else is ever favoured.** A thread may be late: it has found its number, and comes to 1 and 5 when its favour has ended long ago. If there were another favourite by then, 5 would say that it is not inside, though it
//! may be. (So it was once; the model `loom_late_favourite` shows it.) Goroutines do not change threads, so the favourite of a channel seldom
//! should. Where it does (an end was handed on, a coroutine has moved), the lock is one like any other.
//!
//! **What a favour costs** is paid when it ends: up to 20 µs (`fence.rs`). So it takes a run of thousands to be favoured, and twice as many each time.

use std::cell::Cell;
use std::fmt;

use crate::fence;
use crate::lock::{SpinLock, Word};
use crate::shim::{AtomicBool, AtomicU32, LockWord, Ordering, UnsafeCell, spin_until};

/// A lock with such a word.
pub(crate) type BiasedLock<T> = SpinLock<T, Bias>;
#[cfg(not(loom))]
pub(crate) type Bias = BiasedWord;
/// In the models of those who use it, it is a plain one: its own models are below.
#[cfg(loom)]
pub(crate) type Bias = LockWord;

/// So many times in a row makes a thread the favoured one. What it saves in another such run is about what the end of it costs.
const FIRST_RUN: u32 = 4096;

/// The number of no thread: nobody is favoured.
const NOBODY: u32 = u32::MAX;
/// The number of a thread that has none yet, and of all those that come when there are no numbers left. None of them is ever favoured.
const NAMELESS: u32 = 0;

/// See the module's header.
pub struct BiasedWord {
    favoured: AtomicU32,
    inside: AtomicBool,
    flags: AtomicU32,
    guests: LockWord,
    habit: UnsafeCell<Habit>,
}

#[derive(Debug)]
struct Habit {
    last: u32,
    run: u32,
    /// How long a run must be.
    wanted: u32,
    /// The thread that was favoured first.
    first: u32,
}

/// The lowest bit of the flags that `acquire` returns: the lock was taken by the favoured thread as such.
const AS_FAVOURED: u32 = 1;

// SAFETY: `habit` is guarded by `guests`.
unsafe impl Sync for BiasedWord {}

thread_local!(static NUMBER: Cell<u32> = const { Cell::new(NAMELESS) });

/// The number of the running thread.
fn me() -> u32 {
    static LAST: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(NAMELESS);
    if NUMBER.get() == NAMELESS {
        // Relaxed: nothing but the number.
        let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| (last + 1 < NOBODY).then_some(last + 1));
        NUMBER.set(before.map_or(NAMELESS, |before| before + 1));
    }
    NUMBER.get()
}

impl Word for BiasedWord {
    fn new(flags: u32) -> BiasedWord {
        BiasedWord {
            favoured: AtomicU32::new(NOBODY),
            inside: AtomicBool::new(false),
            flags: AtomicU32::new(flags),
            guests: LockWord::new(0),
            habit: UnsafeCell::new(Habit { last: NOBODY, run: 0, wanted: FIRST_RUN, first: NOBODY }),
        }
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        // Acquire pairs with the Release of `release`.
        self.flags.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn acquire(&self) -> u32 {
        let as_favoured = self.enter_as_favoured(NUMBER.get());
        if !as_favoured {
            self.enter_as_guest(me);
        }
        // Relaxed: written by those who had the lock.
        self.flags.load(Ordering::Relaxed) | u32::from(as_favoured)
    }

    #[inline(always)]
    fn release(&self, flags: u32) {
        // Release pairs with the Acquire of `flags`.
        self.flags.store(flags & !AS_FAVOURED, Ordering::Release);
        if flags & AS_FAVOURED != 0 {
            // 4. Release pairs with the Acquire of d.
            self.inside.store(false, Ordering::Release);
        } else {
            // e.
            self.guests.release(0);
        }
    }
}

impl BiasedWord {
    /// `true`: the lock is held.
    #[inline(always)]
    fn enter_as_favoured(&self, me: u32) -> bool {
        // Relaxed: a look whether it is worth trying.
        if self.favoured.load(Ordering::Relaxed) != me {
            return false;
        }
        // 1. Relaxed: ordered by the fence.
        self.inside.store(true, Ordering::Relaxed);
        // 2.
        fence::light_for_sure();
        // 3. Relaxed: if it is our number, it is we who wrote it.
        if self.favoured.load(Ordering::Relaxed) == me {
            return true;
        }
        // 5. Release pairs with the Acquire of d.
        self.inside.store(false, Ordering::Release);
        false
    }

    #[inline(never)]
    fn enter_as_guest(&self, me: impl FnOnce() -> u32) {
        // a.
        self.guests.acquire();
        // Relaxed: changed under `guests`.
        if self.favoured.load(Ordering::Relaxed) != NOBODY {
            self.end_favour();
        }
        let me = me();
        let favour = self.with_habit(|habit| {
            if habit.last != me {
                (habit.last, habit.run) = (me, 0);
            }
            habit.run += 1;
            habit.run > habit.wanted
        });
        if favour {
            self.favour(me);
        }
    }

    #[inline(always)]
    fn with_habit<R>(&self, f: impl FnOnce(&mut Habit) -> R) -> R {
        self.habit.with_mut(|habit| {
            // SAFETY: the callers hold `guests`, and `f` does not come back here.
            f(unsafe { &mut *habit })
        })
    }

    #[cold]
    fn favour(&self, me: u32) {
        let first = self.with_habit(|habit| {
            habit.run = 0;
            if habit.first == NOBODY {
                habit.first = me;
            }
            habit.first
        });
        if first == me && me != NAMELESS && fence::is_light_cheap() {
            // Relaxed: others read it under `guests`.
            self.favoured.store(me, Ordering::Relaxed);
        }
    }

    #[cold]
    fn end_favour(&self) {
        // b. Relaxed: ordered by the fence.
        self.favoured.store(NOBODY, Ordering::Relaxed);
        // c.
        fence::heavy();
        // d. Acquire pairs with the Release of 4 and 5.
        spin_until(|| !self.inside.load(Ordering::Acquire));
        self.with_habit(|habit| habit.wanted = habit.wanted.saturating_mul(2).min(u32::MAX - 1));
    }
}

impl fmt::Debug for BiasedWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BiasedWord").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::hint::{black_box, spin_loop};
    use std::sync::atomic::AtomicU64;
    use std::thread;

    fn favoured(word: &BiasedWord) -> u32 {
        word.favoured.load(Ordering::Relaxed)
    }

    #[test]
    fn a_run_makes_a_thread_the_favoured_one_and_a_guest_ends_it() {
        fence::prepare();
        let word = BiasedWord::new(0);
        let take = |times: u32| {
            for _ in 0..times {
                word.release(word.acquire());
            }
            me()
        };
        take(FIRST_RUN);
        assert_eq!(favoured(&word), NOBODY);
        take(1);
        if fence::is_light_cheap() {
            assert_eq!(favoured(&word), me());
            assert_eq!(word.acquire(), AS_FAVOURED);
            word.release(2 | AS_FAVOURED);
            assert_eq!(word.flags(), 2, "written by the favoured one, seen by all");
        }
        thread::scope(|scope| {
            let other = scope.spawn(|| take(1)).join().unwrap();
            assert_ne!(other, me());
            assert_eq!(favoured(&word), NOBODY);
        });
        take(2 * FIRST_RUN);
        assert_eq!(favoured(&word), NOBODY, "the second time it takes twice as long");
        take(1);
        assert_eq!(favoured(&word), if fence::is_light_cheap() { me() } else { NOBODY });
        if fence::is_light_cheap() {
            thread::scope(|scope| _ = scope.spawn(|| take(10 * FIRST_RUN)).join().unwrap());
            assert_eq!(favoured(&word), NOBODY, "nobody but the first");
        }
    }

    /// Slowly, so that one who should not be inside at the same time is noticed.
    fn count(lock: &BiasedLock<u64>) {
        let mut value = lock.lock();
        let seen = black_box(*value);
        (0..50).for_each(|_| spin_loop());
        *value = seen + 1;
    }

    /// A thread that takes the lock all the time, and becomes the favoured one again and again, and others that come now and then: what they count fits only if they exclude each other.
    #[test]
    fn the_favoured_thread_and_guests_exclude_each_other() {
        fence::prepare();
        let lock = BiasedLock::new(0_u64);
        let (by_guests, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (mut rounds, mut favours) = (0, 0);
        set_wanted(lock.word(), 16);
        // The first to be favoured, so the only one.
        for _ in 0..=16 {
            rounds += 1;
            count(&lock);
        }
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        count(&lock);
                        by_guests.fetch_add(1, Ordering::Relaxed);
                        // The other one has its run.
                        (0..2000).for_each(|_| spin_loop());
                    }
                });
            }
            // However long it takes until the others have come in between.
            while rounds < 100_000 || fence::is_light_cheap() && favours < 10 {
                rounds += 1;
                let before = favoured(lock.word());
                count(&lock);
                if before != me() && favoured(lock.word()) == me() {
                    favours += 1;
                    // It is earned as easily the next time.
                    set_wanted(lock.word(), 16);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(*lock.lock(), rounds + by_guests.into_inner());
    }

    /// A run of that many makes the next favourite.
    fn set_wanted(word: &BiasedWord, wanted: u32) {
        word.guests.acquire();
        word.with_habit(|habit| habit.wanted = wanted);
        word.guests.release(0);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// What the lock guards, and the lock: it favours thread 1 after `run` times in a row.
    struct Guarded {
        word: BiasedWord,
        value: UnsafeCell<u32>,
    }

    // SAFETY: what is to be shown.
    unsafe impl Sync for Guarded {}

    impl Guarded {
        fn new(run: u32, favoured: u32) -> Arc<Guarded> {
            let word = BiasedWord::new(0);
            word.with_habit(|habit| (habit.wanted, habit.first) = (run, favoured));
            word.favoured.store(favoured, Ordering::Relaxed);
            Arc::new(Guarded { word, value: UnsafeCell::new(0) })
        }

        /// With the lock held by thread `me`. Returns how it was taken.
        fn with(&self, me: u32, f: impl FnOnce(&mut u32)) -> u32 {
            let as_favoured = self.word.enter_as_favoured(me);
            if !as_favoured {
                self.word.enter_as_guest(|| me);
            }
            self.value.with_mut(|value| {
                // SAFETY: the lock is held, if it is one; loom looks.
                f(unsafe { &mut *value });
            });
            let flags = u32::from(as_favoured);
            self.word.release(flags);
            flags
        }

        fn count(&self, me: u32) -> u32 {
            self.with(me, |value| *value += 1)
        }

        fn total(&self, me: u32) -> u32 {
            let mut total = 0;
            self.with(me, |value| total = *value);
            total
        }
    }

    /// A favoured thread that comes and goes, and a guest that ends its favour.
    #[test]
    fn loom_favoured_and_guest() {
        loom::model(|| {
            let guarded = Guarded::new(100, 1);
            let guest = {
                let guarded = Arc::clone(&guarded);
                thread::spawn(move || guarded.count(2))
            };
            for _ in 0..2 {
                guarded.count(1);
            }
            assert_eq!(guest.join().unwrap(), 0, "as a guest");
            assert_eq!(guarded.total(1), 3);
        });
    }

    /// Two guests, the second of which may come while the first one is ending the favour, or after.
    #[test]
    fn loom_favoured_and_two_guests() {
        loom::model(|| {
            let guarded = Guarded::new(100, 1);
            let guests = [2, 3].map(|number| {
                let guarded = Arc::clone(&guarded);
                thread::spawn(move || guarded.count(number))
            });
            guarded.count(1);
            for guest in guests {
                guest.join().unwrap();
            }
            assert_eq!(guarded.total(1), 3);
        });
    }

    /// One that was favoured comes late: it has seen that it is, and not yet that it is no longer, while another one has had a run that makes a favourite.
    #[test]
    fn loom_late_favourite() {
        loom::model(|| {
            let guarded = Guarded::new(1, 1);
            let other = {
                let guarded = Arc::clone(&guarded);
                thread::spawn(move || {
                    for _ in 0..4 {
                        guarded.count(2);
                    }
                })
            };
            guarded.count(1);
            other.join().unwrap();
            assert_eq!(guarded.total(1), 5);
        });
    }

    /// Two threads that become the favoured one by habit, against each other.
    #[test]
    fn loom_favour_changes() {
        loom::model(|| {
            let guarded = Guarded::new(1, NOBODY);
            let other = {
                let guarded = Arc::clone(&guarded);
                thread::spawn(move || {
                    for _ in 0..3 {
                        guarded.count(2);
                    }
                })
            };
            for _ in 0..3 {
                guarded.count(1);
            }
            other.join().unwrap();
            assert_eq!(guarded.total(1), 6);
        });
    }
}
