//! Pools of one's own.

#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use super::Dispatcher;
use crate::rt;
use crate::sched::policy::Policy;

/// A pool of workers to be: what [`Dispatcher::builder`] returns.
///
/// ```
/// use throng::{Dispatcher, task};
///
/// let pool = Dispatcher::builder().name("decoder").workers(2).stack_size(1 << 20).build()?;
/// throng::run(|| {
///     let handle = task().on(&pool).go(|| std::thread::current().name().unwrap().starts_with("decoder"));
///     assert!(handle.join().unwrap());
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is made by `build`"]
pub struct DispatcherBuilder {
    runtime: rt::Builder,
}

impl DispatcherBuilder {
    pub(super) fn new() -> DispatcherBuilder {
        // What is stuck in a pool of one's own is its maker's affair: a `single` thread must stay one.
        DispatcherBuilder { runtime: rt::Builder::new().max_spare_workers(0) }
    }

    /// The name of its threads: of a pool of one, as it is; of a larger one, what their names begin with.
    pub fn name(mut self, name: impl Into<String>) -> DispatcherBuilder {
        self.runtime = self.runtime.thread_name(name.into());
        self
    }

    /// How many threads run its tasks. Zero, the default: as many as the process may use cores.
    pub fn workers(mut self, workers: usize) -> DispatcherBuilder {
        self.runtime = self.runtime.workers(workers);
        self
    }

    /// Whether it begins with one thread and gets another, up to [`workers`](DispatcherBuilder::workers), whenever a task comes while none rests: for tasks that block their threads.
    /// Nobody is reported there for keeping a thread ([`Builder::report_stalls_after`](crate::Builder::report_stalls_after)).
    pub fn elastic(mut self, elastic: bool) -> DispatcherBuilder {
        self.runtime = self.runtime.elastic(elastic);
        if elastic {
            self.runtime = self.runtime.report_stalls_after(Duration::MAX);
        }
        self
    }

    /// How many workers there may be beyond [`workers`](DispatcherBuilder::workers) while some are stuck: [`Builder::max_spare_workers`](crate::Builder::max_spare_workers). None by default.
    pub fn max_spare_workers(mut self, workers: usize) -> DispatcherBuilder {
        self.runtime = self.runtime.max_spare_workers(workers);
        self
    }

    /// The size of its goroutines' stacks: [`Builder::stack_size`](crate::Builder::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> DispatcherBuilder {
        self.runtime = self.runtime.stack_size(bytes);
        self
    }

    /// In which order its workers run tasks: [`Builder::policy`](crate::Builder::policy).
    pub fn policy(mut self, policy: Policy) -> DispatcherBuilder {
        self.runtime = self.runtime.policy(policy);
        self
    }

    /// Makes the pool and starts its threads.
    ///
    /// # Errors
    /// As for [`Builder::build`](crate::Builder::build).
    pub fn build(self) -> io::Result<Dispatcher> {
        Ok(Dispatcher::pool(self.runtime.build_scheduler()?, true))
    }

    /// One that is never closed.
    pub(super) fn build_open(self) -> io::Result<Dispatcher> {
        Ok(Dispatcher::pool(self.runtime.build_scheduler()?, false))
    }
}
