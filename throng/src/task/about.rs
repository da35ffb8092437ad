//! What is known about a task besides what running it needs: behind one pointer, so that a plain task pays one word for it.
//!
//! The pointer is a place in the source, where the task was started; or, once there is more to say, a [`Record`], which has the place, too. It changes once, from the one to the other,
//! under the task's `join` lock, and the record stays as long as the task.
//!
//! Invariants:
//! - A1: the lowest bit says which of the two it is: set for a record.
//! - A2: `site` and `name` of a record never change. Its `state` is touched under the `join` lock.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Name;
use super::record::State;
use crate::lock::SpinGuard;
use crate::waitq::WaitQueue;

/// See the module's header.
pub(super) struct About(AtomicPtr<()>);

/// What only few tasks have.
struct Record {
    site: &'static Location<'static>,
    name: Option<Arc<Name>>,
    state: UnsafeCell<State>,
}

/// A record that is not anybody's yet: made outside of the lock.
pub(super) struct Spare(Box<Record>);

const RECORD: usize = 1;

impl About {
    pub(super) fn new(site: &'static Location<'static>, name: Option<Arc<Name>>) -> About {
        match name {
            None => About(AtomicPtr::new(std::ptr::from_ref(site).cast_mut().cast())),
            name => About(AtomicPtr::new(Spare(Box::new(Record { site, name, state: UnsafeCell::default() })).into_tagged())),
        }
    }

    /// What it is now. (Read once: it may be another thing a moment later.)
    fn read(&self) -> Result<&Record, &'static Location<'static>> {
        // Acquire pairs with the Release of `set`: the record is complete.
        let about = self.0.load(Ordering::Acquire);
        if about.addr() & RECORD == 0 {
            // SAFETY: A1: not a record's, so a place's.
            return Err(unsafe { &*about.cast::<Location<'static>>() });
        }
        let record = about.map_addr(|addr| addr & !RECORD).cast::<Record>();
        // SAFETY: A1; it stays as long as the task.
        Ok(unsafe { &*record })
    }

    fn record(&self) -> Option<&Record> {
        self.read().ok()
    }

    pub(super) fn site(&self) -> &'static Location<'static> {
        match self.read() {
            Ok(record) => record.site,
            Err(site) => site,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.record()?.name.as_ref().map(|name| &*name.0)
    }

    /// The state of the record, if there is one. With the guard of the task's own `join` lock.
    pub(super) fn state<'a>(&'a self, _join: &'a mut SpinGuard<'_, WaitQueue<()>>) -> Option<&'a mut State> {
        let record = self.record()?;
        // SAFETY: A2: the lock is held, and the guard is borrowed for as long.
        Some(unsafe { &mut *record.state.get() })
    }

    /// A record for this task, to be given to `set`.
    pub(super) fn spare(&self) -> Spare {
        Spare(Box::new(Record { site: self.site(), name: None, state: UnsafeCell::default() }))
    }

    /// Gives it a record, if it has none. With the guard of the task's own `join` lock.
    pub(super) fn set(&self, spare: Spare, _join: &mut SpinGuard<'_, WaitQueue<()>>) {
        if self.record().is_none() {
            // Release pairs with the Acquire of `record`.
            self.0.store(spare.into_tagged(), Ordering::Release);
        }
    }
}

impl Spare {
    fn into_tagged(self) -> *mut () {
        Box::into_raw(self.0).cast::<()>().map_addr(|addr| addr | RECORD)
    }
}

impl Drop for About {
    #[inline]
    fn drop(&mut self) {
        let about = *self.0.get_mut();
        if about.addr() & RECORD != 0 {
            drop_record(about);
        }
    }
}

#[cold]
fn drop_record(about: *mut ()) {
    let record = about.map_addr(|addr| addr & !RECORD).cast::<Record>();
    // SAFETY: A1; made by `into_tagged`, and nobody refers to the task any more.
    drop(unsafe { Box::from_raw(record) });
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("About").field("name", &self.name()).field("site", &format_args!("{}", self.site())).finish()
    }
}
