//! A lock whose owner, a thread, takes it all the time, while others (guests) want it now and then: the owner neither executes an atomic read-modify-write nor a fence.
//!
//! Like [`SpinLock`](crate::lock::SpinLock) it guards a few loads and stores, never user code and never a park.
//!
//! | word | written by | says |
//! |---|---|---|
//! | `inside` | the owner | it has the lock, or is looking whether it may |
//! | `request` | the guest that holds `guests` | 0, or the ticket of the guest that has the lock or wants it |
//! | `granted` | the owner | the last ticket in favour of which it stands back |
//! | `guests` | guests | a spin lock: one guest at a time |
//!
//! **The owner**: (1) `inside` := true; (2) light fence; (3) reads `request`: if it is 0, the lock is its own, until (4) `inside` := false. Else it stands back: (5) `inside` := false; (6) `granted` := what it has
//! read; (7) waits until `request` is 0, and begins again.
//!
//! **A guest**: (a) takes `guests`; (b) `request` := its ticket, a new one; (c) for a moment, looks whether `granted` has become its ticket. An owner that is active comes by in a fraction of a microsecond, and the lock is the guest's.
//! If none does: (d) heavy fence; (e) waits until `inside` is false, and the lock is its own. In the end (f) `request` := 0, (g) releases `guests`.
//!
//! **Why they exclude each other.** By grant: the owner that granted a ticket is outside (5 before 6, seen by c), and does not get past 7 before it has read a 0 that was written after that ticket (f): a thread that has read a word
//! does not read an older value of it. By fences: the owner's 1, 2, 3 and the guest's b, d, e are the two sides of `fence.rs`: either 3 sees the ticket, and the owner stands back, or e sees `inside`, and the guest waits.
//! No ticket is used twice, so a grant that comes late is for nobody. What one wrote the next one sees: 4 or 5 pairs with e, 6 with c, and f with 3 and 7.
//!
//! **An owner that rests** abandons the lock, and adopts it again: both take `guests`, so no guest is inside, and the next one finds who it has to ask, if anybody. Until then the lock is a spin lock among all.
//!
//! Nobody waits for long: the owner for one guest's few loads and stores (and those of guests that queue up behind it), a guest for as long as the owner is inside.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::fence;
use crate::shim::{AtomicBool, AtomicU64, AtomicUsize, GRANT_SPINS, LockWord, Ordering, UnsafeCell, spin_loop, spin_until};

/// See the module's header.
pub(crate) struct OwnedLock<T> {
    value: UnsafeCell<T>,
    inside: AtomicBool,
    request: AtomicU64,
    /// The owner's [`here`], or 0. Changed by the owner, under `guests`.
    owner: AtomicUsize,
    granted: AtomicU64,
    guests: LockWord,
    /// The last ticket. Guests', under `guests`.
    tickets: UnsafeCell<u64>,
}

// SAFETY: the lock hands the value to one thread at a time, so `Send` is all that sharing it asks of `T`; `tickets` is guarded by `guests`.
unsafe impl<T: Send> Sync for OwnedLock<T> {}
// SAFETY: a lock that nobody holds is its value.
unsafe impl<T: Send> Send for OwnedLock<T> {}

/// A number of the running thread's: no other thread that exists has the same.
#[inline(always)]
fn here() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl<T> OwnedLock<T> {
    /// A lock without an owner.
    pub(crate) fn new(value: T) -> OwnedLock<T> {
        OwnedLock {
            value: UnsafeCell::new(value),
            inside: AtomicBool::new(false),
            request: AtomicU64::new(0),
            owner: AtomicUsize::new(0),
            granted: AtomicU64::new(0),
            guests: LockWord::new(0),
            tickets: UnsafeCell::new(0),
        }
    }

    /// The running thread is the owner from now on. There must be none so far.
    pub(crate) fn adopt(&self) {
        let before = self.change_owner(here());
        debug_assert_eq!(before, 0, "it has an owner");
    }

    /// The running thread, the owner, is no longer: guests need not ask any more.
    pub(crate) fn abandon(&self) {
        // One that has asked holds `guests` until it is let in.
        drop(self.enter_as_owner());
        let before = self.change_owner(0);
        debug_assert_eq!(before, here(), "it is not the owner's");
    }

    /// By the owner to be, or that was, which is not inside: only guests have to be kept out meanwhile.
    fn change_owner(&self, owner: usize) -> usize {
        self.guests.acquire();
        // Relaxed: other threads read it under `guests`; our own thread reads what it wrote.
        let before = self.owner.load(Ordering::Relaxed);
        self.owner.store(owner, Ordering::Relaxed);
        self.guests.release(0);
        before
    }

    #[inline(always)]
    fn is_owner(&self) -> bool {
        // Relaxed: it is our number only if we have stored it.
        self.owner.load(Ordering::Relaxed) == here()
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> OwnedGuard<'_, T> {
        if self.is_owner() { self.enter_as_owner() } else { self.enter_as_guest() }
    }

    #[inline(always)]
    fn enter_as_owner(&self) -> OwnedGuard<'_, T> {
        // 1. Relaxed: ordered by the fence.
        self.inside.store(true, Ordering::Relaxed);
        // 2.
        fence::light();
        // 3. Acquire pairs with the Release of f.
        if self.request.load(Ordering::Acquire) != 0 {
            self.stand_back();
        }
        OwnedGuard { lock: self, by_owner: true }
    }

    #[cold]
    fn stand_back(&self) {
        loop {
            // 5. Release pairs with the Acquire of e.
            self.inside.store(false, Ordering::Release);
            // 6. Release pairs with the Acquire of c. (Relaxed: 3 or 7 has read it before; a newer ticket is as good.)
            self.granted.store(self.request.load(Ordering::Relaxed), Ordering::Release);
            // 7. Acquire pairs with the Release of f.
            spin_until(|| self.request.load(Ordering::Acquire) == 0);
            // 1, 2, 3 again.
            self.inside.store(true, Ordering::Relaxed);
            fence::light();
            if self.request.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    #[inline(never)]
    fn enter_as_guest(&self) -> OwnedGuard<'_, T> {
        // a.
        self.guests.acquire();
        // Relaxed: changed under `guests`.
        if self.owner.load(Ordering::Relaxed) != 0 {
            self.ask();
        }
        OwnedGuard { lock: self, by_owner: false }
    }

    fn ask(&self) {
        let ticket = self.tickets.with_mut(|tickets| {
            // SAFETY: `guests` is held.
            let tickets = unsafe { &mut *tickets };
            *tickets += 1;
            *tickets
        });
        // b. Relaxed: ordered by the fence, or by the grant.
        self.request.store(ticket, Ordering::Relaxed);
        for _ in 0..GRANT_SPINS {
            // c. Acquire pairs with the Release of 6.
            if self.granted.load(Ordering::Acquire) == ticket {
                return;
            }
            spin_loop();
        }
        // d.
        fence::heavy();
        // e. Acquire pairs with the Release of 4 and 5.
        spin_until(|| !self.inside.load(Ordering::Acquire));
    }
}

