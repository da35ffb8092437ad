//! Limited views: what is queued there waits for permits first, and is then queued where the view looks.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use super::Dispatcher;
use crate::task::{Header, Schedule, Why};
use crate::waiter::permits::{Permits, Starting};

/// `repr(C)`: the schedule comes first.
#[repr(C)]
pub(super) struct View {
    schedule: Schedule,
    permits: Arc<Permits>,
    /// No view.
    base: Dispatcher,
}

impl View {
    pub(super) fn new(limit: usize, of: Dispatcher) -> View {
        let (above, base) = match &of.0 {
            super::Kind::View(view) => (Some(Arc::clone(&view.permits)), view.base.clone()),
            _ => (None, of),
        };
        View { schedule: Schedule { queue }, permits: Arc::new(Permits::new(limit, above)), base }
    }

    pub(super) fn schedule(&self) -> NonNull<Schedule> {
        NonNull::from(self).cast()
    }

    pub(super) fn permits(&self) -> &Arc<Permits> {
        &self.permits
    }

    pub(super) fn base(&self) -> &Dispatcher {
        &self.base
    }
}

/// # Safety
/// The schedule is a view's, which the task's context keeps; the task is the caller's to queue.
unsafe fn queue(task: NonNull<Header>, schedule: NonNull<Schedule>, why: Why) {
    // SAFETY: by contract.
    let view = unsafe { schedule.cast::<View>().as_ref() };
    let queue = match why {
        Why::Started => start_at_base,
        Why::Woken => wake_at_base,
    };
    // SAFETY: by contract. The base stays where it is with the view.
    unsafe { view.permits.submit(Starting { task: task.cast(), at: view.base.schedule().cast(), queue }) };
}

/// # Safety
/// As for `queue_at_base`.
unsafe fn start_at_base(task: NonNull<()>, base: NonNull<()>) {
    // SAFETY: by contract.
    unsafe { queue_at_base(task.cast(), base.cast(), Why::Started) };
}

/// # Safety
/// As for `queue_at_base`.
unsafe fn wake_at_base(task: NonNull<()>, base: NonNull<()>) {
    // SAFETY: by contract.
    unsafe { queue_at_base(task.cast(), base.cast(), Why::Woken) };
}

/// # Safety
/// Those that `queue` has submitted.
unsafe fn queue_at_base(task: NonNull<Header>, base: NonNull<Schedule>, why: Why) {
    // SAFETY: by contract: it is there until the task has ended.
    let queue = unsafe { base.as_ref() }.queue;
    // SAFETY: as above.
    unsafe { queue(task, base, why) };
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("permits", &self.permits).field("of", &self.base).finish()
    }
}
