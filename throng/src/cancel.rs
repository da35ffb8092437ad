//! What a task can ask about its own cancellation, and how it can mask it.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::cancelled::Cancelled;
use crate::cause::Cause;
use crate::home::local::{self, Local};
use crate::timer::Key;
use crate::waiter::{Alarm, Call, InterruptPoint};

/// Whether the calling task has been cancelled: whether its next call that parks would return [`Cancelled`].
///
/// `false` inside [`shield`]. Never parks. Looks at the clock if the thread has alarms set, so that a [`timeout`] is noticed by code that computes and asks. For loops that compute for long: Kotlin's `isActive`, the other way round.
#[must_use]
pub fn is_cancelled() -> bool {
    local::with(|local| {
        look_up(local);
        local.current().asks()
    })
}

/// A task that asks should hear what a task that parks would: mail that has come, time that is over.
fn look_up(local: &Local) {
    local.read_mail();
    local.ring_alarms();
}

/// `Err` if the calling task has been cancelled: [`is_cancelled`] to be used with `?`. Never parks. Kotlin's `ensureActive`.
///
/// ```
/// # fn expensive(_: u32) {}
/// fn compute() -> Result<(), throng::Cancelled> {
///     for step in 0..1000 {
///         throng::check()?;
///         expensive(step);
///     }
///     Ok(())
/// }
/// # compute().unwrap();
/// ```
pub fn check() -> Result<(), Cancelled> {
    local::with(|local| {
        look_up(local);
        local.current().check(local)
    })
}

/// Runs `f` with cancellation masked: calls in it park and return as if the task had not been cancelled. For clean-up that has to park.
///
/// It masks what comes from outside: the task's own cancellation, failing scopes and expired [`timeout`]s around the call. A `timeout` or a `scope` opened
/// *inside* works as usual, so clean-up can be given a limit. What was masked is met at the first park after the call.
///
/// Kotlin's `withContext(NonCancellable)`, trio's shielded cancel scope.
///
/// ```
/// use std::time::Duration;
///
/// throng::run(|| {
///     let (tx, rx) = throng::bounded(1);
///     let worker = throng::go(move || {
///         let _ = throng::sleep(Duration::from_secs(60)); // ended by the cancellation
///         throng::shield(|| tx.send("cleaned up"))
///     });
///     throng::yield_now().unwrap();
///     worker.cancel();
///     assert_eq!(rx.recv(), Ok("cleaned up"));
/// });
/// ```
pub fn shield<R>(f: impl FnOnce() -> R) -> R {
    local::with(|local| local.current().shielded(f))
}

/// The time given to [`timeout`] was over.
///
/// Not a [`Cancelled`]: running out of time says nothing about whether the task is still wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Elapsed {}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit was reached")
    }
}

impl Error for Elapsed {}

/// Runs `f`, in the calling task, for at most `limit`: when that is over, the calls in it that park return [`Cancelled`], and so does `timeout` return
/// [`Elapsed`].
///
/// `Ok` carries whatever `f` returned. That includes the case that it came to its result although the time was over, because no call of its that parks
/// noticed: such a result is not thrown away. (What `f` returns after one of its calls has been ended by the limit is dropped.) If the *task* is cancelled, `f` sees it as always and its result is returned: `Elapsed` is reported
/// only when it was this limit that ended `f`, not one further in or out.
///
/// With a `limit` of zero `f` is not run. Like all cancellation this acts at parking calls only: a long computation is not interrupted.
///
/// Kotlin's `withTimeout`, Go's `context.WithTimeout`.
///
/// ```
/// use std::time::Duration;
/// use throng::Elapsed;
///
/// throng::run(|| {
///     let (_tx, rx) = throng::bounded::<u32>(1);
///     let result = throng::timeout(Duration::from_millis(5), || rx.recv());
///     assert!(matches!(result, Err(Elapsed { .. })));
///
///     let result = throng::timeout(Duration::from_secs(60), || "in time");
///     assert_eq!(result, Ok("in time"));
/// });
/// ```
pub fn timeout<R>(limit: Duration, f: impl FnOnce() -> R) -> Result<R, Elapsed> {
    match Instant::now().checked_add(limit) {
        // Beyond what the clock can tell there is no limit.
        None => Ok(f()),
        Some(at) => deadline(at, f),
    }
}

/// [`timeout`], with the moment instead of the time until then.
pub fn deadline<R>(at: Instant, f: impl FnOnce() -> R) -> Result<R, Elapsed> {
    if at <= Instant::now() {
        return Err(Elapsed {});
    }
    local::with(|local| {
        let frame = Frame { point: local.current().interrupt_point(), rang: std::cell::Cell::new(None) };
        let guard = Guard::new(local, &frame, at);
        let result = f();
        drop(guard);
        let waiter = local.current();
        match frame.rang.get() {
            // SAFETY: on the task's own thread, in the frame that took the point.
            Some(deliveries) if unsafe { frame.point.deliveries() } != deliveries && !waiter.is_cancelled() => Err(Elapsed {}),
            _ => Ok(result),
        }
    })
}

/// What the alarm finds: in the frame of `deadline`.
struct Frame {
    point: InterruptPoint,
    /// Once the alarm has rung: how many `Cancelled` had been returned at this level before.
    rang: std::cell::Cell<Option<u32>>,
}

/// Takes the alarm out, and the interrupt back, however `f` ends.
struct Guard<'a> {
    local: &'a Local,
    frame: &'a Frame,
    key: Key,
    _not_send: PhantomData<*const ()>,
}

impl<'a> Guard<'a> {
    fn new(local: &'a Local, frame: &'a Frame, at: Instant) -> Guard<'a> {
        let key = local.set_alarm(at, Alarm::Call(&CALL, NonNull::from(frame).cast()));
        Guard { local, frame, key, _not_send: PhantomData }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.local.remove_alarm(self.key);
        if self.frame.rang.get().is_some() {
            // SAFETY: on the task's own thread, in the frame that took the point.
            unsafe { self.frame.point.resume() };
        }
    }
}

static CALL: Call = Call { ring, foresee: |_| {} };

unsafe fn ring(frame: NonNull<()>, local: &Local) {
    // SAFETY: the guard takes the alarm out before the frame goes (T1).
    let frame = unsafe { frame.cast::<Frame>().as_ref() };
    // SAFETY: alarms ring on the home's thread; the task is inside `deadline`.
    let deliveries = unsafe { frame.point.deliveries() };
    frame.rang.set(Some(deliveries));
    // SAFETY: as above.
    unsafe { frame.point.interrupt(local, Some(&Cause::Elapsed)) };
}
