//! The tree of tokens: who is cancelled with whom.
//!
//! A node is *live*, then *cancelled*; and it is *tied* to its parent and to the clock, then *left*, at the latest when it is cancelled.
//! Neither goes back.
//!
//! **Ownership goes down.** A node is kept by its tokens, by its parent and, if it has a deadline of its own, by the clock; it knows its
//! parent weakly. What it is needed for is counted: its tokens, its children, its hooks. When nothing is left of these it leaves its parent
//! and the clock, and the parent may be the next. So whatever hangs below a token is reached by those who can still cancel it, though
//! nobody holds the tokens in between; and what nobody can cancel any more is freed.
//!
//! **The race** of a new child or hook with `cancel` is decided by the lock: either it enters before the canceller takes all entries out,
//! and is among them, or it finds the cause, and is cancelled by the one who brought it.
//!
//! Invariants:
//! - N1: the cause is set once, under the lock; the flag is raised after it, before the lock is released, and `done` is closed after that.
//! - N2: a cancelled node has no entries, and gets none.
//! - N3: only who holds a token adds uses. So a node that has run out of them gets no more, and leaves for good.
//! - N4: no user code runs, nobody is woken and no other lock is taken under a node's lock.
//! - N5: no recursion, neither up nor down: chains may be longer than stacks are deep.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::clock::{CLOCK, Key};
use super::slab::Slab;
use crate::cause::Cause;
use crate::channel::{Receiver, Sender, rendezvous};
use crate::lock::SpinLock;
use crate::shim::{AtomicBool, AtomicUsize};

pub(super) struct Node {
    cancelled: AtomicBool,
    /// Tokens, children and hooks. (A cancelled node has left: its count means nothing.)
    uses: AtomicUsize,
    /// The nearest of its own and those above.
    deadline: Option<Instant>,
    parent: Weak<Node>,
    state: SpinLock<State>,
}

struct State {
    /// Set: cancelled.
    cause: Option<Cause>,
    /// Made when it is first asked for.
    done: Option<(Sender<()>, Receiver<()>)>,
    below: Slab<Entry>,
    ties: Ties,
}

/// What keeps a node from above. Taken out by the one who is to untie it.
#[derive(Default)]
struct Ties {
    /// Its place among the parent's entries.
    place: Option<usize>,
    alarm: Option<Key>,
}

/// What is to be done when a node is cancelled.
enum Entry {
    Child(Arc<Node>),
    Call(Call),
}

/// Called by the canceller, who goes on when it returns: it must neither park nor panic.
pub(super) type Call = Box<dyn FnOnce(&Cause) -> Option<Leftover> + Send>;

/// What a call could not get a goroutine for: does it, the first time it is called. Whoever cancelled does it himself, when all is
/// cancelled.
pub(super) type Leftover = Arc<dyn Fn() + Send + Sync>;

impl Node {
    /// Below `parent` if that is alive, but not yet among its children. With one use: the token it is made for.
    fn new(parent: Weak<Node>, deadline: Option<Instant>) -> Arc<Node> {
        let state = State { cause: None, done: None, below: Slab::new(), ties: Ties::default() };
        Arc::new(Node { cancelled: AtomicBool::new(false), uses: AtomicUsize::new(1), deadline, parent, state: SpinLock::new(state) })
    }

    pub(super) fn root() -> Arc<Node> {
        Node::new(Weak::new(), None)
    }

    /// With one use, as in `new`.
    pub(super) fn child(self: &Arc<Node>, deadline: Option<Instant>) -> Arc<Node> {
        let own = deadline.filter(|own| self.deadline.is_none_or(|above| *own < above));
        let node = Node::new(Arc::downgrade(self), own.or(self.deadline));
        match self.attach(Entry::Child(node.clone())) {
            // If we are cancelled meanwhile it is a place in an empty slab (N2): no harm.
            Ok(place) => node.state.lock().ties.place = Some(place),
            Err((entry, cause)) => run_here(walk(vec![entry], &cause)),
        }
        if let Some(at) = own
            && !node.is_cancelled()
        {
            node.set_alarm(at);
        }
        node
    }

    fn set_alarm(self: &Arc<Node>, at: Instant) {
        if at <= Instant::now() {
            self.cancel(Cause::Elapsed);
            return;
        }
        let alarm = CLOCK.set(at, self.clone());
        let mut state = self.state.lock();
        if state.cause.is_none() {
            state.ties.alarm = Some(alarm);
        } else {
            // The one who cancelled it has untied it without this.
            drop(state);
            CLOCK.remove(alarm);
        }
    }

    /// `call` is called when this is cancelled: at once if it is.
    pub(super) fn hook(self: &Arc<Node>, call: Call) -> Hook {
        match self.attach(Entry::Call(call)) {
            Ok(place) => Hook { node: Arc::downgrade(self), place: AtomicUsize::new(place) },
            Err((entry, cause)) => {
                run_here(walk(vec![entry], &cause));
                Hook { node: Weak::new(), place: AtomicUsize::new(GONE) }
            }
        }
    }

    /// The entry's place; or the entry, to be dealt with by the caller, since the node is cancelled.
    fn attach(&self, entry: Entry) -> Result<usize, (Entry, Cause)> {
        let mut state = self.state.lock();
        if let Some(cause) = state.cause.clone() {
            return Err((entry, cause));
        }
        self.add_use();
        Ok(state.below.insert(entry))
    }

