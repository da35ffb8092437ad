//! The race: a call happened or was cancelled, never both, and nothing is lost.
//!
//! Three take part: a task that makes the call, one that cancels it, and one that lets it happen. In the first test they run wherever they
//! land, mostly close together, in every order. In the second they sit on workers of their own, so that they do meet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use throng::{Error, JoinError, Runtime, ScopedJoinHandle, scope, yield_now};

use super::happens;
use crate::common::{Dice, scaled};
use crate::parks::{Case, Ends, Park, Stage, far, in_micros, table};
use crate::{ALL_KINDS, Kind, on_kinds, seed, stall, until};

/// Tries each case: `rounds` makes many calls, and returns how many of them happened and how many were cancelled.
fn on(kinds: &[Kind], rounds: impl Fn(&Runtime, &Case, &Park<'_>, &mut Dice) -> [usize; 2] + Sync) {
    for (own, case) in table().into_iter().enumerate() {
        let seed = seed(own as u64);
        let mut outcomes = [0; 2];
        on_kinds(kinds, &format!("{case}, dice({seed:#x})"), |runtime| {
            runtime.run(|| {
                case.run(|park| {
                    let [happened, cancelled] = rounds(runtime, &case, park, &mut Dice::new(seed));
                    outcomes = [outcomes[0] + happened, outcomes[1] + cancelled];
                    if case.ends != Ends::Never {
                        happens(&case, park);
                        park.check_the_books();
                    }
                });
            });
        });
        // Not asked: that both occur (a matter of timing).
        println!("{case}: happened and cancelled: {outcomes:?}");
    }
}

/// When the call is over by itself, and when it is cancelled: at about the same time, if it is of the kind that time ends.
fn moments(case: &Case, dice: &mut Dice) -> (Instant, Instant) {
    if case.ends == Ends::Time { (in_micros(20 + dice.below(40)), in_micros(dice.below(100))) } else { (far(), Instant::now()) }
}

/// Whether the call happened, by its task's own account.
fn verdict(of: Result<bool, JoinError>) -> bool {
    match of {
        Ok(happened) => happened,
        Err(JoinError::TaskCancelled { .. }) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn wherever_they_are() {
    on(&ALL_KINDS, |_, case, park, dice| {
        let mut outcomes = [0; 2];
        for _ in 0..scaled(40, 200) {
            outcomes[usize::from(!once(case, park, dice))] += 1;
        }
        outcomes
    });
}

/// Whether the call happened.
fn once(case: &Case, park: &Park<'_>, dice: &mut Dice) -> bool {
    let stage = Stage::new();
    let is_peers = case.ends == Ends::Peer;
    let (due, cancelled_at) = moments(case, dice);
    park.make_it_wait();
    let happened = scope(|s| {
        let task = s.go(|| Ok(stage.call(park, due)));
        if dice.below(4) != 0 {
            until(|| stage.is_calling());
        }
        let (before, between) = (dice.below(600), dice.below(600));
        let cancel = move || {
            until(|| Instant::now() >= cancelled_at);
            stall(before);
            task.cancel();
            verdict(task.join())
        };
        let satisfy = move || {
            if is_peers {
                stall(between);
                park.let_one_happen();
            }
        };
        let give_way = |n| (0..n).try_for_each(|_| yield_now());
        let (happened, peer) = match dice.below(4) {
            // The peer, and the canceller at the same time or a little later.
            0 => {
                let peer = s.go(satisfy);
                give_way(dice.below(3))?;
                (cancel(), peer)
            }
            1 => {
                let (peer, canceller) = (s.go(satisfy), s.go(move || Ok(cancel())));
                (canceller.join()?, peer)
            }
            // The canceller first.
            2 => {
                let (canceller, peer) = (s.go(move || Ok(cancel())), s.go(satisfy));
                (canceller.join()?, peer)
            }
            _ => {
                let canceller = s.go(move || Ok(cancel()));
                give_way(dice.below(3))?;
                let peer = s.go(satisfy);
                (canceller.join()?, peer)
            }
        };
        if is_peers && !happened {
            assert!(park.call(far()), "the one who did not get it has taken it away");
        }
        peer.join()?;
        Ok::<_, Error>(happened)
    })
    .expect("not cancelled");
    park.check_the_books();
    happened
}

/// What those on the other workers have to do in a round.
#[derive(Clone)]
struct Order<'s> {
    task: Arc<ScopedJoinHandle<'s, bool>>,
    cancelled_at: Instant,
    before_cancelling: u64,
    before_satisfying: u64,
}

/// A round begins when its number is set, and is over for a role when that has set it, too.
struct Rounds<'s> {
    arrived: AtomicUsize,
    begun: AtomicUsize,
    cancelled: AtomicUsize,
    satisfied: AtomicUsize,
    order: Mutex<Option<Order<'s>>>,
}

const OVER: usize = usize::MAX;

/// Gives way to goroutines and to threads: there may be more workers here than cores.
fn spin_until(reached: impl Fn() -> bool) {
    until(|| {
        std::thread::yield_now();
        reached()
    });
}

impl<'s> Rounds<'s> {
    fn new() -> Rounds<'s> {
        let zero = || AtomicUsize::new(0);
        Rounds { arrived: zero(), begun: zero(), cancelled: zero(), satisfied: zero(), order: Mutex::new(None) }
    }

    /// Keeps the worker until all roles have one.
    fn keep_apart(&self, roles: usize) {
        while self.arrived.load(Ordering::SeqCst) < roles {
            std::thread::yield_now();
        }
    }

    fn arrive(&self, roles: usize) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        self.keep_apart(roles);
    }

    /// Does `work` once in each round, until there are no more.
    fn take_part(&self, done: &AtomicUsize, work: impl Fn(&Order<'s>)) {
        for round in 1.. {
            spin_until(|| self.begun.load(Ordering::SeqCst) >= round);
            if self.begun.load(Ordering::SeqCst) == OVER {
                return;
            }
            let order = self.order.lock().unwrap().as_ref().expect("a round has begun").clone();
            work(&order);
            drop(order);
            done.store(round, Ordering::SeqCst);
        }
    }

    fn cancel(&self) {
        self.take_part(&self.cancelled, |order| {
            until(|| Instant::now() >= order.cancelled_at);
            stall(order.before_cancelling);
            order.task.cancel();
        });
    }

    fn satisfy(&self, case: &Case, park: &Park<'_>) {
        self.take_part(&self.satisfied, |order| {
            stall(order.before_satisfying);
            if case.ends == Ends::Peer {
                park.let_one_happen();
            }
        });
    }

    fn wait_for(&self, role: &AtomicUsize, round: usize) {
        spin_until(|| role.load(Ordering::SeqCst) == round);
    }
}

