//! The memory of tasks: a free list for each worker and size, in front of the allocator.
//!
//! A task that is spawned, run and done on one worker takes and gives its block here, without an atomic and while it is still in the cache; a child that ends on
//! another worker is sent home before its block is freed, so blocks do not drift to the side that runs what the other spawns.
//! What a burst leaves behind is given back to the allocator when the worker next runs dry.

use std::alloc::{Layout, alloc as system_alloc, dealloc};
use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

use super::Header;

/// What the allocator aligns to: a stricter alignment would cost it (and us) up to a third more for each block.
const ALIGN: usize = 16;
/// Sizes are rounded up to this. (Not to `ALIGN`: the allocator's own are odd multiples of eight.) Larger blocks than the last class's go to the allocator.
const GRAIN: usize = 8;
const CLASSES: usize = 64;

/// How many free blocks of a size a worker keeps when it runs dry.
const KEEP: usize = 1024;

/// A worker's free blocks.
pub(crate) struct Blocks {
    classes: [Class; CLASSES],
}

struct Class {
    first: Cell<Option<NonNull<Free>>>,
    count: Cell<usize>,
}

struct Free {
    next: Option<NonNull<Free>>,
}

fn class_of(layout: Layout) -> Option<usize> {
    let class = layout.size().div_ceil(GRAIN) - 1;
    (class < CLASSES && layout.align() <= ALIGN).then_some(class)
}

fn class_layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * GRAIN, ALIGN).expect("a small size")
}

fn real_layout(layout: Layout) -> Layout {
    class_of(layout).map_or(layout, class_layout)
}

thread_local! {
    /// The free list of the worker whose thread this is.
    static SERVING: Cell<*const Blocks> = const { Cell::new(ptr::null()) };
}

fn serving<'a>() -> Option<&'a Blocks> {
    // SAFETY: set while its worker lives, by its own thread, and nobody keeps it longer than a call.
    unsafe { SERVING.get().as_ref() }
}

/// A block for a task of this layout; `None` if there is no memory.
#[inline]
pub(super) fn alloc(layout: Layout) -> Option<NonNull<u8>> {
    if let (Some(blocks), Some(class)) = (serving(), class_of(layout)) {
        let class = &blocks.classes[class];
        if let Some(free) = class.first.get() {
            // SAFETY: a block in the list holds a `Free` and nobody else's.
            class.first.set(unsafe { free.as_ref() }.next);
            class.count.set(class.count.get() - 1);
            return Some(free.cast());
        }
    }
    // SAFETY: a task is never of size zero.
    NonNull::new(unsafe { system_alloc(real_layout(layout)) })
}

/// Frees a task's block: to the worker's list, on a worker's thread.
///
/// # Safety
/// Nobody refers to it any more; its outcome is gone. (`complete`, `release` or `drop_handle` said so.)
#[inline]
pub(crate) unsafe fn free(task: NonNull<Header>) {
    // SAFETY: by contract.
    let layout = unsafe { drop_header(task) };
    match (serving(), class_of(layout)) {
        (Some(blocks), Some(class)) => blocks.give(task.cast(), class),
        // SAFETY: allocated by `alloc` with this layout.
        _ => unsafe { dealloc(task.as_ptr().cast(), real_layout(layout)) },
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
        real_layout(self.vtable.layout).size()
    }
}

impl Blocks {
    pub(crate) fn new() -> Blocks {
        Blocks { classes: std::array::from_fn(|_| Class { first: Cell::new(None), count: Cell::new(0) }) }
    }

    /// Serves this thread while `f` runs.
    pub(crate) fn serve<R>(&self, f: impl FnOnce() -> R) -> R {
        SERVING.set(self);
        let result = f();
        SERVING.set(ptr::null());
        result
    }

    /// Takes a block of this class back.
    #[inline]
    fn give(&self, free: NonNull<Free>, class: usize) {
        let class = &self.classes[class];
        // SAFETY: the block is nobody else's, and large enough.
        unsafe { free.write(Free { next: class.first.get() }) };
        class.first.set(Some(free));
        class.count.set(class.count.get() + 1);
    }

    /// Gives what is beyond a small stock back to the allocator.
    pub(crate) fn trim(&self) {
        for class in 0..CLASSES {
            self.trim_class(class, KEEP);
        }
    }

    fn trim_class(&self, index: usize, keep: usize) {
        let class = &self.classes[index];
        while class.count.get() > keep {
            let Some(free) = class.first.get() else { return };
            // SAFETY: as in `alloc`.
            class.first.set(unsafe { free.as_ref() }.next);
            class.count.set(class.count.get() - 1);
            // SAFETY: allocated with its class's layout.
            unsafe { dealloc(free.as_ptr().cast(), class_layout(index)) };
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for class in 0..CLASSES {
            self.trim_class(class, 0);
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.classes.iter().map(|class| class.count.get())).finish()
    }
}
