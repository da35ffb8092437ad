//! Chunks: where blocks come from and go back to. One shelf of chunks for each size of block, for all runtimes and threads of the process, since a task may outlive
//! its runtime.
//!
//! ```text
//!  low, a multiple of CHUNK                                       low + CHUNK
//!  | header | never cut ......................... | block | block | block |
//!                                               floor
//! ```
//! A chunk is one allocation. Its blocks are cut from the high end downwards, and only as they are wanted, so that memory is not touched before it is used. A block tells its chunk by its
//! address. A chunk is *open* while it has a block to give, and is on the shelf then; it goes back to the allocator when all its blocks are back, unless it is the shelf's only open one.
//!
//! As chunks end at multiples of a large power of two, blocks are aligned to the largest one that divides their size. The size of a type is a multiple of its alignment, and rounding keeps it one: so they
//! are aligned well enough for it.
//!
//! The *depot* of a shelf holds magazines that workers had no room for, as they are, for the next who wants one.
//!
//! Why not leave it to the allocator, a block at a time? A spawn that finds no block in its worker's list comes seldom, unless many tasks exist at once. Then it is what spawning
//! costs: measured, a fifth of a million spawns (the allocator's own work, and a system call for each page that its heap grows by).
//!
//! Invariants:
//! - B1: a block is in one list at most: its chunk's, a worker's, the depot's, or one on its way between them. A block that is in none is in use.
//! - B2: `out` counts the blocks of a chunk that are not in its list, and have been cut.
//! - B3: a chunk and its header change under the lock of its shelf only.

use std::alloc::{Layout, alloc as system_alloc, dealloc};
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sizes up to `FINE_UP_TO` are rounded up to multiples of `FINE`, those up to `COARSE_UP_TO` to multiples of `COARSE`. Larger ones have no class.
const FINE: usize = 8;
const FINE_UP_TO: usize = 512;
const COARSE: usize = 64;
const COARSE_UP_TO: usize = 2048;
const FINE_CLASSES: usize = FINE_UP_TO / FINE;
/// How many sizes there are.
pub(super) const CLASSES: usize = FINE_CLASSES + (COARSE_UP_TO - FINE_UP_TO) / COARSE;

/// A chunk's size and alignment.
const CHUNK: usize = 256 << 10;
const CHUNK_LAYOUT: Layout = match Layout::from_size_align(CHUNK, CHUNK) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};
/// Below this no block begins.
const HEADER: usize = size_of::<Chunk>();

/// A block that is nobody's.
pub(super) struct Free {
    next: Option<NonNull<Free>>,
}

/// Blocks of one size, last in, first out.
#[derive(Default)]
pub(super) struct FreeList {
    first: Option<NonNull<Free>>,
    len: usize,
}

/// The head of a chunk.
struct Chunk {
    /// Those that have come back.
    free: FreeList,
    /// Where the last block was cut off, counted from the chunk's low end.
    floor: usize,
    /// B2.
    out: usize,
    /// Its place on the shelf, if it is open.
    place: Option<usize>,
}

/// The chunks of a size.
struct Shelf {
    depot: Vec<FreeList>,
    open: Vec<NonNull<Chunk>>,
    /// Somebody does, and goes on until the depot is empty.
    is_being_tidied: bool,
}

// SAFETY: whoever has the shelf has its chunks (B3), which are nobody's thread's.
unsafe impl Send for Shelf {}

static SHELVES: [Mutex<Shelf>; CLASSES] = [const { Mutex::new(Shelf::new()) }; CLASSES];

/// The class of blocks for this many bytes, at least one.
#[inline]
pub(super) fn class_of_size(bytes: usize) -> Option<usize> {
    let class = if bytes <= FINE_UP_TO { bytes.div_ceil(FINE) - 1 } else { FINE_CLASSES - 1 + (bytes - FINE_UP_TO).div_ceil(COARSE) };
    (class < CLASSES).then_some(class)
}

pub(super) fn size_of_class(class: usize) -> usize {
    if class < FINE_CLASSES { (class + 1) * FINE } else { FINE_UP_TO + (class + 1 - FINE_CLASSES) * COARSE }
}

fn shelf(class: usize) -> MutexGuard<'static, Shelf> {
    SHELVES[class].lock().unwrap_or_else(PoisonError::into_inner)
}

/// A magazine of `n` blocks of a class, or a block, if `n` is one; fewer if there is no memory.
pub(super) fn take(class: usize, n: usize) -> FreeList {
    let mut shelf = shelf(class);
    let put_by = if n > 1 { shelf.depot.pop() } else { None };
    put_by.unwrap_or_else(|| shelf.take(size_of_class(class), n))
}

/// Leaves a magazine to the next who wants one.
pub(super) fn put_by(class: usize, magazine: FreeList) {
    shelf(class).depot.push(magazine);
}

