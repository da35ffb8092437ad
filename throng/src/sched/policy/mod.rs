//! Policies: in which order a worker runs its goroutines, and how it comes by those of others. This is what users see of it; what makes them true is in `order.rs` (a worker's own
//! order), `by_policy.rs` (what a worker does with it) and `search.rs` (looking for work elsewhere). `docs/policies.md` has the table of what is kept of Go and Kotlin.
//!
//! A policy is either throng's own, which is a path of its own through the scheduler, or a set of [`Knobs`]. Knobs are checked when they are put together, so a policy that
//! exists is sound.

#![forbid(unsafe_code)]

mod builder;
mod counts;

use std::time::Duration;

pub use builder::PolicyBuilder;
pub(crate) use counts::Counts;
pub use counts::PolicyMetrics;

/// In which order the workers of a runtime run their goroutines, how they find work elsewhere, and whom they wake. See [`Builder::policy`](crate::Builder::policy).
///
/// - [`Policy::throng`], the default: those that are ready first come first served, between them new ones, the newest first. Made for trees of tasks, and for many that talk.
/// - [`Policy::go`]: what Go's scheduler does. The goroutine made ready last runs next, and shares its maker's time slice; the others run first come first served.
/// - [`Policy::kotlin`]: what `Dispatchers.Default` of kotlinx.coroutines does. Likewise, without time slices; who yields goes to the end of its worker's own queue.
/// - [`Policy::builder`]: one of your own, from the same parts.
///
/// A policy decides when something runs, never whether: whatever holds of goroutines, scopes and channels holds under each of them. A goroutine that has started stays
/// on its worker, as ever; where a policy would hand it to others it keeps its place in their line, and its own worker takes it when its turn comes. `docs/policies.md` tells, step by step, what is kept
/// of Go's and Kotlin's schedulers, what had to change, and when to choose which.
///
/// ```
/// use std::sync::Mutex;
/// use throng::{Policy, Runtime, scope};
///
/// let runtime = Runtime::builder().workers(1).policy(Policy::go()).build()?;
/// let ran = Mutex::new(Vec::new());
/// runtime.run(|| {
///     scope(|s| {
///         for name in ["a", "b", "c"] {
///             let ran = &ran;
///             s.go(move || ran.lock().unwrap().push(name));
///         }
///         Ok::<_, throng::Cancelled>(())
///     })
/// })?;
/// // The last one that was made runs next.
/// assert_eq!(ran.into_inner().unwrap(), ["c", "a", "b"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `None`: throng's own.
    knobs: Option<Knobs>,
}

impl Policy {
    /// The default: goroutines that are ready, first come first served; after each of them up to four new ones, the newest first; and what came from outside when there is nothing
    /// else, or has waited for 61 turns. An idle worker takes half of another's new goroutines once they are 100 µs old.
    #[must_use]
    pub fn throng() -> Policy {
        Policy { knobs: None }
    }

    /// What Go's scheduler does (`runtime/proc.go` of Go 1.27), as far as it can be done with goroutines that stay where they started.
    #[must_use]
    pub fn go() -> Policy {
        Policy { knobs: Some(Knobs::go()) }
    }

    /// What the scheduler of kotlinx.coroutines does (`CoroutineScheduler.kt` of 1.11), as far as it can be done with goroutines that stay where they started.
    #[must_use]
    pub fn kotlin() -> Policy {
        Policy { knobs: Some(Knobs::kotlin()) }
    }

    /// Begins a policy of your own, with what [`Policy::go`] does. [`PolicyBuilder::kotlin`] begins with the other.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::go()
    }

    pub(crate) fn knobs(&self) -> Option<&Knobs> {
        self.knobs.as_ref()
    }
}

/// [`Policy::throng`].
impl Default for Policy {
    fn default() -> Policy {
        Policy::throng()
    }
}

/// For how long the slot may be filled and emptied again before others get a turn. Two goroutines that wake each other through the slot would keep everybody else out for ever.
///
/// When it is spent, whoever lies in the slot is put where one that yields is put ([`YieldTo`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SlotBudget {
    /// Go: they share one time slice of this length, 10 ms there. It costs a look at the clock for each task taken from the slot.
    Time(Duration),
    /// So many tasks in a row are taken from the slot; three in tokio.
    Tasks(u32),
    /// No limit: a pair that talks can keep the other goroutines of its worker waiting for as long as it likes.
    Unlimited,
}

/// Whether an idle worker may take a new goroutine out of another's slot. (One that has started is never taken.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SlotSteal {
    /// tokio: never. Then nobody is woken for what is put there, either.
    Never,
    /// Kotlin: once it has lain there so long, 100 µs there. It costs a look at the clock for each goroutine put there.
    Aged(Duration),
    /// Go: on the last pass, after a pause, 3 µs there, in which its worker may well take it itself.
    LastPass(Duration),
}

