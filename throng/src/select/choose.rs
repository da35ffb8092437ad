//! The choice among the arms of a select. `README.md` beside this file tells why it is right.
//!
//! After Go's `selectgo`: lock all channels in the order of their addresses, look for an arm that is ready, else queue all arms, unlock, park; and when
//! one has been claimed, take the others out. Before that, a look at the flags of the locks finds most arms that are ready for the price of one lock.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Instant;

use super::arm::{Arm, Commit};
use crate::cancelled::Cancelled;
use crate::home::local;
use crate::rng;
use crate::waiter::{Cause, Heeds, arm};
use crate::waitq::Woken;

/// An arm of any kind.
pub struct AnyArm<'p, 'a> {
    arm: &'p mut (dyn Arm<'a> + 'p),
    address: usize,
    /// It seemed to be ready when the select began.
    likely: bool,
    /// It has to be looked at again at its deadline.
    timed: bool,
}

impl<'p, 'a> AnyArm<'p, 'a> {
    #[inline]
    pub(crate) fn new(arm: &'p mut (impl Arm<'a> + 'p)) -> AnyArm<'p, 'a> {
        AnyArm { address: arm.address(), likely: arm.seems_ready(), timed: arm.deadline().is_some(), arm }
    }
}

/// An arm's place in the order of locking.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    address: usize,
    arm: usize,
    /// The arm that has the lock: the first of its channel's that was seated.
    keeper: usize,
    /// The arm can commit.
    ready: bool,
}

impl Seat {
    pub(crate) const EMPTY: Self = Seat { address: 0, arm: 0, keeper: 0, ready: false };
}

/// The most arms a select can have: the number of the one that was claimed travels in the waiter's word.
pub(crate) const MOST: usize = Cause::CLOSED as usize;

/// Commits an arm that is ready, each with the same chance, and returns its number; `None`: at one moment of this call, none was.
#[inline]
pub(crate) fn poll<'a>(arms: &mut [AnyArm<'_, 'a>], seats: &mut [Seat]) -> Option<usize> {
    if let Some(chosen) = glance(arms) {
        return Some(chosen);
    }
    lock(arms, seats);
    let (chosen, woken) = commit(arms, seats);
    unlock(arms);
    drop(woken);
    chosen
}

/// As `poll`, waiting until there is one.
#[inline]
pub(crate) fn wait<'a>(arms: &mut [AnyArm<'_, 'a>], seats: &mut [Seat]) -> Result<usize, Cancelled> {
    match glance(arms) {
        Some(chosen) => Ok(chosen),
        None => wait_for_one(arms, seats),
    }
}

/// Commits one of the arms that seem to be ready.
#[inline]
fn glance<'a>(arms: &mut [AnyArm<'_, 'a>]) -> Option<usize> {
    let likely = pick(arms.len(), |at| arms[at].likely)?;
    arms[likely].arm.attempt().then_some(likely)
}

/// One of those below `count` that are `ready`, each with the same chance.
#[inline]
fn pick(count: usize, mut ready: impl FnMut(usize) -> bool) -> Option<usize> {
    let mut chosen = None;
    let mut seen = 0;
    for at in 0..count {
        if ready(at) {
            seen += 1;
            // The k-th one takes the place of the one before with a chance of 1/k.
            if seen == 1 || rng::below(seen) == 0 {
                chosen = Some(at);
            }
        }
    }
    chosen
}

fn lock<'a>(arms: &mut [AnyArm<'_, 'a>], seats: &mut [Seat]) {
    for (at, seat) in seats.iter_mut().enumerate() {
        seat.arm = at;
        seat.address = arms[at].address;
    }
    sort(seats);
    // Where the seats of the present channel begin.
    let mut start = 0;
    for at in 0..seats.len() {
        let Seat { address, arm, .. } = seats[at];
        if at == 0 || address != seats[start].address {
            start = at;
            (seats[at].keeper, seats[at].ready) = (arm, arms[arm].arm.lock());
            continue;
        }
        let keeper = seats[start].keeper;
        (seats[at].keeper, seats[at].ready) = (keeper, with_lock(arms, keeper, arm, |arm| arm.is_ready()));
        // Whoever comes claims the first of them: so their order is a random one.
        seats.swap(at, start + rng::below((at - start + 1) as u32) as usize);
    }
}

