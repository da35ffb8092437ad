//! A worker's order with letters and numbers for tasks: what the tests from outside (`tests/policies`) cannot arrange.

use std::time::Duration;

use super::line::Entry::{self, Movable, Pinned};
use super::order::{From, News, Order, Place, Queues};
use super::policy::{Knobs, Policy, PolicyBuilder, SlotBudget, SlotSteal};
use super::queue::{Queue, Which};
use super::slot::SlotTheft;

/// The queues that two workers see, of which one is ours.
struct World {
    own: Queue<u32>,
    global: Queue<u32>,
}

impl World {
    fn new() -> World {
        World { own: Queue::new(), global: Queue::new() }
    }

    fn queues(&self) -> Queues<'_, u32> {
        Queues { own: &self.own, global: &self.global, workers: 2 }
    }
}

fn knobs(policy: &Policy) -> Knobs {
    policy.knobs().expect("not throng's own").clone()
}

fn go() -> Order<char, u32> {
    let policy = PolicyBuilder::go().slot_budget(SlotBudget::Unlimited).build().expect("sound");
    Order::new(knobs(&policy), None, false)
}

fn put_all(order: &mut Order<char, u32>, world: &World, entries: &[Entry<char, u32>]) {
    for &entry in entries {
        order.put(entry, Place::Next, &world.queues());
    }
}

fn drain(order: &mut Order<char, u32>, world: &World, may_start: bool) -> Vec<(Entry<char, u32>, From)> {
    std::iter::from_fn(|| order.next(&world.queues(), &mut || may_start)).collect()
}

/// Without a stack for a new goroutine those that have started still run, wherever they are; nothing is lost.
#[test]
fn without_a_stack() {
    let (mut order, world) = (go(), World::new());
    put_all(&mut order, &world, &[Movable(1), Pinned('a'), Movable(2), Pinned('b'), Movable(3)]);
    order.put(Pinned('y'), Place::Yield, &world.queues());
    let _ = world.global.push(9);
    let ran = drain(&mut order, &world, false);
    assert_eq!(ran, [(Pinned('y'), From::GlobalFirst), (Pinned('a'), From::Ring), (Pinned('b'), From::Ring)]);
    let ran = drain(&mut order, &world, true);
    assert_eq!(ran, [(Movable(3), From::Slot), (Movable(1), From::Ring), (Movable(2), From::Ring), (Movable(9), From::Global)]);
    assert!(order.is_empty(&world.queues()));
}

/// A thief takes the older half of those that may move, and what it brings home runs in its order, behind what is there.
#[test]
fn a_theft() {
    let (mut order, world) = (go(), World::new());
    put_all(&mut order, &world, &[Movable(1), Pinned('a'), Movable(2), Movable(3), Movable(4)]);
    let mut loot = Vec::new();
    world.own.steal(&mut loot, Which::Any);
    assert_eq!(loot, [1, 2]);
    let (mut thief, home) = (go(), World::new());
    thief.put(Pinned('t'), Place::Tail, &home.queues());
    thief.take_in(loot.into_iter(), &home.queues());
    assert_eq!(thief.take_news(), News { movable: true, unwatched: true, overflows: 0 });
    assert_eq!(drain(&mut thief, &home, true), [Pinned('t'), Movable(1), Movable(2)].map(|entry| (entry, From::Ring)));
    assert_eq!(drain(&mut order, &world, true), [(Movable(4), From::Slot), (Pinned('a'), From::Ring), (Movable(3), From::Ring)]);
}

/// The slot, stolen behind its owner's back, is empty.
#[test]
fn the_slot_is_stolen() {
    let (mut order, world) = (go(), World::new());
    put_all(&mut order, &world, &[Movable(1), Movable(2)]);
    assert_eq!(world.own.steal_slot_after(|| ()), SlotTheft::Taken(2));
    assert_eq!(drain(&mut order, &world, true), [(Movable(1), From::Ring)]);
    put_all(&mut order, &world, &[Movable(3)]);
    assert_eq!(world.own.steal_slot_after(|| ()), SlotTheft::Taken(3));
    // What comes next displaces nothing.
    put_all(&mut order, &world, &[Pinned('a')]);
    assert_eq!(drain(&mut order, &world, true), [(Pinned('a'), From::Slot)]);
}

/// What nobody may steal nobody sees, and nobody is woken for; once it is displaced it is like any other.
#[test]
fn a_private_slot() {
    let policy = PolicyBuilder::go().slot_steal(SlotSteal::Never).slot_budget(SlotBudget::Unlimited).build().expect("sound");
    let (mut order, world) = (Order::new(knobs(&policy), None, false), World::new());
    put_all(&mut order, &world, &[Movable(1)]);
    assert_eq!(order.take_news(), News::default());
    assert_eq!(world.own.steal_slot_aged(Duration::ZERO), SlotTheft::Empty);
    assert!(world.own.leave_unwatched());
    put_all(&mut order, &world, &[Movable(2)]);
    assert_eq!(order.take_news(), News { movable: true, unwatched: true, overflows: 0 });
    assert_eq!(drain(&mut order, &world, true), [(Movable(2), From::Slot), (Movable(1), From::Ring)]);
}

/// News of what others could run, and of what they could not.
#[test]
fn news() {
    let (mut order, world) = (go(), World::new());
    put_all(&mut order, &world, &[Pinned('a'), Pinned('b')]);
    order.put(Pinned('c'), Place::Yield, &world.queues());
    assert_eq!(order.take_news(), News::default(), "nobody else could run these");
    put_all(&mut order, &world, &[Movable(1)]);
    assert_eq!(order.take_news(), News { movable: true, unwatched: true, overflows: 0 });
    put_all(&mut order, &world, &[Movable(2)]);
    assert_eq!(order.take_news(), News { movable: true, unwatched: false, overflows: 0 });
}

/// Erratic orders lose nothing either.
#[test]
fn shaken() {
    let policy = PolicyBuilder::go().local_capacity(3).slot_budget(SlotBudget::Tasks(1)).build().expect("sound");
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (mut order, world) = (Order::new(knobs(&policy), Some(seed), true), World::new());
        for n in 0..10 {
            put_all(&mut order, &world, &[Movable(n), Pinned(char::from(b'a' + n as u8))]);
        }
        let mut ran: Vec<_> = drain(&mut order, &world, true).into_iter().map(|(entry, _)| format!("{entry:?}")).collect();
        orders.insert(ran.clone());
        ran.sort();
        ran.dedup();
        assert_eq!(ran.len(), 20);
    }
    assert!(orders.len() > 10, "they are not erratic");
}
