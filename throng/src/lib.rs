//! Goroutines and structured concurrency on one work-stealing scheduler.

// Layer 0: the machine.
mod lock;
mod rng;
mod shim;
// Layer 1: stacks, waiting, time.
mod cancelled;
#[cfg(not(loom))]
mod fiber;
mod home;
mod timer;
mod waiter;
mod waitq;
// Layer 2: tasks.
#[cfg(not(loom))]
mod task;
// Layer 3: who runs what.
#[cfg(not(loom))]
mod sched;
// Layer 4: runtimes, cancellation.
#[cfg(not(loom))]
mod cancel;
#[cfg(not(loom))]
mod rt;
// Layer 5: making tasks.
#[cfg(not(loom))]
mod scope;
#[cfg(not(loom))]
mod spawn;
// Layer 6: meeting.
pub mod channel;
pub mod select;
pub mod sync;
#[cfg(not(loom))]
mod time;
mod token;

pub use cancelled::Cancelled;
pub use channel::{Receiver, Sender, after, at, bounded, never, rendezvous, tick, unbounded};
pub use sync::{Mutex, MutexGuard, WaitGroup};
pub use token::CancelToken;
#[cfg(not(loom))]
pub use cancel::{Elapsed, check, deadline, is_cancelled, shield, timeout};
#[cfg(not(loom))]
pub use rt::{Builder, Runtime, metrics, run};
#[cfg(not(loom))]
pub use sched::{Metrics, WorkerMetrics, blocking, yield_now};
#[cfg(not(loom))]
pub use scope::{Outcomes, Scope, ScopeTask, ScopedJoinHandle, scope};
#[cfg(not(loom))]
pub use spawn::{JoinError, JoinHandle, SpawnError, Task, go, task, try_go};
#[cfg(not(loom))]
pub use time::{sleep, sleep_until};
#[cfg(feature = "macros")]
pub use throng_macros::{main, select, test};
