//! What only the inside of the clock shows: which alarms are set, and whether the thread runs.

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::clock::{CLOCK, Clock, start};
use super::node::Node;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// Waits, for what another thread is about to do.
fn until(condition: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < patience, "it does not come");
        thread::yield_now();
    }
}

#[test]
fn tokens_that_go_take_their_alarms_along() {
    let at = Instant::now() + HOUR;
    let root = CancelToken::new().child_with_deadline(at);
    assert_eq!(CLOCK.alarms_at(at), 1);
    let before = at - MS;
    for i in 0..if cfg!(debug_assertions) { 100_000 } else { 1_000_000 } {
        let token = root.child_with_deadline(before);
        match i % 3 {
            0 => {
                token.cancel();
            }
            1 => drop(token.child_with_deadline(at)),
            _ => {}
        }
    }
    assert_eq!(CLOCK.alarms_at(before), 0);
    let children: Vec<_> = (0..10).map(|_| root.child_with_deadline(before)).collect();
    let later: Vec<_> = (0..10).map(|_| root.child_with_deadline(at)).collect();
    let keeper = CancelToken::new().child_with_deadline(at).child();
    assert_eq!((CLOCK.alarms_at(before), CLOCK.alarms_at(at)), (10, 2), "a later deadline than the parent's needs no alarm");
    root.cancel();
    assert_eq!((CLOCK.alarms_at(before), CLOCK.alarms_at(at)), (0, 1));
    assert!(children.iter().chain(&later).all(CancelToken::is_cancelled) && root.child_with_deadline(before).is_cancelled());
    assert_eq!(CLOCK.alarms_at(before), 0);
    drop(keeper);
    assert_eq!(CLOCK.alarms_at(at), 0);
}

/// A child with a deadline, while its parent is cancelled: whichever comes first, no alarm stays.
#[test]
fn alarms_race_with_cancel() {
    let at = Instant::now() + HOUR;
    for _ in 0..if cfg!(debug_assertions) { 1000 } else { 5000 } {
        let (root, meet) = (CancelToken::new(), Barrier::new(2));
        let children = thread::scope(|s| {
            s.spawn(|| {
                meet.wait();
                root.cancel();
            });
            let child = |i: usize| {
                if i == 5 {
                    meet.wait();
                }
                root.child_with_deadline(at)
            };
            (0..50).map(child).collect::<Vec<_>>()
        });
        assert!(children.iter().all(CancelToken::is_cancelled));
        assert_eq!(CLOCK.alarms_at(at), 0);
    }
}

/// A node that is cancelled at `at`, and a way to wait for that.
fn alarm(clock: &'static Clock, at: Instant) -> (Arc<Node>, Receiver<()>) {
    let node = Node::root();
    clock.set(at, node.clone());
    (node.clone(), node.done())
}

#[test]
fn a_clock_that_does_not_start_is_tried_again() {
    static POWER: AtomicBool = AtomicBool::new(false);
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    static WEAK: Clock = Clock::new(HOUR, |clock| {
        TRIES.fetch_add(1, Ordering::SeqCst);
        if POWER.load(Ordering::SeqCst) { start(clock) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    let soon = Instant::now() + MS;
    let (first, first_done) = alarm(&WEAK, soon);
    let (_second, second_done) = alarm(&WEAK, soon + HOUR);
    assert_eq!((TRIES.load(Ordering::SeqCst), WEAK.is_running()), (2, false));
    assert!(!first.is_cancelled() && !first_done.is_closed());
    POWER.store(true, Ordering::SeqCst);
    let (_third, third_done) = alarm(&WEAK, soon + 2 * MS);
    assert!(first_done.recv().is_err() && third_done.recv().is_err() && first.is_cancelled());
    assert_eq!((TRIES.load(Ordering::SeqCst), second_done.is_closed()), (3, false));
}

#[test]
fn an_idle_clock_ends_and_starts_again() {
    static BRIEF: Clock = Clock::new(MS, start);
    for _ in 0..3 {
        let (node, done) = alarm(&BRIEF, Instant::now() + MS);
        assert!(BRIEF.is_running() && done.recv().is_err());
        assert!(matches!(node.cause(), Some(Cause::Elapsed)));
        until(|| !BRIEF.is_running());
    }
}

#[test]
fn an_earlier_deadline_wakes_the_clock() {
    static QUIET: Clock = Clock::new(HOUR, start);
    let (_far, far_done) = alarm(&QUIET, Instant::now() + HOUR);
    for _ in 0..20 {
        let at = Instant::now() + MS;
        let (_near, done) = alarm(&QUIET, at);
        assert!(done.recv().is_err() && Instant::now() >= at);
    }
    assert!(!far_done.is_closed());
}

/// Alarms of one moment ring in the order they were set, earlier ones before later ones.
#[test]
fn alarms_ring_in_order() {
    static READY: AtomicBool = AtomicBool::new(false);
    static LATE: Clock =
        Clock::new(HOUR, |clock| if READY.load(Ordering::SeqCst) { start(clock) } else { Err(io::ErrorKind::WouldBlock.into()) });
    let log = Arc::new(Mutex::new(Vec::new()));
    let at = Instant::now() + MS;
    for (after, what) in [(1, 3), (0, 1), (2, 5), (0, 2), (1, 4), (2, 6)] {
        let log = log.clone();
        let node = Node::root();
        node.hook(Box::new(move |_| {
            log.lock().unwrap().push(what);
            None
        }));
        LATE.set(at + after * MS, node);
    }
    READY.store(true, Ordering::SeqCst);
    let (_last, done) = alarm(&LATE, at + 3 * MS);
    assert!(done.recv().is_err());
    assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_clock_outlives_a_panic() {
    static TOUGH: Clock = Clock::new(HOUR, start);
    let at = Instant::now() + MS;
    let node = Node::root();
    node.hook(Box::new(|_| resume_unwind(Box::new("on purpose"))));
    TOUGH.set(at, node.clone());
    let (_next, next_done) = alarm(&TOUGH, at + MS);
    assert!(next_done.recv().is_err() && node.is_cancelled());
}

/// One that takes its time does not keep the clock.
#[test]
fn leftovers_are_run_beside_the_clock() {
    static BUSY: Clock = Clock::new(HOUR, start);
    let at = Instant::now() + MS;
    let (_next, next_done) = alarm(&BUSY, at + MS);
    let (tx, rx) = mpsc::channel();
    let node = Node::root();
    node.hook(Box::new(move |_| {
        let next_done = next_done.clone();
        Some(Arc::new(move || tx.send(next_done.recv().is_err()).unwrap()))
    }));
    BUSY.set(at, node);
    assert_eq!(rx.recv(), Ok(true));
}
