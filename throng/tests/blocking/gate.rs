//! A gate that blocks the thread, not the goroutine: the way a call into the system or foreign code does.

use std::sync::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    open: bool,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate::default()
    }

    /// Blocks the thread until the gate is open.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.open).unwrap());
    }

    /// Is seen at the gate, and goes on.
    pub(crate) fn pass_open(&self) {
        self.state.lock().unwrap().waiting += 1;
        self.changed.notify_all();
    }

    /// Blocks the thread until `n` wait at the gate, or have.
    pub(crate) fn wait_for(&self, n: usize) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| state.waiting < n).unwrap());
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}
