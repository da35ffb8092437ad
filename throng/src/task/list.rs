//! A list of tasks, linked through their headers: in and out in O(1), newest first.

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

use super::Header;

/// A task is in one list at a time, its owner's, and alive while it is in it.
pub(crate) struct List {
    first: Cell<*const Header>,
}

// SAFETY: whoever uses a list holds its lock or is on its home's thread, and the links of the tasks in it are the list's.
unsafe impl Send for List {}

#[derive(Debug)]
pub(super) struct Siblings {
    previous: Cell<*const Header>,
    next: Cell<*const Header>,
}

impl Siblings {
    pub(super) fn none() -> Siblings {
        Siblings { previous: Cell::new(ptr::null()), next: Cell::new(ptr::null()) }
    }
}

impl List {
    pub(crate) fn new() -> List {
        List { first: Cell::new(ptr::null()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    /// # Safety
    /// `task` is alive until it is unlinked, and in no list.
    #[inline]
    pub(crate) unsafe fn link(&self, task: NonNull<Header>) {
        // SAFETY: by contract.
        let header = unsafe { task.as_ref() };
        let first = self.first.replace(task.as_ptr());
        header.siblings.next.set(first);
        // SAFETY: linked tasks are alive.
        if let Some(first) = unsafe { first.as_ref() } {
            first.siblings.previous.set(header);
        }
    }

    /// # Safety
    /// `task` is in this list.
    #[inline]
    pub(crate) unsafe fn unlink(&self, task: NonNull<Header>) {
        // SAFETY: linked tasks are alive.
        let header = unsafe { task.as_ref() };
        let (previous, next) = (header.siblings.previous.get(), header.siblings.next.get());
        // SAFETY: as above.
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.siblings.next.set(next),
            None => self.first.set(next),
        }
        // SAFETY: as above.
        if let Some(next) = unsafe { next.as_ref() } {
            next.siblings.previous.set(previous);
        }
    }

    /// Calls `f` with each task. `f` must not change the list.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Header)) {
        let mut at = self.first.get();
        // SAFETY: linked tasks are alive.
        while let Some(header) = unsafe { at.as_ref() } {
            at = header.siblings.next.get();
            f(header);
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("is_empty", &self.is_empty()).finish()
    }
}