/// Gives back what is in the depot, a magazine at a time, to let others in between. If somebody does so already, it is left to them: workers that end together would wake each other for every magazine.
pub(super) fn tidy(class: usize) {
    if mem::replace(&mut shelf(class).is_being_tidied, true) {
        return;
    }
    loop {
        let mut shelf = shelf(class);
        let Some(magazine) = shelf.depot.pop() else {
            shelf.depot.shrink_to_fit();
            shelf.is_being_tidied = false;
            return;
        };
        shelf.give(magazine);
    }
}

/// Takes blocks of a class back.
pub(super) fn give(class: usize, list: FreeList) {
    shelf(class).give(list);
}

impl FreeList {
    pub(super) const fn new() -> FreeList {
        FreeList { first: None, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// The block is the caller's (B1), of this list's size.
    #[inline]
    pub(super) unsafe fn push(&mut self, block: NonNull<u8>) {
        let block = block.cast::<Free>();
        // SAFETY: by contract it is ours; every size has room for a `Free`, and every block its alignment.
        unsafe { block.write(Free { next: self.first }) };
        self.first = Some(block);
        self.len += 1;
    }

    /// Takes the block that was pushed last.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = self.first?;
        // SAFETY: what is in the list holds a `Free`, and is the list's (B1).
        self.first = unsafe { block.as_ref() }.next;
        self.len -= 1;
        Some(block.cast())
    }

    /// The same blocks, the one that was pushed first on top.
    fn reversed(mut self) -> FreeList {
        let mut reversed = FreeList::new();
        while let Some(block) = self.pop() {
            // SAFETY: out of the other list, so ours.
            unsafe { reversed.push(block) };
        }
        reversed
    }
}

impl Chunk {
    /// A new one, nothing of it cut; `None` if there is no memory.
    fn new() -> Option<NonNull<Chunk>> {
        // SAFETY: the size is not zero.
        let chunk = NonNull::new(unsafe { system_alloc(CHUNK_LAYOUT) })?.cast::<Chunk>();
        // `of` makes it a pointer again.
        let _ = chunk.as_ptr().expose_provenance();
        // SAFETY: allocated just now, with room for a header.
        unsafe { chunk.write(Chunk { free: FreeList::new(), floor: CHUNK, out: 0, place: None }) };
        Some(chunk)
    }

    /// The chunk that a block was cut from.
    fn of(block: NonNull<u8>) -> NonNull<Chunk> {
        let low = block.addr().get() & !(CHUNK - 1);
        NonNull::new(ptr::with_exposed_provenance_mut(low)).expect("no chunk begins at address zero")
    }

    /// A block of this chunk.
    fn give(&mut self, low: NonNull<Chunk>, size: usize) -> Option<NonNull<u8>> {
        let block = match self.free.pop() {
            Some(block) => block,
            None => {
                self.floor = self.floor.checked_sub(size).filter(|&floor| floor >= HEADER)?;
                // SAFETY: within the chunk, beyond its header.
                unsafe { low.cast::<u8>().add(self.floor) }
            }
        };
        self.out += 1;
        Some(block)
    }
}

impl Shelf {
    const fn new() -> Shelf {
        Shelf { depot: Vec::new(), open: Vec::new(), is_being_tidied: false }
    }

    /// The list gives them in the order they were cut in, so that what is made one after the other lies one beside the other, over magazines too: who goes through all of it later finds a pattern.
    fn take(&mut self, size: usize, n: usize) -> FreeList {
        let mut list = FreeList::new();
        while list.len() < n {
            let Some(chunk) = self.open.last().copied().or_else(|| self.grow()) else { break };
            // SAFETY: an open chunk; its header is ours (B3).
            match unsafe { &mut *chunk.as_ptr() }.give(chunk, size) {
                // SAFETY: nobody's until now.
                Some(block) => unsafe { list.push(block) },
                None => self.close(chunk),
            }
        }
        list.reversed()
    }

    fn give(&mut self, mut list: FreeList) {
        while let Some(block) = list.pop() {
            let low = Chunk::of(block);
            // SAFETY: the chunk is there as long as one of its blocks is out, and its header is ours (B3).
            let chunk = unsafe { &mut *low.as_ptr() };
            // SAFETY: out of the list, so ours.
            unsafe { chunk.free.push(block) };
            chunk.out -= 1;
            let unused = chunk.out == 0;
            if chunk.place.is_none() {
                chunk.place = Some(self.open.len());
                self.open.push(low);
            }
            if unused && self.open.len() > 1 {
                self.close(low);
                // SAFETY: all its blocks are back, and it is not on the shelf any more.
                unsafe { dealloc(low.as_ptr().cast(), CHUNK_LAYOUT) };
            }
        }
    }

