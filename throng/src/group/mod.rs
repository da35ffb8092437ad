//! Many tasks of one kind: a limit, a map, a race. Conveniences on top of [`scope`], by its public interface.
//!
//! **A run** starts a task for each item of an iterator, in a scope of its own, as far as the limit allows. The iterator belongs to the
//! body of the scope and is asked for an item only when there is a place for its task. So no more items are out than tasks may run, and an
//! endless iterator is as good as any.
//!
//! **Over.** A run is over for its body as soon as a task has failed, panicked, said `Break`, or was dropped unrun. The task says so
//! *before* it gives up its place (`Place`), and the body looks after it has got one. So nothing starts after a failure, and with a limit
//! of one a run is as strict as a loop with `?`, although the scope itself hears of the failure a little later. (`limited.rs` cannot do
//! that: there a task that returns an error need not fail its scope.)
//!
//! **Results** lie in a list of options by index, which has as many elements as the furthest task that has succeeded. What is not returned
//! is dropped one by one, in the caller's task and not while it unwinds, so that a drop may park, and one that panics harms no other.

#![forbid(unsafe_code)]

mod gate;
mod limited;
mod race;

use std::mem;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::cancel::check;
use crate::cancelled::Cancelled;
use crate::scope::scope;
use gate::Gate;
pub use limited::Limited;
use limited::named;
pub use race::{race, race2};

/// Begins the description of a run of many goroutines: `group().limit(8).name("fetch").map(urls, fetch)`.
pub fn group() -> Group {
    Group { limit: None, name: None }
}

/// Calls `f` with every item, each in a goroutine of its own, and returns the results in the order of the items: [`Group::map`] without
/// a limit.
///
/// # Errors
/// The first error of an `f`, in the order of time, which cancels the others; `E::from(`[`Cancelled`]`)` if the caller is cancelled. See
/// [`Group::map`].
///
/// # Panics
/// With the first panic of an `f`: see [`Group::map`].
///
/// Kotlin's `map { async { .. } }.awaitAll()`, JavaScript's `Promise.all`, Java's `Joiner.allSuccessfulOrThrow`.
///
/// ```
/// use throng::{Cancelled, map};
///
/// let words = vec!["share", "memory", "by", "communicating"];
/// let lengths = throng::run(|| map(&words, |word| Ok::<_, Cancelled>(word.len())));
/// assert_eq!(lengths, Ok(vec![5, 6, 2, 13]));
/// ```
pub fn map<I, R, E, F>(items: I, f: F) -> Result<Vec<R>, E>
where
    I: IntoIterator,
    I::Item: Send,
    F: Fn(I::Item) -> Result<R, E> + Sync,
    R: Send,
    E: From<Cancelled> + Send,
{
    group().map(items, f)
}

/// How to run many goroutines: what [`group()`] returns.
///
/// It only describes; it can be used for several runs, each with the whole limit for itself.
#[derive(Clone, Debug)]
#[must_use = "it describes; `map`, `for_each` and `race` run"]
pub struct Group {
    limit: Option<NonZero<usize>>,
    name: Option<String>,
}

impl Group {
    /// At most `n` goroutines at once. Items are taken from the iterator as there is room, so it may be long, or endless.
    ///
    /// With 1, one goroutine runs after the other, in the order of the items, and none after one that failed.
    ///
    /// # Panics
    /// If `n` is 0: nothing could ever run.
    #[track_caller]
    pub fn limit(mut self, n: usize) -> Group {
        self.limit = Some(places(n));
        self
    }

    /// Gives the goroutines a name, for reports.
    pub fn name(mut self, name: impl Into<String>) -> Group {
        self.name = Some(name.into());
        self
    }

