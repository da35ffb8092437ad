//! The global queue: what flows into it from a full queue, from outside and from those that yield, and when it goes first.

use throng::policy::{GlobalBatch, GlobalCheck, Overflow, SlotBudget};
use throng::{Policy, PolicyBuilder};

use crate::log::{Log, go_without_clock, order, run_one, submit_from_outside};

fn numbers(ranges: &[std::ops::Range<u32>]) -> Vec<String> {
    ranges.iter().cloned().flatten().map(|number| number.to_string()).collect()
}

fn go_numbers(policy: Policy, n: u32) -> (Vec<String>, throng::PolicyMetrics) {
    run_one(policy, |s, log| {
        for number in 0..n {
            s.go(move || log.note(number));
        }
        Ok(())
    })
}

/// The older half and the one that finds no room go to the global queue; or only the latter.
#[test]
fn overflow_of_a_small_queue() {
    let small = PolicyBuilder::go().local_capacity(4).slot_budget(SlotBudget::Unlimited);
    // 5 displaces 4, which finds 0 1 2 3: 0 1 4 go. 6 displaces 5, for which there is room.
    let (ran, counts) = go_numbers(small.clone().build().unwrap(), 7);
    assert_eq!(ran.join(" "), "6 2 3 5 0 1 4");
    assert_eq!(counts.overflows, 1);
    // Only what finds no room goes: 4, then 5.
    let (ran, counts) = go_numbers(small.clone().overflow(Overflow::Newcomer).build().unwrap(), 7);
    assert_eq!(ran.join(" "), "6 0 1 2 3 4 5");
    assert_eq!(counts.overflows, 2);
    // Five at most were there at once: no overflow.
    assert_eq!(go_numbers(small.build().unwrap(), 5).1.overflows, 0);
}

/// The real sizes, over the brim, with the real check of the global queue in between: each 61st turn. The first turn of all is main's.
#[test]
fn overflow_and_the_61st_turn() {
    let (ran, counts) = go_numbers(go_without_clock(), 300);
    // 257 displaces 256, which finds 256 in the queue: 0..=127 and 256 go to the global queue, 300 - 129 stay.
    let mut expected = numbers(&[299..300, 128..188]);
    expected.extend(numbers(&[0..1, 188..248]));
    expected.extend(numbers(&[1..2, 248..256, 257..299]));
    // A batch: all that are left, as there is one worker.
    expected.extend(numbers(&[2..128, 256..257]));
    assert_eq!(ran, expected);
    // Main's end is the slot's.
    assert_eq!((counts.overflows, counts.global_checks, counts.from_global), (1, 3, 4));
    assert_eq!((counts.from_slot, counts.from_local), (2, 300 - 4));
}

/// Kotlin's queue is half as long, and what finds no room goes alone. The check of the global queue is random, and here left out.
#[test]
fn overflow_newcomers() {
    let policy = PolicyBuilder::kotlin().global_check(GlobalCheck::Never).build().unwrap();
    let (ran, counts) = go_numbers(policy, 200);
    // 0..=126 fill it; what comes displaced goes to the global queue, one by one.
    assert_eq!(ran, numbers(&[199..200, 0..127, 127..199]));
    assert_eq!((counts.overflows, counts.global_checks), (72, 0));
    assert_eq!((counts.from_slot, counts.from_local, counts.from_global), (2, 127, 73));
}

/// From outside it goes to the global queue, which has the turn now and then.
#[test]
fn every_third_turn() {
    let body = |check| {
        let policy = PolicyBuilder::go().slot(false).global_check(check).build().unwrap();
        run_one(policy, |s, log| {
            submit_from_outside(s, log, &["x", "y", "z"]);
            for number in 0..6 {
                s.go(move || log.note(number));
            }
            Ok(())
        })
    };
    // Main was the first turn.
    let (ran, counts) = body(GlobalCheck::Every(3));
    assert_eq!(ran.join(" "), "0 1 x 2 3 y 4 5 z");
    assert_eq!((counts.global_checks, counts.from_global), (4, 4));
    let (ran, counts) = body(GlobalCheck::Never);
    assert_eq!(ran.join(" "), "0 1 2 3 4 5 x y z");
    // x came with a batch, which the other two made part of the worker's own.
    assert_eq!((counts.global_checks, counts.from_global, counts.from_local), (0, 2, 9));
}

/// One by one, or a share of them at once: what is made meanwhile comes after the batch.
#[test]
fn batches() {
    let body = |batch| {
        let policy = PolicyBuilder::go().slot(false).global_check(GlobalCheck::Never).global_batch(batch).build().unwrap();
        order(policy, |s, log| {
            s.go(move || submit_from_outside(s, log, &["y", "z"]));
            s.go(move || {
                log.note("x");
                s.go(move || log.note("new"));
            });
            // Both have run by then.
            s.go(move || {
                for name in ["a", "b"] {
                    s.go(move || log.note(name));
                }
            });
            Ok(())
        })
    };
    assert_eq!(body(GlobalBatch::Share(128)), "x new a b y z");
    let first_makes_more = |batch| {
        let policy = PolicyBuilder::go().slot(false).global_check(GlobalCheck::Never).global_batch(batch).build().unwrap();
        order(policy, |s, log| {
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    s.go(move || {
                        log.note("first");
                        s.go(move || log.note("made by the first"));
                    });
                    s.go(move || log.note("second"));
                    s.go(move || log.note("third"));
                });
            });
            Ok(())
        })
    };
    assert_eq!(first_makes_more(GlobalBatch::Share(128)), "first second third made by the first");
    assert_eq!(first_makes_more(GlobalBatch::Share(2)), "first second made by the first third");
    assert_eq!(first_makes_more(GlobalBatch::One), "first made by the first second third");
}

/// Kotlin's dice, seeded: the order is the same each time, another with another seed, and the global queue goes first one time in four, more or less.
#[test]
fn random_checks() {
    let body = |seed| {
        let policy = PolicyBuilder::kotlin().seed(seed).build().unwrap();
        run_one(policy, |s, log: &Log| {
            submit_from_outside(s, log, &["a", "b", "c", "d"]);
            for number in 0..12 {
                s.go(move || log.note(number));
            }
            Ok(())
        })
    };
    let (first, counts) = body(1);
    assert_eq!(first.join(" "), "a 11 0 1 2 3 4 5 6 7 b 8 c 9 d 10");
    assert_eq!(body(1), (first.clone(), counts), "the same seed, the same order");
    assert_ne!(body(2).0, first);

    // Always something in both queues: one in four of 400, give or take five standard deviations.
    let policy = PolicyBuilder::kotlin().local_capacity(1000).seed(7).build().unwrap();
    let (_, counts) = run_one(policy, |s, log: &Log| {
        submit_from_outside(s, log, &["x"; 400]);
        for number in 0..400 {
            s.go(move || log.note(number));
        }
        Ok(())
    });
    assert!((95..175).contains(&counts.global_checks), "{counts:?}");
}
