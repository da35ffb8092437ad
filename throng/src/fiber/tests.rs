//! The switch and the slab. What needs a process of its own (crashes, memory) is in `crash_tests`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hint::black_box;
use std::ptr::NonNull;
use std::rc::Rc;

use super::guard::GuardKind;
use super::slab::{FIRST_CHUNK, MAX_STACK_SIZE, MIN_STACK_SIZE};
use super::*;

const SIZE: usize = 64 << 10;

/// The fiber under test, for its body to suspend: what the scheduler keeps in its task.
#[derive(Clone, Default)]
struct Me(Rc<Cell<Option<NonNull<Fiber>>>>);

impl Me {
    fn spawn(slab: &Slab, body: impl FnOnce(&Me) + 'static) -> NonNull<Fiber> {
        let me = Me::default();
        let inside = me.clone();
        let fiber = Fiber::new(slab.take().expect("a stack"), move || body(&inside));
        me.0.set(Some(fiber));
        fiber
    }

    fn suspend(&self) {
        let fiber = self.0.get().expect("spawned");
        // SAFETY: bodies call this on their own fiber.
        unsafe { Fiber::suspend(fiber) };
    }
}

fn resume(fiber: NonNull<Fiber>) -> Resumed {
    // SAFETY: these tests resume on one thread what has not finished.
    unsafe { Fiber::resume(fiber) }
}

fn finish(slab: &Slab, fiber: NonNull<Fiber>) {
    // SAFETY: these tests call it once, on what is new or has finished.
    slab.give(unsafe { Fiber::into_stack(fiber) });
}

#[test]
fn a_switch_keeps_integers_floats_and_boxes() {
    let slab = Slab::new(SIZE).expect("slab");
    let out = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&out);
    let fiber = Me::spawn(&slab, move |me| {
        let mut sum = 0.25_f64;
        let mut lanes = [1.0_f32; 16];
        let mut mixed: [u64; 12] = std::array::from_fn(|i| black_box(i as u64));
        let boxed = Box::new(77);
        for i in 0..100_u64 {
            sum += black_box(0.5);
            for (lane, by) in lanes.iter_mut().zip(1_u8..) {
                *lane += f32::from(by);
            }
            for value in &mut mixed {
                *value = value.wrapping_mul(0x9E37_79B9).rotate_left(7) ^ i;
            }
            me.suspend();
        }
        seen.borrow_mut().extend([sum, f64::from(lanes[0]), f64::from(lanes[15]), f64::from(*boxed)]);
        let mut expected: [u64; 12] = std::array::from_fn(|i| i as u64);
        for i in 0..100_u64 {
            for value in &mut expected {
                *value = value.wrapping_mul(0x9E37_79B9).rotate_left(7) ^ i;
            }
        }
        assert_eq!(mixed, expected);
    });
    let mut noise = 1.0_f64;
    for _ in 0..100 {
        assert_eq!(resume(fiber), Resumed::Suspended);
        noise = black_box(noise * 1.5 % 7.0);
    }
    assert_eq!(resume(fiber), Resumed::Finished);
    finish(&slab, fiber);
    assert_eq!(*out.borrow(), [50.25, 101.0, 1601.0, 77.0]);
}

#[test]
fn many_fibers_take_turns() {
    let slab = Slab::new(SIZE).expect("slab");
    let log = Rc::new(RefCell::new(Vec::new()));
    let fibers: Vec<_> = (0..100)
        .map(|id| {
            let log = Rc::clone(&log);
            Me::spawn(&slab, move |me| {
                for round in 0..10 {
                    log.borrow_mut().push((round, id));
                    me.suspend();
                }
            })
        })
        .collect();
    for _ in 0..10 {
        fibers.iter().for_each(|&fiber| assert_eq!(resume(fiber), Resumed::Suspended));
    }
    for fiber in fibers {
        assert_eq!(resume(fiber), Resumed::Finished);
        finish(&slab, fiber);
    }
    let expected: Vec<_> = (0..10).flat_map(|round| (0..100).map(move |id| (round, id))).collect();
    assert_eq!(*log.borrow(), expected);
    assert_eq!(slab.stats().live, 0);
}

