//! The memory of tasks: a free list for each worker and size, in front of the allocator.
//!
//! A task that is spawned, run and done on one worker takes and gives its block here, without an atomic and while it is still in the cache; a child that ends on
//! another worker is sent home before its block is freed, so blocks do not drift to the side that runs what the other spawns.
//! What a burst leaves behind is given back to the allocator when the worker next runs dry.

use std::alloc::{Layout, alloc as system_alloc, dealloc};
use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;

use super::Header;

/// Sizes are rounded up to this, which is also what the allocator rounds to and aligns to: a stricter alignment would cost it (and us) up to
/// a third more for each block. Larger blocks than the last class's go to the allocator.
const GRAIN: usize = 16;
const CLASSES: usize = 32;

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
    (class < CLASSES && layout.align() <= GRAIN).then_some(class)
}

fn class_layout(class: usize) -> Layout {
    Layout::from_size_align((class + 1) * GRAIN, GRAIN).expect("a small size")
}

fn real_layout(layout: Layout) -> Layout {
    class_of(layout).map_or(layout, class_layout)
}

/// A block for a task of this layout; `None` if there is no memory.
#[inline]
pub(super) fn alloc(layout: Layout, blocks: Option<&Blocks>) -> Option<NonNull<u8>> {
    if let (Some(blocks), Some(class)) = (blocks, class_of(layout)) {
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

/// Frees a task's block to the allocator.
///
/// # Safety
/// Nobody refers to it any more; its outcome is gone.
pub(super) unsafe fn free(task: NonNull<Header>) {
    // SAFETY: by contract.
    let layout = unsafe { drop_header(task) };
    // SAFETY: allocated by `alloc` with this layout.
    unsafe { dealloc(task.as_ptr().cast(), real_layout(layout)) };
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

impl Blocks {
    pub(crate) fn new() -> Blocks {
        Blocks { classes: std::array::from_fn(|_| Class { first: Cell::new(None), count: Cell::new(0) }) }
    }

    /// Takes a task's block back.
    ///
    /// # Safety
    /// As for `free`; on the thread these blocks belong to.
    #[inline]
    pub(super) unsafe fn give(&self, task: NonNull<Header>) {
        // SAFETY: by contract.
        let layout = unsafe { drop_header(task) };
        let Some(class) = class_of(layout) else {
            // SAFETY: allocated by `alloc`; a layout without a class is the real one.
            return unsafe { dealloc(task.as_ptr().cast(), layout) };
        };
        let class = &self.classes[class];
        let free = task.cast::<Free>();
        // SAFETY: the block is ours and large enough.
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
