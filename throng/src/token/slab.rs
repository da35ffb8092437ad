//! The entries of one node, in the order they came: a slab whose taken places form a doubly linked list.
//!
//! To put in and to take out are O(1). A place is its entry's until that is taken out; then it is given to others, the last one left first.

#![forbid(unsafe_code)]

use std::mem;

/// No place.
const NONE: usize = usize::MAX;

/// After a rush an empty slab keeps no more places than this.
const KEPT: usize = 64;

pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    /// The free places, linked by `next`.
    free: usize,
    oldest: usize,
    newest: usize,
    len: usize,
}

struct Place<T> {
    entry: Option<T>,
    previous: usize,
    next: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: NONE, oldest: NONE, newest: NONE, len: 0 }
    }

    /// The place of the entry, which is now the newest.
    pub(super) fn insert(&mut self, entry: T) -> usize {
        let place = Place { entry: Some(entry), previous: self.newest, next: NONE };
        let at = self.free;
        let at = match self.places.get_mut(at) {
            Some(free) => {
                self.free = mem::replace(free, place).next;
                at
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        };
        match self.places.get_mut(self.newest) {
            Some(newest) => newest.next = at,
            None => self.oldest = at,
        }
        self.newest = at;
        self.len += 1;
        at
    }

    /// Takes out what is at this place.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let place = self.places.get_mut(at)?;
        let entry = place.entry.take()?;
        let (previous, next) = (place.previous, mem::replace(&mut place.next, self.free));
        self.free = at;
        match self.places.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => self.oldest = next,
        }
        match self.places.get_mut(next) {
            Some(next) => next.previous = previous,
            None => self.newest = previous,
        }
        self.len -= 1;
        if self.len == 0 && self.places.len() > KEPT {
            *self = Slab::new();
        }
        Some(entry)
    }

    /// Puts all entries on a stack, so that the oldest comes off it first.
    pub(super) fn pour(mut self, stack: &mut Vec<T>) {
        stack.reserve(self.len);
        let mut at = self.newest;
        while let Some(place) = self.places.get_mut(at) {
            stack.extend(place.entry.take());
            at = place.previous;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are, taken or free.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }
}
