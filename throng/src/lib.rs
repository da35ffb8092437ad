//! Goroutines and structured concurrency on one work-stealing scheduler.
//!
//! A *goroutine* is a closure that runs on a small stack of its own. It is written as blocking code is: it receives, locks,
//! sleeps, joins. Where a thread would block, the goroutine *parks*, and its thread runs another one meanwhile. A few threads, the *workers*,
//! run any number of them.
//!
//! A [`scope`] starts goroutines that may borrow from its caller, and is not left before they have ended. When one fails,
//! the others are cancelled, and the failure comes out of the scope. Cancellation is a value: calls that park return a
//! `Result`, and `?` does the rest.
//!
//! ```
//! use throng::{Error, bounded, scope};
//!
//! fn main() -> Result<(), Error> {
//!     throng::run(|| {
//!         let words = ["share", "memory", "by", "communicating"];
//!         let (tx, rx) = bounded(2);
//!         let total = scope(|s| {
//!             for word in &words {
//!                 let tx = tx.clone();
//!                 s.go(move || Ok(tx.send(word.len())?)); // borrows `words`
//!             }
//!             drop(tx); // the last sender closes the channel
//!             Ok::<usize, Error>(rx.iter().sum())
//!         })?;
//!         assert_eq!(total, 26);
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # What is where
//!
//! | for | see |
//! |---|---|
//! | starting | [`run`], `#[throng::main]`, `#[throng::test]`; [`Runtime`] and its [`Builder`] for more than the defaults |
//! | goroutines that are waited for | [`scope`], [`Scope`], [`ScopedJoinHandle`]; [`scope_all`] for all its failures |
//! | goroutines that fail alone | [`supervisor()`], [`Supervisor`]; [`ExceptionHandler`] for failures nobody joins |
//! | goroutines on their own | [`go`], [`try_go`], [`JoinHandle`]; [`task`] to give them a name, and to say how they start |
//! | coroutines: futures as tasks | [`launch`], [`Scope::launch`]; [`future`], for the ways between goroutines and futures |
//! | values still to come | [`completable`], [`Scope::completable`] |
//! | the task tree | [`Job`], [`job()`]; [`cause()`] and [`Cause`] |
//! | what tasks inherit | [`context_local!`], [`ContextLocal`] |
//! | handing values over | [`channel`]: [`rendezvous`], [`bounded`], [`unbounded`] |
//! | many of one kind: a map, a limit, a race | [`map`], [`race`], [`race2`]; [`group()`], [`Group`]; [`Scope::limit`], [`Limited`] |
//! | waiting for one of several things | `select!`; [`select::Select`] for sets made at run time; [`after`], [`at`], [`tick`], [`never()`] |
//! | sharing values, counting | [`sync`]: [`Mutex`], [`WaitGroup`] |
//! | time | [`sleep`], [`sleep_until`], [`timeout`], [`deadline`] |
//! | being cancelled | [`Cancelled`], [`check`], [`is_cancelled`], [`shield`]; [`CancelToken`] to hand a cancellation around |
//! | errors | [`Error`] takes all of them; [`JoinError`], and those of [`channel`] |
//! | where tasks run | [`dispatch`]: [`Dispatcher`], [`dispatch::default`](dispatch::default()), [`dispatch::io`], [`dispatch::single`]; [`on`] |
//! | calls that block | [`blocking`], [`dispatch::io`] |
//! | giving way | [`yield_now`] |
//! | other orders: as in Go, as in Kotlin | [`Policy`], [`policy`] |
//! | looking in | [`metrics`], [`Metrics`]; [`Runtime::stalls`], [`Stall`], [`TaskKind`] |
//! | making channels, locks and waiting calls of one's own | [`core`] |
//!
//! Everything that parks a goroutine blocks the thread when it is called on a plain thread. So channels, locks and scopes work between goroutines and threads, and [`go`] on a
//! plain thread starts a default runtime.
//!
//! # What can go wrong
//!
//! **Calls that block.** A goroutine that calls `std::thread::sleep`, reads a file or waits in foreign code keeps its worker. Goroutines that
//! have not started move to other workers; those that have started there wait. Put such calls into [`blocking`].
//! The code inside runs on a thread that is no worker; what it starts runs on the caller's runtime.
//!
//! **No preemption.** A goroutine that computes for long without parking keeps its worker, too. Call [`yield_now`] now and then, which also returns its
//! cancellation; [`check`] only looks at that.
//!
//! **Pools that start empty.** A goroutine stays on the thread it started on. Goroutines that are started together and at once wait for work have all
//! started on one worker, and whatever they are sent to compute is computed on that one thread. Start a goroutine for each piece of work instead.
//!
//! **Stacks do not grow.** A goroutine has 256 KiB unless [`Builder::stack_size`] says otherwise: address space, of which
//! only touched pages cost memory. Deep recursion and large arrays in locals overflow it. The guard below it
//! catches that: the process reports the goroutine's name, the place it was spawned at and the size, and aborts.
//!
//! **`std`'s locks, held while parked.** A `std::sync::MutexGuard` held over a call that parks can deadlock: the next goroutine on this thread that wants the
//! lock blocks the thread, and the holder, which lives on the same thread, never runs again. The same is true of `RwLock`, and of a `Condvar` or `Barrier` of std's that waits
//! for a goroutine of the same thread. Use [`Mutex`], or let go of the guard first. For short sections that do not park, std's lock does well.
//!
//! **Thread-locals.** A goroutine stays on the thread it started on, so a reference to a thread-local stays good over a park. But others run there
//! meanwhile: they see the same variable, may change it, and find a `RefCell` in it borrowed if you parked with the borrow. Crates that set a thread-local for the
//! extent of a call and restore it at the end (`scoped-tls`, entered tracing spans) assume that such extents nest on a thread; goroutines interleave them. Do not park inside.
//!
//! **Panics while unwinding.** A panic ends its goroutine; its [`JoinHandle`] or scope passes it on. In a `Drop` that runs because of a panic, a goroutine cannot park (the standard library
//! counts panics by thread): calls that would park return [`Cancelled`] there, and [`blocking`] runs its closure in place. With `panic = "abort"` a
//! panic ends the process; cancellation works as ever, since it does not unwind.
//!
//! **The end of `main`.** When the closure given to [`run`] returns, goroutines that still run are cancelled and waited for. One that ignores its cancellation and never ends
//! keeps `run` from returning. What has to be finished belongs in a [`scope`].
//!
//! **Closures that only panic.** `s.go(|| panic!())` does not compile, since `!` is neither a `Result` nor `()`: write `|| -> () { .. }`.
//!
//! **Waiting for each other.** Nothing detects deadlocks. A goroutine that waits for a message nobody can send waits until it is cancelled.
//!
//! # Platforms
//!
//! Linux on x86-64 is what is tested. The code asks for a Unix, and for a processor that corosensei knows how to switch stacks on. On Linux 6.13 and
//! later a guard costs no mapping, and memory alone limits the number of goroutines that are parked at once. Before that each guard splits a mapping, and at the default `vm.max_map_count`
//! some 32,000 can be parked; more are refused, with an error that names the limit.
//!
//! The first runtime of a process registers it for the system call `membarrier`, if that is allowed. A sandbox that is put on later must go on allowing it.
//!
//! # Features
//!
//! - `macros` (on by default): `#[throng::main]`, `#[throng::test]` and `select!`.
//! - `backtrace`: reports of stuck goroutines say what these were doing. Reads other threads' stacks in a signal handler: see [`Builder::report_stalls_after`].
//! - `tracing`: such reports go to `tracing` instead of stderr.
//!
//! # Minimum Rust version
//!
//! 1.88. Raising it is a minor release.

