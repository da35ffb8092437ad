//! The timers of one home: a heap of deadlines, touched by its own thread only.
//!
//! A wait puts its deadline in when it parks and takes it out when it returns, both on the home's thread, so nothing here is atomic and nothing is
//! ever cancelled from elsewhere. Taking out only marks the entry dead (O(1)); the heap is swept when more than half of it is dead. Entries never
//! fire early: an entry fires when the clock has reached it.
//!
//! Invariant T1: a live entry's target outlives the entry. The frame that waits takes its entry out before it returns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::{Duration, Instant};

/// Below this many entries, dead ones are left to surface by themselves.
const SWEEP_FROM: usize = 64;

pub(crate) struct Timers<A> {
    heap: BinaryHeap<Reverse<Entry>>,
    slots: Vec<Slot<A>>,
    free: Vec<u32>,
    inserted: u32,
    live: usize,
    /// What deadlines are counted from: the first insertion. Earlier deadlines were due then.
    start: Option<Instant>,
}

/// Ordered by deadline, then by insertion (nearly: the count wraps), so that equal deadlines fire first come, first served. Sixteen bytes: a heap of many is a
/// matter of cache misses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Nanoseconds since `start`; enough for five hundred years.
    at: u64,
    insertion: u32,
    slot: u32,
}

struct Slot<A> {
    /// Which insertion holds the slot: the heap's entries of earlier ones are dead.
    insertion: u32,
    action: Option<A>,
}

/// A live or fired entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    slot: u32,
    insertion: u32,
}

impl<A> Timers<A> {
    pub(crate) const fn new() -> Timers<A> {
        Timers { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), inserted: 0, live: 0, start: None }
    }

    /// Rounded up: never early.
    fn count(&self, at: Instant) -> u64 {
        let since = self.start.map_or_else(Default::default, |start| at.saturating_duration_since(start));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn insert(&mut self, at: Instant, action: A) -> Key {
        self.start.get_or_insert_with(Instant::now);
        self.inserted = self.inserted.wrapping_add(1);
        let insertion = self.inserted;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Slot { insertion, action: Some(action) };
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers");
                self.slots.push(Slot { insertion, action: Some(action) });
                slot
            }
        };
        self.heap.push(Reverse(Entry { at: self.count(at), insertion, slot }));
        self.live += 1;
        Key { slot, insertion }
    }

    /// Takes an entry out. Nothing happens if it has fired.
    pub(crate) fn remove(&mut self, key: Key) {
        let slot = &mut self.slots[key.slot as usize];
        if slot.insertion != key.insertion || slot.action.take().is_none() {
            return;
        }
        self.live -= 1;
        self.free.push(key.slot);
        if self.heap.len() > SWEEP_FROM && self.heap.len() > 2 * self.live {
            let slots = &self.slots;
            self.heap.retain(|Reverse(entry)| {
                let slot = &slots[entry.slot as usize];
                slot.insertion == entry.insertion && slot.action.is_some()
            });
        }
    }

    /// The next entry that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<A> {
        let now = self.count(now);
        loop {
            let &Reverse(Entry { at, insertion, slot }) = self.heap.peek()?;
            let entry = &mut self.slots[slot as usize];
            let live = entry.insertion == insertion && entry.action.is_some();
            if live && at > now {
                return None;
            }
            self.heap.pop();
            if live {
                self.live -= 1;
                self.free.push(slot);
                return entry.action.take();
            }
        }
    }

    /// The earliest live deadline.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        loop {
            let &Reverse(Entry { at, insertion, slot }) = self.heap.peek()?;
            let entry = &self.slots[slot as usize];
            if entry.insertion == insertion && entry.action.is_some() {
                return self.start?.checked_add(Duration::from_nanos(at));
            }
            self.heap.pop();
        }
    }

    /// How many entries are live.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }
}

impl<A> fmt::Debug for Timers<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("live", &self.live).field("dead", &(self.heap.len() - self.live)).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn fires_in_order_of_deadline_then_of_insertion() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.start = Some(start);
        for (ms, name) in [(3, "c"), (1, "a"), (3, "d"), (2, "b")] {
            timers.insert(start + Duration::from_millis(ms), name);
        }
        assert_eq!(timers.pop_due(start), None, "never early");
        let late = start + Duration::from_millis(3);
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(late)).collect();
        assert_eq!(fired, ["a", "b", "c", "d"]);
        assert!(timers.is_empty());
    }

    #[test]
    fn agrees_with_a_model_under_random_inserts_and_removes() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.start = Some(start);
        let mut model: BTreeMap<(Instant, u64), Key> = BTreeMap::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut now = start;
        for id in 0..50_000 {
            match random(10) {
                0..5 => {
                    let at = start + Duration::from_micros(random(100_000));
                    model.insert((at, id), timers.insert(at, id));
                }
                5..9 => {
                    let pick = random(model.len() as u64 + 1) as usize;
                    if let Some(&entry) = model.keys().nth(pick) {
                        let key = model.remove(&entry).unwrap();
                        timers.remove(key);
                        timers.remove(key);
                    }
                }
                _ => {
                    now += Duration::from_micros(random(60));
                    while let Some((&(at, id), _)) = model.first_key_value().filter(|((at, _), _)| *at <= now) {
                        assert_eq!(timers.pop_due(now), Some(id));
                        model.remove(&(at, id));
                    }
                    assert_eq!(timers.pop_due(now), None);
                }
            }
            assert_eq!(timers.next(), model.keys().next().map(|(at, _)| *at));
        }
    }

    #[test]
    fn dead_entries_do_not_pile_up() {
        let at = Instant::now() + Duration::from_secs(3600);
        let mut timers = Timers::new();
        for _ in 0..1_000_000 {
            let key = timers.insert(at, ());
            timers.remove(key);
        }
        assert!(timers.heap.len() <= SWEEP_FROM + 1 && timers.slots.len() == 1);
    }
}