#[test]
fn a_suspension_deep_in_the_stack_comes_back() {
    fn descend(me: &Me, depth: u32) -> u64 {
        let pad = black_box([u64::from(depth); 16]);
        if depth == 0 {
            me.suspend();
            return pad[3];
        }
        descend(me, depth - 1) + pad[7]
    }
    let slab = Slab::new(256 << 10).expect("slab");
    let result = Rc::new(Cell::new(0));
    let out = Rc::clone(&result);
    let fiber = Me::spawn(&slab, move |me| out.set(descend(me, 200)));
    assert_eq!(resume(fiber), Resumed::Suspended);
    // SAFETY: suspended, on this thread.
    let below = unsafe { Fiber::trim(fiber) };
    assert!(below > 128 << 10, "{below} bytes below the deepest frame");
    assert_eq!(resume(fiber), Resumed::Finished);
    assert_eq!(result.get(), 200 * 201 / 2);
    finish(&slab, fiber);
}

#[test]
fn a_panic_inside_a_body_is_caught_there() {
    let slab = Slab::new(SIZE).expect("slab");
    let fiber = Me::spawn(&slab, |me| {
        for _ in 0..3 {
            let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(5)));
            assert_eq!(caught.expect_err("it panicked").downcast_ref(), Some(&5));
            me.suspend();
        }
    });
    for _ in 0..3 {
        assert_eq!(resume(fiber), Resumed::Suspended);
    }
    assert_eq!(resume(fiber), Resumed::Finished);
    finish(&slab, fiber);
}

#[test]
fn a_body_that_never_ran_is_dropped() {
    let slab = Slab::new(SIZE).expect("slab");
    let owned = Rc::new(());
    let inside = Rc::clone(&owned);
    let fiber = Fiber::new(slab.take().expect("a stack"), move || drop(inside));
    assert_eq!(Rc::strong_count(&owned), 2);
    finish(&slab, fiber);
    assert_eq!(Rc::strong_count(&owned), 1);
    assert_eq!((slab.stats().live, slab.stats().free), (0, 1));
}

#[test]
fn the_stack_given_back_last_is_taken_first() {
    let slab = Slab::new(SIZE).expect("slab");
    let mut stacks = Vec::new();
    assert_eq!(slab.take_many(10, &mut stacks).expect("stacks"), 10);
    let lows: Vec<_> = stacks.iter().map(Stack::low).collect();
    stacks.into_iter().for_each(|stack| slab.give(stack));
    for low in lows.into_iter().rev() {
        let stack = slab.take().expect("a stack");
        assert_eq!(stack.low(), low);
        // Never to go back: the slab then leaves its memory mapped.
        let _leaked = stack;
    }
}

#[test]
fn neighbours_differ_in_colour_and_no_two_stacks_overlap() {
    let slab = Slab::new(SIZE).expect("slab");
    let mut stacks = Vec::new();
    slab.take_many(200, &mut stacks).expect("stacks");
    // Where the next chunk lies is up to the system: its first stack is nobody's neighbour.
    let mut colours = HashSet::new();
    for pair in stacks[..FIRST_CHUNK].windows(2) {
        let [one, other] = pair else { unreachable!() };
        assert_ne!(one.top().addr().get() % 4096, other.top().addr().get() % 4096);
        colours.insert(one.top().addr().get() % 4096);
    }
    assert_eq!(colours.len(), 16);
    assert!(stacks.iter().all(|stack| stack.top().addr().get() % 64 == 0));
    let mut spans: Vec<_> = stacks.iter().map(|stack| (stack.low().addr(), stack.top().addr())).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(spans.iter().all(|&(low, top)| top.get() - low.get() >= SIZE - 1024));
    slab.give_many(stacks);
    assert_eq!(slab.stats().free, 200);
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for size in [0, 1, 4096, MIN_STACK_SIZE - 1, MAX_STACK_SIZE + 1, usize::MAX - 4095, usize::MAX] {
        let error = Slab::new(size).expect_err("a nonsensical size");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&size.to_string()), "{error}");
    }
    for size in [MIN_STACK_SIZE, MIN_STACK_SIZE + 1, MAX_STACK_SIZE] {
        let slab = Slab::new(size).expect("slab");
        assert!(slab.stack_size() >= size);
        let fiber = Me::spawn(&slab, Me::suspend);
        assert_eq!(resume(fiber), Resumed::Suspended);
        assert_eq!(resume(fiber), Resumed::Finished);
        finish(&slab, fiber);
    }
}

