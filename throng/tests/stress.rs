//! Random programs: trees of scopes, goroutines, cancellations, timeouts, channels, panics and shutdowns, whose accounts must balance.
//!
//! `cargo test --release -p throng --test stress -- --ignored` runs many seeds (`THRONG_STRESS_SEEDS`, and `THRONG_STRESS_FROM` to begin elsewhere); the ordinary test run
//! a few. A failure names its seed. `THRONG_TEST_POLICY=go` runs them under that policy.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use common::runtimes::builder;
use common::{Aviary, Canary, Dice, OnPurpose, panic_on_purpose, scaled, watched};
use throng::channel::{RecvError, SendError};
use throng::policy::{GlobalCheck, LocalOrder, SlotBudget, SlotSteal};
use throng::{
    Cancelled, Policy, PolicyBuilder, Receiver, Runtime, Scope, Sender, bounded, go, rendezvous, scope, shield, sleep, timeout, unbounded,
    yield_now,
};

/// What a whole program shares.
struct World {
    aviary: Aviary,
    /// Goroutines whose closure has begun, and those whose closure has ended, by value or by panic.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Items put into channels less those taken out or given back.
    afloat: AtomicI64,
    lanes: Vec<(Sender<Item>, Receiver<Item>)>,
    mutex: throng::Mutex<u64>,
    locked: AtomicU64,
}

/// Tells the world when it is gone.
struct Item {
    canary: Canary,
    world: *const World,
}

// SAFETY: the world outlives its program, which `one` waits for.
unsafe impl Send for Item {}

impl Drop for Item {
    fn drop(&mut self) {
        self.canary.sing();
        // SAFETY: as above.
        unsafe { &*self.world }.afloat.fetch_sub(1, Ordering::Relaxed);
    }
}

