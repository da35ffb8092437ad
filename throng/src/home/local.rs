//! What a thread keeps for itself: its home, who runs on it now, who is ready to, its timers.
//!
//! Every thread that uses throng has one [`Local`]: a worker brings it along, a plain thread gets one at first use. A goroutine never
//! leaves the thread it started on, so a `&Local` may be held over a park: it is the same one after it.
//!
//! Invariants:
//! - L1: only the thread itself touches its `Local`. (Others know its [`Home`].)
//! - L2: a waiter is in one of the ready lists at most, and once: it is pushed by the delivery of the one wake that its one firing owes.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr::{self, NonNull};
#[cfg(not(loom))]
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::{Duration, Instant};

use super::ready::Ready;
#[cfg(not(loom))]
use super::switch::Fibers;
use super::{Home, pool};
use crate::timer::{Key, Timers};
use crate::waiter::permits::Permits;
use crate::waiter::{Alarm, Waiter};

/// From this many alarms on, sleeping to the microsecond costs more than it is worth.
const MANY_ALARMS: usize = 64;
/// How late the first of many alarms may be, so that they are so on average by half of it: as a timer wheel of milliseconds has it.
const ALARM_SLACK: Duration = Duration::from_millis(1);
/// How many alarms are taken out before they are rung.
const ALARMS_AT_ONCE: usize = 16;

/// Who ran on a thread when a task was called there.
#[cfg(not(loom))]
pub(crate) struct Caller {
    current: *const Waiter,
    limit: *const Permits,
}

pub(crate) struct Local {
    home: &'static Home,
    /// Who runs: a goroutine's waiter, or null for `own`.
    current: Cell<*const Waiter>,
    /// `current` has ended and may be gone: a signal handler must not look at it.
    concealed: Cell<bool>,
    ready: Ready,
    /// Those that other threads have woken, if they are kept apart (`keep_apart`).
    woken_elsewhere: Ready,
    keeps_apart: Cell<bool>,
    /// Borrowed for single calls only, never over a call that could come back here.
    timers: UnsafeCell<Timers<Alarm>>,
    #[cfg(not(loom))]
    fibers: Fibers,
    /// The permits that the running task holds; null: it is not limited.
    limit: Cell<*const Permits>,
    /// The thread itself, when it waits as such.
    own: Waiter,
}

impl Local {
    /// `home` comes from the pool and goes back there.
    pub(crate) fn new(home: &'static Home) -> Local {
        Local {
            home,
            current: Cell::new(ptr::null()),
            concealed: Cell::new(false),
            ready: Ready::new(),
            woken_elsewhere: Ready::new(),
            keeps_apart: Cell::new(false),
            timers: UnsafeCell::new(Timers::new()),
            #[cfg(not(loom))]
            fibers: Fibers::new(),
            limit: Cell::new(ptr::null()),
            own: Waiter::at(home),
        }
    }