#[test]
fn guards_by_protection_work_too() {
    let slab = Slab::with_guard(SIZE, GuardKind::Protection).expect("slab");
    let fiber = Me::spawn(&slab, Me::suspend);
    assert_eq!(resume(fiber), Resumed::Suspended);
    assert_eq!(resume(fiber), Resumed::Finished);
    finish(&slab, fiber);
}

#[test]
fn stacks_travel_between_threads() {
    let slab = Slab::new(SIZE).expect("slab");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    let mut stacks = Vec::new();
                    slab.take_many(1 + round % 7, &mut stacks).expect("stacks");
                    for stack in stacks {
                        let fiber = Fiber::new(stack, || _ = black_box([1_u8; 512]));
                        assert_eq!(resume(fiber), Resumed::Finished);
                        finish(&slab, fiber);
                    }
                    if round % 50 == 0 {
                        slab.trim(3);
                    }
                }
            });
        }
    });
    let stats = slab.stats();
    assert_eq!(stats.live, 0);
    assert!(stats.free <= 28, "{stats:?}");
}

#[test]
fn a_trimmed_stack_reads_as_zeroes_and_still_works() {
    let slab = Slab::new(SIZE).expect("slab");
    let stacks: Vec<_> = (0..4).map(|_| slab.take().expect("a stack")).collect();
    let spots: Vec<NonNull<u64>> = stacks
        .iter()
        // SAFETY: 4 KiB below the top is inside the stack, which no one else uses.
        .map(|stack| unsafe { stack.top().sub(4096) }.cast())
        .collect();
    for spot in &spots {
        // SAFETY: as above, and aligned.
        unsafe { spot.write(7) };
    }
    slab.give_many(stacks);
    assert_eq!(slab.trim(1), 3);
    assert_eq!(slab.trim(1), 0, "they are clean already");
    for (spot, expected) in spots.iter().zip([0, 0, 0, 7]) {
        // SAFETY: still mapped, and the test is alone with it.
        assert_eq!(unsafe { spot.read() }, expected);
    }
    let fiber = Me::spawn(&slab, |_| ());
    assert_eq!(resume(fiber), Resumed::Finished);
    finish(&slab, fiber);
}

#[test]
fn a_thread_without_an_alternate_stack_gets_one_for_as_long_as_it_wants() {
    fn alternate() -> libc::stack_t {
        let mut alt = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
        // SAFETY: asks only.
        assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &raw mut alt) }, 0);
        alt
    }
    std::thread::spawn(|| {
        let theirs = alternate();
        // For the unwinder it is too small.
        assert_eq!(AltStack::ensure().expect("found one").is_own(), cfg!(feature = "backtrace"));
        let off = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: theirs.ss_size };
        // SAFETY: the thread runs without one for a while.
        assert_eq!(unsafe { libc::sigaltstack(&raw const off, ptr::null_mut()) }, 0);
        let alt = AltStack::ensure().expect("made one");
        assert!(alt.is_own());
        assert_eq!(alternate().ss_flags & libc::SS_DISABLE, 0);
        assert!(!AltStack::ensure().expect("found the one just made").is_own());
        drop(alt);
        assert_ne!(alternate().ss_flags & libc::SS_DISABLE, 0);
        // SAFETY: std's own, which it takes away itself.
        assert_eq!(unsafe { libc::sigaltstack(&raw const theirs, ptr::null_mut()) }, 0);
    })
    .join()
    .expect("no assertion failed");
}
