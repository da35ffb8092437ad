//! A select whose arms are put together at run time.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::arm::AfterArm;
use super::channel_arms::{RecvArm, SendArm};
use super::choose::{self, AnyArm, Seat};
#[cfg(not(loom))]
use super::join::{JoinArm, JoinPlace, Joinable, join_place};
use crate::cancelled::Cancelled;
use crate::channel::{Place, Receiver, RecvError, SendError, Sender, Source};

/// A select over arms put together at run time; each arm comes with what to do if it is chosen. For a fixed set, [`select!`](macro@crate::select) is shorter,
/// and allocates nothing.
///
/// ```
/// use throng::channel::unbounded;
/// use throng::select::Select;
///
/// let lanes: Vec<_> = (0..3).map(|_| unbounded()).collect();
/// lanes[1].0.send("express").unwrap();
///
/// let mut select = Select::new();
/// for (lane, (_, rx)) in lanes.iter().enumerate() {
///     select = select.recv(rx, move |message| (lane, message));
/// }
/// assert_eq!(select.run()?, (1, Ok("express")));
/// # Ok::<(), throng::Cancelled>(())
/// ```
#[must_use = "a select does nothing until it is run"]
pub struct Select<'a, R> {
    arms: Vec<Box<dyn Dynamic<'a, R> + 'a>>,
}

/// An arm, and what to do when it is chosen.
trait Dynamic<'a, R> {
    fn arm(&mut self) -> AnyArm<'_, 'a>;
    fn finish(self: Box<Self>) -> R;
}

type Boxed<'a, T> = Box<Place<'a, T>>;

struct Recv<'a, T, F>(RecvArm<'a, T, Boxed<'a, T>>, F);
struct Send<'a, T, F>(SendArm<'a, T, Boxed<'a, T>>, F);
struct After<F>(AfterArm, F);
#[cfg(not(loom))]
struct Join<'a, F>(JoinArm<'a, Box<JoinPlace<'a>>>, F);

impl<'a, T, R, F: FnOnce(Result<T, RecvError>) -> R> Dynamic<'a, R> for Recv<'a, T, F> {
    fn arm(&mut self) -> AnyArm<'_, 'a> {
        AnyArm::new(&mut self.0)
    }

    fn finish(self: Box<Self>) -> R {
        self.1(self.0.result())
    }
}

impl<'a, T, R, F: FnOnce(Result<(), SendError<T>>) -> R> Dynamic<'a, R> for Send<'a, T, F> {
    fn arm(&mut self) -> AnyArm<'_, 'a> {
        AnyArm::new(&mut self.0)
    }

    fn finish(self: Box<Self>) -> R {
        self.1(self.0.result())
    }
}

impl<'a, R, F: FnOnce(Instant) -> R> Dynamic<'a, R> for After<F> {
    fn arm(&mut self) -> AnyArm<'_, 'a> {
        AnyArm::new(&mut self.0)
    }

    fn finish(self: Box<Self>) -> R {
        self.1(self.0.result())
    }
}

#[cfg(not(loom))]
impl<'a, R, F: FnOnce() -> R> Dynamic<'a, R> for Join<'a, F> {
    fn arm(&mut self) -> AnyArm<'_, 'a> {
        AnyArm::new(&mut self.0)
    }

    fn finish(self: Box<Self>) -> R {
        self.1()
    }
}

