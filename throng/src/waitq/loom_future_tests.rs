//! Entries of futures: registered, looked at, taken out and dropped, while others claim them. Model-checked with threads that poll by hand.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::{Entry, WaitQueue};
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Heeds, arm};

/// A place for a value, whose uses the checker watches.
struct Place(UnsafeCell<u32>);

// SAFETY: that it is used by one thread at a time is what the models check.
unsafe impl Send for Place {}

impl Place {
    fn new() -> Place {
        Place(UnsafeCell::new(0))
    }

    fn put(&mut self, value: u32) {
        self.0.with_mut(|place| {
            // SAFETY: as above.
            let before = unsafe { std::mem::replace(&mut *place, value) };
            assert_eq!(before, 0, "two values for one");
        });
    }

    fn get(&self) -> u32 {
        self.0.with(|place| {
            // SAFETY: as above.
            unsafe { *place }
        })
    }
}

type Queue = SpinLock<WaitQueue<Place>>;
type At<'a> = Entry<'a, WaitQueue<Place>, Place>;

const CLAIMED: u16 = 0;
const MARK: u16 = 3;

fn queue() -> Arc<Queue> {
    Arc::new(SpinLock::new(WaitQueue::new()))
}

fn entry(queue: &Queue) -> At<'_> {
    Entry::new(queue, |queue| queue, Place::new())
}

/// Hands `value` to who waits. Whether somebody did.
fn claim(queue: &Queue, value: u32) -> bool {
    let mut guard = queue.lock();
    let claimed = guard.claim(|place| place.put(value));
    drop(guard);
    claimed.is_some()
}

/// A waker that a thread can wait for.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    (bell.clone(), bell.into())
}

/// A poll: whether, and with which mark, it has been claimed.
fn look<'a>(queue: &'a Queue, at: Pin<&mut At<'a>>, waker: Waker) -> Option<u16> {
    let mut guard = queue.lock();
    let (claimed, other) = at.look(&mut guard, waker);
    drop(guard);
    drop(other);
    claimed
}

#[test]
fn loom_registered_is_claimed_and_woken() {
    loom::model(|| {
        let queue = queue();
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || claim(&queue, 7)
        });
        let (bell_of_this, waker) = bell();
        let mut at = pin!(entry(&queue));
        at.as_mut().register(&mut queue.lock(), waker);
        if claimer.join().unwrap() {
            bell_of_this.wait();
            assert_eq!(look(&queue, at.as_mut(), bell().1), Some(CLAIMED));
            assert_eq!(at.value().get(), 7);
        } else {
            assert_eq!(look(&queue, at.as_mut(), bell().1), None, "nobody has claimed it");
        }
    });
}

/// The waker of the last poll is the one that is woken; whoever is claimed before it finds out in it.
#[test]
fn loom_registered_moves_to_another_waker() {
    loom::model(|| {
        let queue = queue();
        let (_, first) = bell();
        let mut at = pin!(entry(&queue));
        at.as_mut().register(&mut queue.lock(), first);
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || assert!(claim(&queue, 7))
        });
        let (bell_of_second, second) = bell();
        let mut claimed = look(&queue, at.as_mut(), second);
        if claimed.is_none() {
            // Nothing but the second waker is going to tell.
            bell_of_second.wait();
            claimed = look(&queue, at.as_mut(), bell().1);
        }
        assert_eq!(claimed, Some(CLAIMED));
        assert_eq!(at.value().get(), 7);
        claimer.join().unwrap();
    });
}

/// Either it leaves unclaimed, or it has the value.
#[test]
fn loom_registered_leaves_or_has_the_value() {
    loom::model(|| {
        let queue = queue();
        let mut at = pin!(entry(&queue));
        at.as_mut().register(&mut queue.lock(), bell().1);
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || claim(&queue, 7)
        });
        let mut guard = queue.lock();
        let (left, waker) = at.as_mut().unregister(&mut guard);
        drop(guard);
        drop(waker);
        let value = at.value().get();
        assert_eq!(value == 7, !left);
        assert_eq!(claimer.join().unwrap(), !left, "a value is handed over once, and to who is there");
    });
}

/// Two wait, one goes without a word; both values are for those who are there.
#[test]
fn loom_registered_is_dropped_in_the_queue() {
    loom::model(|| {
        let queue = queue();
        let (bell_of_next, waker) = bell();
        let mut goes = Box::pin(entry(&queue));
        goes.as_mut().register(&mut queue.lock(), bell().1);
        let mut stays = pin!(entry(&queue));
        stays.as_mut().register(&mut queue.lock(), waker);
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || [claim(&queue, 7), claim(&queue, 8)]
        });
        drop(goes);
        bell_of_next.wait();
        assert_eq!(look(&queue, stays.as_mut(), bell().1), Some(CLAIMED));
        match claimer.join().unwrap() {
            [true, true] => assert_eq!(stays.value().get(), 8, "the first was claimed before it went"),
            [true, false] => assert_eq!(stays.value().get(), 7, "the first had gone"),
            other => panic!("there was somebody: {other:?}"),
        }
    });
}

/// Nothing of it is left behind for a claimer to come upon.
#[test]
fn loom_registered_takes_itself_out_as_it_is_dropped() {
    loom::model(|| {
        let queue = queue();
        let mut goes = Box::pin(entry(&queue));
        goes.as_mut().register(&mut queue.lock(), bell().1);
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || claim(&queue, 7)
        });
        drop(goes);
        assert!(queue.lock().is_empty());
        claimer.join().unwrap();
    });
}

/// A thread and a future in one queue: all are told, each with its value, and the mark.
#[test]
fn loom_registered_and_parked_are_all_claimed() {
    loom::model(|| {
        let queue = queue();
        let claimer = thread::spawn({
            let queue = queue.clone();
            move || {
                let mut guard = queue.lock();
                let mut next = 7;
                let all = guard.claim_all(MARK, |place| {
                    place.put(next);
                    next += 1;
                });
                drop(guard);
                drop(all);
                next - 7
            }
        });
        let (bell_of_this, waker) = bell();
        let mut future = pin!(entry(&queue));
        future.as_mut().register(&mut queue.lock(), waker);
        local::with(|local| {
            let wait = arm(local, Heeds::Nothing).unwrap();
            let mut parked = pin!(entry(&queue));
            parked.as_mut().enqueue(&mut queue.lock(), wait.ticket(), 0);
            // As many as there were; the rest by another.
            let of_claimer = claimer.join().unwrap();
            for value in of_claimer..2 {
                assert!(claim(&queue, 7 + value));
            }
            let cause = wait.park(None).unwrap().0;
            parked.as_mut().claimed();
            bell_of_this.wait();
            let mark = look(&queue, future.as_mut(), bell().1).expect("it has been claimed");
            assert_eq!((mark, cause), (if of_claimer > 0 { MARK } else { 0 }, if of_claimer > 1 { MARK } else { 0 }));
            assert_eq!((future.value().get(), parked.value().get()), (7, 8));
        });
    });
}
