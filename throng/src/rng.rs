//! Small random numbers for decisions that only have to be fair: which arm of a select, which victim of a theft.
//!
//! One generator a thread (xorshift64*), so that it costs no atomics; a worker's can be seeded, to repeat its choices. Who must not be disturbed by the choices of others on its thread has one
//! of its own ([`Rng`]).

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

std::thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Sets this thread's generator.
pub(crate) fn seed(seed: u64) {
    STATE.set(state(seed));
}

/// A number below `bound`, which must not be zero.
#[inline]
pub(crate) fn below(bound: u32) -> u32 {
    let mut x = STATE.get();
    if x == 0 {
        x = state(from_std());
    }
    x = next(x);
    STATE.set(x);
    scale(x, bound)
}

/// A generator of one's own.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: Option<u64>) -> Rng {
        Rng(state(seed.unwrap_or_else(from_std)))
    }

    /// A number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = next(self.0);
        scale(self.0, bound)
    }
}

/// The generator's first state. Its one forbidden state is zero.
fn state(seed: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// std's own per-process randomness: no dependency for one number.
fn from_std() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[inline]
fn next(mut x: u64) -> u64 {
    x ^= x >> 12;
    x ^= x << 25;
    x ^ x >> 27
}

#[inline]
fn scale(x: u64, bound: u32) -> u32 {
    let high = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
    // Lemire's reduction: the high half of a product instead of a division.
    ((high * u64::from(bound)) >> 32) as u32
}