impl World {
    fn new(dice: &mut Dice) -> World {
        let lanes = (0..1 + dice.below(3))
            .map(|_| match dice.below(3) {
                0 => rendezvous(),
                1 => bounded(1 + dice.below(3) as usize),
                _ => unbounded(),
            })
            .collect();
        World {
            aviary: Aviary::new(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            afloat: AtomicI64::new(0),
            lanes,
            mutex: throng::Mutex::new(0),
            locked: AtomicU64::new(0),
        }
    }

    fn item(&self) -> Item {
        self.afloat.fetch_add(1, Ordering::Relaxed);
        Item { canary: self.aviary.canary(), world: self }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Own,
    Cancelled,
}

impl From<Cancelled> for Failure {
    fn from(_: Cancelled) -> Failure {
        Failure::Cancelled
    }
}

/// Counts a goroutine in and, however it ends, out.
struct Shift<'a>(&'a World);

impl<'a> Shift<'a> {
    fn begin(world: &'a World) -> Shift<'a> {
        world.begun.fetch_add(1, Ordering::Relaxed);
        Shift(world)
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does a few random things, and goes deeper while there is depth left.
fn live<'scope>(
    world: &'scope World,
    s: &'scope Scope<'scope, '_, Failure>,
    frame: &'scope Canary,
    mut dice: Dice,
    depth: u32,
) -> Result<(), Failure> {
    for _ in 0..dice.below(6) {
        frame.sing();
        let lane = &world.lanes[dice.below(world.lanes.len() as u64) as usize];
        let short = Duration::from_micros(dice.below(60));
        match dice.below(20) {
            0 | 1 => yield_now()?,
            2 => sleep(short)?,
            3 | 4 => match lane.0.send_timeout(world.item(), short) {
                Ok(()) => {}
                Err(back) => back.into_inner().canary.sing(),
            },
            5 | 6 => {
                if let Ok(item) = lane.1.recv_timeout(short) {
                    item.canary.sing();
                }
            }
            7 => {
                let other = &world.lanes[0];
                let chosen: Result<(), Cancelled> = throng::select! {
                    recv(lane.1) -> item => drop(item),
                    send(other.0, world.item()) -> sent => drop(sent),
                    after(short) => (),
                };
                chosen?;
            }
            8 => {
                let timed = timeout(short, || match lane.1.recv() {
                    Ok(item) => {
                        drop(item);
                        Ok(())
                    }
                    Err(RecvError::Closed) => Ok(()),
                    Err(_) => Err(Cancelled::new()),
                });
                if let Ok(received) = timed {
                    received?;
                }
            }
            9 => {
                let timed = timeout(short, || match lane.0.send(world.item()) {
                    Ok(()) | Err(SendError::Closed(_)) => Ok(()),
                    Err(_) => Err(Cancelled::new()),
                });
                if let Ok(sent) = timed {
                    sent?;
                }
            }
            10 => {
                let mut guard = world.mutex.lock()?;
                let before = *guard;
                yield_now()?;
                assert_eq!(*guard, before, "two holders of a mutex");
                *guard += 1;
                world.locked.fetch_add(1, Ordering::Relaxed);
            }
            11 => {
                throng::blocking(|| frame.sing())?;
            }
            12 => shield(|| {
                let _ = sleep(short);
                frame.sing();
            }),
            13 if depth > 0 => {
                // A detached one, with its own canary: it may outlive all of this but the runtime.
                let canary = world.aviary.canary();
                let task = go(move || {
                    let slept = sleep(short);
                    canary.sing();
                    slept
                });
                match dice.below(3) {
                    0 => drop(task),
                    1 => task.cancel(),
                    _ => _ = task.join(),
                }
            }
            14 if depth > 0 && dice.below(4) == 0 => return Err(Failure::Own),
            15 if depth > 0 && dice.below(6) == 0 => panic_on_purpose(1),
            16 if dice.below(6) == 0 => s.cancel(),
            _ if depth > 0 => {
                let inner = Dice::new(dice.below(u64::MAX >> 33));
                let canary = world.aviary.canary();
                if dice.below(2) == 0 {
                    let task = s.go(move || {
                        let _shift = Shift::begin(world);
                        let result = live(world, s, frame, inner, depth - 1);
                        canary.sing();
                        result
                    });
                    match dice.below(4) {
                        0 => task.cancel(),
                        1 => _ = task.join(),
                        _ => {}
                    }
                } else {
                    _ = nested(world, inner, depth - 1);
                }
            }
            _ => yield_now()?,
        }
    }
    Ok(())
}

fn nested(world: &World, dice: Dice, depth: u32) -> Result<(), Failure> {
    let frame = world.aviary.canary();
    let result = scope(|s| live(world, s, &frame, dice, depth));
    drop(frame);
    result
}

fn one(seed: u64, policy: Option<&Policy>) {
    let mut dice = Dice::new(seed);
    let world = World::new(&mut dice);
    let workers = [1, 2, 2, 4][dice.below(4) as usize];
    let shaken = (dice.below(3) > 0).then_some(seed);
    let builder = builder(workers, shaken).max_blocking_threads(2);
    let builder = if let Some(policy) = policy { builder.policy(policy.clone()) } else { builder };
    let runtime = builder.build().expect("a runtime");
    let trees = 1 + dice.below(3);
    let program = |runtime: &Runtime, seed: u64| {
        runtime.run(|| {
            let _shift = Shift::begin(&world);
            // A failure or a panic is a result like any other.
            match catch_unwind(AssertUnwindSafe(|| nested(&world, Dice::new(seed), 5))) {
                Ok(_) => {}
                Err(payload) => assert!(payload.is::<OnPurpose>(), "seed {seed}: {payload:?}"),
            }
            assert!(!std::thread::panicking());
        });
    };
    std::thread::scope(|threads| {
        for tree in 0..trees {
            let (program, runtime) = (&program, &runtime);
            threads.spawn(move || program(runtime, seed.wrapping_mul(31).wrapping_add(tree)));
        }
    });
    // All scopes have ended.
    assert_eq!(world.begun.load(Ordering::SeqCst), world.ended.load(Ordering::SeqCst));
    assert_eq!(*world.mutex.try_lock().expect("nobody holds it"), world.locked.load(Ordering::SeqCst));
    // What is afloat is in the buffers, and nobody waits any more.
    let buffered: usize = world.lanes.iter().map(|lane| lane.1.len()).sum();
    assert_eq!(world.afloat.load(Ordering::SeqCst), buffered as i64);
    assert!(runtime.metrics().stacks <= 4096);
    drop(runtime);
    for (_, receiver) in &world.lanes {
        receiver.try_iter().for_each(drop);
    }
    assert_eq!(world.afloat.load(Ordering::SeqCst), 0);
    assert_eq!(world.aviary.alive(), 0);
}

fn seeds(from: u64, count: u64, policy: Option<&Policy>) {
    for seed in from..from + count {
        watched(&format!("seed {seed}"), || one(seed, policy));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_few_random_programs() {
    seeds(0, scaled(300, 3_000) as u64, None);
}

#[test]
fn a_few_random_programs_under_each_policy() {
    // Besides those of others, one whose queues are so small that everything overflows, and one whose slots nobody steals from.
    let narrow = Policy::builder().local_capacity(2).slot_budget(SlotBudget::Tasks(2)).global_check(GlobalCheck::Random(1));
    let private = PolicyBuilder::kotlin().slot_steal(SlotSteal::Never).local_order(LocalOrder::NewestFirst).local_capacity(3);
    for policy in [Policy::go(), Policy::kotlin(), narrow.build().unwrap(), private.build().unwrap()] {
        seeds(0, scaled(100, 700) as u64, Some(&policy));
    }
}

#[test]
#[ignore = "takes as long as it is told to"]
fn many_random_programs() {
    let from = number("THRONG_STRESS_FROM").unwrap_or(1_000_000);
    seeds(from, number("THRONG_STRESS_SEEDS").unwrap_or(100_000), None);
}

/// The idle protocol under bursts and pauses, from inside and outside at once.
#[test]
#[ignore = "takes as long as it is told to"]
fn bursts_and_pauses() {
    for round in 0..number("THRONG_STRESS_SEEDS").unwrap_or(2_000) {
        watched(&format!("round {round}"), || {
            let mut dice = Dice::new(round);
            let runtime = Arc::new(builder(1 + dice.below(4) as usize, (round % 2 == 0).then_some(round)).build().unwrap());
            let threads: Vec<_> = (0..3)
                .map(|id| {
                    let runtime = Arc::clone(&runtime);
                    std::thread::spawn(move || {
                        let mut dice = Dice::new(round * 3 + id);
                        for _ in 0..20 {
                            let n = 1 + dice.below(30);
                            let sum = runtime.run(|| {
                                let tasks: Vec<_> = (0..n).map(|i| go(move || yield_now().map(|()| i))).collect();
                                tasks.into_iter().map(|task| task.join().unwrap().unwrap()).sum::<u64>()
                            });
                            assert_eq!(sum, n * (n - 1) / 2);
                            std::thread::sleep(Duration::from_micros(dice.below(300)));
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
