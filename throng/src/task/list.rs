//! A list of tasks, linked through their headers: in and out in O(1), in the order they came.

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

use super::Header;
use crate::shim::prefetch_lines;

/// A task is in one list at a time, its owner's, and alive while it is in it.
pub(crate) struct List {
    newest: Cell<*const Header>,
    oldest: Cell<*const Header>,
}

// SAFETY: whoever uses a list holds its lock or is on its home's thread, and the links of the tasks in it are the list's.
unsafe impl Send for List {}

#[derive(Debug)]
pub(super) struct Siblings {
    newer: Cell<*const Header>,
    older: Cell<*const Header>,
}

impl Siblings {
    pub(super) fn none() -> Siblings {
        Siblings { newer: Cell::new(ptr::null()), older: Cell::new(ptr::null()) }
    }
}

impl List {
    pub(crate) fn new() -> List {
        List { newest: Cell::new(ptr::null()), oldest: Cell::new(ptr::null()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newest.get().is_null()
    }

    /// # Safety
    /// `task` is alive until it is unlinked, and in no list.
    #[inline]
    pub(crate) unsafe fn link(&self, task: NonNull<Header>) {
        // SAFETY: by contract.
        let header = unsafe { task.as_ref() };
        let newest = self.newest.replace(task.as_ptr());
        header.siblings.older.set(newest);
        // SAFETY: linked tasks are alive.
        match unsafe { newest.as_ref() } {
            Some(newest) => newest.siblings.newer.set(header),
            None => self.oldest.set(header),
        }
    }

    /// # Safety
    /// `task` is in this list.
    #[inline]
    pub(crate) unsafe fn unlink(&self, task: NonNull<Header>) {
        // SAFETY: linked tasks are alive.
        let header = unsafe { task.as_ref() };
        let (newer, older) = (header.siblings.newer.get(), header.siblings.older.get());
        // SAFETY: as above.
        match unsafe { newer.as_ref() } {
            Some(newer) => newer.siblings.older.set(older),
            None => self.newest.set(older),
        }
        // SAFETY: as above.
        match unsafe { older.as_ref() } {
            Some(older) => older.siblings.newer.set(newer),
            None => self.oldest.set(newer),
        }
    }

    /// Whether `f` holds of a task.
    pub(crate) fn any(&self, f: impl Fn(&Header) -> bool) -> bool {
        let mut at = self.oldest.get();
        // SAFETY: linked tasks are alive.
        while let Some(header) = unsafe { at.as_ref() } {
            if f(header) {
                return true;
            }
            at = header.siblings.newer.get();
        }
        false
    }

    /// Calls `f` with each task, the oldest first. `f` must not change the list.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Header)) {
        let mut at = self.oldest.get();
        let mut stride = 0;
        // SAFETY: linked tasks are alive.
        while let Some(header) = unsafe { at.as_ref() } {
            at = header.siblings.newer.get();
            // The next one has left the cache long ago, if there are many.
            prefetch_lines(at.addr(), LINES);
            // Those spawned in a row mostly lie in a row, too: the links show one at a time, but the eighth from here may be guessed.
            let step = at.addr().wrapping_sub(ptr::from_ref(header).addr());
            if step == stride {
                prefetch_lines(at.addr().wrapping_add(stride.wrapping_mul(AHEAD)), LINES);
            }
            stride = step;
            f(header);
        }
    }
}

/// How much of a task is looked at by whoever goes through a list.
const LINES: usize = 3;
/// How far ahead of the next one a task's place is guessed.
const AHEAD: usize = 8;

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("is_empty", &self.is_empty()).finish()
    }
}
