//! Something to be done on a home's thread, sent there as a message of its own.
//!
//! For what is rare: it costs two allocations. It is done between tasks, so it must neither park nor run a user's code. If the thread ends before it has read the message, the next one that takes the
//! home over does it: so it must hold what it needs, and find out by itself whether there is still something to do.

use std::ptr::NonNull;

use super::local::Local;
use super::{Home, Message};

type Work = Box<dyn FnOnce(&Local) + Send>;

#[repr(C)]
struct Errand {
    message: Message,
    work: Work,
}

impl Home {
    /// Has `work` done on the home's thread.
    pub(crate) fn send(&self, work: impl FnOnce(&Local) + Send + 'static) {
        let errand = NonNull::from(Box::leak(Box::new(Errand { message: Message::new(), work: Box::new(work) })));
        // SAFETY: a new message, owned until it is delivered; `deliver` frees it.
        unsafe { self.push(errand.cast(), deliver) };
    }
}

unsafe fn deliver(message: NonNull<Message>, local: &Local) {
    // SAFETY: made by `send` for this delivery.
    let errand = unsafe { Box::from_raw(message.cast::<Errand>().as_ptr()) };
    (errand.work)(local);
}
