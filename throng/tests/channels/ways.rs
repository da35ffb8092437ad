//! Runs a body with plain threads as its tasks, and with goroutines of several runtimes.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};

use crate::common::{on_runtime, watched};

type Job = Box<dyn FnOnce() + Send>;
type Joiner = Box<dyn FnOnce() + Send>;

/// Starts tasks of one kind.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Shared>);

struct Shared {
    start: fn(Job) -> Joiner,
    joiners: Mutex<Vec<Joiner>>,
}

impl Tasks {
    fn new(start: fn(Job) -> Joiner) -> Tasks {
        Tasks(Arc::new(Shared { start, joiners: Mutex::new(Vec::new()) }))
    }

    pub(crate) fn go(&self, f: impl FnOnce() + Send + 'static) {
        let joiner = (self.0.start)(Box::new(f));
        self.0.joiners.lock().unwrap().push(joiner);
    }

    /// Waits for all that have been started, and panics if one did.
    pub(crate) fn join(&self) {
        loop {
            let Some(joiner) = self.0.joiners.lock().unwrap().pop() else { return };
            joiner();
        }
    }
}

fn thread(job: Job) -> Joiner {
    let handle = std::thread::spawn(job);
    Box::new(|| {
        if let Err(payload) = handle.join() {
            resume_unwind(payload);
        }
    })
}

fn goroutine(job: Job) -> Joiner {
    let handle = throng::go(job);
    Box::new(|| match handle.join() {
        Ok(()) => {}
        Err(throng::JoinError::Panicked(panic)) => panic.resume(),
        Err(error) => panic!("{error:?}"),
    })
}

/// Lets others run.
pub(crate) fn pause() {
    throng::yield_now().unwrap();
}

pub(crate) fn each_way(body: impl Fn(&Tasks) + Send + Sync) {
    let whole = |start| {
        let tasks = Tasks::new(start);
        body(&tasks);
        tasks.join();
    };
    watched("threads", || whole(thread));
    for (workers, seed) in [(1, None), (2, None), (2, Some(0x5eed)), (8, Some(2))] {
        on_runtime(workers, seed, &mut |runtime, _| runtime.run(|| whole(goroutine)));
    }
}
