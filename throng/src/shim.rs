//! One path for the primitives that model checking replaces.
//!
//! Everything below the scheduler names its atomics, cells and thread parking through this module, so that the same source
//! runs on the machine and, with `--cfg loom`, inside loom's model of the C11 memory model. Constants that bound a protocol
//! are smaller under loom, so that the checker reaches their wrap-around and overflow paths.

pub(crate) use imp::*;

#[cfg(not(loom))]
mod imp {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) use std::thread::yield_now;

    /// Waits for another thread to change what `condition` looks at: a short spin, then one turn of the processor for the others after another, since
    /// that thread may have been descheduled.
    pub(crate) fn wait_while(mut condition: impl FnMut() -> bool) {
        let mut round = 0_u32;
        while condition() {
            if round < 6 {
                for _ in 0..1_u32 << round {
                    spin_loop();
                }
                round += 1;
            } else {
                yield_now();
            }
        }
    }

    /// Sets `bit`, and says whether it was clear. Acquires if so.
    #[inline(always)]
    pub(crate) fn set_bit(word: &AtomicU32, bit: u32) -> bool {
        word.fetch_or(bit, std::sync::atomic::Ordering::Acquire) & bit == 0
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

    /// How often a dry worker looks at its inbox before it goes to sleep.
    pub(crate) const SPINS: u32 = 200;
    /// How long a waiter at a mutex may be passed over.
    pub(crate) const STARVING_AFTER: std::time::Duration = std::time::Duration::from_millis(1);
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Condvar, Mutex};
    pub(crate) use loom::thread::yield_now;

    /// Sets `bit`, and says whether it was clear and is not about to be set by others. Acquires if so. In vain, it must not write: C11 has no
    /// order between that write and the clearing of the bit, and the model explores executions in which the clearing is never seen.
    pub(crate) fn set_bit(word: &AtomicU32, bit: u32) -> bool {
        use std::sync::atomic::Ordering;
        let seen = word.load(Ordering::Relaxed);
        seen & bit == 0 && word.compare_exchange(seen, seen | bit, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// As on the machine, without the spinning: each look is a branch of the model. A look is sure to be fresh only after a `yield_now`.
    pub(crate) fn wait_while(mut condition: impl FnMut() -> bool) {
        yield_now();
        while condition() {
            yield_now();
        }
    }

    pub(crate) const SPINS: u32 = 0;
    pub(crate) const STARVING_AFTER: std::time::Duration = std::time::Duration::ZERO;
}
