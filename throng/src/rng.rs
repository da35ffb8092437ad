//! Small random numbers for decisions that only have to be fair: which arm of a select, which victim of a theft.
//!
//! One generator a thread (xorshift64*), so that it costs no atomics; a worker's can be seeded, to repeat its choices.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

std::thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Sets this thread's generator.
pub(crate) fn seed(seed: u64) {
    // The generator's one forbidden state is zero.
    STATE.set(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
}

/// A number below `bound`, which must not be zero.
#[inline]
pub(crate) fn below(bound: u32) -> u32 {
    let mut x = STATE.get();
    if x == 0 {
        // std's own per-process randomness: no dependency for one number.
        seed(RandomState::new().build_hasher().finish());
        x = STATE.get();
    }
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    STATE.set(x);
    let high = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
    // Lemire's reduction: the high half of a product instead of a division.
    ((high * u64::from(bound)) >> 32) as u32
}
