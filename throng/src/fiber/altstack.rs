//! The alternate signal stack a fault handler needs: a fiber that overflowed has no room left for it.
//!
//! std gives one to the threads it starts, but only if the program's `main` is Rust's. A worker calls [`AltStack::ensure`]
//! when it begins and keeps the value to its end: it does nothing where there is one already.

use std::io;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::sys;

/// What the handler itself may use, on top of what the kernel pushes.
const HANDLER_ROOM: usize = 16 << 10;

/// What the unwinder needs in a handler (`probe/frames.rs`), if it is used there, generously.
const UNWINDER_ROOM: Option<usize> = if cfg!(feature = "backtrace") { Some(64 << 10) } else { None };

/// This thread's alternate signal stack, if it had to be made: taken away again on drop.
#[derive(Debug)]
#[must_use = "the alternate stack is taken away when this is dropped"]
pub(crate) struct AltStack {
    mapping: Option<(NonNull<u8>, usize)>,
    /// A signal stack is its thread's: not `Send`.
    thread: PhantomData<*mut ()>,
}

impl AltStack {
    /// Gives this thread an alternate signal stack unless it has one that is large enough.
    pub(crate) fn ensure() -> io::Result<AltStack> {
        let thread = PhantomData;
        let present = current()?;
        if present.ss_flags & libc::SS_DISABLE == 0 && UNWINDER_ROOM.is_none_or(|room| present.ss_size >= room) {
            return Ok(AltStack { mapping: None, thread });
        }
        let page = sys::page_size();
        let room = libc::SIGSTKSZ.max(sys::signal_frame_size()) + HANDLER_ROOM + UNWINDER_ROOM.unwrap_or(0);
        let len = room.next_multiple_of(page) + page;
        let start = sys::map(len)?;
        let alt = AltStack { mapping: Some((start, len)), thread };
        // SAFETY: the lowest page of a fresh mapping.
        unsafe { sys::protect(start, page)? };
        // SAFETY: inside the mapping, which has more than this page.
        let usable = unsafe { start.add(page) };
        set(usable.as_ptr(), len - page, 0)?;
        Ok(alt)
    }

    /// Whether this value made the stack, rather than finding one.
    #[cfg(test)]
    pub(crate) fn is_own(&self) -> bool {
        self.mapping.is_some()
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some((start, len)) = self.mapping else {
            return;
        };
        let mapping = start.as_ptr().addr()..start.as_ptr().addr() + len;
        match current() {
            Ok(alt) if mapping.contains(&alt.ss_sp.addr()) => {
                if set(ptr::null_mut(), len, libc::SS_DISABLE).is_err() {
                    // The kernel may still write there: leak it.
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
        // SAFETY: the kernel does not know the mapping any more, and it was this value's own.
        unsafe { sys::unmap(start, len) };
    }
}

fn current() -> io::Result<libc::stack_t> {
    let mut alt = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: both pointers may be null or to a whole stack_t.
    let result = unsafe { libc::sigaltstack(ptr::null(), &raw mut alt) };
    if result == 0 { Ok(alt) } else { Err(io::Error::last_os_error()) }
}

fn set(start: *mut u8, len: usize, flags: libc::c_int) -> io::Result<()> {
    let alt = libc::stack_t { ss_sp: start.cast(), ss_flags: flags, ss_size: len };
    // SAFETY: the callers pass memory of their own that outlives its use, or take theirs away.
    let result = unsafe { libc::sigaltstack(&raw const alt, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
