//! The buffer of a channel: a ring of items in one block, first in, first out.
//!
//! ```text
//!           first                first + len
//!   | .. .. | item | item | item | .. .. |        counted around: after the last place comes the first
//!   0                                    room
//! ```
//! Invariants:
//! - R1: the `len` places from `first` on hold items, the others none. `first < room`, unless `room` is 0.
//! - R2: `places` is a block for `room` items, and nobody else's; dangling, if those take no memory.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::memory;

/// Below this many bytes a channel with a fixed capacity has a buffer for all of it as soon as it has one.
const SMALL: usize = 1024;
/// How many items a buffer has room for at first, if not for all that there may be.
const FIRST: usize = 4;

pub(super) struct Ring<T> {
    places: NonNull<T>,
    room: usize,
    first: usize,
    len: usize,
    owns: PhantomData<T>,
}

// SAFETY: it owns its items, as a `Vec` does.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: a shared reference gives nothing away but numbers.
unsafe impl<T: Sync> Sync for Ring<T> {}

impl<T> Ring<T> {
    /// Empty, and without memory so far.
    pub(super) const fn new() -> Ring<T> {
        let room = if size_of::<T>() == 0 { usize::MAX } else { 0 };
        Ring { places: NonNull::dangling(), room, first: 0, len: 0, owns: PhantomData }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn is_out_of_room(&self) -> bool {
        self.len == self.room
    }

    /// The place `distance` (at most `room`) after the first item.
    #[inline]
    fn place(&self, distance: usize) -> NonNull<T> {
        // (Without overflow: where `room` is that large, items take no memory, and all places are the same.)
        let at = self.first.wrapping_add(distance);
        let at = if at >= self.room { at.wrapping_sub(self.room) } else { at };
        // SAFETY: `at < room` where items take memory (R2).
        unsafe { self.places.add(if size_of::<T>() == 0 { 0 } else { at }) }
    }

    /// Makes room for more: twice as many, but for no more than `most`, which is more than there are; a small number of `most` at once.
    #[cold]
    pub(super) fn grow(&mut self, most: usize) {
        let all = most.saturating_mul(size_of::<T>()) <= SMALL;
        let room = if all { most } else { self.room.saturating_mul(2).clamp(FIRST.min(most), most) };
        let Ok(layout) = Layout::array::<T>(room) else { panic!("a channel with {} items is as large as any can be", self.len) };
        let Some(block) = memory::alloc(layout) else { handle_alloc_error(layout) };
        let mut larger = Ring { places: block.cast(), room, first: 0, len: 0, owns: PhantomData };
        while let Some(item) = self.pop_front() {
            larger.push_back(item);
        }
        *self = larger;
    }

    /// Adds an item behind the others. There is room for it.
    #[inline]
    pub(super) fn push_back(&mut self, item: T) {
        debug_assert!(!self.is_out_of_room());
        let place = self.place(self.len);
        // SAFETY: behind the last item, so there is none there (R1).
        unsafe { place.write(item) };
        self.len += 1;
    }

    /// Adds an item before the others. There is room for it.
    pub(super) fn push_front(&mut self, item: T) {
        debug_assert!(!self.is_out_of_room());
        self.first = if self.first == 0 { self.room - 1 } else { self.first - 1 };
        let place = self.place(0);
        // SAFETY: before the first item, and there is room, so there is none there (R1).
        unsafe { place.write(item) };
        self.len += 1;
    }

    /// Takes the first item.
    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let place = self.place(0);
        let next = self.first.wrapping_add(1);
        self.first = if next >= self.room { 0 } else { next };
        self.len -= 1;
        // SAFETY: it held an item (R1), which is out of the ring now.
        Some(unsafe { place.read() })
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        /// Drops the items and frees the block, also if one of them panics as it is dropped.
        struct Rest<'a, T>(&'a mut Ring<T>);

        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                while let Some(item) = self.0.pop_front() {
                    drop(item);
                }
                let Ring { places, room, .. } = *self.0;
                if size_of::<T>() == 0 || room == 0 {
                    return;
                }
                let layout = Layout::array::<T>(room).expect("it was a layout when the ring grew");
                // SAFETY: R2, and no item is in it any more, or none that will be used.
                unsafe { memory::free(places.cast(), layout) };
            }
        }

        let rest = Rest(self);
        while let Some(item) = rest.0.pop_front() {
            drop(item);
        }
    }
}

impl<T> Default for Ring<T> {
    fn default() -> Ring<T> {
        Ring::new()
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("len", &self.len).field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::rc::Rc;

    /// A ring and a `VecDeque` under the same random operations.
    fn agree<T: Clone + PartialEq + fmt::Debug>(most: usize, item: impl Fn(u32) -> T) {
        let (mut ring, mut model) = (Ring::new(), VecDeque::new());
        for i in 0..20_000 {
            let drains = i % 2_000 >= 1_000;
            match crate::rng::below(8) {
                0..3 => assert_eq!(ring.pop_front(), model.pop_front()),
                3 if model.len() < most => {
                    if ring.is_out_of_room() {
                        ring.grow(most);
                    }
                    ring.push_front(item(i));
                    model.push_front(item(i));
                }
                4..8 if model.len() < most && !drains => {
                    if ring.is_out_of_room() {
                        ring.grow(most);
                    }
                    ring.push_back(item(i));
                    model.push_back(item(i));
                }
                _ => {}
            }
            assert_eq!((ring.len(), ring.is_empty()), (model.len(), model.is_empty()));
        }
        while let Some(item) = model.pop_front() {
            assert_eq!(ring.pop_front(), Some(item));
        }
        assert_eq!(ring.pop_front(), None);
    }

    #[test]
    fn agrees_with_a_model() {
        for most in [1, 2, 3, 10, 1000, usize::MAX] {
            agree(most, |i| i);
            agree(most, |i| [u64::from(i); 9]);
            agree(most, |i| i.to_string());
            agree(most, |_| ());
        }
    }

    #[test]
    fn items_that_are_left_are_dropped_once() {
        let item = Rc::new(());
        let mut ring = Ring::new();
        ring.grow(10);
        for _ in 0..7 {
            ring.push_back(Rc::clone(&item));
        }
        for _ in 0..4 {
            drop(ring.pop_front());
            ring.push_back(Rc::clone(&item));
        }
        ring.grow(20);
        assert_eq!(Rc::strong_count(&item), 8);
        drop(ring);
        assert_eq!(Rc::strong_count(&item), 1);
    }

    #[test]
    fn an_item_that_panics_as_it_is_dropped_does_not_keep_the_others() {
        struct Bomb(bool, #[expect(dead_code, reason = "counts")] Rc<()>);
        impl Drop for Bomb {
            fn drop(&mut self) {
                assert!(!self.0, "boom");
            }
        }
        let item = Rc::new(());
        let mut ring = Ring::new();
        ring.grow(3);
        for panics in [false, true, false] {
            ring.push_back(Bomb(panics, Rc::clone(&item)));
        }
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(ring))).is_err());
        assert_eq!(Rc::strong_count(&item), 1);
    }
}
