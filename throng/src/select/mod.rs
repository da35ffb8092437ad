//! Waiting for one of several channel operations: [`select!`](macro@crate::select) and, for sets made at run time, [`Select`]. `README.md` beside this file
//! tells how the choice is made, and why it is right.

mod arm;
mod builder;
mod channel_arms;
mod choose;
#[cfg(not(loom))]
mod join;
#[cfg(all(test, loom))]
mod loom_tests;

pub use builder::Select;

/// What `select!` expands to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    #![forbid(unsafe_code)]

    use std::pin::Pin;
    use std::time::Duration;

    pub use super::arm::AfterArm;
    use super::arm::Arm;
    pub use super::channel_arms::{RecvArm, SendArm};
    pub use super::choose::AnyArm;
    use super::choose::{self, Seat};
    #[cfg(not(loom))]
    pub use super::join::{JoinArm, JoinPlace, Joinable, join_place};
    use crate::cancelled::Cancelled;
    use crate::channel::{Place, Receiver, Sender, Source};

    /// Which arm was chosen: the first, or one of the rest.
    #[derive(Debug)]
    pub enum Chosen<First, Rest> {
        /// The first.
        First(First),
        /// One of the rest.
        Rest(Rest),
    }

    /// The rest when there are no more.
    #[derive(Debug)]
    pub enum Nothing {}

    /// Coerces the operand of a `recv(..)` arm.
    #[inline]
    pub fn receiver<T>(receiver: &Receiver<T>) -> &Receiver<T> {
        receiver
    }

    /// Coerces the first operand of a `send(..)` arm.
    #[inline]
    pub fn sender<T>(sender: &Sender<T>) -> &Sender<T> {
        sender
    }

    /// Coerces the operand of an `after(..)` arm.
    #[inline]
    pub fn duration(duration: Duration) -> Duration {
        duration
    }

    /// The place of a `recv(..)` arm, to be pinned.
    #[inline]
    pub fn recv_place<T>(receiver: &Receiver<T>) -> Option<Place<'_, T>> {
        match receiver.source() {
            Source::Channel(shared) => Some(shared.receiver_place()),
            _ => None,
        }
    }

    /// The place of a `send(..)` arm, to be pinned.
    #[inline]
    pub fn send_place<T>(sender: &Sender<T>, item: T) -> Place<'_, T> {
        sender.shared().sender_place(item)
    }

    /// A `recv(..)` arm.
    #[inline]
    pub fn recv_arm<'p, 'a, T>(
        receiver: &'a Receiver<T>,
        place: Pin<&'p mut Option<Place<'a, T>>>,
    ) -> RecvArm<'a, T, &'p mut Place<'a, T>> {
        RecvArm::new(receiver, place.as_pin_mut())
    }

    /// A `send(..)` arm.
    #[inline]
    pub fn send_arm<'p, 'a, T>(sender: &'a Sender<T>, place: Pin<&'p mut Place<'a, T>>) -> SendArm<'a, T, &'p mut Place<'a, T>> {
        SendArm::new(sender, place)
    }

    /// An `after(..)` arm.
    #[inline]
    pub fn after_arm(timeout: Duration) -> AfterArm {
        AfterArm::new(timeout)
    }

    /// Coerces the operand of a `join(..)` arm.
    #[cfg(not(loom))]
    pub fn joinable<J: Joinable>(task: &J) -> &J {
        task
    }

    /// A `join(..)` arm.
    #[cfg(not(loom))]
    pub fn join_arm<'p, 'a>(task: &'a impl Joinable, place: Pin<&'p mut JoinPlace<'a>>) -> JoinArm<'a, &'p mut JoinPlace<'a>> {
        JoinArm::new(task, place)
    }

    /// Forgets what kind of arm it is.
    #[allow(private_bounds, reason = "only the kinds above are arms")]
    #[inline]
    pub fn any<'p, 'a>(arm: &'p mut (impl Arm<'a> + 'p)) -> AnyArm<'p, 'a> {
        AnyArm::new(arm)
    }

    /// Waits for an arm and returns its number.
    ///
    /// # Errors
    /// The task was cancelled and no arm committed.
    #[inline]
    pub fn wait<'a, const N: usize>(mut arms: [AnyArm<'_, 'a>; N]) -> Result<usize, Cancelled> {
        const { assert!(N < choose::MOST, "too many arms") };
        choose::wait(&mut arms, &mut [const { Seat::EMPTY }; N])
    }

    /// Tries the arms and returns the number of the one that was ready. `None`: there was a moment at which none was.
    #[inline]
    pub fn poll<'a, const N: usize>(mut arms: [AnyArm<'_, 'a>; N]) -> Option<usize> {
        const { assert!(N < choose::MOST, "too many arms") };
        choose::poll(&mut arms, &mut [const { Seat::EMPTY }; N])
    }
}