    /// Calls `f` with every item, each in a goroutine of its own, parks until all have ended, and returns the results in the order of
    /// the items.
    ///
    /// Items and `f` may borrow. Without a limit there is a goroutine for each item before the first one need have run, and they start in
    /// no particular order; with one, they start in the order of the items, and memory is needed for the goroutines of the limit and for
    /// the results.
    ///
    /// The iterator stays with the caller, so it need not be `Send`, and its `next` may park: `group().limit(8).for_each(&receiver, ..)`.
    ///
    /// # Errors
    /// The first error of an `f`, in the order of time: the others are cancelled and waited for, items not yet taken stay in the iterator,
    /// which is dropped, and so are results that are there already. `E::from(`[`Cancelled`]`)` if the caller is cancelled, which cancels
    /// them all.
    ///
    /// # Panics
    /// With the first panic of an `f` or of the iterator, after all have ended; and as [`Scope::go`](crate::Scope::go).
    ///
    /// Kotlin's `map { async { .. } }.awaitAll()` and `flatMapMerge(concurrency)`, Go's `errgroup` with `SetLimit`.
    ///
    /// ```
    /// use throng::{Cancelled, group};
    ///
    /// # #[derive(Debug, PartialEq)]
    /// enum Failure { TooLarge(u64), Cancelled }
    /// impl From<Cancelled> for Failure {
    ///     fn from(_: Cancelled) -> Failure { Failure::Cancelled }
    /// }
    /// fn factorial(n: u64) -> Result<u64, Failure> {
    ///     (1..=n).try_fold(1_u64, u64::checked_mul).ok_or(Failure::TooLarge(n))
    /// }
    ///
    /// throng::run(|| {
    ///     let few = group().limit(4).name("factorial");
    ///     assert_eq!(few.map(1..=5, factorial), Ok(vec![1, 2, 6, 24, 120]));
    ///     // It ends, although the numbers do not: 21! is the first that is too large.
    ///     assert!(matches!(few.map(1.., factorial), Err(Failure::TooLarge(21..))));
    /// });
    /// ```
    pub fn map<I, R, E, F>(&self, items: I, f: F) -> Result<Vec<R>, E>
    where
        I: IntoIterator,
        I::Item: Send,
        F: Fn(I::Item) -> Result<R, E> + Sync,
        R: Send,
        E: From<Cancelled> + Send,
    {
        // One of std's: nothing parks or runs user code under it, and a spin lock would be held over a reallocation.
        let results = Mutex::new(Vec::new());
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.run(items, |index, item| {
                let result = f(item)?;
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                if results.len() <= index {
                    results.resize_with(index + 1, || None);
                }
                results[index] = Some(result);
                Ok(ControlFlow::Continue(()))
            })
        }));
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Ok(Ok(Ended { over: false, .. })) = ended {
            // All are there.
            return Ok(results.into_iter().flatten().collect());
        }
        results.into_iter().for_each(drop_unseen);
        match ended {
            Ok(result) => Err(result.err().unwrap_or_else(|| E::from(Cancelled::new()))),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// [`map`](Group::map) for what `f` does and not for what it returns.
    ///
    /// # Errors
    /// As [`map`](Group::map).
    ///
    /// # Panics
    /// As [`map`](Group::map).
    ///
    /// ```
    /// use throng::{Cancelled, group};
    ///
    /// let mut squares = [1, 2, 3, 4];
    /// throng::run(|| {
    ///     group().limit(2).for_each(&mut squares, |n| {
    ///         *n *= *n;
    ///         Ok::<_, Cancelled>(())
    ///     })
    /// })
    /// .unwrap();
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// ```
    pub fn for_each<I, E, F>(&self, items: I, f: F) -> Result<(), E>
    where
        I: IntoIterator,
        I::Item: Send,
        F: Fn(I::Item) -> Result<(), E> + Sync,
        E: From<Cancelled> + Send,
    {
        match self.run(items, |_, item| f(item).map(ControlFlow::Continue))? {
            Ended { over: false, .. } => Ok(()),
            Ended { over: true, .. } => Err(E::from(Cancelled::new())),
        }
    }

    /// Runs `each` with the items and their numbers until they are out, one fails, or one says `Break`.
    fn run<I, E, F>(&self, items: I, each: F) -> Result<Ended, E>
    where
        I: IntoIterator,
        I::Item: Send,
        E: From<Cancelled> + Send,
        F: Fn(usize, I::Item) -> Result<ControlFlow<()>, E> + Sync,
    {
        let gate = self.limit.map(Gate::new);
        let over = AtomicBool::new(false);
        let started = scope(|s| {
            let (gate, over, each) = (gate.as_ref(), &over, &each);
            // Relaxed: the lock of the gate orders it; without a gate it comes in time or not, as the cancellation of the scope does.
            let is_over = || over.load(Ordering::Relaxed);
            let mut started = 0;
            let ended = (|| {
                let mut items = items.into_iter();
                loop {
                    let entered = gate.map_or_else(check, Gate::enter);
                    if is_over() {
                        return Ok(());
                    }
                    entered?;
                    let Some(item) = items.next() else { break };
                    let place = Place { gate, over, goes_on: false };
                    let index = started;
                    named(s.task(), self.name.as_deref()).go(move || {
                        match each(index, item)? {
                            ControlFlow::Continue(()) => place.go_on(),
                            ControlFlow::Break(()) => {
                                drop(place);
                                s.cancel();
                            }
                        }
                        Ok(())
                    });
                    started += 1;
                }
                // An iterator that parks may have come to its end because we are cancelled.
                check()
            })();
            match ended {
                // If it is over, it is the scope that has been cancelled, and the scope that knows why.
                Err(cancelled) if !is_over() => Err(E::from(cancelled)),
                _ => Ok(started),
            }
        })?;
        Ok(Ended { started, over: over.into_inner() })
    }
}

/// A run in which nothing has failed.
struct Ended {
    started: usize,
    /// It did not come to its end by itself: somebody said `Break`, or a task was cancelled and nothing else.
    over: bool,
}

/// A task's place in a run. Dropping it gives it up, and ends the run unless that is to go on.
struct Place<'a> {
    gate: Option<&'a Gate>,
    over: &'a AtomicBool,
    goes_on: bool,
}

impl Place<'_> {
    /// Gives it up to the next.
    fn go_on(mut self) {
        self.goes_on = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.goes_on {
            // Relaxed: see the load.
            self.over.store(true, Ordering::Relaxed);
        }
        if let Some(gate) = self.gate {
            gate.leave();
        }
    }
}

/// A limit that can be kept.
#[track_caller]
fn places(n: usize) -> NonZero<usize> {
    NonZero::new(n).expect("a limit of 0: no goroutine could ever run")
}

/// Drops what nobody will see. A panic of that goes no further than to the panic hook.
fn drop_unseen<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // A payload whose own drop panics could go on for ever.
        mem::forget(payload);
    }
}
