//! The calls this module makes to the operating system, one thin function each.
//!
//! What differs between systems is in the two `os` modules at the top, chosen there once; nothing below them and nothing
//! elsewhere in the module asks which system it is on.

use std::io;
use std::ptr::NonNull;

use libc::{c_int, c_void};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod os {
    use libc::c_int;

    pub(super) const STACK_MAPPING: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    /// Without this a touched stack could become a 2 MiB page.
    pub(super) const NO_HUGE_PAGES: Option<c_int> = Some(libc::MADV_NOHUGEPAGE);
    /// `MADV_GUARD_INSTALL`, Linux 6.13 and later.
    pub(super) const GUARD_INSTALL: Option<c_int> = Some(102);

    /// The most mappings a process may have.
    pub(crate) fn mappings_limit() -> Option<u64> {
        std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
    }

    /// What the kernel needs to deliver one signal on this processor, with all its vector state.
    pub(crate) fn signal_frame_size() -> usize {
        // SAFETY: getauxval reads the vector the kernel passed at start; an entry that is not there reads as 0.
        let size = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
        size as usize
    }

    /// Whether a process sent this signal, rather than a memory access raising it: the kernel's own codes are positive.
    pub(crate) fn was_sent(info: &libc::siginfo_t) -> bool {
        info.si_code <= 0
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod os {
    use libc::c_int;

    pub(super) const STACK_MAPPING: c_int = libc::MAP_PRIVATE | libc::MAP_ANON;
    pub(super) const NO_HUGE_PAGES: Option<c_int> = None;
    pub(super) const GUARD_INSTALL: Option<c_int> = None;

    pub(crate) fn mappings_limit() -> Option<u64> {
        None
    }

    pub(crate) fn signal_frame_size() -> usize {
        0
    }

    /// Whether a process sent this signal, rather than a memory access raising it: without an address, it may have.
    pub(crate) fn was_sent(info: &libc::siginfo_t) -> bool {
        // SAFETY: the field is there for every signal, null if it has no meaning.
        unsafe { info.si_addr() }.is_null()
    }
}

pub(super) use os::{mappings_limit, signal_frame_size, was_sent};

/// The size of a page in bytes: a power of two.
pub(super) fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("the system has pages")
}

/// Maps `len` bytes of private memory, readable and writable, that cost nothing until they are touched.
pub(super) fn map(len: usize) -> io::Result<NonNull<u8>> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, os::STACK_MAPPING);
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choosing touches no memory of ours.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = NonNull::new(start.cast::<u8>()).expect("the kernel does not map page zero unasked");
    if let Some(advice) = os::NO_HUGE_PAGES {
        // SAFETY: the range is the mapping just made. A kernel built without huge pages refuses, and needs no advice.
        unsafe { libc::madvise(start.as_ptr().cast(), len, advice) };
    }
    Ok(start)
}

/// Undoes [`map`].
///
/// # Safety
/// `start` and `len` must be those of one `map`, and nothing may use that memory again.
pub(super) unsafe fn unmap(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller gives the mapping up.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
}

/// Gives the pages of a range back to the system: they read as zeroes when touched again. Guards in the range stay.
///
/// # Safety
/// The range must be whole pages of a [`map`], and nothing may need what is in them.
pub(super) unsafe fn discard(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller promises that the contents are dead.
    check(unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) })
}

/// Makes a range fault when touched, by markers in the page table: the mapping is not split.
///
/// # Safety
/// As for [`discard`].
pub(super) unsafe fn install_guard(start: NonNull<u8>, len: usize) -> io::Result<()> {
    let Some(advice) = os::GUARD_INSTALL else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // SAFETY: the caller promises that nothing in the range is in use.
    check(unsafe { libc::madvise(start.as_ptr().cast(), len, advice) })
}

/// Makes a range fault when touched, by its protection: this splits the mapping.
///
/// # Safety
/// As for [`discard`].
pub(super) unsafe fn protect(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the caller promises that nothing in the range is in use.
    check(unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_NONE) })
}

/// The limit set on this process's address space, if there is one.
pub(super) fn address_space_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a whole rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }).ok()?;
    // rlim_t is signed on some systems.
    #[allow(clippy::unnecessary_cast)]
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
}

/// Writes to standard error. Async-signal-safe; what cannot be written is lost.
pub(super) fn write_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (data, len) = (bytes.as_ptr().cast::<c_void>(), bytes.len());
        // SAFETY: the pointer and the length are those of a slice.
        let written = unsafe { libc::write(libc::STDERR_FILENO, data, len) };
        match usize::try_from(written) {
            Ok(n) if n > 0 => bytes = bytes.get(n..).unwrap_or_default(),
            _ => return,
        }
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The stack pointer, or 0 on a processor this has not been written for. Inlined, it is that of the caller's frame.
#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads one register.
    unsafe {
        core::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads one register.
    unsafe {
        core::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        pointer = 0;
    }
    pointer
}
