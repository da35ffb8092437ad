//! Which addresses belong to which stacks: the one thing the fault handler must know, in a form a signal handler can read.
//!
//! A list of nodes that only grows; each node describes one mapped chunk of stacks, or is vacant. Nodes are never freed,
//! vacant ones are filled again. Writers hold a lock; the handler takes none, so each node carries a sequence number: odd
//! while it is being changed, and a reader that sees it odd or changed passes on. Passing on is right, not only safe: a
//! node is changed only while no stack of its chunk exists, so the fault cannot have come from there.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, PoisonError};

/// A chunk: equal strides from `start` to `end`, the lowest `guard` bytes of each being its guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) stride: usize,
    pub(super) guard: usize,
    /// The stack size as the user knows it.
    pub(super) size: usize,
}

#[derive(Debug)]
pub(super) struct Region {
    sequence: AtomicUsize,
    /// The fields of a [`Chunk`] in order; `end` is 0 while the node is vacant.
    fields: [AtomicUsize; 5],
    /// Written before the node is published, never after.
    next: *const Region,
}

// SAFETY: `next` is constant once the node is shared, and leads to nodes that are never freed; the rest is atomic.
unsafe impl Sync for Region {}

static FIRST: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());
static WRITERS: Mutex<()> = Mutex::new(());

/// Makes a chunk known. It stays known until [`Region::retire`].
pub(super) fn publish(chunk: Chunk) -> &'static Region {
    let _writing = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(vacant) = nodes().find(|node| node.read().is_none()) {
        vacant.write(chunk);
        return vacant;
    }
    // Relaxed: the lock orders writers among themselves.
    let next = FIRST.load(Ordering::Relaxed);
    let node = Region { sequence: AtomicUsize::new(0), fields: [const { AtomicUsize::new(0) }; 5], next };
    node.write(chunk);
    let node: &'static Region = Box::leak(Box::new(node));
    // Release: pairs with the Acquire in `nodes`; who finds the node finds it filled.
    FIRST.store(ptr::from_ref(node).cast_mut(), Ordering::Release);
    node
}

/// The chunk whose guards hold `address`, if any does. Async-signal-safe.
pub(super) fn guard_at(address: usize) -> Option<Chunk> {
    nodes()
        .filter_map(Region::read)
        .find(|chunk| (chunk.start..chunk.end).contains(&address) && (address - chunk.start) % chunk.stride < chunk.guard)
}

fn nodes() -> impl Iterator<Item = &'static Region> {
    // Acquire: pairs with the Release in `publish`.
    let mut next: *const Region = FIRST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null or a node, and nodes are leaked: they live as long as the process.
        let node = unsafe { NonNull::new(next.cast_mut())?.as_ref() };
        next = node.next;
        Some(node)
    })
}

impl Region {
    /// Forgets the chunk, before its memory is unmapped.
    pub(super) fn retire(&self) {
        let _writing = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(Chunk { start: 0, end: 0, stride: 1, guard: 0, size: 0 });
    }

    /// Called with the lock held, or on a node no one else knows yet.
    fn write(&self, chunk: Chunk) {
        let Chunk { start, end, stride, guard, size } = chunk;
        // Relaxed: only writers change it, and they hold the lock.
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `read`; who read one of the new fields sees the odd number.
        fence(Ordering::Release);
        for (field, value) in self.fields.iter().zip([start, end, stride, guard, size]) {
            // Relaxed: guarded by the sequence number.
            field.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the Acquire load in `read`; who sees this number sees these fields.
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> Option<Chunk> {
        // Acquire: pairs with the last store in `write`.
        let before = self.sequence.load(Ordering::Acquire);
        // Relaxed: guarded by the sequence number.
        let [start, end, stride, guard, size] = self.fields.each_ref().map(|field| field.load(Ordering::Relaxed));
        // Acquire: pairs with the Release fence in `write`.
        fence(Ordering::Acquire);
        // Relaxed: the fence above orders it.
        let after = self.sequence.load(Ordering::Relaxed);
        let whole = before == after && before.is_multiple_of(2) && end != 0;
        whole.then_some(Chunk { start, end, stride, guard, size })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Chunks at addresses where nothing can be mapped, so that no other test's are in the way.
    fn chunk(start: usize) -> Chunk {
        Chunk { start, end: start + 4 * 128, stride: 128, guard: 32, size: start * 3 }
    }

    #[test]
    fn the_guards_of_a_chunk_are_found_until_it_retires() {
        let chunk = chunk(4096);
        let region = publish(chunk);
        for stride in 0..4 {
            let low = 4096 + stride * 128;
            assert_eq!(guard_at(low), Some(chunk));
            assert_eq!(guard_at(low + 31), Some(chunk));
            assert_eq!(guard_at(low + 32), None);
            assert_eq!(guard_at(low + 127), None);
        }
        assert_eq!(guard_at(4095), None);
        assert_eq!(guard_at(4096 + 4 * 128), None);
        region.retire();
        assert_eq!(guard_at(4096), None);
    }

    #[test]
    fn a_reader_never_sees_half_of_a_change() {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..50_000_usize {
                    publish(chunk(8192 + round % 7 * 512)).retire();
                }
                // Relaxed: only ends the loop below.
                stop.store(true, Ordering::Relaxed);
            });
            // Relaxed: as above.
            while !stop.load(Ordering::Relaxed) {
                for found in nodes().filter_map(Region::read).filter(|found| found.start < 65_536) {
                    assert_eq!(found, chunk(found.start));
                }
            }
        });
    }
}