/// Works on `arm` with the lock that `keeper` has.
#[inline]
fn with_lock<'a, R>(arms: &mut [AnyArm<'_, 'a>], keeper: usize, arm: usize, f: impl FnOnce(&mut dyn Arm<'a>) -> R) -> R {
    let lent = if keeper == arm { None } else { arms[keeper].arm.lend() };
    let Some(held) = lent else { return f(arms[arm].arm) };
    arms[arm].arm.borrow(held);
    let result = f(arms[arm].arm);
    if let Some(held) = arms[arm].arm.lend() {
        arms[keeper].arm.borrow(held);
    }
    result
}

/// By address.
fn sort(seats: &mut [Seat]) {
    if seats.len() > 20 {
        return seats.sort_unstable_by_key(|seat| seat.address);
    }
    for at in 1..seats.len() {
        let mut hole = at;
        while hole > 0 && seats[hole - 1].address > seats[hole].address {
            seats.swap(hole - 1, hole);
            hole -= 1;
        }
    }
}

fn unlock(arms: &mut [AnyArm<'_, '_>]) {
    for arm in arms {
        arm.arm.unlock();
    }
}

/// With all locks held: commits an arm that is ready, and returns whom to wake after unlocking.
fn commit<'a>(arms: &mut [AnyArm<'_, 'a>], seats: &mut [Seat]) -> (Option<usize>, Option<Woken>) {
    while let Some(at) = pick(seats.len(), |at| seats[at].ready) {
        let Seat { arm, keeper, .. } = seats[at];
        if let Commit::Done(woken) = with_lock(arms, keeper, arm, |arm| arm.commit()) {
            return (Some(arm), woken);
        }
        // Who waits there had been fired by something else, and has been taken out of the queue. So this ends.
        seats[at].ready = with_lock(arms, keeper, arm, |arm| arm.is_ready());
    }
    (None, None)
}

#[cold]
#[inline(never)]
fn wait_for_one<'a>(arms: &mut [AnyArm<'_, 'a>], seats: &mut [Seat]) -> Result<usize, Cancelled> {
    local::with(|local| {
        loop {
            lock(arms, seats);
            let (chosen, woken) = commit(arms, seats);
            if let Some(chosen) = chosen {
                unlock(arms);
                drop(woken);
                return Ok(chosen);
            }
            let wait = match arm(local, Heeds::Everything) {
                Ok(wait) => wait,
                Err(cancelled) => {
                    unlock(arms);
                    return Err(cancelled);
                }
            };
            for at in 0..seats.len() {
                let Seat { arm, keeper, .. } = seats[at];
                let last = seats.get(at + 1).is_none_or(|next| next.keeper != keeper);
                with_lock(arms, keeper, arm, |to| to.enqueue(wait.ticket(), arm as u16, last));
            }
            let woken = wait.park(arms.iter().filter(|arm| arm.timed).filter_map(|arm| arm.arm.deadline()).min());
            let claimed = match woken {
                Ok(Cause::TIMED_OUT) | Err(_) => None,
                Ok(Cause(cause)) => Some((usize::from(cause & !Cause::CLOSED), cause & Cause::CLOSED != 0)),
            };
            for (at, arm) in arms.iter_mut().enumerate() {
                match claimed {
                    Some((chosen, closed)) if chosen == at => arm.arm.claimed(closed),
                    _ => arm.arm.dequeue(),
                }
            }
            if let Some((chosen, _)) = claimed {
                return Ok(chosen);
            }
            woken?;
            if let Some(chosen) = expire(arms) {
                return Ok(chosen);
            }
            // A clone of the receiver that was due has been quicker: on with waiting.
        }
    })
}

/// Commits an arm whose time has come.
fn expire<'a>(arms: &mut [AnyArm<'_, 'a>]) -> Option<usize> {
    let now = Instant::now();
    let first = rng::below(arms.len() as u32) as usize;
    (first..arms.len()).chain(0..first).find(|at| arms[*at].arm.expire(now))
}

impl fmt::Debug for AnyArm<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyArm").finish_non_exhaustive()
    }
}
