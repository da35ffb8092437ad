//! The slab: where stacks come from and where they go back to. One per runtime and stack size, shared by its workers.
//!
//! Address space is reserved in chunks, each twice the one before, and cut into equal strides:
//!
//! ```text
//! low                                                            low + stride
//!  | guard | usable, grows down .................. | colour (0..1 KiB) |
//! ```
//!
//! A slot (one stride) is in one of four states: *untouched* at the end of the newest chunk, *bare* (handed back because
//! it could not be guarded), *out* as a [`Stack`], or *free*. Only untouched and bare slots need a guard; a free one has
//! its guard, and its top page is likely still in some cache, so the free list is last in, first out. The oldest
//! `clean` entries of that list have given their pages back to the system.
//!
//! Strides are an odd number of pages. Equal page numbers modulo a power of two would put the tops of all stacks into the
//! same few sets of the TLB, and their page table entries into the same few sets of the cache. For the same reason the
//! tops of neighbours differ by a colour, a multiple of the cache line taken from the page number.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::guard::GuardKind;
use super::refusal::{Asked, OutOfStacks};
use super::regions::{self, Region};
use super::sys;

/// The least and the most a stack may be asked to have, guard included.
pub(crate) const MIN_STACK_SIZE: usize = 16 << 10;
pub(crate) const MAX_STACK_SIZE: usize = 1 << 30;

/// A guard this long also stops foreign code that does not probe its frames; small stacks get one page.
const GUARD_SIZE: usize = 16 << 10;

const CACHE_LINE: usize = 64;
/// 16 colours of one line take 960 bytes at most, so that a shallow goroutine still fits in the one page at its top.
const COLOURS: usize = 16;

/// How many stacks the first chunk holds; the others hold twice as many as the one before, up to the last size.
pub(super) const FIRST_CHUNK: usize = 64;
const LAST_CHUNK: usize = 16_384;
/// No chunk reserves more address space than this, unless a single stack does.
const CHUNK_BYTES: usize = if usize::BITS >= 64 { 16 << 30 } else { 64 << 20 };

/// The right to use one stack. It must go back with [`Slab::give`]; dropped, it is leaked.
#[derive(Debug)]
#[must_use = "a stack that is dropped is leaked"]
pub(crate) struct Stack {
    low: NonNull<u8>,
    top: NonNull<u8>,
}

// SAFETY: a Stack is the only way to the memory it stands for, which any thread may use.
unsafe impl Send for Stack {}

impl Stack {
    /// The lowest address of the stack, where its guard begins.
    pub(crate) fn low(&self) -> NonNull<u8> {
        self.low
    }

    /// The address just above the usable memory, a multiple of the cache line.
    pub(crate) fn top(&self) -> NonNull<u8> {
        self.top
    }

    /// Puts together again what `low` and `top` took apart.
    ///
    /// # Safety
    /// Both must come from one `Stack` that is not used as such any more.
    pub(crate) unsafe fn from_parts(low: NonNull<u8>, top: NonNull<u8>) -> Stack {
        Stack { low, top }
    }
}

/// How many stacks there are, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlabStats {
    /// Given out and not yet given back.
    pub(crate) live: usize,
    /// Given back, ready to be used again.
    pub(crate) free: usize,
    /// Address space reserved for, whether used yet or not.
    pub(crate) mapped: usize,
}

#[derive(Debug)]
pub(crate) struct Slab {
    shape: Shape,
    state: Mutex<State>,
    /// The last `take` failed, and nothing was given back since. Changed with the lock held, read without.
    exhausted: AtomicBool,
}

#[derive(Debug)]
struct Shape {
    /// As asked for, rounded up to pages.
    size: usize,
    stride: usize,
    guard: usize,
    page: usize,
    kind: GuardKind,
}

#[derive(Debug)]
struct State {
    free: Vec<Slot>,
    /// How many of `free`, from the front, hold no pages.
    clean: usize,
    bare: Vec<Slot>,
    untouched: Run,
    chunks: Vec<Chunk>,
    /// How many stacks the next chunk is to hold.
    next_chunk: usize,
    live: usize,
    mapped: usize,
    refusal: Option<OutOfStacks>,
}

/// The low end of a stride.
#[derive(Clone, Copy, Debug)]
struct Slot(NonNull<u8>);

// SAFETY: an address into memory that any thread may use; the slab's lock says who does.
unsafe impl Send for Slot {}

/// Slots beside each other.
#[derive(Debug)]
struct Run {
    first: Slot,
    count: usize,
}

#[derive(Debug)]
struct Chunk {
    start: Slot,
    len: usize,
    region: &'static Region,
}

