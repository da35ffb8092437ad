//! The timers of one home: deadlines, touched by its own thread only.
//!
//! A wait puts its deadline in when it parks and takes it out when it returns, both on the home's thread, so nothing here is atomic and nothing is
//! ever cancelled from elsewhere. Taking out only marks the entry dead (O(1)); everything is swept when more than half of it is dead. Entries never
//! fire early: an entry fires when the clock has reached it.
//!
//! ```text
//!            horizon
//!  ── heap ─────┤── bucket ──┤── bucket ──┤── ...      time in pieces of about a millisecond
//!   due soon,     later: in no order, only the
//!   in order      earliest of each bucket is known
//! ```
//! Far deadlines, which is what most are, and which mostly are taken out before they come, cost a push to a vector. A bucket whose time has come is poured into the
//! heap, which so stays small enough for the cache: with a hundred thousand sleepers a heap of all took a microsecond for each that woke.
//!
//! Invariants:
//! - T1: a live entry's target outlives the entry. The frame that waits takes its entry out before it returns.
//! - T2: the heap holds exactly the entries of the buckets up to the horizon.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::ptr;
use std::time::{Duration, Instant};

use crate::shim::prefetch;

/// Below this many entries, dead ones are left to surface by themselves.
const SWEEP_FROM: usize = 64;

/// The length of a bucket, as a power of two of nanoseconds: 1.05 ms.
const BUCKET: u32 = 20;

/// Buckets up to this many entries are fetched before they are due: more would drive each other out of the cache.
const FORESEEN: usize = 512;

pub(crate) struct Timers<A> {
    heap: BinaryHeap<Reverse<Entry>>,
    later: BTreeMap<u64, Bucket>,
    /// The last bucket that is in the heap.
    horizon: u64,
    slots: Vec<Slot<A>>,
    free: Vec<u32>,
    inserted: u64,
    live: usize,
    /// Live and dead.
    entries: usize,
    /// What deadlines are counted from: the first insertion. Earlier deadlines were due then.
    start: Option<Instant>,
}

struct Bucket {
    /// The earliest deadline there has been in it.
    first: u64,
    entries: Vec<Entry>,
}

/// Ordered by deadline, then by insertion, so that equal deadlines fire first come, first served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Nanoseconds since `start`; enough for five hundred years.
    at: u64,
    insertion: u64,
    slot: u32,
}

struct Slot<A> {
    /// Which insertion holds the slot: entries of earlier ones are dead.
    insertion: u64,
    action: Option<A>,
}

/// A live or fired entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    slot: u32,
    insertion: u64,
}

fn is_live<A>(slots: &[Slot<A>], entry: &Entry) -> bool {
    let slot = &slots[entry.slot as usize];
    slot.insertion == entry.insertion && slot.action.is_some()
}

/// What a timer does when it fires, as far as the timers are concerned: something in memory that has long left the cache.
pub(crate) trait Action {
    /// How many steps it takes to have all of it fetched.
    const STEPS: u32;

    /// Takes one step. The entry is live, and its target there (T1).
    fn foresee(&self, step: u32);
}

impl<A: Action> Timers<A> {
    pub(crate) const fn new() -> Timers<A> {
        Timers {
            heap: BinaryHeap::new(),
            later: BTreeMap::new(),
            horizon: 0,
            slots: Vec::new(),
            free: Vec::new(),
            inserted: 0,
            live: 0,
            entries: 0,
            start: None,
        }
    }

