//! How a task is cancelled, by whoever, from anywhere.
//!
//! In steps: (1) the word is marked; that ends the present wait, if it is seen, and the woken code tells its scopes itself; (2) the home of a task that is not seen
//! to wait is asked to look whether it does after all, and to tell its scopes; a coroutine gets a turn; (3) one that is not decided on yet is
//! launched, to be ended without running; (4) the handlers are told; (5) where it is not known which thread to ask, all are made to show what they have done (a heavy fence), and the canceller looks again.
//! Why that is enough is told in `waiter/README.md`, race 4.

use std::ptr;

use super::record::TaskRef;
use super::{DONE, Header};
use crate::cause::Cause;
use crate::fence;
use crate::home::Home;
use crate::home::local::{self, Local};
use crate::waiter::Met;

/// Cancels the tasks that `each` calls its argument with, every time it is called: alone, or with their scope. One fence serves all.
pub(crate) fn cancel_all(alone: bool, each: impl Fn(&mut dyn FnMut(&Header))) {
    let mut again = false;
    each(&mut |task| {
        let (met, watched) = task.waiter.cancel(alone);
        again |= task.follow(met, watched);
    });
    if again {
        fence::heavy();
        each(&mut |task| task.look_again());
    }
}

impl Header {
    /// Cancels the task alone, for this cause. The caller has a reference to it.
    pub(crate) fn cancel_alone(&self, cause: Cause) {
        if self.waiter.is_task_cancelled() {
            return;
        }
        if matches!(cause, Cause::Asked) {
            return self.cancel(true);
        }
        // The cause is put down under the lock under which it is read, and taken back if somebody else was quicker: nobody sees two.
        let (met, watched) = self.with_record(|record, flags| {
            if *flags & DONE != 0 {
                return (Met::Cancelled, false);
            }
            let ours = record.cause.is_none();
            if ours {
                record.cause = Some(cause);
            }
            let met = self.waiter.word().cancel(true);
            if ours && met.0 == Met::Cancelled {
                record.cause = None;
            }
            met
        });
        self.waiter.wake_cancelled(met);
        if self.follow(met, watched) {
            fence::heavy();
            self.look_again();
        }
    }

    /// Cancels the task: alone, or with its scope. The caller knows it to be there.
    pub(crate) fn cancel(&self, alone: bool) {
        cancel_all(alone, |f| f(self));
    }

    /// Cancels a task that nobody else knows yet.
    pub(crate) fn cancel_new(&self) {
        let (met, watched) = self.waiter.cancel(false);
        // Nobody can have begun a wait of it.
        let _ = self.follow(met, watched);
    }

    /// What is left to do when the word has been marked, and the task woken if it was seen to wait. `true`: the caller must pass a heavy fence, and `look_again`.
    #[must_use]
    fn follow(&self, met: Met, watched: bool) -> bool {
        let again = match met {
            Met::Cancelled | Met::Waiting => false,
            Met::Undecided => {
                self.launch();
                false
            }
            Met::Busy => self.follow_busy(),
        };
        if watched {
            let handlers = self.in_record(|record| Some(record.handlers.take_cancelling()));
            if let Some(handlers) = handlers {
                handlers.cancelling(&self.cause().unwrap_or_default());
            }
        }
        again
    }

    /// It was not seen to wait.
    fn follow_busy(&self) -> bool {
        if self.is_done() || self.is_promise() {
            return false;
        }
        if self.is_coroutine() {
            self.tell_scopes();
            return self.wake_coroutine();
        }
        match self.waiter.settled_at() {
            // On this thread nothing is hidden.
            Some(home) if local::with(|local| ptr::eq(local.home(), home)) => self.tell_scopes(),
            Some(home) => self.tell_at(home),
            None => return true,
        }
        false
    }

    /// The canceller's thread has seen since what all others had done before.
    fn look_again(&self) {
        if !self.waiter.end_cancelled_wait() {
            self.tell_scopes();
        }
    }

    /// If it is inside of a scope, its home is to tell that.
    fn tell_scopes(&self) {
        if let Some(home) = self.waiter.home_of_scopes() {
            self.tell_at(home);
        }
    }

    fn tell_at(&self, home: &Home) {
        let task = TaskRef::new(self);
        home.send(move |local| task.header().hear(local));
    }

    /// `tell_at`, arrived there: it has been cancelled. A coroutine may have gone elsewhere meanwhile.
    fn hear(&self, local: &Local) {
        match self.waiter.settled_at() {
            Some(home) if ptr::eq(home, local.home()) => {
                if !self.waiter.end_cancelled_wait() {
                    self.waiter.cancel_scopes(local);
                }
            }
            _ => self.tell_scopes(),
        }
    }
}
