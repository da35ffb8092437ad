//! A fiber: a stack, and the switch to it and away from it. A thin face over corosensei.
//!
//! A fiber's own record lies at the top of its stack, so that a parked goroutine is one page and no heap block, and a
//! switch touches neighbouring cache lines:
//!
//! ```text
//! low                                                                     top
//!  | guard | ......... frames, grow down | corosensei's link | Fiber record |
//! ```
//!
//! States: *new* (never resumed), *running* (exactly one thread is between `resume` and the return of that `resume`),
//! *suspended*, *finished* (the body has returned). `resume`: new or suspended -> running; `suspend`: running ->
//! suspended; the body's return: running -> finished. `Fiber::into_stack` ends a new or finished fiber. There is no way to
//! end a suspended one, since nobody can unwind its frames: if its owner goes away its stack is leaked, whole.
//!
//! Invariants: a fiber belongs to the thread of its first resume for life (its frames may hold what is not `Send`, and
//! addresses of thread-locals). No panic leaves a body; one that tries aborts the process. While a fiber runs
//! its `coroutine` field is corosensei's alone, which holds a `&mut` to it over the switch; the other fields are then the
//! fiber's, and no reference to the whole record is ever held over a switch.
//!
//! Not saved over a switch: the floating-point control words (rounding mode, exception masks), as in any function call.

mod altstack;
mod guard;
mod overflow;
mod refusal;
mod regions;
mod slab;
mod sys;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod tests;

pub(crate) use altstack::AltStack;
pub(crate) use overflow::{install as install_overflow_report, set_describe};
pub(crate) use refusal::OutOfStacks;
pub(crate) use slab::{Slab, Stack};

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use corosensei::stack::StackPointer;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Room a suspension may use below the stack pointer it recorded: the frame of a `suspend` that was not inlined, what
/// corosensei pushes, and the red zone.
const SWITCH_ROOM: usize = 1024;

/// The record of a fiber. Always behind the pointer [`Fiber::new`] returns: never moved, never dropped, not `Send`. One
/// cache line.
#[repr(align(64))]
pub(crate) struct Fiber {
    coroutine: UnsafeCell<Coroutine<(), (), (), Ground>>,
    /// Set when the body begins.
    yielder: Cell<*const Yielder<(), ()>>,
    /// The stack pointer as of the last suspension; 0 before the first.
    depth: Cell<usize>,
    low: NonNull<u8>,
}

/// What became of a fiber that was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// It suspended itself and may be resumed again.
    Suspended,
    /// Its body returned.
    Finished,
}

/// How much of a cold stack is fetched: what a goroutine that waits in a channel has under it.
const MOST_LINES: usize = 24;