// A model uses parts of what is here.
#![cfg_attr(loom, allow(dead_code, unused_imports, unreachable_pub))]

// The examples of the front page are run as documentation tests. (The file lies outside the package, but these are not run from one.)
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-kotlin.md")]
struct FromKotlin;
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-go.md")]
struct FromGo;
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-tokio.md")]
struct FromTokio;
#[cfg(doctest)]
#[doc = include_str!("../../docs/core.md")]
struct CoreGuide;
#[cfg(doctest)]
#[doc = include_str!("../../docs/policies.md")]
struct Policies;

// Layer 0: the machine.
mod biased_lock;
mod fence;
mod lock;
mod memory;
mod owned_lock;
mod rng;
mod shim;
// Layer 1: stacks, waiting, time.
mod cancelled;
mod cause;
mod context;
#[cfg(not(loom))]
mod fiber;
mod home;
mod kind;
mod panics;
#[cfg(not(loom))]
mod probe;
mod timer;
mod waiter;
mod waitq;
// Layer 2: tasks.
#[cfg(not(loom))]
mod task;
#[cfg(all(test, loom))]
#[path = "task/model.rs"]
mod task_model;
// Layer 3: who runs what.
#[cfg(not(loom))]
mod sched;
#[cfg(all(test, loom))]
#[path = "sched/model.rs"]
mod sched_model;
// Layer 4: the tree and its rules, runtimes.
#[cfg(not(loom))]
mod cancel;
#[cfg(not(loom))]
pub mod dispatch;
#[cfg(not(loom))]
mod handler;
#[cfg(not(loom))]
mod job;
#[cfg(not(loom))]
mod join;
#[cfg(not(loom))]
pub mod policy;
#[cfg(not(loom))]
mod rt;
#[cfg(not(loom))]
mod unseen;
// Layer 5: making tasks.
#[cfg(not(loom))]
mod scope;
#[cfg(not(loom))]
mod spawn;
// Layer 6: meeting.
pub mod channel;
pub mod core;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
pub mod future;
#[cfg(not(loom))]
mod group;
pub mod select;
pub mod sync;
#[cfg(not(loom))]
mod time;
mod token;