    #[inline]
    pub(crate) fn home(&self) -> &'static Home {
        self.home
    }

    /// Who runs on this thread now.
    #[inline]
    pub(crate) fn current(&self) -> &Waiter {
        // SAFETY: the scheduler sets `current` before a goroutine gets the thread and before it can end; null stands for the thread itself.
        unsafe { self.current.get().as_ref() }.unwrap_or(&self.own)
    }

    /// Whether the thread itself runs, not a goroutine on it.
    #[inline]
    pub(crate) fn is_thread(&self) -> bool {
        self.current.get().is_null()
    }

    /// The scheduler: `waiter` (null: nobody) has the thread from now on.
    #[inline]
    pub(crate) fn set_current(&self, waiter: *const Waiter) {
        self.current.set(waiter);
    }

    /// The current waiter is about to be let go of, and may be gone before `clear_current`. Nothing parks in between.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn conceal_current(&self) {
        self.concealed.set(true);
    }

    /// Nobody has the thread any more.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn clear_current(&self) {
        self.current.set(ptr::null());
        // A signal handler on this thread sees the two in this order.
        compiler_fence(Ordering::Release);
        self.concealed.set(false);
    }

    /// Who runs, for a signal handler on this thread.
    #[cfg(not(loom))]
    pub(crate) fn interrupted(&self) -> Option<&Waiter> {
        // SAFETY: as in `current`; and it has not been let go of.
        if self.concealed.get() { None } else { unsafe { self.current.get().as_ref() } }
    }

    /// The fibers of this thread, if it is a worker's.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn fibers(&self) -> &Fibers {
        &self.fibers
    }

    /// The permits that the running task holds.
    #[inline(always)]
    pub(crate) fn limit(&self) -> &Cell<*const Permits> {
        &self.limit
    }

    /// A task that is called, not switched to, has the thread from now on. Returns who had it, to be set again.
    #[cfg(not(loom))]
    pub(crate) fn call(&self, waiter: &Waiter) -> Caller {
        Caller { current: self.current.replace(waiter), limit: self.limit.replace(ptr::null()) }
    }

    /// The task that was called has ended, or waits.
    #[cfg(not(loom))]
    pub(crate) fn return_to(&self, caller: &Caller) {
        self.current.set(caller.current);
        // As in `clear_current`.
        compiler_fence(Ordering::Release);
        self.concealed.set(false);
    }

    /// `return_to`, the rest of it.
    #[cfg(not(loom))]
    pub(crate) fn returned(&self, caller: Caller) {
        self.return_to(&caller);
        self.limit.set(caller.limit);
    }

    /// Parks the current waiter, armed or fired: returns when its wake has been delivered.
    #[inline(always)]
    pub(crate) fn park(&self) {
        if self.is_thread() || !self.has_fibers() {
            self.park_thread();
        } else {
            self.switch_away();
        }
    }

    // In a model every waiter is a thread.
    #[cfg(loom)]
    fn switch_away(&self) {
        unreachable!("no fibers in a model")
    }

    /// Appends a waiter that has been woken (L2), or one that steps back for the others.
    #[inline]
    pub(crate) fn push_ready(&self, waiter: &Waiter) {
        self.ready.push(waiter);
    }

    /// Appends a waiter that another thread has woken (L2).
    #[inline]
    pub(crate) fn push_woken_elsewhere(&self, waiter: &Waiter) {
        if self.keeps_apart.get() {
            self.woken_elsewhere.push(waiter);
        } else {
            self.ready.push(waiter);
        }
    }

    /// A scheduler's policy: from now on those that other threads have woken are not among the ready ones, but have a list of their own.
    #[cfg(not(loom))]
    pub(crate) fn keep_apart(&self) {
        self.keeps_apart.set(true);
    }

    /// Takes the waiter that another thread woke first, if those are kept apart.
    #[cfg(not(loom))]
    pub(crate) fn pop_woken_elsewhere(&self) -> Option<NonNull<Waiter>> {
        self.woken_elsewhere.pop()
    }

    /// Puts a waiter that steps aside before the others.
    #[cfg(not(loom))]
    pub(crate) fn push_ready_first(&self, waiter: &Waiter) {
        self.ready.push_first(waiter);
    }

    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The waiter that will be taken next.
    #[inline]
    pub(crate) fn peek_ready(&self) -> Option<NonNull<Waiter>> {
        self.ready.peek()
    }

    /// Takes the waiter that became ready first.
    #[inline]
    pub(crate) fn pop_ready(&self) -> Option<NonNull<Waiter>> {
        self.ready.pop()
    }

    /// Delivers the mail.
    #[inline]
    pub(crate) fn read_mail(&self) {
        self.home.take().deliver(self);
    }

    fn with_timers<R>(&self, f: impl FnOnce(&mut Timers<Alarm>) -> R) -> R {
        // SAFETY: only this thread comes here (L1), and `f` is one of the calls below, which do not come back here.
        f(unsafe { &mut *self.timers.get() })
    }

    /// Rings `alarm` on this thread at `at` or soon after, unless it is removed before. Its target must stay until then (T1).
    pub(crate) fn set_alarm(&self, at: Instant, alarm: Alarm) -> Key {
        self.with_timers(|timers| timers.insert(at, alarm))
    }

    /// Takes an alarm back. `false`: it has rung, or is about to.
    pub(crate) fn remove_alarm(&self, key: Key) -> bool {
        self.with_timers(|timers| timers.remove(key))
    }

    /// Whether the thread looks at its alarms by itself: a worker's does.
    #[cfg(not(loom))]
    pub(crate) fn keeps_time(&self) -> bool {
        self.has_fibers()
    }

    /// Whether its tasks have stacks of their own: a worker's do. (A task that is called on a plain thread parks that thread.)
    #[cfg(not(loom))]
    #[inline(always)]
    fn has_fibers(&self) -> bool {
        self.fibers.has_run()
    }

    #[cfg(loom)]
    fn has_fibers(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn has_alarms(&self) -> bool {
        !self.with_timers(|timers| timers.is_empty())
    }

    /// When the thread should be awake again: at the first alarm, or where there are many, a little later, so that one awakening serves several.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        let next = self.with_timers(Timers::next)?;
        let many = self.with_timers(|timers| timers.len()) > MANY_ALARMS;
        Some(if many { next + ALARM_SLACK } else { next })
    }

    /// Rings every alarm that is due.
    pub(crate) fn ring_alarms(&self) {
        if !self.has_alarms() {
            return;
        }
        let now = Instant::now();
        loop {
            // In batches: each alarm's target has left the cache long ago, and is fetched while the next ones are taken out. Nothing that could take an alarm back runs in between.
            let mut due: [Option<Alarm>; ALARMS_AT_ONCE] = [const { None }; ALARMS_AT_ONCE];
            for place in &mut due {
                *place = self.with_timers(|timers| timers.pop_due(now));
                match place {
                    Some(alarm) => alarm.prefetch(),
                    None => break,
                }
            }
            let full = due[ALARMS_AT_ONCE - 1].is_some();
            for alarm in due.into_iter().flatten() {
                alarm.ring(self);
            }
            if !full {
                return;
            }
        }
    }

    /// How a plain thread parks, or a task that was called on it: it reads its mail, rings its alarms and sleeps until its own wake is among what they brought.
    fn park_thread(&self) {
        loop {
            self.read_mail();
            self.ring_alarms();
            if let Some(woken) = self.pop_ready() {
                debug_assert!(
                    ptr::eq(woken.as_ptr(), self.current()),
                    "of a plain thread's tasks one runs, and the others are below it on its stack"
                );
                return;
            }
            self.home.sleep(self.next_alarm());
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Errands that came at the last moment. (A later one is the next thread's.)
        self.read_mail();
        // No task is left, so these are alarms of futures that went elsewhere: whoever has those sets them anew.
        for alarm in self.with_timers(Timers::drain) {
            alarm.ring(self);
        }
        pool::give(self.home);
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("home", &self.home).finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
pub(crate) use tls::here;
pub(crate) use tls::{enter, try_with, with};

#[cfg(not(loom))]
mod tls {
    use super::{Local, pool};
    use std::cell::{Cell, OnceCell};
    use std::ptr;

    thread_local! {
        /// The one the thread uses. Needs no initialisation and no destructor, so that reading it is a load.
        static LOCAL: Cell<*const Local> = const { Cell::new(ptr::null()) };
        /// Owns a plain thread's.
        static OWNED: Owned = const { Owned(OnceCell::new()) };
    }

    struct Owned(OnceCell<Local>);

    impl Drop for Owned {
        fn drop(&mut self) {
            // Destructors of other thread-locals may still use channels: they get a new one (see `adopt`).
            LOCAL.set(ptr::null());
        }
    }

    /// Calls `f` with the thread's `Local`.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> R {
        let mut local = LOCAL.get();
        if local.is_null() {
            local = adopt();
        }
        // SAFETY: set by `enter` or `adopt` to one that lives as long as the thread uses it; only this thread reads it (L1).
        f(unsafe { &*local })
    }

    /// The thread's `Local`, for a caller that parks and must be inlined into whoever called it (see `switch.rs`), which a closure cannot be made to be.
    ///
    /// # Safety
    /// The reference ends with the call it is used in.
    #[inline(always)]
    pub(crate) unsafe fn here<'a>() -> &'a Local {
        let mut local = LOCAL.get();
        if local.is_null() {
            local = adopt();
        }
        // SAFETY: as in `with`, and by contract.
        unsafe { &*local }
    }

    /// Calls `f` with the thread's `Local`, if it has one.
    #[inline]
    pub(crate) fn try_with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
        // SAFETY: as in `with`.
        unsafe { LOCAL.get().as_ref() }.map(f)
    }

    /// Makes a plain thread known.
    #[cold]
    fn adopt() -> *const Local {
        let make = || Local::new(pool::take());
        let local = OWNED
            .try_with(|owned| ptr::from_ref(owned.0.get_or_init(make)))
            // The thread is ending and has given its own back: this one stays behind.
            .unwrap_or_else(|_| Box::leak(Box::new(make())));
        LOCAL.set(local);
        local
    }

    /// Makes `local` the thread's while `f` runs (a worker's whole life).
    pub(crate) fn enter<R>(local: &Local, f: impl FnOnce() -> R) -> R {
        debug_assert!(LOCAL.get().is_null(), "a worker starts on a fresh thread");
        LOCAL.set(local);
        let result = f();
        LOCAL.set(ptr::null());
        result
    }
}

#[cfg(loom)]
mod tls {
    use super::Local;

    loom::thread_local! {
        static LOCAL: Local = Local::new(super::pool::take());
    }

    pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> R {
        LOCAL.with(f)
    }

    pub(crate) fn try_with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
        Some(LOCAL.with(f))
    }

    #[allow(dead_code, reason = "no workers in a model")]
    pub(crate) fn enter<R>(_: &Local, f: impl FnOnce() -> R) -> R {
        f()
    }
}
