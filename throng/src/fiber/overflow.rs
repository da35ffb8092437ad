//! The report of a goroutine that overflowed its stack: a fault handler that says which one, and aborts.
//!
//! SIGSEGV and SIGBUS are handled once per process. A fault inside the guard of a stack is an overflow: what to say is put
//! together in a buffer and written with write(2). Any other fault is none of ours and goes to the handler that was there
//! before, std's as a rule, which reports overflows of threads and otherwise restores the default and lets the access
//! fault again.
//!
//! A stray pointer that happens to hit a guard is reported as an overflow too: only the address is looked at.
//!
//! Everything the handler calls is async-signal-safe: no allocation, no lock, no std I/O.
//!
//! A signal that a process *sent* (`kill -SEGV`) carries no address and does not come again by itself. std's handler gives
//! up at the first one: the process lives on, without a handler. Here the first is passed on too, but overflows go on
//! being reported; the second takes the default action, as it does under std alone.

use std::cell::UnsafeCell;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use libc::{c_int, c_void, sighandler_t, siginfo_t};

use super::regions::{self, Chunk};
use super::sys;

/// Writes what is known of the task running on this thread, like `goroutine 'name' (spawned at src/main.rs:12)`, by any number
/// of calls to its argument. Called in a signal handler: it must be async-signal-safe.
pub(crate) type Describe = fn(&mut dyn FnMut(&[u8]));

static DESCRIBE: OnceLock<Describe> = OnceLock::new();
static INSTALL: Once = Once::new();
/// A sent signal has been passed on and the handler before ours gave up.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

static SEGV: Previous = Previous::new();
static BUS: Previous = Previous::new();

type PlainHandler = extern "C" fn(c_int);
type InfoHandler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// The action a signal had before `install`: written once, before our handler can run.
struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written inside `INSTALL`, before the handler that reads it is installed.
unsafe impl Sync for Previous {}

impl Previous {
    const fn new() -> Previous {
        Previous(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    fn of(signal: c_int) -> *mut libc::sigaction {
        let previous = if signal == libc::SIGBUS { &BUS } else { &SEGV };
        previous.0.get().cast()
    }
}

/// Says who is to name the goroutine in the report. The first call counts.
pub(crate) fn set_describe(describe: Describe) {
    let _ = DESCRIBE.set(describe);
}

/// Installs the handlers, once per process. A thread also needs an [`AltStack`](super::AltStack).
pub(crate) fn install() {
    INSTALL.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            // SAFETY: asks only, and the pointer is to a static that no one else uses yet.
            let asked = unsafe { libc::sigaction(signal, ptr::null(), Previous::of(signal)) };
            if asked == 0 {
                set_action(signal);
            }
        }
    });
}

/// Makes `on_fault` the handler, with the mask of the previous one, which it may call.
fn set_action(signal: c_int) {
    // SAFETY: written before the first call.
    let mut action = unsafe { Previous::of(signal).read() };
    action.sa_sigaction = on_fault as InfoHandler as sighandler_t;
    action.sa_flags = (action.sa_flags & libc::SA_RESTART) | libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `on_fault` has the signature SA_SIGINFO asks for, and calls what is async-signal-safe.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel passed; it lives until the handler returns.
    let cause = unsafe { &*info };
    let sent = sys::was_sent(cause);
    if !sent {
        // SAFETY: the signal was raised by an access, so it has an address.
        let address = unsafe { cause.si_addr() };
        if let Some(chunk) = regions::guard_at(address.addr()) {
            report(&chunk);
            std::process::abort();
        }
    }
    pass_on(signal, info, context, sent);
}

/// Does what would have been done had we not been here.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, sent: bool) {
    // SAFETY: written before this handler was installed, and not since.
    let previous = unsafe { Previous::of(signal).read() };
    match previous.sa_sigaction {
        libc::SIG_IGN if sent => {}
        // Faults cannot be ignored.
        libc::SIG_DFL | libc::SIG_IGN => take_default(signal, sent),
        handler => {
            if previous.sa_flags & libc::SA_SIGINFO == 0 {
                // SAFETY: without SA_SIGINFO a handler has this signature.
                let handler = unsafe { mem::transmute::<sighandler_t, PlainHandler>(handler) };
                handler(signal);
            } else {
                // SAFETY: with SA_SIGINFO a handler has this signature.
                let handler = unsafe { mem::transmute::<sighandler_t, InfoHandler>(handler) };
                handler(signal, info, context);
            }
            if sent && has_default(signal) {
                // Relaxed: stands alone; two signals at once may both count as the first.
                if GAVE_UP.swap(true, Ordering::Relaxed) {
                    take_default(signal, true);
                } else {
                    set_action(signal);
                }
            }
        }
    }
}

fn has_default(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only, and the pointer is to a whole sigaction.
    unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroes are a sigaction, the default one.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_DFL
}

/// Restores the default action. The access faults again when the handler returns; a sent signal is sent again.
fn take_default(signal: c_int, sent: bool) {
    // SAFETY: zeroes are a sigaction, the default one.
    let action = unsafe { mem::zeroed::<libc::sigaction>() };
    // SAFETY: the default action has no preconditions.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if sent {
        // SAFETY: raise is async-signal-safe. The signal is blocked until the handler returns.
        unsafe { libc::raise(signal) };
    }
}

fn report(chunk: &Chunk) {
    let mut text = Text { bytes: [0; 1024], len: 0 };
    text.push(b"\nthrong: ");
    let start = text.len;
    if let Some(describe) = DESCRIBE.get() {
        describe(&mut |bytes| text.push(bytes));
    }
    if text.len == start {
        text.push(b"a fiber");
    }
    // The last lines must get in, however long the name.
    text.len = text.len.min(text.bytes.len() - 256);
    text.push(b" has overflowed its stack\nthrong: stack size ");
    text.push_number(chunk.size);
    text.push(b" bytes; use Builder::stack_size or task().stack_size(..)\n");
    sys::write_stderr(text.bytes.get(..text.len).unwrap_or_default());
}

/// A line in the making, in the frame of the handler.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Text {
    /// Appends what fits.
    fn push(&mut self, bytes: &[u8]) {
        let rest = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in rest.iter_mut().zip(bytes) {
            *to = *from;
            self.len += 1;
        }
    }

    fn push_number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            first -= 1;
            if number == 0 {
                break;
            }
        }
        self.push(digits.get(first..).unwrap_or_default());
    }
}