#[cfg(not(loom))]
pub use cancel::{Elapsed, check, deadline, is_cancelled, shield, timeout};
pub use cancelled::Cancelled;
pub use cause::{Cause, Completion, Failed};
pub use channel::{Receiver, Sender, after, at, bounded, never, rendezvous, tick, unbounded};
pub use context::ContextLocal;
#[cfg(not(loom))]
pub use dispatch::Dispatcher;
#[cfg(not(loom))]
pub use error::Error;
#[cfg(not(loom))]
pub use future::{Wait, shield_async, timeout_async, yield_now_async};
#[cfg(not(loom))]
pub use group::{Group, Limited, group, map, race, race2};
#[cfg(not(loom))]
pub use handler::{ExceptionHandler, Failure};
#[cfg(not(loom))]
pub use job::{Job, JobState, OnCompletion, cause, job};
#[cfg(not(loom))]
pub use join::{JoinError, Panic};
#[cfg(not(loom))]
pub use kind::TaskKind;
#[cfg(not(loom))]
pub use rt::{Builder, Runtime, metrics, run};
#[cfg(not(loom))]
pub use sched::policy::{Policy, PolicyBuilder};
#[cfg(not(loom))]
pub use sched::{Metrics, PolicyMetrics, Stall, WorkerMetrics, blocking, yield_now};
#[cfg(not(loom))]
pub use scope::{
    ChildFailure, Failures, Fallible, HowFailed, OnError, Outcomes, Scope, ScopeTask, ScopedCompletable, ScopedJoinHandle, ScopedJoining,
    Supervisor, SupervisorTask, on, scope, scope_all, supervisor,
};
#[cfg(not(loom))]
pub use spawn::{Completable, JoinHandle, Joining, SpawnError, Task, completable, go, launch, task, try_go, try_launch};
pub use sync::{Mutex, MutexGuard, WaitGroup};
#[cfg(feature = "macros")]
pub use throng_macros::{main, select, test};
#[cfg(not(loom))]
pub use time::{Sleeping, sleep, sleep_async, sleep_until, sleep_until_async};
pub use token::CancelToken;
#[cfg(not(loom))]
pub use token::OnCancel;