#[test]
fn on_other_workers() {
    on(&[(2, None), (3, None), (2, Some(1)), (3, Some(2))], |runtime, case, park, dice| {
        // One of the workers is ours. The canceller and the peer share one if there are only two.
        let others = (runtime.metrics().workers.len() - 1).min(2);
        let mut outcomes = [0; 2];
        let stages: Vec<Stage> = (0..scaled(40, 300)).map(|_| Stage::new()).collect();
        scope(|s| {
            let rounds = Arc::new(Rounds::new());
            let (canceller, peer) = (Arc::clone(&rounds), Arc::clone(&rounds));
            if others == 1 {
                s.go(move || {
                    canceller.arrive(1);
                    s.go(move || peer.satisfy(case, park));
                    canceller.cancel();
                });
            } else {
                s.go(move || {
                    canceller.arrive(2);
                    canceller.cancel();
                });
                s.go(move || {
                    peer.arrive(2);
                    peer.satisfy(case, park);
                });
            }
            rounds.keep_apart(others);
            for (round, stage) in (1..).zip(&stages) {
                let (due, cancelled_at) = moments(case, dice);
                park.make_it_wait();
                let task = Arc::new(s.go(move || Ok(stage.call(park, due))));
                if dice.below(4) != 0 {
                    until(|| stage.is_calling());
                }
                let (before_cancelling, before_satisfying) = (dice.below(300), dice.below(300));
                let order = Order { task: Arc::clone(&task), cancelled_at, before_cancelling, before_satisfying };
                *rounds.order.lock().unwrap() = Some(order);
                rounds.begun.store(round, Ordering::SeqCst);
                spin_until(|| task.is_finished());
                rounds.wait_for(&rounds.cancelled, round);
                let happened = stage.has_happened();
                if case.ends == Ends::Peer && !happened {
                    assert!(park.call(far()), "the one who did not get it has taken it away");
                }
                rounds.wait_for(&rounds.satisfied, round);
                park.check_the_books();
                outcomes[usize::from(!happened)] += 1;
            }
            rounds.begun.store(OVER, Ordering::SeqCst);
            Ok::<_, Error>(())
        })
        .expect("not cancelled");
        outcomes
    });
}