    pub(super) fn add_use(&self) {
        // Relaxed: whoever adds one has one, so it cannot be the last that goes (N3).
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// `true`: that was the last use.
    fn drop_use(&self) -> bool {
        // Release, Acquire: pairs with itself: what the others did to the node comes before its leaving.
        self.uses.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// A token, a child or a hook has gone. If it was the last, so goes the node, and those above that nothing else needs.
    pub(super) fn end_use(&self) {
        if self.drop_use() {
            leave_upwards(self.leave());
        }
    }

    /// Leaves the parent, if it has not yet. The parent, if that was its last use.
    fn leave(&self) -> Option<Arc<Node>> {
        let ties = mem::take(&mut self.state.lock().ties);
        self.untie(ties)
    }

    fn untie(&self, ties: Ties) -> Option<Arc<Node>> {
        if let Some(alarm) = ties.alarm {
            CLOCK.remove(alarm);
        }
        let (place, parent) = (ties.place?, self.parent.upgrade()?);
        let entry = parent.state.lock().below.remove(place)?;
        drop(entry);
        parent.drop_use().then_some(parent)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        // Acquire pairs with the Release of `strike`: what the canceller did before is seen.
        self.cancelled.load(Ordering::Acquire)
    }

    /// Whether the clock is late to cancel it.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|at| at <= Instant::now())
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.state.lock().cause.clone()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn done(&self) -> Receiver<()> {
        let mut made = None;
        loop {
            let mut state = self.state.lock();
            if state.done.is_none() {
                state.done = made.take();
            }
            if let Some((closer, done)) = &state.done {
                let done = done.clone();
                // It may have been made too late for the canceller to close it.
                let closer = state.cause.is_some().then(|| closer.clone());
                drop(state);
                if let Some(closer) = closer {
                    closer.close();
                }
                return done;
            }
            drop(state);
            made = Some(rendezvous());
        }
    }

    /// Cancels this one alone. `None`: it was cancelled before. Else what is below it, and what it was tied to.
    fn strike(&self, cause: &Cause) -> Option<(Slab<Entry>, Ties)> {
        let mut state = self.state.lock();
        if state.cause.is_some() {
            return None;
        }
        state.cause = Some(cause.clone());
        // Release pairs with the Acquire of `is_cancelled`. Under the lock: who sees the flag finds the cause (N1).
        self.cancelled.store(true, Ordering::Release);
        let closer = state.done.as_ref().map(|(closer, _)| closer.clone());
        let below = mem::replace(&mut state.below, Slab::new());
        let ties = mem::take(&mut state.ties);
        drop(state);
        if let Some(closer) = closer {
            closer.close();
        }
        Some((below, ties))
    }

    /// Cancels it and all below, each before those that are below it, those with one parent in the order they came to it. `false`: it was
    /// cancelled before.
    pub(super) fn cancel(&self, cause: Cause) -> bool {
        self.cancel_tree(&cause).map(run_here).is_some()
    }

    /// `cancel`, which leaves the leftovers to the caller.
    pub(super) fn cancel_tree(&self, cause: &Cause) -> Option<Vec<Leftover>> {
        let (below, ties) = self.strike(cause)?;
        leave_upwards(self.untie(ties));
        let mut stack = Vec::new();
        below.pour(&mut stack);
        Some(walk(stack, cause))
    }

    #[cfg(test)]
    pub(super) fn below(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.below.len(), state.below.places())
    }
}

/// A node that has no uses leaves its parent, which may have none then, and so on.
fn leave_upwards(mut unused: Option<Arc<Node>>) {
    while let Some(node) = unused {
        unused = node.leave();
    }
}

/// Deals with these entries of a cancelled node and with all below them, the last one first.
fn walk(mut stack: Vec<Entry>, cause: &Cause) -> Vec<Leftover> {
    let mut leftovers = Vec::new();
    while let Some(entry) = stack.pop() {
        match entry {
            Entry::Call(call) => leftovers.extend(call(cause)),
            Entry::Child(child) => {
                if let Some((below, ties)) = child.strike(cause) {
                    // It has no place any more (N2), but perhaps an alarm.
                    if let Some(alarm) = ties.alarm {
                        CLOCK.remove(alarm);
                    }
                    below.pour(&mut stack);
                }
            }
        }
    }
    leftovers
}

pub(super) fn run_here(leftovers: Vec<Leftover>) {
    for leftover in leftovers {
        contain(|| leftover());
    }
}

/// A panic goes no further than to the panic hook.
pub(super) fn contain<R>(f: impl FnOnce() -> R) -> Option<R> {
    // The payload is kept: its drop could panic, too.
    catch_unwind(AssertUnwindSafe(f)).map_err(mem::forget).ok()
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nobody can cancel it any more, nor what only it kept.
        let mut stack = Vec::new();
        mem::replace(&mut self.state.lock().below, Slab::new()).pour(&mut stack);
        while let Some(entry) = stack.pop() {
            if let Entry::Child(child) = entry
                && let Some(child) = Arc::into_inner(child)
            {
                let below = mem::replace(&mut child.state.lock().below, Slab::new());
                below.pour(&mut stack);
            }
        }
    }
}

/// A call that waits for a cancellation. Dropping this leaves it where it is.
pub(crate) struct Hook {
    /// Dead if it was called at once.
    node: Weak<Node>,
    place: AtomicUsize,
}

/// The place of a hook that has been taken out, or never was in.
const GONE: usize = usize::MAX;

impl Hook {
    /// Takes it out, in O(1). `true`: it was there, and now will not be called.
    pub(crate) fn remove(&self) -> bool {
        // Relaxed: it is about who gets the place; all else is under the lock.
        let place = self.place.swap(GONE, Ordering::Relaxed);
        if place == GONE {
            return false;
        }
        let Some(node) = self.node.upgrade() else { return false };
        let entry = node.state.lock().below.remove(place);
        if entry.is_some() {
            node.end_use();
        }
        entry.is_some()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: of the moment.
        f.debug_struct("Hook").field("removed", &(self.place.load(Ordering::Relaxed) == GONE)).finish_non_exhaustive()
    }
}
