//! Waiting for time to pass.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::cancelled::Cancelled;
use crate::home::alarm::WakeAlarm;
use crate::home::local;
use crate::task::wakes_current;
use crate::token::clock::ClockAlarm;
use crate::waiter::{Heeds, arm};

/// Parks the calling task for at least `duration`. Never early; how late depends on what else the worker has to do.
///
/// Zero gives way to others once, like [`yield_now`](crate::yield_now). From a plain thread it blocks the thread.
///
/// It never ends early. Where more than 64 timers are set on a worker that has nothing else to do, it may end a millisecond late (half of one on average), so that one awakening serves several; else
/// as soon as the system wakes the thread.
///
/// # Errors
/// [`Cancelled`] if the task is cancelled, before or meanwhile.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// throng::run(|| {
///     let start = Instant::now();
///     throng::sleep(Duration::from_millis(5)).unwrap();
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
pub fn sleep(duration: Duration) -> Result<(), Cancelled> {
    if duration.is_zero() {
        return crate::yield_now();
    }
    // Further away than the clock can tell: until cancelled.
    sleep_to(Instant::now().checked_add(duration))
}

/// Parks the calling task until `deadline`; see [`sleep`].
///
/// # Errors
/// [`Cancelled`] if the task is cancelled, before or meanwhile.
pub fn sleep_until(deadline: Instant) -> Result<(), Cancelled> {
    if deadline <= Instant::now() {
        return crate::yield_now();
    }
    sleep_to(Some(deadline))
}

fn sleep_to(deadline: Option<Instant>) -> Result<(), Cancelled> {
    local::with(|local| arm(local, Heeds::Everything)?.park(deadline).map(drop))
}

/// [`sleep`] as a future, for coroutines and for other executors: waits without a stack.
///
/// Starts to count when it is made, not when it is first polled. Awaited by a coroutine, it costs an allocation and an entry in its worker's timers; elsewhere, and within another crate's executor or set of futures, an entry
/// in those of a thread kept for that.
///
/// # Errors
/// [`Cancelled`] if the coroutine that polls it is cancelled, before or meanwhile.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// throng::run(|| {
///     let start = Instant::now();
///     let coroutine = throng::launch(throng::sleep_async(Duration::from_millis(5)));
///     coroutine.join().unwrap().unwrap();
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
pub fn sleep_async(duration: Duration) -> Sleeping {
    Sleeping::until(Instant::now().checked_add(duration))
}

/// [`sleep_until`] as a future: see [`sleep_async`].
pub fn sleep_until_async(deadline: Instant) -> Sleeping {
    Sleeping::until(Some(deadline))
}

/// A sleep that is awaited: see [`sleep_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Sleeping {
    /// `None`: further away than the clock can tell.
    deadline: Option<Instant>,
    alarm: Option<Set>,
}

/// Who wakes it: the worker that has polled it for a coroutine, or, if none has, the clock's thread.
enum Set {
    Worker(WakeAlarm),
    Clock(ClockAlarm),
}

impl Sleeping {
    pub(crate) fn until(deadline: Option<Instant>) -> Sleeping {
        Sleeping { deadline, alarm: None }
    }
}

impl Future for Sleeping {
    type Output = Result<(), Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        let due = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if due {
            self.alarm = None;
            return Poll::Ready(Ok(()));
        }
        local::with(|local| {
            if let Err(cancelled) = local.current().check(local) {
                self.alarm = None;
                return Poll::Ready(Err(cancelled));
            }
            let Some(deadline) = self.deadline else { return Poll::Pending };
            // A worker that somebody blocks in here until we wake him does not look at its alarms.
            let by_worker = local.keeps_time() && wakes_current(cx.waker(), local);
            let set = match &self.alarm {
                Some(Set::Worker(alarm)) => by_worker && !alarm.has_rung(cx.waker()),
                Some(Set::Clock(alarm)) => alarm.wakes(cx.waker()),
                None => false,
            };
            if !set {
                let waker = cx.waker().clone();
                self.alarm = Some(match by_worker {
                    true => Set::Worker(WakeAlarm::set(local, deadline, waker)),
                    false => Set::Clock(ClockAlarm::set(deadline, waker)),
                });
            }
            Poll::Pending
        })
    }
}

impl fmt::Debug for Sleeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleeping").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
