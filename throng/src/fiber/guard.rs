//! Guards: the pages at the low end of a stack that fault instead of letting an overflow run on into the next stack.
//!
//! Two ways to make one. Markers (`MADV_GUARD_INSTALL`, Linux 6.13) live in the page table and leave the mapping whole, so
//! a million guarded stacks are some tens of mappings. Protection (`mprotect`) works everywhere, but each guard cuts the
//! mapping in two, and Linux refuses at `vm.max_map_count`: some 32,700 stacks by default. Both survive the discarding of
//! the pages around them, so a stack is guarded once, when it is first used, and never again.

use std::io;
use std::ptr::NonNull;

use super::sys;

/// How a slab guards its stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardKind {
    /// Markers in the page table.
    Markers,
    /// Page protection, two mappings a stack.
    Protection,
}

impl GuardKind {
    /// Asks the kernel once, on a page of its own, whether it knows markers.
    pub(crate) fn probe() -> GuardKind {
        let len = sys::page_size();
        let Ok(page) = sys::map(len) else {
            return GuardKind::Protection;
        };
        // SAFETY: the page was mapped just now and holds nothing.
        let installed = unsafe { sys::install_guard(page, len) };
        // SAFETY: the page is not used any more.
        unsafe { sys::unmap(page, len) };
        if installed.is_ok() { GuardKind::Markers } else { GuardKind::Protection }
    }

    /// Guards a range.
    ///
    /// # Safety
    /// The range must be whole pages of a [`sys::map`] with nothing in them that anyone needs.
    pub(crate) unsafe fn install(self, start: NonNull<u8>, len: usize) -> io::Result<()> {
        if self == GuardKind::Markers {
            // SAFETY: the caller's promise is the same.
            match unsafe { sys::install_guard(start, len) } {
                // Memory locked by mlockall since the probe: markers cannot be had there, protection can.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                done => return done,
            }
        }
        // SAFETY: the caller's promise is the same.
        unsafe { sys::protect(start, len) }
    }
}
