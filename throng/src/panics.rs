//! What is known of a panic besides its payload: where it was, and the stack at that point.
//!
//! By the time a panic is caught its stack is gone, so a panic hook notes these for goroutines. It is put before the hook that was there, which is called as ever; a hook
//! that the program sets later replaces it, and then reports lack the place. The backtrace is captured if `RUST_BACKTRACE` asks for it, as std's is.

#![forbid(unsafe_code)]

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::home::local;

/// A panic that was caught.
pub(crate) struct Caught {
    pub(crate) payload: Box<dyn Any + Send>,
    pub(crate) place: Option<Box<Place>>,
}

/// Where a panic was.
#[derive(Debug)]
pub(crate) struct Place {
    /// `file:line:column`.
    pub(crate) location: String,
    pub(crate) backtrace: Option<Backtrace>,
    /// What it said, by which it is told from an earlier panic that somebody else caught.
    text: String,
}

thread_local! {
    static LAST: RefCell<Option<Box<Place>>> = const { RefCell::new(None) };
}

/// Puts the hook before the one that is there, once in a process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    if local::try_with(local::Local::is_thread) != Some(false) {
        return;
    }
    let backtrace = Backtrace::capture();
    let place = Place {
        location: info.location().map_or_else(|| "an unknown place".into(), ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace),
        text: payload_text(info.payload()).into(),
    };
    // A goroutine does not park while it panics, so this is its own until it is caught.
    LAST.set(Some(Box::new(place)));
}

/// A caught panic is about to go on, on this thread.
pub(crate) fn goes_on(place: Option<Box<Place>>) {
    LAST.set(place);
}

impl Caught {
    /// Where a task's panic ends.
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Caught {
        let place = LAST.take().filter(|place| place.text == payload_text(&*payload));
        Caught { payload, place }
    }

    pub(crate) fn text(&self) -> &str {
        payload_text(&*self.payload)
    }
}

impl fmt::Debug for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caught").field("text", &self.text()).field("place", &self.place).finish()
    }
}

/// What a panic said.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(a payload that is not text)")
}
