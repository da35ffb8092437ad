//! The clock of tokens, and of futures that are polled where no worker keeps time: one thread, which cancels and wakes those whose deadline has come.
//!
//! Tokens are used on plain threads and on any runtime, and outlive both, so their deadlines are no runtime's: `throng-clock` is started
//! with the first of them and ends when there has been none for a while. A deadline costs an entry in an ordered map, from the making of
//! its token until that is cancelled or not needed any more. The thread is woken only for a deadline that comes before all it knows of.
//!
//! States of the thread: none, awake (it looks at the map before it sleeps), asleep until some moment.
//!
//! Invariants:
//! - K1: no thread: an empty map, or the last attempt to start one has failed. The next deadline tries again, and meanwhile tokens look at
//!   the time when they are asked.
//! - K2: asleep: no entry is due before the moment at which it wakes.
//! - K3: an entry is taken out when it is due (checked: never early), or when its token leaves; nodes are cancelled and dropped outside the
//!   lock.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::node::{Leftover, Node, contain, run_here};
use crate::cause::Cause;

/// How long the thread stays without anything to wait for.
const IDLE: Duration = Duration::from_secs(10);

pub(super) static CLOCK: Clock = Clock::new(IDLE, start);

pub(super) struct Clock {
    state: Mutex<State>,
    changed: Condvar,
    idle: Duration,
    /// Starts a thread that runs the clock.
    start: fn(&'static Clock) -> io::Result<()>,
}

/// Whom a deadline is for.
enum Alarm {
    Token(Arc<Node>),
    Future(Waker),
}

/// A deadline, and a number, so that equal ones come first come, first served.
pub(super) type Key = (Instant, u64);

struct State {
    alarms: BTreeMap<Key, Alarm>,
    /// How many there have been.
    set: u64,
    running: bool,
    /// `None`: awake, or there is no thread.
    asleep_until: Option<Instant>,
}

pub(super) fn start(clock: &'static Clock) -> io::Result<()> {
    thread::Builder::new().name("throng-clock".into()).spawn(|| clock.run()).map(drop)
}

impl Clock {
    pub(super) const fn new(idle: Duration, start: fn(&'static Clock) -> io::Result<()>) -> Clock {
        let state = State { alarms: BTreeMap::new(), set: 0, running: false, asleep_until: None };
        Clock { state: Mutex::new(state), changed: Condvar::new(), idle, start }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `node` cancelled at `at`, unless the alarm is removed before.
    pub(super) fn set(&'static self, at: Instant, node: Arc<Node>) -> Key {
        self.insert(at, Alarm::Token(node))
    }

    fn insert(&'static self, at: Instant, alarm: Alarm) -> Key {
        let mut state = self.lock();
        state.set += 1;
        let key = (at, state.set);
        state.alarms.insert(key, alarm);
        if !state.running {
            // Under the lock: nobody takes a thread for running that is not.
            state.running = (self.start)(self).is_ok();
        } else if state.asleep_until.is_some_and(|until| at < until) {
            // One waker is enough.
            state.asleep_until = None;
            drop(state);
            self.changed.notify_one();
        }
        key
    }

    /// Nothing happens if it has rung.
    pub(super) fn remove(&self, key: Key) {
        let alarm = self.lock().alarms.remove(&key);
        drop(alarm);
    }

    fn run(&'static self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            while let Some(first) = state.alarms.first_entry()
                && first.key().0 <= now
            {
                due.push(first.remove());
            }
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(ring);
                state = self.lock();
                continue;
            }
            let first = state.alarms.first_key_value().map(|((at, _), _)| *at);
            let rest = first.map_or(self.idle, |at| at - now);
            state.asleep_until = Some(now + rest);
            let (woken, timeout) = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.asleep_until = None;
            if first.is_none() && timeout.timed_out() && state.alarms.is_empty() {
                state.running = false;
                return;
            }
        }
    }

    /// How many alarms are set for this very moment.
    #[cfg(test)]
    pub(super) fn alarms_at(&self, at: Instant) -> usize {
        self.lock().alarms.range((at, 0)..=(at, u64::MAX)).count()
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.lock().running
    }
}

/// Cancels a node, or wakes a future. Whatever goes wrong with it, the clock goes on.
fn ring(alarm: Alarm) {
    let node = match alarm {
        Alarm::Token(node) => node,
        Alarm::Future(waker) => return contain(|| waker.wake()).unwrap_or_default(),
    };
    let leftovers = contain(|| node.cancel_tree(&Cause::Elapsed)).flatten();
    leftovers.into_iter().flatten().for_each(run_aside);
}

/// It may take its time, and others' deadlines should not have to wait for it.
pub(super) fn run_aside(leftover: Leftover) {
    let taken = leftover.clone();
    if thread::Builder::new().spawn(move || taken()).is_err() {
        run_here(vec![leftover]);
    }
}

/// A future's deadline. Dropping it takes it back.
#[derive(Debug)]
pub(crate) struct ClockAlarm {
    key: Key,
    waker: Waker,
}

impl ClockAlarm {
    /// Has `waker` called at `at` or soon after. (If the thread cannot be started, not before another alarm succeeds in that.)
    pub(crate) fn set(at: Instant, waker: Waker) -> ClockAlarm {
        ClockAlarm { key: CLOCK.insert(at, Alarm::Future(waker.clone())), waker }
    }

    /// Whether that is the waker to be called.
    pub(crate) fn wakes(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker)
    }
}

impl Drop for ClockAlarm {
    fn drop(&mut self) {
        CLOCK.remove(self.key);
    }
}