impl<'a, R> Select<'a, R> {
    /// A select without arms.
    pub fn new() -> Select<'a, R> {
        Select { arms: Vec::new() }
    }

    fn with(mut self, arm: impl Dynamic<'a, R> + 'a) -> Select<'a, R> {
        assert!(self.arms.len() + 1 < choose::MOST, "a select has fewer than {} arms", choose::MOST);
        self.arms.push(Box::new(arm));
        self
    }

    /// Adds an arm that receives.
    ///
    /// # Panics
    /// If there are 16,383 arms already.
    pub fn recv<T>(self, receiver: &'a Receiver<T>, f: impl FnOnce(Result<T, RecvError>) -> R + 'a) -> Select<'a, R> {
        let place = match receiver.source() {
            Source::Channel(shared) => Some(Box::pin(shared.receiver_place())),
            _ => None,
        };
        self.with(Recv(RecvArm::new(receiver, place), f))
    }

    /// Adds an arm that sends. The item is dropped if another arm is chosen.
    ///
    /// # Panics
    /// If there are 16,383 arms already.
    pub fn send<T>(self, sender: &'a Sender<T>, item: T, f: impl FnOnce(Result<(), SendError<T>>) -> R + 'a) -> Select<'a, R> {
        let place: Pin<Boxed<'a, T>> = Box::pin(sender.shared().sender_place(item));
        self.with(Send(SendArm::new(sender, place), f))
    }

    /// Adds an arm that is ready `timeout` from now.
    ///
    /// # Panics
    /// If there are 16,383 arms already.
    pub fn after(self, timeout: Duration, f: impl FnOnce(Instant) -> R + 'a) -> Select<'a, R> {
        self.with(After(AfterArm::new(timeout), f))
    }

    /// Adds an arm that is ready when the task has ended, so that joining it does not park. A lazy task is started.
    ///
    /// ```
    /// use throng::select::Select;
    /// use throng::{go, sleep};
    /// use std::time::Duration;
    ///
    /// throng::run(|| {
    ///     let slow = go(|| sleep(Duration::from_secs(3600)));
    ///     let quick = go(|| 7);
    ///     let first = Select::new().join(&slow, || "slow").join(&quick, || "quick").run();
    ///     assert_eq!(first, Ok("quick"));
    /// });
    /// ```
    ///
    /// # Panics
    /// If there are 16,383 arms already.
    #[cfg(not(loom))]
    pub fn join(self, task: &'a impl Joinable, f: impl FnOnce() -> R + 'a) -> Select<'a, R> {
        self.with(Join(JoinArm::new(task, Box::pin(join_place(task))), f))
    }

    /// How many arms there are.
    pub fn len(&self) -> usize {
        self.arms.len()
    }

    /// Whether there are no arms: to [`run`](Select::run) it would wait until the task is cancelled.
    pub fn is_empty(&self) -> bool {
        self.arms.is_empty()
    }

    /// Waits until an arm is ready, does it, and returns what its closure returns. Among several that are ready, each has the same chance.
    ///
    /// # Errors
    /// [`Cancelled`] if the task is cancelled while this waits, or was before and would have to wait. No arm was done then.
    pub fn run(mut self) -> Result<R, Cancelled> {
        let chosen = self.choose(choose::wait)?;
        Ok(self.arms.swap_remove(chosen).finish())
    }

    /// Does an arm that is ready, and returns what its closure returns; if there is none, what `default` returns. Never waits.
    ///
    /// ```
    /// use throng::channel::bounded;
    /// use throng::select::Select;
    ///
    /// let (tx, _rx) = bounded(1);
    /// let send = |item| Select::new().send(&tx, item, |r| r.is_ok()).run_or(|| false);
    /// assert!(send(1));
    /// assert!(!send(2), "full");
    /// ```
    pub fn run_or(mut self, default: impl FnOnce() -> R) -> R {
        match self.choose(choose::poll) {
            Some(chosen) => self.arms.swap_remove(chosen).finish(),
            None => default(),
        }
    }

    fn choose<C>(&mut self, choose: impl FnOnce(&mut [AnyArm<'_, 'a>], &mut [Seat]) -> C) -> C {
        let mut arms: Vec<_> = self.arms.iter_mut().map(|arm| arm.arm()).collect();
        let mut seats: Vec<_> = arms.iter().map(|_| Seat::EMPTY).collect();
        choose(&mut arms, &mut seats)
    }
}

impl<R> Default for Select<'_, R> {
    fn default() -> Self {
        Select::new()
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("arms", &self.arms.len()).finish()
    }
}
