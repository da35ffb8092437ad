//! Memory for what is made and let go of all the time: tasks, channels and their buffers. Each worker has a few free blocks of each size, in front of chunks that all share.
//!
//! ```text
//!  worker:  loaded ⇄ spare        at most a magazine each
//!              ⇅                  a whole magazine at a time
//!  all:      depot  ──>  chunks   block by block, when a worker tidies up
//!                   <──
//! ```
//! A block that is taken and given back on one worker costs a few loads and stores, no atomic, and is still in the cache. One that is given back elsewhere than where it was taken comes home by
//! way of the depot, with the others of its magazine; so neither side piles up blocks. (After Bonwick and Adams, "Magazines and Vmem", 2001.) Threads that are no workers go to the chunks, under a lock.
//!
//! Sizes without a class are left to the allocator.

mod chunk;
#[cfg(not(loom))]
mod pooled_arc;

use std::alloc::{Layout, alloc as system_alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use chunk::{CLASSES, FreeList, class_of_size, size_of_class};
#[cfg(not(loom))]
pub(crate) use pooled_arc::PooledArc;

/// How much memory a magazine is: two pages. A worker that runs out touches so much at once.
const MAGAZINE: usize = 8 << 10;

/// A worker's free blocks. Its own thread's.
pub(crate) struct Blocks {
    /// Borrowed for single calls only.
    classes: [UnsafeCell<Magazines>; CLASSES],
}

/// Blocks of one class. One magazine would be exchanged at every other call, where a worker takes and gives in turn at its end.
struct Magazines {
    loaded: FreeList,
    /// Full or empty.
    spare: FreeList,
    /// How many blocks make a magazine.
    full: usize,
}

thread_local! {
    /// The free blocks of the worker whose thread this is.
    static SERVING: Cell<*const Blocks> = const { Cell::new(ptr::null()) };
}

fn serving<'a>() -> Option<&'a Blocks> {
    // SAFETY: set while its worker lives, by its own thread, and nobody keeps it longer than a call.
    unsafe { SERVING.get().as_ref() }
}

/// A block of this layout, which is a type's or an array's and not empty; `None` if there is no memory.
#[inline]
pub(crate) fn alloc(layout: Layout) -> Option<NonNull<u8>> {
    debug_assert!(layout.size() > 0 && layout.size().is_multiple_of(layout.align()), "not the layout of a type");
    match (class_of_size(layout.size()), serving()) {
        (Some(class), Some(blocks)) => blocks.with(class, |magazines| magazines.loaded.pop().or_else(|| magazines.take_another(class))),
        (Some(class), None) => chunk::take(class, 1).pop(),
        // SAFETY: not of size zero.
        (None, _) => NonNull::new(unsafe { system_alloc(layout) }),
    }
}

/// Takes a block back.
///
/// # Safety
/// It is from `alloc`, for this layout, and nobody uses it any more.
#[inline]
pub(crate) unsafe fn free(block: NonNull<u8>, layout: Layout) {
    match (class_of_size(layout.size()), serving()) {
        (Some(class), Some(blocks)) => blocks.with(class, |magazines| {
            if magazines.loaded.len() == magazines.full {
                magazines.make_room(class);
            }
            // SAFETY: by contract it is ours, and of this class.
            unsafe { magazines.loaded.push(block) };
        }),
        (Some(class), None) => {
            let mut only = FreeList::new();
            // SAFETY: as above.
            unsafe { only.push(block) };
            chunk::give(class, only);
        }
        // SAFETY: by contract.
        (None, _) => unsafe { dealloc(block.as_ptr(), layout) },
    }
}

impl Blocks {
    pub(crate) fn new() -> Blocks {
        let magazines =
            |class| Magazines { loaded: FreeList::new(), spare: FreeList::new(), full: (MAGAZINE / size_of_class(class)).max(1) };
        Blocks { classes: std::array::from_fn(|class| UnsafeCell::new(magazines(class))) }
    }

    /// Serves this thread while `f` runs.
    pub(crate) fn serve<R>(&self, f: impl FnOnce() -> R) -> R {
        SERVING.set(self);
        let result = f();
        SERVING.set(ptr::null());
        result
    }

    #[inline(always)]
    fn with<R>(&self, class: usize, f: impl FnOnce(&mut Magazines) -> R) -> R {
        // SAFETY: only this thread comes here, and no `f` comes back here.
        f(unsafe { &mut *self.classes[class].get() })
    }
}

impl Magazines {
    /// A block from another magazine than the loaded one, which is empty.
    #[cold]
    fn take_another(&mut self, class: usize) -> Option<NonNull<u8>> {
        if self.spare.len() > 0 {
            mem::swap(&mut self.loaded, &mut self.spare);
        } else {
            self.loaded = chunk::take(class, self.full);
        }
        self.loaded.pop()
    }

    /// Puts another magazine in the place of the loaded one, which is full.
    #[cold]
    fn make_room(&mut self, class: usize) {
        let before = mem::replace(&mut self.spare, mem::take(&mut self.loaded));
        if before.len() > 0 {
            chunk::put_by(class, before);
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (class, magazines) in self.classes.iter_mut().enumerate() {
            let magazines = magazines.get_mut();
            chunk::give(class, mem::take(&mut magazines.loaded));
            chunk::give(class, mem::take(&mut magazines.spare));
        }
        tidy();
    }
}

/// Gives what a burst has left back to the system.
pub(crate) fn tidy() {
    for class in 0..CLASSES {
        chunk::tidy(class);
    }
}

/// The size of the block that a layout gets.
#[cfg(test)]
pub(crate) fn block_size(layout: Layout) -> usize {
    class_of_size(layout.size()).map_or(layout.size(), size_of_class)
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = |class| self.with(class, |magazines| magazines.loaded.len() + magazines.spare.len());
        f.debug_list().entries((0..CLASSES).map(len)).finish()
    }
}

/// A value in a block: a `Box` for what is made and dropped all the time.
pub(crate) struct Pooled<T> {
    value: NonNull<T>,
}

// SAFETY: it owns its value, as a `Box` does; blocks are no thread's.
unsafe impl<T: Send> Send for Pooled<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Pooled<T> {}

impl<T> Pooled<T> {
    pub(crate) fn new(value: T) -> Pooled<T> {
        const { assert!(size_of::<T>() > 0) };
        let layout = Layout::new::<T>();
        let Some(block) = alloc(layout) else { handle_alloc_error(layout) };
        let place = block.cast::<T>();
        // SAFETY: a block of `T`'s layout, and nobody else's.
        unsafe { place.write(value) };
        Pooled { value: place }
    }

    /// Lets go of the value without dropping it.
    pub(crate) fn into_raw(self) -> NonNull<T> {
        mem::ManuallyDrop::new(self).value
    }

    /// # Safety
    /// The pointer is from `into_raw`, which is undone once.
    pub(crate) unsafe fn from_raw(value: NonNull<T>) -> Pooled<T> {
        Pooled { value }
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        // SAFETY: it is there until now, and ours.
        unsafe { self.value.drop_in_place() };
        // SAFETY: from `new`, and gone.
        unsafe { free(self.value.cast(), Layout::new::<T>()) };
    }
}

impl<T> Deref for Pooled<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: it is there as long as we are.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Pooled<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and ours alone.
        unsafe { self.value.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_worker_keeps_two_magazines_and_no_more() {
        let blocks = Blocks::new();
        let layout = Layout::new::<[u64; 50]>();
        let class = class_of_size(layout.size()).unwrap();
        let held = || blocks.with(class, |magazines| magazines.loaded.len() + magazines.spare.len());
        let full = blocks.with(class, |magazines| magazines.full);
        blocks.serve(|| {
            let taken: Vec<_> = (0..10 * full).map(|_| alloc(layout).unwrap()).collect();
            assert!(held() < full);
            for block in taken {
                // SAFETY: taken above, once.
                unsafe { free(block, layout) };
                assert!(held() <= 2 * full);
            }
            assert!(held() > full);
            // At the edge of a magazine, taking and giving in turn exchanges nothing.
            while held() % full != 0 {
                alloc(layout).unwrap();
            }
            for _ in 0..10 {
                let before = held();
                let block = alloc(layout).unwrap();
                // SAFETY: taken just now.
                unsafe { free(block, layout) };
                assert_eq!(held(), before);
            }
        });
    }

    /// Blocks that are taken on one thread and given back on another, by two workers and a plain thread.
    #[test]
    fn blocks_change_threads() {
        let (tx, rx) = std::sync::mpsc::sync_channel::<(Pooled<[u64; 30]>, u64)>(500);
        let produce = |tx: std::sync::mpsc::SyncSender<_>, from: u64| {
            for i in 0..20_000 {
                tx.send((Pooled::new([from + i; 30]), from + i)).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let plain = tx.clone();
            scope.spawn(move || produce(plain, 1_000_000));
            scope.spawn(move || {
                let blocks = Blocks::new();
                blocks.serve(|| produce(tx, 0));
            });
            scope.spawn(move || {
                let blocks = Blocks::new();
                blocks.serve(|| {
                    for (block, number) in rx {
                        assert_eq!(*block, [number; 30], "somebody else wrote there");
                    }
                });
            });
        });
        tidy();
    }
}
