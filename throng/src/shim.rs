//! One path for the primitives that model checking replaces.
//!
//! Everything below the scheduler names its atomics, cells and thread parking through this module, so that the same source
//! runs on the machine and, with `--cfg loom`, inside loom's model of the C11 memory model. Constants that bound a protocol
//! are smaller under loom, so that the checker reaches their wrap-around and overflow paths.

pub(crate) use imp::*;

#[cfg(not(loom))]
mod imp {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) use std::thread::yield_now;

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
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
    pub(crate) use loom::sync::{Condvar, Mutex};
    pub(crate) use loom::thread::yield_now;

    pub(crate) const SPINS: u32 = 0;
}
