//! The `join(..)` arm of a select: a task's end as something to wait for among others.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::DerefMut;
use std::pin::Pin;
use std::time::Instant;

use super::arm::{Arm, Commit, Held};
use crate::lock::SpinGuard;
use crate::scope::ScopedJoinHandle;
use crate::spawn::JoinHandle;
use crate::task::Header;
use crate::waiter::Ticket;
use crate::waitq::{Entry, WaitQueue};

/// What a `join(..)` arm waits for: a [`JoinHandle`] or a [`ScopedJoinHandle`]. Sealed.
pub trait Joinable: sealed::Sealed {}

impl<T> Joinable for JoinHandle<T> {}
impl<T> Joinable for ScopedJoinHandle<'_, T> {}

pub(super) mod sealed {
    use super::{Header, JoinHandle, ScopedJoinHandle};

    pub trait Sealed {
        #[doc(hidden)]
        fn task(&self) -> Task<'_>;
    }

    /// Keeps the header's type out of the interface.
    #[derive(Debug)]
    pub struct Task<'a>(pub(in crate::select) &'a Header);

    impl<T> Sealed for JoinHandle<T> {
        fn task(&self) -> Task<'_> {
            Task(self.header())
        }
    }

    impl<T> Sealed for ScopedJoinHandle<'_, T> {
        fn task(&self) -> Task<'_> {
            Task(self.header())
        }
    }
}

/// Where the arm lies while it waits.
pub type JoinPlace<'a> = Entry<'a, WaitQueue<()>, ()>;

/// The place of a `join(..)` arm, to be pinned.
pub fn join_place<'a>(task: &'a impl Joinable) -> JoinPlace<'a> {
    Entry::new(&task.task().0.join, |waiters| waiters, ())
}

/// A `join(..)` arm. `P` is where its place lies: the frame of a `select!`, or a box.
pub struct JoinArm<'a, P> {
    task: &'a Header,
    /// Its lock, while the select has it.
    join: Option<SpinGuard<'a, WaitQueue<()>>>,
    place: Pin<P>,
}

impl<'a, P: DerefMut<Target = JoinPlace<'a>>> JoinArm<'a, P> {
    /// A lazy task is started: somebody wants it now.
    pub(crate) fn new(task: &'a impl Joinable, place: Pin<P>) -> JoinArm<'a, P> {
        let task = task.task().0;
        task.launch_if_lazy();
        JoinArm { task, join: None, place }
    }

    /// Nothing: the handle has the value.
    pub fn result(self) {}
}

impl<'a, P: DerefMut<Target = JoinPlace<'a>>> Arm<'a> for JoinArm<'a, P> {
    fn address(&self) -> usize {
        std::ptr::from_ref(&self.task.join).addr()
    }

    fn seems_ready(&self) -> bool {
        self.task.is_done()
    }

    fn attempt(&mut self) -> bool {
        self.task.is_done()
    }

    fn lock(&mut self) -> bool {
        Header::is_done_locked(self.join.insert(self.task.join.lock()))
    }

    fn unlock(&mut self) {
        self.join = None;
    }

    fn lend(&mut self) -> Option<Held<'a>> {
        self.join.take().map(|join| Held::Task(join.suspend()))
    }

    fn borrow(&mut self, held: Held<'a>) {
        let Held::Task(held) = held else { unreachable!("arms that share a lock are of one task") };
        let Ok(join) = self.task.join.resume(held) else { unreachable!("arms that share a lock are of one task") };
        self.join = Some(join);
    }

    fn is_ready(&mut self) -> bool {
        self.join.as_mut().is_some_and(Header::is_done_locked)
    }

    fn commit(&mut self) -> Commit {
        Commit::alone(self.is_ready())
    }

    fn enqueue(&mut self, ticket: Ticket, index: u16, last: bool) {
        let Some(join) = &mut self.join else { unreachable!("a select queues at a task whose lock it holds") };
        self.place.as_mut().enqueue(join, ticket, index);
        if last {
            self.join = None;
        }
    }

    fn dequeue(&mut self) {
        self.place.as_mut().dequeue();
    }

    fn claimed(&mut self, _: bool) {
        self.place.as_mut().claimed();
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn expire(&mut self, _: Instant) -> bool {
        false
    }
}

impl<P> fmt::Debug for JoinArm<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinArm").field("task", self.task).finish()
    }
}
