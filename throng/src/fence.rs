//! Fences in pairs of unequal price, for protocols in which one side acts all the time and the other hardly ever.
//!
//! Both sides of such a protocol write one word, pass their fence and read the other's word. Two full fences guarantee that at least one of them sees what the other wrote. So
//! does a [`light`] fence paired with a [`heavy`] one: the light one only keeps the compiler from changing the order, and the heavy one has the system run a full fence on every processor
//! that runs one of our threads (Linux: `membarrier`, expedited). A thread's light fence then lies either before that moment, and what it wrote is seen by us, or after it, and it
//! sees what we wrote.
//!
//! Measured on a virtual machine with two processors: light 0 ns, a full fence or read-modify-write 10 ns; heavy 0.2 µs if no other thread of ours runs, else 20 µs, of which the
//! interrupted thread loses 15. So whoever needs a heavy one had better try something else first (`owned_lock.rs`, `waiter/README.md`), or do so seldom (`biased_lock.rs`).
//!
//! Where there is no `membarrier` (or a sandbox forbids it from the start) both are full fences. It must not be forbidden later: what is to be done then cannot be known, and the process ends.

pub(crate) use imp::{heavy, is_light_cheap, light, light_for_sure, prepare};

#[cfg(all(not(loom), any(target_os = "linux", target_os = "android")))]
mod imp {
    use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

    /// The process is registered with the system. Set once, before any thread exists that uses these fences on what others can reach, so all that pair agree.
    static REGISTERED: AtomicBool = AtomicBool::new(false);

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: takes numbers and touches no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
        result == 0
    }

    /// To be called before the threads are started that use these fences.
    pub(crate) fn prepare() {
        if membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
            // Relaxed: starting a thread orders it for that thread.
            REGISTERED.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a light fence is less than a full one.
    pub(crate) fn is_light_cheap() -> bool {
        // Relaxed: once it is true, it stays so.
        REGISTERED.load(Ordering::Relaxed)
    }

    /// [`light`], by a thread to which [`is_light_cheap`] has said so.
    #[inline(always)]
    pub(crate) fn light_for_sure() {
        compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    pub(crate) fn light() {
        if REGISTERED.load(Ordering::Relaxed) {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    #[cold]
    pub(crate) fn heavy() {
        // The system's fence is one of this thread, too, but only the compiler's word for it says so.
        fence(Ordering::SeqCst);
        if REGISTERED.load(Ordering::Relaxed) && !membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
            eprintln!("throng: the system call membarrier, which worked before, fails: {}", std::io::Error::last_os_error());
            std::process::abort();
        }
    }
}

#[cfg(any(loom, not(any(target_os = "linux", target_os = "android"))))]
mod imp {
    use crate::shim::fence;
    use std::sync::atomic::Ordering::SeqCst;

    pub(crate) fn prepare() {}

    // In a model both are full ones, and stand for any.
    pub(crate) fn is_light_cheap() -> bool {
        cfg!(loom)
    }

    #[inline(always)]
    pub(crate) fn light() {
        fence(SeqCst);
    }

    #[inline(always)]
    pub(crate) fn light_for_sure() {
        fence(SeqCst);
    }

    pub(crate) fn heavy() {
        fence(SeqCst);
    }
}