    fn count(&self, at: Instant) -> u64 {
        let since = self.start.map_or_else(Default::default, |start| at.saturating_duration_since(start));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn insert(&mut self, at: Instant, action: A) -> Key {
        self.start.get_or_insert_with(Instant::now);
        self.inserted += 1;
        let insertion = self.inserted;
        let new = Slot { insertion, action: Some(action) };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = new;
                slot
            }
            None => {
                self.slots.push(new);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 timers")
            }
        };
        let entry = Entry { at: self.count(at), insertion, slot };
        let bucket = entry.at >> BUCKET;
        if bucket <= self.horizon {
            self.heap.push(Reverse(entry));
        } else {
            let bucket = self.later.entry(bucket).or_insert_with(|| Bucket { first: u64::MAX, entries: Vec::new() });
            bucket.first = bucket.first.min(entry.at);
            bucket.entries.push(entry);
        }
        self.live += 1;
        self.entries += 1;
        Key { slot, insertion }
    }

    /// Takes an entry out. Nothing happens if it has fired.
    pub(crate) fn remove(&mut self, key: Key) -> bool {
        let slot = &mut self.slots[key.slot as usize];
        if slot.insertion != key.insertion || slot.action.take().is_none() {
            return false;
        }
        self.live -= 1;
        self.free.push(key.slot);
        if self.entries > SWEEP_FROM && self.entries > 2 * self.live {
            self.sweep();
        }
        true
    }

    fn sweep(&mut self) {
        let slots = &self.slots;
        self.heap.retain(|Reverse(entry)| is_live(slots, entry));
        self.later.retain(|_, bucket| {
            bucket.entries.retain(|entry| is_live(slots, entry));
            !bucket.entries.is_empty()
        });
        self.entries = self.live;
    }

    /// The next entry that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<A> {
        let now = self.count(now);
        loop {
            let Some(&Reverse(entry)) = self.heap.peek() else {
                let bucket = self.later.first_entry().filter(|bucket| bucket.get().first <= now)?;
                let (number, bucket) = bucket.remove_entry();
                self.horizon = number;
                if bucket.entries.len() <= FORESEEN {
                    self.foresee(&bucket.entries);
                }
                self.heap.extend(bucket.entries.into_iter().map(Reverse));
                continue;
            };
            let live = is_live(&self.slots, &entry);
            if live && entry.at > now {
                return None;
            }
            self.heap.pop();
            self.entries -= 1;
            if live {
                self.live -= 1;
                self.free.push(entry.slot);
                return self.slots[entry.slot as usize].action.take();
            }
        }
    }

    /// These will fire within a bucket's time: has what they will touch fetched, all of them side by side instead of one after the other.
    fn foresee(&self, entries: &[Entry]) {
        for entry in entries {
            prefetch(ptr::from_ref(&self.slots[entry.slot as usize]).addr());
        }
        // Each step reads what the one before has fetched.
        for step in 0..A::STEPS {
            for entry in entries.iter().filter(|entry| is_live(&self.slots, entry)) {
                if let Some(action) = &self.slots[entry.slot as usize].action {
                    action.foresee(step);
                }
            }
        }
    }

    /// The earliest live deadline, or an earlier one that has been taken out since.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        let at = loop {
            match self.heap.peek() {
                Some(Reverse(entry)) if is_live(&self.slots, entry) => break entry.at,
                Some(_) => {
                    self.heap.pop();
                    self.entries -= 1;
                }
                None => break self.later.first_key_value()?.1.first,
            }
        };
        self.start?.checked_add(Duration::from_nanos(at))
    }

    /// Takes everything out, due or not.
    pub(crate) fn drain(&mut self) -> Vec<A> {
        let timers = std::mem::replace(self, Timers::new());
        timers.slots.into_iter().filter_map(|slot| slot.action).collect()
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
        f.debug_struct("Timers").field("live", &self.live).field("dead", &(self.entries - self.live)).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    macro_rules! plain {
        ($($t:ty)*) => {$(
            impl Action for $t {
                const STEPS: u32 = 0;
                fn foresee(&self, _: u32) {}
            }
        )*};
    }

    plain!(() u64 &str);

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
            let (next, first) = (timers.next(), model.keys().next().map(|(at, _)| *at));
            assert!(first.is_none() || next.is_some_and(|next| next <= first.unwrap()), "an alarm would be missed");
            assert_eq!(timers.len(), model.len());
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
        assert!(timers.entries <= SWEEP_FROM + 1 && timers.slots.len() == 1);
    }
}