    fn grow(&mut self) -> Option<NonNull<Chunk>> {
        let low = Chunk::new()?;
        // SAFETY: nobody else knows it.
        unsafe { &mut *low.as_ptr() }.place = Some(self.open.len());
        self.open.push(low);
        Some(low)
    }

    /// Takes an open chunk from the shelf.
    fn close(&mut self, low: NonNull<Chunk>) {
        // SAFETY: its header is ours (B3).
        let place = unsafe { &mut *low.as_ptr() }.place.take().expect("it is open");
        self.open.swap_remove(place);
        if let Some(moved) = self.open.get(place) {
            // SAFETY: as above.
            unsafe { &mut *moved.as_ptr() }.place = Some(place);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SIZE: usize = 208;
    const PER_CHUNK: usize = (CHUNK - HEADER) / SIZE;

    fn drain(list: &mut FreeList) -> Vec<NonNull<u8>> {
        std::iter::from_fn(|| list.pop()).collect()
    }

    fn list(blocks: impl IntoIterator<Item = NonNull<u8>>) -> FreeList {
        let mut list = FreeList::new();
        for block in blocks {
            // SAFETY: the tests' own, out of every list.
            unsafe { list.push(block) };
        }
        list
    }

    /// A shelf that frees what is left on it.
    struct Own(Shelf);

    impl Drop for Own {
        fn drop(&mut self) {
            for chunk in self.0.open.drain(..) {
                // SAFETY: the tests give everything back before.
                unsafe { dealloc(chunk.as_ptr().cast(), CHUNK_LAYOUT) };
            }
        }
    }

    #[test]
    fn a_class_has_room_and_alignment_for_all_its_sizes() {
        for bytes in 1..=COARSE_UP_TO {
            let size = size_of_class(class_of_size(bytes).expect("one for each"));
            assert!(size >= bytes && size < bytes + COARSE);
            assert_eq!(class_of_size(size), class_of_size(bytes));
            // What a type of this size may ask for.
            assert!(bytes.trailing_zeros() <= size.trailing_zeros(), "{bytes} bytes in {size}");
        }
        assert_eq!(class_of_size(COARSE_UP_TO), Some(CLASSES - 1));
        assert_eq!(class_of_size(COARSE_UP_TO + 1), None);
    }

    #[test]
    fn blocks_are_apart_aligned_and_each_others_whole() {
        let mut own = Own(Shelf::new());
        let blocks = drain(&mut own.0.take(SIZE, 3 * PER_CHUNK));
        assert_eq!(blocks.len(), 3 * PER_CHUNK);
        let mut places: Vec<_> = blocks.iter().map(|block| block.addr().get()).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= SIZE), "two blocks overlap");
        assert!(places.iter().all(|place| place.is_multiple_of(16) && place % CHUNK >= HEADER && place % CHUNK + SIZE <= CHUNK));
        own.0.give(list(blocks));
    }

    #[test]
    fn a_chunk_goes_back_when_all_its_blocks_have_come_back() {
        let mut own = Own(Shelf::new());
        let blocks = drain(&mut own.0.take(SIZE, 3 * PER_CHUNK));
        let (mut stays, goes): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(i, _)| i % PER_CHUNK == 7);
        // One of each chunk is kept: none goes, and all are open.
        own.0.give(list(goes.into_iter().map(|(_, block)| block)));
        assert_eq!(own.0.open.len(), 3);
        let (_, last) = stays.pop().unwrap();
        own.0.give(list(stays.into_iter().map(|(_, block)| block)));
        assert_eq!(own.0.open.len(), 1, "two were unused");
        own.0.give(list([last]));
        assert_eq!(own.0.open.len(), 1, "the last one stays");
        // And serves again.
        let again = drain(&mut own.0.take(SIZE, PER_CHUNK));
        assert_eq!((again.len(), own.0.open.len()), (PER_CHUNK, 1));
        own.0.give(list(again));
    }

    #[test]
    fn random_takes_and_gives_keep_count() {
        let mut own = Own(Shelf::new());
        let (mut out, mut known) = (Vec::new(), HashSet::new());
        for round in 0..3_000 {
            let n = 1 + crate::rng::below(40) as usize;
            if round % 1000 < 500 {
                for block in drain(&mut own.0.take(SIZE, n)) {
                    assert!(known.insert(block), "a block was given out twice");
                    out.push(block);
                }
            } else {
                let some: Vec<_> = (0..n.min(out.len())).map(|_| out.swap_remove(crate::rng::below(out.len() as u32) as usize)).collect();
                some.iter().for_each(|block| assert!(known.remove(block)));
                own.0.give(list(some));
            }
        }
        own.0.give(list(out));
        assert_eq!(own.0.open.len(), 1);
    }
}
