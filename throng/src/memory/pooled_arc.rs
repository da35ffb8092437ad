//! A value in a block that several refer to: an `Arc` for what is made and let go of all the time.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::Pooled;

/// A reference to the value. The last one to go drops it.
pub(crate) struct PooledArc<T> {
    counted: NonNull<Counted<T>>,
}

/// `repr(C)`: the value comes first, so that its address is the block's.
#[repr(C)]
struct Counted<T> {
    value: T,
    references: AtomicUsize,
}

// SAFETY: as for an `Arc`: each reference gives access to the value, and the last one, wherever it goes, drops it.
unsafe impl<T: Send + Sync> Send for PooledArc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for PooledArc<T> {}

impl<T> PooledArc<T> {
    /// The first two references to a value, for the price of one.
    pub(crate) fn pair(value: T) -> (PooledArc<T>, PooledArc<T>) {
        let counted = Pooled::new(Counted { value, references: AtomicUsize::new(2) }).into_raw();
        (PooledArc { counted }, PooledArc { counted })
    }

    /// The value's address, with the reference in it.
    pub(crate) fn into_raw(self) -> NonNull<T> {
        std::mem::ManuallyDrop::new(self).counted.cast()
    }

    /// # Safety
    /// The pointer is from `into_raw`, which is undone once.
    pub(crate) unsafe fn from_raw(value: NonNull<T>) -> PooledArc<T> {
        PooledArc { counted: value.cast() }
    }

    /// Another reference to the same value, which `into_raw` has put out of reach.
    ///
    /// # Safety
    /// There is one, and it is recovered once.
    pub(crate) unsafe fn recover(&self) -> PooledArc<T> {
        PooledArc { counted: self.counted }
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: it is there as long as a reference is.
        unsafe { self.counted.as_ref() }
    }
}

impl<T> Clone for PooledArc<T> {
    fn clone(&self) -> PooledArc<T> {
        // Relaxed: who clones has a reference already.
        let before = self.counted().references.fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "too many references");
        PooledArc { counted: self.counted }
    }
}

impl<T> Drop for PooledArc<T> {
    fn drop(&mut self) {
        // Release pairs with the fence of the last one: what was done with the value comes before its end.
        if self.counted().references.fetch_sub(1, Ordering::Release) == 1 {
            // Acquire pairs with the Release of all others.
            fence(Ordering::Acquire);
            // SAFETY: from `pair`, and this was the last reference.
            drop(unsafe { Pooled::from_raw(self.counted) });
        }
    }
}

impl<T> Deref for PooledArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    struct Noted<'a>(&'a AtomicU32);

    impl Drop for Noted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_reference_drops_the_value_wherever_it_goes() {
        let drops = AtomicU32::new(0);
        for round in 1..=1000 {
            let (one, other) = PooledArc::pair(Noted(&drops));
            let third = one.clone();
            // SAFETY: undone once.
            let other = unsafe { PooledArc::from_raw(other.into_raw()) };
            thread::scope(|scope| {
                scope.spawn(move || drop(other));
                drop(one);
                assert!(drops.load(Ordering::Relaxed) < round);
                drop(third);
            });
            assert_eq!(drops.load(Ordering::Relaxed), round);
        }
    }
}