impl<T> fmt::Debug for OwnedLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedLock").finish_non_exhaustive()
    }
}

#[must_use = "the lock is released when the guard is dropped"]
pub(crate) struct OwnedGuard<'a, T> {
    lock: &'a OwnedLock<T>,
    by_owner: bool,
}

impl<T> Deref for OwnedGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.lock.value.with_mut(|value| {
            // SAFETY: this guard is the proof that this thread holds the lock; the borrow ends with the guard's.
            unsafe { &*value }
        })
    }
}

impl<T> DerefMut for OwnedGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        self.lock.value.with_mut(|value| {
            // SAFETY: as in `deref`, and `&mut self` makes this the only borrow through the guard.
            unsafe { &mut *value }
        })
    }
}

impl<T> Drop for OwnedGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.by_owner {
            // 4. Release pairs with the Acquire of e.
            self.lock.inside.store(false, Ordering::Release);
        } else {
            // f. Release pairs with the Acquire of 3 and 7. (With no owner it is 0 already.)
            self.lock.request.store(0, Ordering::Release);
            // g.
            self.lock.guests.release(0);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    /// The owner and two guests count to a number that fits only if they exclude each other. The guests wait now for an owner that is busy with the lock, now for one that is not.
    #[test]
    fn owner_and_guests_exclude_each_other() {
        fence::prepare();
        let lock = OwnedLock::new(0_u64);
        let (rounds, by_guests) = (200_000_u64, 2_000_u64);
        thread::scope(|scope| {
            scope.spawn(|| {
                lock.adopt();
                for round in 0..rounds {
                    let mut value = lock.lock();
                    *value = std::hint::black_box(*value) + 1;
                    drop(value);
                    if round % 1000 == 0 {
                        thread::yield_now();
                    }
                }
                lock.abandon();
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..by_guests {
                        let mut value = lock.lock();
                        *value = std::hint::black_box(*value) + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), rounds + 2 * by_guests);
    }

    #[test]
    fn a_lock_changes_its_owner() {
        let lock = OwnedLock::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                let owner = scope.spawn(|| {
                    lock.adopt();
                    *lock.lock() += 1;
                    lock.abandon();
                });
                owner.join().unwrap();
                *lock.lock() += 1;
            }
        });
        assert_eq!(*lock.lock(), 6);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn owned() -> Arc<OwnedLock<u32>> {
        let lock = OwnedLock::new(0);
        // Whoever it is: the model's threads know who they are.
        lock.owner.store(1, Ordering::Relaxed);
        Arc::new(lock)
    }

    /// An owner that comes and goes, and a guest: by grant or by fence.
    #[test]
    fn loom_owner_and_guest() {
        loom::model(|| {
            let lock = owned();
            let guest = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || *lock.enter_as_guest() += 1)
            };
            for _ in 0..2 {
                *lock.enter_as_owner() += 1;
            }
            guest.join().unwrap();
            assert_eq!(*lock.enter_as_owner(), 3);
        });
    }

    /// An owner that rests, and comes back: in between it is a guest like the other.
    #[test]
    fn loom_owner_rests() {
        loom::model(|| {
            let lock = owned();
            let guest = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || *lock.enter_as_guest() += 1)
            };
            *lock.enter_as_owner() += 1;
            lock.change_owner(0);
            *lock.enter_as_guest() += 1;
            lock.change_owner(1);
            *lock.enter_as_owner() += 1;
            guest.join().unwrap();
            assert_eq!(*lock.enter_as_owner(), 4);
        });
    }

    /// Two guests one after the other: what the owner granted the first is not the second's.
    #[test]
    fn loom_two_guests() {
        loom::model(|| {
            let lock = owned();
            let guest = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    for _ in 0..2 {
                        *lock.enter_as_guest() += 1;
                    }
                })
            };
            *lock.enter_as_owner() += 1;
            guest.join().unwrap();
            assert_eq!(*lock.enter_as_owner(), 3);
        });
    }
}