/// Which end of a worker's own queue it takes from. Thieves take from the old end, always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LocalOrder {
    /// First come, first served: Go, Kotlin, tokio.
    OldestFirst,
    /// The last to come. The oldest may wait for as long as newer ones keep coming.
    NewestFirst,
}

/// What is moved to the global queue when a worker's own is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Overflow {
    /// Go, tokio: the older half of the queue, then the one that found no room.
    Half,
    /// Kotlin: the one that found no room.
    Newcomer,
}

/// When the global queue is looked at before the worker's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GlobalCheck {
    /// Every so many turns; every 61st in Go. What is taken from the slot in another's time slice is no turn.
    Every(u32),
    /// At random, each turn that there is something in the worker's own: one time in so many for each worker of the runtime (for two, if it has but one). Kotlin: 2, so one time in four with two
    /// workers.
    Random(u32),
    /// Only when the worker's own queue is empty.
    Never,
}

/// How many goroutines are taken from the global queue when a worker's own is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GlobalBatch {
    /// Kotlin: one.
    One,
    /// Go, tokio: this worker's share of them and one more, but no more than this; 128 there. The first is run, the others are put into its own queue.
    Share(usize),
}

/// How many goroutines a thief takes from a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StealAmount {
    /// Go, tokio: half of those that have not started, rounded up. The last of them is run first.
    Half,
    /// Kotlin: one.
    One,
}

/// How many workers may look for work in the queues of others at the same time. (One that nobody wakes keeps watch besides, in naps.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SearcherCap {
    /// Go: half as many as are busy.
    HalfOfBusy,
    /// tokio: half of all.
    HalfOfAll,
    /// Kotlin: all that are idle.
    Unlimited,
}

/// When a worker that rests is woken for a goroutine that another could take. (One that nobody else would see always wakes somebody.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Wake {
    /// Go, tokio: if none is looking for work.
    IfNoneSearches,
    /// Kotlin: always. The one that came to rest last.
    Always,
}

/// Where one that yields goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum YieldTo {
    /// Go: to the end of the global queue, behind all that its worker has.
    GlobalTail,
    /// Kotlin: to the end of its worker's own queue.
    LocalTail,
}

/// All that can be chosen. Checked by the builder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Knobs {
    pub(crate) slot: bool,
    pub(crate) slot_budget: SlotBudget,
    pub(crate) slot_steal: SlotSteal,
    pub(crate) local_order: LocalOrder,
    pub(crate) local_capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) global_check: GlobalCheck,
    pub(crate) global_batch: GlobalBatch,
    pub(crate) steal_amount: StealAmount,
    pub(crate) steal_passes: u32,
    pub(crate) searcher_cap: SearcherCap,
    pub(crate) wake: Wake,
    pub(crate) yield_to: YieldTo,
    pub(crate) poll_every: u32,
    pub(crate) seed: Option<u64>,
}

impl Knobs {
    /// `runtime/proc.go`: `runqput`, `findRunnable`, `stealWork`, `wakep`.
    fn go() -> Knobs {
        Knobs {
            slot: true,
            slot_budget: SlotBudget::Time(Duration::from_millis(10)),
            slot_steal: SlotSteal::LastPass(Duration::from_micros(3)),
            local_order: LocalOrder::OldestFirst,
            local_capacity: 256,
            overflow: Overflow::Half,
            global_check: GlobalCheck::Every(61),
            global_batch: GlobalBatch::Share(128),
            steal_amount: StealAmount::Half,
            steal_passes: 4,
            searcher_cap: SearcherCap::HalfOfBusy,
            wake: Wake::IfNoneSearches,
            yield_to: YieldTo::GlobalTail,
            poll_every: 1,
            seed: None,
        }
    }

    /// `CoroutineScheduler.kt`, `WorkQueue.kt`: `dispatch`, `findTask`, `trySteal`.
    fn kotlin() -> Knobs {
        Knobs {
            slot: true,
            // Kotlin has none: there others take what a talking pair keeps out. The number is that of tasks after which its limited dispatchers give way.
            slot_budget: SlotBudget::Tasks(16),
            slot_steal: SlotSteal::Aged(Duration::from_micros(100)),
            local_order: LocalOrder::OldestFirst,
            // Of the 128 places one stays free.
            local_capacity: 127,
            overflow: Overflow::Newcomer,
            global_check: GlobalCheck::Random(2),
            global_batch: GlobalBatch::One,
            steal_amount: StealAmount::One,
            steal_passes: 1,
            searcher_cap: SearcherCap::Unlimited,
            wake: Wake::Always,
            yield_to: YieldTo::LocalTail,
            poll_every: 64,
            seed: None,
        }
    }
}
