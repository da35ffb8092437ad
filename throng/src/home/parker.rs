//! The last resort of a thread with nothing to do: block until somebody says otherwise.
//!
//! One token: `unpark` leaves it, `park` takes it. A token left over makes one `park` return early, which every caller expects.

use std::time::Instant;

use crate::shim::{Condvar, Mutex};

pub(crate) struct Parker {
    token: Mutex<bool>,
    left: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Parker {
        Parker { token: Mutex::new(false), left: Condvar::new() }
    }

    /// Blocks until there is a token and takes it: `true`. `false` if `deadline` came first.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        let mut token = self.token.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while !*token {
            token = match deadline {
                None => self.left.wait(token).unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.left.wait_timeout(token, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
            };
        }
        *token = false;
        true
    }

    pub(crate) fn unpark(&self) {
        *self.token.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        self.left.notify_one();
    }
}
