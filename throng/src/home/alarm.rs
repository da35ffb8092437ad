//! An alarm that calls a waker: for futures that wait for time to pass.
//!
//! The alarm is set at the home of the thread that polls the future, a worker's. The future may then be polled and dropped on any thread. So the two share an allocation: the alarm at the home has one reference
//! to it, the future the other. A future that is dropped takes its alarm back: at once on the home's thread, else by a message, which is the allocation itself.
//!
//! Invariants:
//! - A1: the reference of the alarm is given up by whoever takes the alarm out of the home's timers, by ringing it or by taking it back.
//! - A2: `key` is written by the home's thread before the alarm is shared, and the message is posted once, by the drop.

use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Instant;

use super::local::{self, Local};
use super::{Home, Message};
use crate::lock::SpinLock;
use crate::memory::PooledArc;
use crate::shim::prefetch_lines;
use crate::timer::Key;
use crate::waiter::{Alarm, Call};

/// See the module's header. Dropping it takes the alarm back.
pub(crate) struct WakeAlarm(PooledArc<Set>);

/// `repr(C)`: the message comes first.
#[repr(C)]
struct Set {
    message: Message,
    home: &'static Home,
    key: Cell<Option<Key>>,
    /// Where the data of the waker lies, which for tasks of ours is the task. To be fetched only.
    wakes: usize,
    state: SpinLock<State>,
}

static CALL: Call = Call { ring, foresee };

struct State {
    waker: Option<Waker>,
    rung: bool,
}

// SAFETY: the state is under its lock, the key and the message go by A2.
unsafe impl Sync for Set {}
// SAFETY: as above.
unsafe impl Send for Set {}

impl WakeAlarm {
    /// Has `waker` called at `at` or soon after, by this thread, which keeps time.
    pub(crate) fn set(local: &Local, at: Instant, waker: Waker) -> WakeAlarm {
        let wakes = waker.data().addr();
        let state = SpinLock::new(State { waker: Some(waker), rung: false });
        let (set, alarms) = PooledArc::pair(Set { message: Message::new(), home: local.home(), key: Cell::new(None), wakes, state });
        set.key.set(Some(local.set_alarm(at, Alarm::Call(&CALL, alarms.into_raw().cast()))));
        WakeAlarm(set)
    }

    /// Has `waker` called instead. `true`: it has rung already.
    pub(crate) fn has_rung(&self, waker: &Waker) -> bool {
        let state = self.0.state.lock();
        let same = state.waker.as_ref().is_some_and(|present| present.will_wake(waker));
        if state.rung || same {
            return state.rung;
        }
        drop(state);
        // Others' code, so not under the lock.
        let mut other = Some(waker.clone());
        let mut state = self.0.state.lock();
        let rung = state.rung;
        if !rung {
            std::mem::swap(&mut state.waker, &mut other);
        }
        drop(state);
        drop(other);
        rung
    }
}

impl Drop for WakeAlarm {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let (waker, rung) = (state.waker.take(), state.rung);
        drop(state);
        drop(waker);
        if rung {
            return;
        }
        let home = self.0.home;
        if local::try_with(|local| std::ptr::eq(local.home(), home).then(|| take_back(&self.0, local))).flatten().is_some() {
            return;
        }
        let message = self.0.clone().into_raw().cast::<Message>();
        // SAFETY: posted once (A2); the reference that goes with it keeps it until the delivery.
        unsafe { home.push(message, deliver) };
    }
}

/// On the home's thread.
fn take_back(set: &PooledArc<Set>, local: &Local) {
    if let Some(key) = set.key.take()
        && local.remove_alarm(key)
    {
        // SAFETY: taken out, so the reference that was the alarm's is given up here (A1).
        drop(unsafe { set.recover() });
    }
}

unsafe fn deliver(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by the drop of a `WakeAlarm` for this delivery.
    let set = unsafe { PooledArc::from_raw(message.cast::<Set>()) };
    take_back(&set, local);
}

unsafe fn foresee(frame: NonNull<()>) {
    // SAFETY: the alarm has not rung, so its reference is there (A1).
    let wakes = unsafe { frame.cast::<Set>().as_ref() }.wakes;
    // The task will be woken, and run.
    prefetch_lines(wakes, 5);
}

unsafe fn ring(frame: NonNull<()>, _: &Local) {
    // SAFETY: the reference of the alarm, which is out of the timers (A1).
    let set = unsafe { PooledArc::from_raw(frame.cast::<Set>()) };
    let mut state = set.state.lock();
    state.rung = true;
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for WakeAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeAlarm").field("home", self.0.home).finish_non_exhaustive()
    }
}