impl Slab {
    /// A slab of stacks of `stack_size` bytes, guard included, rounded up to whole pages.
    ///
    /// # Errors
    /// `InvalidInput` if the size is below [`MIN_STACK_SIZE`] or above [`MAX_STACK_SIZE`]. Nothing is mapped yet.
    pub(crate) fn new(stack_size: usize) -> io::Result<Slab> {
        Slab::with_guard(stack_size, GuardKind::probe())
    }

    /// The same with the guards made in the given way.
    pub(crate) fn with_guard(stack_size: usize, kind: GuardKind) -> io::Result<Slab> {
        if !(MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&stack_size) {
            let text = format!(
                "a stack of {stack_size} bytes: it must have {} KiB at least and {} MiB at most",
                MIN_STACK_SIZE >> 10,
                MAX_STACK_SIZE >> 20
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let page = sys::page_size();
        // One page for the guard and one for use, where pages are larger than stacks.
        let size = stack_size.next_multiple_of(page).max(2 * page);
        let guard = if size / 4 >= GUARD_SIZE { GUARD_SIZE.next_multiple_of(page) } else { page };
        let pages = size / page;
        let stride = (pages | 1) * page;
        let nowhere = Slot(NonNull::dangling());
        Ok(Slab {
            shape: Shape { size, stride, guard, page, kind },
            state: Mutex::new(State {
                free: Vec::new(),
                clean: 0,
                bare: Vec::new(),
                untouched: Run { first: nowhere, count: 0 },
                chunks: Vec::new(),
                next_chunk: FIRST_CHUNK,
                live: 0,
                mapped: 0,
                refusal: None,
            }),
            exhausted: AtomicBool::new(false),
        })
    }

    /// The size of the stacks as asked for, rounded up to whole pages.
    #[cfg(test)]
    pub(crate) fn stack_size(&self) -> usize {
        self.shape.size
    }

    /// A guarded stack: the one given back last, or a new one.
    pub(crate) fn take(&self) -> Result<Stack, OutOfStacks> {
        let mut taken = None;
        self.fill(1, &mut |stack| taken = Some(stack))?;
        Ok(taken.expect("fill found one or said why not"))
    }

    /// Takes up to `n` stacks at once and says how many. It is an error only if there is not even one.
    pub(crate) fn take_many(&self, n: usize, into: &mut Vec<Stack>) -> Result<usize, OutOfStacks> {
        into.reserve(n);
        self.fill(n, &mut |stack| into.push(stack))
    }

    /// Gives a stack back. It must be one of this slab's.
    pub(crate) fn give(&self, stack: Stack) {
        self.give_many([stack]);
    }

    /// Gives stacks back, the hottest last.
    pub(crate) fn give_many(&self, stacks: impl IntoIterator<Item = Stack>) {
        let mut state = self.lock();
        for stack in stacks {
            debug_assert!(state.chunks.iter().any(|chunk| chunk.holds(stack.low)), "a stack of another slab");
            state.free.push(Slot(stack.low));
            state.live -= 1;
        }
        self.relieve(&mut state);
    }

    /// Why the last `take` failed, if it did and nothing was given back since. One load in the common case.
    pub(crate) fn is_exhausted(&self) -> Option<OutOfStacks> {
        // Relaxed: a hint, the lock orders everything it is about.
        if !self.exhausted.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().refusal.clone()
    }

    pub(crate) fn stats(&self) -> SlabStats {
        let state = self.lock();
        SlabStats { live: state.live, free: state.free.len(), mapped: state.mapped }
    }

    /// Gives the pages of the free stacks back to the system, those of the `keep` hottest excepted. Says of how many.
    /// The lock is held for a batch at a time, and not during the system calls.
    pub(crate) fn trim(&self, keep: usize) -> usize {
        const BATCH: usize = 64;
        let mut trimmed = 0;
        loop {
            let mut state = self.lock();
            let (clean, len) = (state.clean, state.free.len());
            let batch = len.saturating_sub(keep).saturating_sub(clean).min(BATCH);
            if batch == 0 {
                return trimmed;
            }
            // Out of the list while they are worked on: a taker gets hotter ones.
            let cold: Vec<Slot> = state.free.drain(clean..clean + batch).collect();
            drop(state);
            for &slot in &cold {
                let used = slot.at(self.shape.guard);
                // SAFETY: the slot is in no list and not out, so these pages hold nothing.
                let discarded = unsafe { sys::discard(used, self.shape.stride - self.shape.guard) };
                // A refusal (locked memory) leaves the pages resident: nothing is lost but the memory.
                drop(discarded);
            }
            trimmed += batch;
            let mut state = self.lock();
            state.free.splice(0..0, cold);
            state.clean += batch;
            self.relieve(&mut state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, n: usize, put: &mut dyn FnMut(Stack)) -> Result<usize, OutOfStacks> {
        let mut state = self.lock();
        let hot = n.min(state.free.len());
        state.live += hot;
        for _ in 0..hot {
            put(self.shape.stack(state.free.pop().expect("counted above")));
        }
        state.clean = state.clean.min(state.free.len());
        let mut taken = hot;
        while taken < n {
            match self.claim(&mut state, n - taken) {
                Ok(run) => {
                    state.live += run.count;
                    drop(state);
                    let (guarded, refused) = self.guard(&run, put);
                    taken += guarded;
                    state = self.lock();
                    if let Some(error) = refused {
                        let bare = (guarded..run.count).map(|i| run.slot(i, self.shape.stride));
                        state.bare.extend(bare);
                        state.live -= run.count - guarded;
                        return self.refuse(&mut state, taken, Asked::Guard, &error);
                    }
                }
                Err(error) => return self.refuse(&mut state, taken, Asked::Mapping, &error),
            }
        }
        Ok(taken)
    }

    /// Slots that were never guarded, at least one and at most `n`.
    fn claim(&self, state: &mut State, n: usize) -> io::Result<Run> {
        if let Some(first) = state.bare.pop() {
            return Ok(Run { first, count: 1 });
        }
        if state.untouched.count == 0 {
            state.untouched = self.grow(state)?;
        }
        let run = Run { first: state.untouched.first, count: n.min(state.untouched.count) };
        state.untouched.first = run.slot(run.count, self.shape.stride);
        state.untouched.count -= run.count;
        Ok(run)
    }

    /// Reserves the next chunk; a smaller one if the system has no room for it.
    fn grow(&self, state: &mut State) -> io::Result<Run> {
        let stride = self.shape.stride;
        let mut count = state.next_chunk.min(CHUNK_BYTES / stride).max(1);
        let start = loop {
            match sys::map(count * stride) {
                Ok(start) => break start,
                Err(error) if count == 1 => return Err(error),
                Err(_) => count /= 2,
            }
        };
        let len = count * stride;
        let address = start.as_ptr().addr();
        let region =
            regions::publish(regions::Chunk { start: address, end: address + len, stride, guard: self.shape.guard, size: self.shape.size });
        state.chunks.push(Chunk { start: Slot(start), len, region });
        state.next_chunk = (count * 2).clamp(1, LAST_CHUNK);
        state.mapped += count;
        Ok(Run { first: Slot(start), count })
    }

    /// Guards the slots of a run and hands them out, until one is refused.
    fn guard(&self, run: &Run, put: &mut dyn FnMut(Stack)) -> (usize, Option<io::Error>) {
        for i in 0..run.count {
            let slot = run.slot(i, self.shape.stride);
            // SAFETY: whole pages of a slot that only this call knows.
            if let Err(error) = unsafe { self.shape.kind.install(slot.0, self.shape.guard) } {
                return (i, Some(error));
            }
            put(self.shape.stack(slot));
        }
        (run.count, None)
    }

    /// Ends a `fill` that the system refused to go on with: an error only if it has nothing to show.
    fn refuse(&self, state: &mut State, taken: usize, asked: Asked, error: &io::Error) -> Result<usize, OutOfStacks> {
        if taken > 0 {
            return Ok(taken);
        }
        let refusal = match state.refusal.take() {
            Some(earlier) => earlier.again(state.live),
            None => OutOfStacks::new(state.live, self.shape.size, self.shape.kind, asked, error),
        };
        state.refusal = Some(refusal.clone());
        // Relaxed: a hint, the lock orders everything it is about.
        self.exhausted.store(true, Ordering::Relaxed);
        Err(refusal)
    }

    /// There are free stacks again.
    fn relieve(&self, state: &mut State) {
        if state.refusal.take().is_some() {
            // Relaxed: a hint, the lock orders everything it is about.
            self.exhausted.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Slab {
    /// Unmaps the chunks; leaves them for ever if a stack is still out.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.live > 0 {
            return;
        }
        for chunk in state.chunks.drain(..) {
            chunk.region.retire();
            // SAFETY: no stack of this slab is out, and the fault handler does not know the chunk any more.
            unsafe { sys::unmap(chunk.start.0, chunk.len) };
        }
    }
}

impl Shape {
    fn stack(&self, slot: Slot) -> Stack {
        let colour = slot.0.as_ptr().addr() / self.page % COLOURS;
        Stack { low: slot.0, top: slot.at(self.stride - colour * CACHE_LINE) }
    }
}

impl Slot {
    fn at(self, offset: usize) -> NonNull<u8> {
        // SAFETY: callers stay within the chunk the slot is in, or just after its end.
        unsafe { self.0.add(offset) }
    }
}

impl Run {
    fn slot(&self, index: usize, stride: usize) -> Slot {
        Slot(self.first.at(index * stride))
    }
}

impl Chunk {
    fn holds(&self, address: NonNull<u8>) -> bool {
        let start = self.start.0.as_ptr().addr();
        (start..start + self.len).contains(&address.as_ptr().addr())
    }
}