impl Fiber {
    /// A new fiber that will run `body` on `stack` when it is first resumed. The pointer is good until
    /// [`into_stack`](Fiber::into_stack).
    pub(crate) fn new<F: FnOnce() + 'static>(stack: Stack, body: F) -> NonNull<Fiber> {
        const { assert!(mem::size_of::<F>() <= 512, "corosensei moves the body onto the stack: box what is large") };
        // SAFETY: a stack is far larger than the record, and `stack` is the right to use all of it.
        let this = unsafe { stack.top().cast::<Fiber>().sub(1) };
        let ground = Ground { base: this.addr(), limit: stack.low().addr() };
        let start = move |yielder: &Yielder<(), ()>, ()| {
            // SAFETY: the record was written below before anyone could resume it, and stays while the body runs.
            unsafe { (*this.as_ptr()).yielder.set(yielder) };
            let bomb = AbortOnUnwind;
            body();
            mem::forget(bomb);
        };
        let fiber = Fiber {
            coroutine: UnsafeCell::new(Coroutine::with_stack(ground, start)),
            yielder: Cell::new(ptr::null()),
            depth: Cell::new(0),
            low: stack.low(),
        };
        // SAFETY: inside the stack and aligned, its top being a multiple of the cache line; corosensei stays below it.
        unsafe { this.write(fiber) };
        this
    }

    /// Runs the fiber until it suspends or its body returns. Called on the thread's own stack.
    ///
    /// # Safety
    /// `this` is new or suspended, and this is the thread that resumed it before.
    #[inline]
    pub(crate) unsafe fn resume(this: NonNull<Fiber>) -> Resumed {
        // SAFETY: the record lives, and this reads no more than an address.
        let coroutine = unsafe { (*this.as_ptr()).coroutine.get() };
        // SAFETY: the field is used here, by `into_stack` and by nothing else; the fiber itself leaves it alone.
        let coroutine = unsafe { &mut *coroutine };
        debug_assert!(!coroutine.done(), "a finished fiber resumed");
        if coroutine.done() {
            // SAFETY: the caller promises that the fiber has not finished. This spares corosensei's own check.
            unsafe { std::hint::unreachable_unchecked() };
        }
        match coroutine.resume(()) {
            CoroutineResult::Yield(()) => Resumed::Suspended,
            CoroutineResult::Return(()) => Resumed::Finished,
        }
    }

    /// Suspends the running fiber: its `resume` returns [`Resumed::Suspended`]. Returns when it is resumed again.
    ///
    /// # Safety
    /// Called on the stack of `this`, which is running.
    #[inline]
    pub(crate) unsafe fn suspend(this: NonNull<Fiber>) {
        let depth = sys::stack_pointer();
        debug_assert!(depth == 0 || Fiber::holds(this, depth), "a fiber suspended from another stack");
        // SAFETY: the record lives while its fiber runs.
        unsafe { (*this.as_ptr()).depth.set(depth) };
        // SAFETY: as above.
        let yielder = unsafe { (*this.as_ptr()).yielder.get() };
        // SAFETY: set when the body began; it points into the root frame, below which this runs.
        let yielder = unsafe { &*yielder };
        yielder.suspend(());
    }

    /// Asks for the cache lines that a resumption will touch first: the link below the record, and the innermost frames.
    ///
    /// # Safety
    /// `this` is live, on this thread. (If it is not suspended, what is fetched is out of date.)
    #[inline(always)]
    pub(crate) unsafe fn prefetch(this: NonNull<Fiber>) {
        const LINE: usize = mem::align_of::<Fiber>();
        // SAFETY: the record lives.
        let depth = unsafe { (*this.as_ptr()).depth.get() };
        crate::shim::prefetch(this.addr().get() - LINE);
        crate::shim::prefetch(depth.wrapping_sub(LINE));
        crate::shim::prefetch(depth);
        crate::shim::prefetch(depth.wrapping_add(LINE));
        crate::shim::prefetch(depth.wrapping_add(2 * LINE));
    }

    /// `prefetch`, with all of the frames, if they are few: for a fiber that has not run for long. All but the outermost line: what the body's first frame has saved there is wanted when it returns.
    ///
    /// # Safety
    /// As for `prefetch`.
    pub(crate) unsafe fn prefetch_all(this: NonNull<Fiber>) {
        const LINE: usize = mem::align_of::<Fiber>();
        // What a switch saves below the depth.
        const SAVED: usize = 3 * mem::size_of::<usize>();
        // SAFETY: the record lives.
        let depth = unsafe { (*this.as_ptr()).depth.get() };
        let top = this.addr().get();
        for line in (depth.wrapping_sub(SAVED)..top - 2 * LINE).step_by(LINE).take(MOST_LINES) {
            crate::shim::prefetch(line);
        }
        crate::shim::prefetch(top - LINE);
    }

    /// Whether an address lies in the stack of a fiber, one that is not ended.
    fn holds(this: NonNull<Fiber>, address: usize) -> bool {
        // SAFETY: the record lives.
        let low = unsafe { (*this.as_ptr()).low };
        (low.addr().get()..this.addr().get()).contains(&address)
    }

    /// Ends the fiber and hands its stack back, to be used again. A body that never ran is dropped.
    ///
    /// # Safety
    /// `this` is new or finished, and is not used after this.
    pub(crate) unsafe fn into_stack(this: NonNull<Fiber>) -> Stack {
        // SAFETY: the caller gives the record up.
        let fiber = unsafe { this.read() };
        let mut coroutine = mem::ManuallyDrop::new(fiber.coroutine.into_inner());
        assert!(coroutine.done() || !coroutine.started(), "the stack of a suspended fiber is in use");
        // SAFETY: not used after this, and with no frame on its stack there is nothing to unwind.
        unsafe { mem::ManuallyDrop::drop(&mut coroutine) };
        // SAFETY: the parts `new` took the stack apart into: the record ends where the stack does.
        let top = unsafe { this.add(1) };
        // SAFETY: as above.
        unsafe { Stack::from_parts(fiber.low, top.cast()) }
    }

    /// Gives the pages of a suspended fiber's stack below its deepest frame back to the system. Returns how many bytes of
    /// address space that covers: an upper bound of the memory, 0 if the depth is not known.
    ///
    /// For a fiber that will stay idle: it costs a system call now, and page faults if the stack grows again.
    ///
    /// # Safety
    /// `this` is new, suspended or finished, and nobody resumes it meanwhile.
    pub(crate) unsafe fn trim(this: NonNull<Fiber>) -> usize {
        // SAFETY: the record lives and no one changes it.
        let fiber = unsafe { this.as_ref() };
        let page = sys::page_size();
        let used = fiber.depth.get().saturating_sub(SWITCH_ROOM) & !(page - 1);
        let idle = used.saturating_sub(fiber.low.addr().get());
        if idle > 0 {
            // SAFETY: from the low end of this stack to below its last frame: dead memory. The guard in it stays.
            let discarded = unsafe { sys::discard(fiber.low, idle) };
            // A refusal (locked memory) leaves the pages resident: nothing is lost but the memory.
            drop(discarded);
        }
        idle
    }
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").field("low", &self.low).finish_non_exhaustive()
    }
}

/// The stack as corosensei wants to know it.
struct Ground {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the slab guards every stack it gives out, and the least is 16 KiB; `base` is aligned to the cache line.
unsafe impl corosensei::stack::Stack for Ground {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// Dropped by a panic that leaves a body: below it lies no frame that could catch it.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        sys::write_stderr(b"throng: a panic left the body of a fiber\n");
        std::process::abort();
    }
}
