//! Who ends a wait, when several try at once: model-checked with threads as waiters.

use std::pin::pin;
use std::ptr::NonNull;
use std::sync::Arc;

use loom::thread;

use super::{Entry, WaitQueue};
use crate::fence;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Cause, Heeds, Met, Waiter, arm};

type Queue = SpinLock<WaitQueue<u32>>;

fn queue() -> Arc<Queue> {
    Arc::new(SpinLock::new(WaitQueue::new()))
}

/// Claims who waits in the queue and gives him `value`. Whether there was one.
fn claim(queue: &Queue, value: u32) -> bool {
    let mut guard = queue.lock();
    let claimed = guard.claim(|place| *place = value);
    drop(guard);
    claimed.is_some()
}

/// A waiter of another thread, for cancelling it.
#[derive(Clone, Copy)]
pub(crate) struct Victim(NonNull<Waiter>);

// SAFETY: a waiter may be cancelled from anywhere.
unsafe impl Send for Victim {}

impl Victim {
    /// The caller stays alive until the last use, by joining who uses it.
    pub(crate) fn me() -> Victim {
        local::with(|local| Victim(NonNull::from(local.current())))
    }

    pub(crate) fn cancel(self) {
        // SAFETY: see `me`.
        let waiter = unsafe { self.0.as_ref() };
        // As `Header::cancel` does.
        if waiter.cancel(true).0 == Met::Busy {
            fence::heavy();
            waiter.end_cancelled_wait();
        }
    }
}

#[test]
fn loom_waiter_two_causes_one_winner() {
    loom::model(|| {
        let (left, right) = (queue(), queue());
        let victim = Victim::me();
        let (l, r) = (left.clone(), right.clone());
        let mut threads = Vec::new();
        local::with(|local| {
            let wait = arm(local, Heeds::Everything).unwrap();
            let mut at_left = pin!(Entry::new(&*left, |queue| queue, 0));
            let mut at_right = pin!(Entry::new(&*right, |queue| queue, 0));
            at_left.as_mut().enqueue(&mut left.lock(), wait.ticket(), 1);
            at_right.as_mut().enqueue(&mut right.lock(), wait.ticket(), 2);
            threads.push(thread::spawn(move || claim(&l, 10)));
            threads.push(thread::spawn(move || claim(&r, 20)));
            victim.cancel();
            let cause = wait.park(None);
            at_left.as_mut().dequeue();
            at_right.as_mut().dequeue();
            let values = (*at_left.value(), *at_right.value());
            let claims: Vec<bool> = threads.drain(..).map(|thread| thread.join().unwrap()).collect();
            match cause {
                Ok(Cause(1)) => assert_eq!((values, &claims[..]), ((10, 0), &[true, false][..])),
                Ok(Cause(2)) => assert_eq!((values, &claims[..]), ((0, 20), &[false, true][..])),
                Ok(other) => panic!("nobody fired {other:?}"),
                Err(_) => assert_eq!((values, &claims[..]), ((0, 0), &[false, false][..])),
            }
        });
    });
}

#[test]
fn loom_cancel_races_claim() {
    loom::model(|| {
        let queue = queue();
        let victim = Victim::me();
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || claim(&queue, 7)
        });
        let canceller = thread::spawn(move || victim.cancel());
        let seen = local::with(|local| {
            let Ok(wait) = arm(local, Heeds::Everything) else { return None };
            let mut entry = pin!(Entry::new(&*queue, |queue| queue, 0));
            entry.as_mut().enqueue(&mut queue.lock(), wait.ticket(), 0);
            let ended = wait.park(None);
            entry.as_mut().dequeue();
            let value = *entry.value();
            assert_eq!(ended.is_ok(), value == 7, "who is claimed has the value, who is cancelled has not");
            Some(value)
        });
        canceller.join().unwrap();
        assert_eq!(claimer.join().unwrap(), seen == Some(7));
        assert!(local::with(|local| arm(local, Heeds::Everything).is_err()), "cancellation is sticky");
    });
}

#[test]
fn loom_stale_ticket_cannot_end_next_wait() {
    loom::model(|| {
        let (first, next) = (queue(), queue());
        let stale = thread::spawn({
            let first = first.clone();
            move || claim(&first, 1)
        });
        local::with(|local| {
            // A wait that ends by our own hand while its entry can still be claimed.
            let wait = arm(local, Heeds::Everything).unwrap();
            let mut entry = pin!(Entry::new(&*first, |queue| queue, 0));
            entry.as_mut().enqueue(&mut first.lock(), wait.ticket(), 5);
            let retracted = wait.retract();
            if !retracted {
                assert_eq!(wait.park(None), Ok(Cause(5)));
            }
            // The next one begins with the stale entry still queued.
            let wait = arm(local, Heeds::Everything).unwrap();
            let mut entry_next = pin!(Entry::new(&*next, |queue| queue, 0));
            entry_next.as_mut().enqueue(&mut next.lock(), wait.ticket(), 6);
            let right = thread::spawn({
                let next = next.clone();
                move || claim(&next, 2)
            });
            assert_eq!(wait.park(None), Ok(Cause(6)));
            entry.as_mut().dequeue();
            entry_next.as_mut().claimed();
            assert_eq!(*entry_next.value(), 2);
            assert_eq!(stale.join().unwrap(), !retracted);
            assert!(right.join().unwrap());
        });
    });
}
