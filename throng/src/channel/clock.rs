//! Receivers with the clock behind them: deadlines, not channels. Nothing is allocated for [`never()`], no timer task exists for any; whoever waits at
//! one waits with its deadline, and takes the message himself when it is due.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::receiver::Receiver;
use super::shared::Missed;
use crate::home::local;
use crate::lock::SpinLock;
use crate::waiter::{Heeds, arm};

/// When the next message is due. Shared by the clones of a receiver: each message goes to one of them.
pub(crate) struct Clock<T> {
    /// `None`: never again.
    due: SpinLock<Option<Instant>>,
    period: Option<Duration>,
    /// The identity: a receiver of a clock is one of `Instant`s.
    message: fn(Instant) -> T,
}

impl<T> Clock<T> {
    /// The message, if it is due at `now`.
    pub(crate) fn take(&self, now: Instant) -> Option<T> {
        let mut due = self.due.lock();
        let at = (*due).filter(|at| *at <= now)?;
        *due = self.period.and_then(|period| following(at, period, now));
        Some((self.message)(at))
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        *self.due.lock()
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due().is_some_and(|at| at <= Instant::now())
    }

    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, Missed> {
        loop {
            let now = Instant::now();
            if let Some(message) = self.take(now) {
                return Ok(message);
            }
            if deadline.is_some_and(|at| at <= now) {
                return Err(Missed::TimedOut);
            }
            // A clone may be quicker than we are: then we wait for the next.
            wait_until([self.due(), deadline].into_iter().flatten().min())?;
        }
    }
}

/// The first instant after `now` that lies whole periods after `at`: as in Go, ticks that nobody took are dropped, and the rest stay in step.
fn following(at: Instant, period: Duration, now: Instant) -> Option<Instant> {
    if period.is_zero() {
        return Some(now);
    }
    let behind = now.duration_since(at).as_nanos() % period.as_nanos();
    let ahead = period.as_nanos() - behind;
    now.checked_add(Duration::new((ahead / 1_000_000_000) as u64, (ahead % 1_000_000_000) as u32))
}

/// Waits for nothing but the deadline.
pub(super) fn wait_until(deadline: Option<Instant>) -> Result<(), Missed> {
    local::with(|local| match arm(local, Heeds::Everything).and_then(|wait| wait.park(deadline)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Missed::Cancelled),
    })
}

fn clock(due: Option<Instant>, period: Option<Duration>) -> Receiver<Instant> {
    Receiver::of_clock(Arc::new(Clock { due: SpinLock::new(due), period, message: |at| at }))
}

/// A receiver of one message, the instant `timeout` from now, when that has come. It is never closed. Go's `time.After`.
///
/// A timeout too long for the clock is [`never()`]. In a [`select!`](macro@crate::select), an `after(..)` arm costs less.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let timer = throng::channel::after(Duration::from_millis(2));
/// assert!(timer.recv().unwrap() >= start + Duration::from_millis(2));
/// assert!(timer.try_recv().is_err(), "one message only");
/// ```
#[must_use]
pub fn after(timeout: Duration) -> Receiver<Instant> {
    clock(super::deadline(timeout), None)
}

/// A receiver of one message, `when` itself, when that has come. It is never closed.
///
/// ```
/// let now = std::time::Instant::now();
/// assert_eq!(throng::channel::at(now).recv(), Ok(now));
/// ```
#[must_use]
pub fn at(when: Instant) -> Receiver<Instant> {
    clock(Some(when), None)
}

/// A receiver of a message every `period`, the first one `period` from now: the instant it was due. It is never closed. Go's `time.Tick`.
///
/// At most one message waits: those that were due while nobody received are dropped, and the next ones come in step with the first. A period of zero
/// has a message always.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let ticks = throng::channel::tick(Duration::from_millis(1));
/// for _ in 0..3 {
///     ticks.recv().unwrap();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(3));
/// ```
#[must_use]
pub fn tick(period: Duration) -> Receiver<Instant> {
    clock(super::deadline(period), Some(period))
}

/// A receiver that never receives and is never closed: an arm of a [`select!`](macro@crate::select) that is switched off, Go's nil channel.
///
/// ```
/// use throng::channel::{TryRecvError, never};
/// assert_eq!(never::<u8>().try_recv(), Err(TryRecvError::Empty));
/// ```
#[must_use]
pub fn never<T>() -> Receiver<T> {
    Receiver::of_nothing()
}

impl<T> fmt::Debug for Clock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.period.is_some() { "tick" } else { "at" };
        f.debug_struct("Receiver").field("kind", &kind).field("due", &self.due()).field("period", &self.period).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ticks_stay_in_step_and_do_not_pile_up() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(following(start, ms(10), start), Some(start + ms(10)));
        assert_eq!(following(start, ms(10), start + ms(9)), Some(start + ms(10)));
        assert_eq!(following(start, ms(10), start + ms(10)), Some(start + ms(20)));
        assert_eq!(following(start, ms(10), start + ms(57)), Some(start + ms(60)));
        assert_eq!(following(start, Duration::MAX, start + ms(1)), None);
    }
}
