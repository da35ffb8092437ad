//! The calls a thread is in: with the feature `backtrace`, by the unwinder that panics use; without it none.

#[cfg(feature = "backtrace")]
pub(crate) use by_unwinding::symbols;
#[cfg(feature = "backtrace")]
pub(super) use by_unwinding::{Frames, prepare};
#[cfg(not(feature = "backtrace"))]
pub(crate) use none::symbols;
#[cfg(not(feature = "backtrace"))]
pub(super) use none::{Frames, prepare};

/// **In a signal handler.** Nobody promises that an unwinder is async-signal-safe. With glibc from 2.35 on it finds its tables without a lock. Before that, and elsewhere, it may take the lock of the
/// dynamic loader, and would wait for ever if the thread was interrupted while it held that. So this is a feature that has to be chosen. It allocates nothing, and it needs room on the signal's stack, which
/// `AltStack` sees to.
#[cfg(feature = "backtrace")]
mod by_unwinding {
    use std::ffi::c_void;
    use std::fmt::Write;

    const MOST: usize = 64;

    pub(in crate::probe) struct Frames {
        addresses: [usize; MOST],
        len: usize,
    }

    impl Frames {
        pub(in crate::probe) const NONE: Frames = Frames { addresses: [0; MOST], len: 0 };

        /// Takes down the calls of this thread.
        pub(in crate::probe) fn record(&mut self) {
            let errno = errno();
            // SAFETY: has no preconditions.
            let saved = unsafe { errno.read() };
            self.len = 0;
            // SAFETY: what it is not synchronised with is the symbols' cache, which it does not use.
            unsafe {
                backtrace::trace_unsynchronized(|frame| {
                    self.addresses[self.len] = frame.ip().addr();
                    self.len += 1;
                    self.len < MOST
                });
            }
            // SAFETY: this thread's own.
            unsafe { errno.write(saved) };
        }

        pub(in crate::probe) fn to_vec(&self) -> Vec<usize> {
            self.addresses[..self.len].to_vec()
        }
    }

    #[cfg(target_os = "linux")]
    fn errno() -> *mut libc::c_int {
        // SAFETY: has no preconditions.
        unsafe { libc::__errno_location() }
    }

    #[cfg(not(target_os = "linux"))]
    fn errno() -> *mut libc::c_int {
        // SAFETY: has no preconditions.
        unsafe { libc::__error() }
    }

    /// What the unwinder does at its first use is done outside of a handler.
    pub(in crate::probe) fn prepare() {
        let mut frames = Frames::NONE;
        frames.record();
    }

    /// The calls as text, a line each, less those of the handler and, where they can be told, those of the scheduler that called the goroutine.
    pub(crate) fn symbols(frames: &[usize]) -> Vec<String> {
        let mut lines = Vec::new();
        for &address in frames {
            let mut text = String::new();
            backtrace::resolve(std::ptr::without_provenance_mut::<c_void>(address), |symbol| {
                if !text.is_empty() {
                    text.push_str(", inlined in ");
                }
                match symbol.name() {
                    Some(name) => _ = write!(text, "{name:#}"),
                    None => _ = write!(text, "{address:#x}"),
                }
                if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                    let _ = write!(text, " at {}:{line}", file.display());
                }
            });
            if text.is_empty() {
                let _ = write!(text, "{address:#x}");
            }
            lines.push(text);
        }
        let is_own = |line: &String| line.contains("throng::probe::");
        let handler = lines.iter().rposition(is_own).map_or(0, |last| last + 1);
        lines.drain(..handler);
        // The kernel's return from a handler has no name of its own everywhere.
        if lines.first().is_some_and(|line| line.contains("restore_rt") || line.starts_with("0x")) {
            lines.remove(0);
        }
        if let Some(end) = lines.iter().position(|line| line.contains("throng::task::body::") || line.contains("throng::sched::worker::")) {
            lines.truncate(end);
        }
        lines
    }
}

#[cfg(not(feature = "backtrace"))]
mod none {
    pub(in crate::probe) struct Frames;

    impl Frames {
        pub(in crate::probe) const NONE: Frames = Frames;

        #[allow(clippy::unused_self, reason = "the interface of the other")]
        pub(in crate::probe) fn record(&mut self) {}

        #[allow(clippy::unused_self, reason = "the interface of the other")]
        pub(in crate::probe) fn to_vec(&self) -> Vec<usize> {
            Vec::new()
        }
    }

    pub(in crate::probe) fn prepare() {}

    pub(crate) fn symbols(_: &[usize]) -> Vec<String> {
        Vec::new()
    }
}
