//! The first success of several tasks.
//!
//! A racer's result goes to the *podium* and not to its scope: an error ends that racer only. The first success takes the podium and
//! cancels the scope, which then has nothing to say but whether the caller was cancelled, or somebody panicked.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Ended, Group, drop_unseen, group};
use crate::cancel::is_cancelled;
use crate::cancelled::Cancelled;
use crate::channel::never;
use crate::lock::SpinLock;

/// Runs all `racers`, each in a goroutine of its own, until one succeeds: its value is returned. [`Group::race`] without a limit.
///
/// The others are cancelled and waited for, and what comes of them is dropped before `race` returns.
///
/// # Errors
/// If all fail, the first error, in the order of time. `E::from(`[`Cancelled`]`)` if the caller is cancelled before one has succeeded. See
/// [`Group::race`].
///
/// # Panics
/// With the panic of a racer: see [`Group::race`].
///
/// JavaScript's `Promise.any`, Java's `Joiner.anySuccessfulResultOrThrow`; in Kotlin a `select` over `onAwait` clauses, followed by
/// `cancelChildren`.
///
/// ```
/// use std::time::Duration;
/// use throng::{Cancelled, race, sleep};
///
/// let mirrors = [("far", 3_600_000), ("near", 1)];
/// let first = throng::run(|| race(mirrors.iter().map(|&(mirror, distance)| move || {
///     sleep(Duration::from_millis(distance))?;
///     Ok::<_, Cancelled>(mirror)
/// })));
/// assert_eq!(first, Ok("near"));
/// ```
///
/// An error decides nothing as long as another may succeed:
/// ```
/// use throng::{Cancelled, race};
///
/// # #[derive(Debug, PartialEq)]
/// enum Failure { Odd(u32), Cancelled }
/// impl From<Cancelled> for Failure {
///     fn from(_: Cancelled) -> Failure { Failure::Cancelled }
/// }
/// fn even(n: u32) -> Result<u32, Failure> {
///     if n % 2 == 0 { Ok(n) } else { Err(Failure::Odd(n)) }
/// }
///
/// throng::run(|| {
///     assert_eq!(race([1, 2, 3].map(|n| move || even(n))), Ok(2));
///     assert_eq!(race([5, 5].map(|n| move || even(n))), Err(Failure::Odd(5)));
/// });
/// ```
pub fn race<T, E, F, I>(racers: I) -> Result<T, E>
where
    I: IntoIterator<Item = F>,
    F: FnOnce() -> Result<T, E> + Send,
    T: Send,
    E: From<Cancelled> + Send,
{
    group().race(racers)
}

/// [`race`] between two closures that differ in type.
///
/// # Errors
/// As [`race`].
///
/// # Panics
/// As [`race`].
///
/// ```
/// use std::time::Duration;
/// use throng::{Cancelled, race2, sleep};
///
/// let answer = throng::run(|| race2(
///     || Ok::<_, Cancelled>(42),
///     || {
///         sleep(Duration::from_secs(3600))?; // cancelled
///         Ok(0)
///     },
/// ));
/// assert_eq!(answer, Ok(42));
/// ```
pub fn race2<T, E, A, B>(a: A, b: B) -> Result<T, E>
where
    A: FnOnce() -> Result<T, E> + Send,
    B: FnOnce() -> Result<T, E> + Send,
    T: Send,
    E: From<Cancelled> + Send,
{
    enum Either<A, B> {
        A(A),
        B(B),
    }
    group().first_of([Either::A(a), Either::B(b)], |racer| match racer {
        Either::A(a) => a(),
        Either::B(b) => b(),
    })
}

impl Group {
    /// Runs the racers, each in a goroutine of its own, until one succeeds: its value is returned.
    ///
    /// The others are cancelled, and waited for, and what comes of them, value or error, is dropped before this returns. With a limit,
    /// racers are taken from the iterator as others fail: one at a time, `limit(1)`, is a list of fallbacks.
    ///
    /// A race of no racers has no winner and no loser: it waits until the caller is cancelled, as JavaScript's `Promise.race([])` does.
    ///
    /// # Errors
    /// If all fail, the first error, in the order of time; the others are dropped. An error that a racer returns after it was cancelled is
    /// no failure of its own and is not counted. `E::from(`[`Cancelled`]`)` if the caller is cancelled before one has succeeded.
    ///
    /// # Panics
    /// With the panic of a racer, which ends the race, even if another has won meanwhile: it is a defect, not an outcome. Likewise of the
    /// iterator, and as [`Scope::go`](crate::Scope::go).
    ///
    /// ```
    /// use throng::{Cancelled, group};
    ///
    /// // One attempt after the other, until one succeeds.
    /// let mut attempt = 0;
    /// let attempts = std::iter::from_fn(|| {
    ///     attempt += 1;
    ///     Some(move || if attempt == 3 { Ok(attempt) } else { Err(Cancelled::new()) })
    /// });
    /// assert_eq!(throng::run(|| group().limit(1).race(attempts)), Ok(3));
    /// ```
    pub fn race<T, E, F, I>(&self, racers: I) -> Result<T, E>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce() -> Result<T, E> + Send,
        T: Send,
        E: From<Cancelled> + Send,
    {
        self.first_of(racers, |racer| racer())
    }

    fn first_of<I, T, E, F>(&self, racers: I, run: F) -> Result<T, E>
    where
        I: IntoIterator,
        I::Item: Send,
        F: Fn(I::Item) -> Result<T, E> + Sync,
        T: Send,
        E: From<Cancelled> + Send,
    {
        let podium = Podium { winner: SpinLock::new(None), failure: SpinLock::new(None) };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.run(racers, |_, racer| match run(racer) {
                Ok(value) => {
                    keep_first(&podium.winner, value);
                    Ok(ControlFlow::Break(()))
                }
                Err(error) => {
                    if is_cancelled() {
                        drop_unseen(error);
                    } else {
                        keep_first(&podium.failure, error);
                    }
                    Ok(ControlFlow::Continue(()))
                }
            })
        }));
        let (winner, failure) = (podium.winner.lock().take(), podium.failure.lock().take());
        match (ended, winner, failure) {
            (Ok(Ok(_)), Some(value), failure) => {
                drop_unseen(failure);
                Ok(value)
            }
            (Ok(Ok(_)), None, Some(error)) => Err(error),
            (Ok(Ok(Ended { started, .. })), None, None) => {
                if started == 0 {
                    // Never received, so it ends with the cancellation.
                    let _ = never::<()>().recv();
                }
                Err(E::from(Cancelled::new()))
            }
            (ended, winner, failure) => {
                drop_unseen(winner);
                drop_unseen(failure);
                match ended {
                    Ok(result) => Err(result.err().unwrap_or_else(|| E::from(Cancelled::new()))),
                    Err(payload) => resume_unwind(payload),
                }
            }
        }
    }
}

/// What has come of the racers.
struct Podium<T, E> {
    winner: SpinLock<Option<T>>,
    failure: SpinLock<Option<E>>,
}

fn keep_first<V>(place: &SpinLock<Option<V>>, value: V) {
    let mut first = place.lock();
    let late = if first.is_none() { first.replace(value) } else { Some(value) };
    drop(first);
    // Outside the lock: it is user code.
    drop_unseen(late);
}
