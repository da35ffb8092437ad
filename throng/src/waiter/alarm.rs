//! Alarms: what a home's timers do when their time has come.

use std::ptr::NonNull;

use super::{Cause, Ticket};
use crate::home::local::Local;
use crate::shim::prefetch;
use crate::timer::Action;

/// What a home's timer does.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// The deadline of a wait.
    EndWait(Ticket),
    /// Something else's deadline: calls the function with the pointer.
    Call(&'static Call, NonNull<()>),
}

/// What is done at such a deadline.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) ring: unsafe fn(NonNull<()>, &Local),
    /// It will ring soon, and what the pointer points to has been fetched: asks for what that points to.
    pub(crate) foresee: unsafe fn(NonNull<()>),
}

impl Action for Alarm {
    const STEPS: u32 = 3;

    fn foresee(&self, step: u32) {
        match self {
            _ if step == 0 => self.prefetch(),
            // SAFETY: the waiter waits, so it is there (T1), on this thread.
            Alarm::EndWait(ticket) => unsafe { ticket.waiter.as_ref() }.foresee(step),
            // SAFETY: it is there until the alarm has rung or is taken out (T1).
            Alarm::Call(call, frame) if step == 1 => unsafe { (call.foresee)(*frame) },
            Alarm::Call(..) => {}
        }
    }
}

impl Alarm {
    /// It will ring soon: asks for what it will touch first.
    pub(crate) fn prefetch(&self) {
        let target = match self {
            Alarm::EndWait(ticket) => ticket.waiter.addr(),
            Alarm::Call(_, frame) => frame.addr(),
        };
        prefetch(target.get());
    }

    /// On the home's thread.
    pub(crate) fn ring(self, local: &Local) {
        match self {
            Alarm::EndWait(ticket) => {
                // SAFETY: the waiting frame takes its alarm out before it returns (T1), so the waiter is there.
                let waiter = unsafe { ticket.waiter.as_ref() };
                if waiter.word.fire(ticket.generation, Cause::TIMED_OUT) {
                    local.push_ready(waiter);
                }
            }
            // SAFETY: set together; the frame pointed to takes its alarm out before it returns (T1).
            Alarm::Call(call, frame) => unsafe { (call.ring)(frame, local) },
        }
    }
}
