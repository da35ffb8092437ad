//! One path for the primitives that model checking replaces.
//!
//! Everything below the scheduler names its atomics, cells and thread parking through this module, so that the same source
//! runs on the machine and, with `--cfg loom`, inside loom's model of the C11 memory model. Constants that bound a protocol
//! are smaller under loom, so that the checker reaches their wrap-around and overflow paths.

pub(crate) use imp::*;

#[cfg(not(loom))]
mod imp {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::Ordering;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) use std::sync::atomic::fence;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) use std::thread::yield_now;

    /// The word of a spin lock: the lowest bit says whether it is taken, the others are flags.
    pub struct LockWord(AtomicU32);

    impl LockWord {
        pub(crate) const fn new(flags: u32) -> LockWord {
            LockWord(AtomicU32::new(flags))
        }

        #[inline(always)]
        pub(crate) fn flags(&self) -> u32 {
            // Acquire pairs with the Release of `release`.
            self.0.load(Acquire) & !1
        }

        /// Takes the lock and returns the flags.
        #[inline(always)]
        pub(crate) fn acquire(&self) -> u32 {
            self.try_acquire().unwrap_or_else(|| self.acquire_contended())
        }

        #[inline(always)]
        pub(crate) fn try_acquire(&self) -> Option<u32> {
            let seen = self.0.load(Relaxed);
            // Acquire pairs with the Release of `release`: what the last holder wrote is seen. (Not a `fetch_or`, which is compiled to an instruction that does not tell the flags.)
            (seen & 1 == 0 && self.0.compare_exchange(seen, seen | 1, Acquire, Relaxed).is_ok()).then_some(seen)
        }

        #[inline(always)]
        pub(crate) fn release(&self, flags: u32) {
            // Release pairs with the Acquire of `try_acquire` and `flags`.
            self.0.store(flags, Release);
        }

        #[cold]
        fn acquire_contended(&self) -> u32 {
            loop {
                // Spin on a plain load: a read-modify-write would steal the cache line from the holder each time.
                super::spin_until(|| self.0.load(Relaxed) & 1 == 0);
                if let Some(flags) = self.try_acquire() {
                    return flags;
                }
            }
        }
    }

    /// `std`'s `UnsafeCell` with loom's access-by-closure interface.
    #[derive(Debug, Default)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }

        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    /// How often a guest looks whether the owner of a lock has made room for it: for about as long as a heavy fence takes.
    pub(crate) const GRANT_SPINS: u32 = 1000;
    /// How often a dry worker looks at its inbox before it goes to sleep.
    pub(crate) const SPINS: u32 = 200;
    /// How long a waiter at a mutex may be passed over.
    pub(crate) const STARVING_AFTER: std::time::Duration = std::time::Duration::from_millis(1);
}

#[cfg(loom)]
mod imp {
    use std::cell::Cell;
    pub(crate) use std::sync::atomic::Ordering;
    use std::sync::atomic::Ordering::Relaxed;

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence};
    pub(crate) use loom::sync::{Condvar, Mutex};
    pub(crate) use loom::thread::yield_now;

    /// A lock that blocks: the model knows no fairness, so that two threads that spin may starve the holder for ever. It stands for the spin lock as a
    /// correct lock; the flags are hints only, and hidden from the model.
    pub struct LockWord {
        taken: Mutex<()>,
        guard: Cell<Option<loom::sync::MutexGuard<'static, ()>>>,
        flags: std::sync::atomic::AtomicU32,
    }

    // SAFETY: `guard` is touched by the one that has the lock.
    unsafe impl Sync for LockWord {}
    // SAFETY: it is moved when nobody has the lock, and there is no guard.
    unsafe impl Send for LockWord {}

    impl LockWord {
        pub(crate) fn new(flags: u32) -> LockWord {
            LockWord { taken: Mutex::new(()), guard: Cell::new(None), flags: flags.into() }
        }

        pub(crate) fn flags(&self) -> u32 {
            self.flags.load(Relaxed)
        }

        pub(crate) fn acquire(&self) -> u32 {
            self.keep(self.taken.lock().unwrap())
        }

        pub(crate) fn try_acquire(&self) -> Option<u32> {
            self.taken.try_lock().ok().map(|guard| self.keep(guard))
        }

        fn keep(&self, guard: loom::sync::MutexGuard<'_, ()>) -> u32 {
            // SAFETY: `release` drops it, and the lock is not moved or dropped while it is held.
            let guard = unsafe { std::mem::transmute::<loom::sync::MutexGuard<'_, ()>, loom::sync::MutexGuard<'static, ()>>(guard) };
            self.guard.set(Some(guard));
            self.flags()
        }

        pub(crate) fn release(&self, flags: u32) {
            self.flags.store(flags, Relaxed);
            drop(self.guard.take());
        }
    }

    pub(crate) const GRANT_SPINS: u32 = 1;
    pub(crate) const SPINS: u32 = 0;
    pub(crate) const STARVING_AFTER: std::time::Duration = std::time::Duration::ZERO;
}

/// Spins until it is so, and soon yields the processor each time: who is to make it so may have been descheduled.
pub(crate) fn spin_until(is_so: impl Fn() -> bool) {
    let mut round = 0_u32;
    while !is_so() {
        if round < 6 {
            (0..1_u32 << round).for_each(|_| spin_loop());
            round += 1;
        } else {
            yield_now();
        }
    }
}

/// Asks for the cache line at an address, which need not be mapped.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and changes nothing but the cache.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::without_provenance(address));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The same for so many lines of 64 bytes from there on.
#[inline(always)]
pub(crate) fn prefetch_lines(address: usize, lines: usize) {
    for line in 0..lines {
        prefetch(address.wrapping_add(line * 64));
    }
}
