//! The memory of tasks: a free list for each worker and size, in front of the chunks that all share.
//!
//! A task that is spawned, run and done on one worker takes and gives its block here, without an atomic and while it is still in the cache; a child that ends on
//! another worker is sent home before its block is freed, so blocks do not drift to the side that runs what the other spawns.
//! What a burst leaves behind is given back to the chunks when the worker has rested for a while.

use std::alloc::{Layout, alloc as system_alloc, dealloc};
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};

use super::Header;
use super::chunk::{self, CLASSES, FreeList};

/// How many free blocks of a size a worker keeps when it tidies up.
const KEEP: usize = 1024;

/// How much a worker takes from the chunks at once, in bytes: two pages.
const REFILL: usize = 8 << 10;

/// A worker's free blocks. Its own thread's, and borrowed for single calls only.
pub(crate) struct Blocks {
    classes: [UnsafeCell<FreeList>; CLASSES],
}

/// The blocks of larger tasks are the allocator's.
fn class_of(layout: Layout) -> Option<usize> {
    debug_assert!(layout.size().is_multiple_of(layout.align()), "of a type");
    chunk::class_of_size(layout.size())
}

thread_local! {
    /// The free lists of the worker whose thread this is.
    static SERVING: Cell<*const Blocks> = const { Cell::new(ptr::null()) };
}

fn serving<'a>() -> Option<&'a Blocks> {
    // SAFETY: set while its worker lives, by its own thread, and nobody keeps it longer than a call.
    unsafe { SERVING.get().as_ref() }
}

/// A block for a task of this layout; `None` if there is no memory.
#[inline]
pub(super) fn alloc(layout: Layout) -> Option<NonNull<u8>> {
    let Some(class) = class_of(layout) else {
        // SAFETY: a task is never of size zero.
        return NonNull::new(unsafe { system_alloc(layout) });
    };
    match serving() {
        Some(blocks) => blocks.with(class, FreeList::pop).or_else(|| blocks.refill(class)),
        None => chunk::take(class, 1).pop(),
    }
}

/// Frees a task's block: to the worker's list, on a worker's thread.
///
/// # Safety
/// Nobody refers to it any more; its outcome is gone. (`complete`, `release` or `drop_handle` said so.)
#[inline]
pub(crate) unsafe fn free(task: NonNull<Header>) {
    // SAFETY: by contract.
    let layout = unsafe { drop_header(task) };
    let block = task.cast::<u8>();
    let Some(class) = class_of(layout) else {
        // SAFETY: allocated by `alloc` with this layout.
        return unsafe { dealloc(block.as_ptr(), layout) };
    };
    // SAFETY: by contract the block is ours; its class is that of its layout, as it was in `alloc`.
    let give = |list: &mut FreeList| unsafe { list.push(block) };
    match serving() {
        Some(blocks) => blocks.with(class, give),
        None => {
            let mut only = FreeList::new();
            give(&mut only);
            chunk::give(class, only);
        }
    }
}

/// # Safety
/// As for `free`.
#[inline]
unsafe fn drop_header(task: NonNull<Header>) -> Layout {
    // SAFETY: by contract it is ours.
    let layout = unsafe { task.as_ref() }.vtable.layout;
    // SAFETY: by contract nobody uses it again.
    unsafe { task.drop_in_place() };
    layout
}

#[cfg(test)]
impl Header {
    /// The bytes of its block.
    pub(super) fn block_size(&self) -> usize {
        let layout = self.vtable.layout;
        class_of(layout).map_or(layout.size(), chunk::size_of_class)
    }
}

impl Blocks {
    pub(crate) fn new() -> Blocks {
        Blocks { classes: [const { UnsafeCell::new(FreeList::new()) }; CLASSES] }
    }

    /// Serves this thread while `f` runs.
    pub(crate) fn serve<R>(&self, f: impl FnOnce() -> R) -> R {
        SERVING.set(self);
        let result = f();
        SERVING.set(ptr::null());
        result
    }

    #[inline(always)]
    fn with<R>(&self, class: usize, f: impl FnOnce(&mut FreeList) -> R) -> R {
        // SAFETY: only this thread comes here, and `f` is a call or two on the list.
        f(unsafe { &mut *self.classes[class].get() })
    }

    #[cold]
    fn refill(&self, class: usize) -> Option<NonNull<u8>> {
        let some = chunk::take(class, (REFILL / chunk::size_of_class(class)).max(1));
        self.with(class, |list| {
            debug_assert_eq!(list.len(), 0);
            *list = some;
            list.pop()
        })
    }

    /// Gives what is beyond a small stock back to the chunks.
    pub(crate) fn trim(&self) {
        self.trim_to(KEEP);
    }

    fn trim_to(&self, keep: usize) {
        for class in 0..CLASSES {
            let surplus = self.with(class, |list| list.split_off(keep));
            if surplus.len() > 0 {
                chunk::give(class, surplus);
            }
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.trim_to(0);
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..CLASSES).map(|class| self.with(class, |list| list.len()))).finish()
    }
}
