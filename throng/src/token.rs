//! Cancellation that is handed around by value: Go's `context.WithCancel`.
//!
//! Tokens form a tree: cancelling one cancels those below it. A token knows its children weakly, in a slab, and a child knows its
//! index there, so that one that is dropped leaves in O(1); a child keeps its parents alive, since it must hear of them.
//!
//! **The race** of `child` with `cancel` is decided by the slab's lock: a new child enters before the canceller takes all children out, and is
//! among them, or finds that they have been taken, and is cancelled by the one who made it.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::channel::{Receiver, Sender, rendezvous};
use crate::lock::SpinLock;
use crate::shim::{AtomicBool, AtomicUsize};

/// A cancellation to be handed around: whoever holds a clone can cancel, ask, or wait for it in a [`select!`](macro@crate::select).
///
/// It cancels no task by itself: tasks that heed it watch [`done`](CancelToken::done). To cancel tasks, see [`Scope::cancel`](crate::Scope::cancel) and
/// [`JoinHandle::cancel`](crate::JoinHandle::cancel). Cancelling a token cancels its [`child`](CancelToken::child)ren, but not its parent.
///
/// ```
/// use throng::channel::{RecvError, never};
/// use throng::{CancelToken, select};
///
/// let token = CancelToken::new();
/// let part = token.child();
/// token.cancel();
/// assert!(part.is_cancelled());
/// let stopped = select! {
///     recv(part.done()) -> end => end == Err(RecvError::Closed),
///     recv(never::<()>()) -> _ => false,
/// }?;
/// assert!(stopped);
/// # Ok::<(), throng::Cancelled>(())
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<Node>,
}

struct Node {
    cancelled: AtomicBool,
    /// Closed when the token is cancelled.
    closer: Sender<()>,
    done: Receiver<()>,
    children: SpinLock<Children>,
    parent: Option<Arc<Node>>,
    /// Our place among the parent's children. (Written by `child` only, before anyone else has the node.)
    place: AtomicUsize,
}

/// The place of one that is not among its parent's children.
const NOWHERE: usize = usize::MAX;

/// A slab: the free places form a list.
#[derive(Default)]
struct Children {
    places: Vec<Place>,
    free: Option<usize>,
    /// The token was cancelled, and the children taken out.
    taken: bool,
}

enum Place {
    Taken(Weak<Node>),
    Free(Option<usize>),
}

impl Children {
    /// The child's place, unless they have been taken.
    fn insert(&mut self, child: Weak<Node>) -> Option<usize> {
        if self.taken {
            return None;
        }
        let Some(at) = self.free else {
            self.places.push(Place::Taken(child));
            return Some(self.places.len() - 1);
        };
        if let Place::Free(next) = mem::replace(&mut self.places[at], Place::Taken(child)) {
            self.free = next;
        }
        Some(at)
    }

    /// Takes the child out, if it is there.
    fn remove(&mut self, at: usize) -> Option<Place> {
        let child = mem::replace(self.places.get_mut(at)?, Place::Free(self.free));
        self.free = Some(at);
        Some(child)
    }
}

impl Node {
    fn new(parent: Option<Arc<Node>>) -> Arc<Node> {
        let (closer, done) = rendezvous();
        Arc::new(Node {
            cancelled: AtomicBool::new(false),
            closer,
            done,
            children: SpinLock::new(Children::default()),
            parent,
            place: AtomicUsize::new(NOWHERE),
        })
    }

    fn is_cancelled(&self) -> bool {
        // Acquire pairs with the Release of `cancel`: what the canceller did before is seen.
        self.cancelled.load(Ordering::Acquire)
    }

    /// `None`: it was cancelled before. Else its children, to be cancelled too.
    fn cancel(&self) -> Option<Vec<Place>> {
        // Release: as in `is_cancelled`. The flag comes before the channel closes: who has seen `done` sees the flag.
        if self.cancelled.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.closer.close();
        let none = Children { taken: true, ..Children::default() };
        Some(mem::replace(&mut *self.children.lock(), none).places)
    }
}

impl CancelToken {
    /// A token with nothing above it.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken { node: Node::new(None) }
    }

    /// A token that is cancelled with this one, or by itself. (Cancelled from the start if this one is.)
    #[must_use]
    pub fn child(&self) -> CancelToken {
        let node = Node::new(Some(self.node.clone()));
        let weak = Arc::downgrade(&node);
        let place = self.node.children.lock().insert(weak);
        let child = CancelToken { node };
        match place {
            // Relaxed: the drop that reads it comes after all else that is done with the node.
            Some(at) => child.node.place.store(at, Ordering::Relaxed),
            None => {
                child.cancel();
            }
        }
        child
    }

    /// Cancels the token and all below it: their [`done`](CancelToken::done) receivers are closed. `true` if it was not cancelled before.
    pub fn cancel(&self) -> bool {
        let Some(mut below) = self.node.cancel() else { return false };
        // Not by recursion: a chain of tokens may be longer than a goroutine's stack is deep.
        while let Some(place) = below.pop() {
            if let Place::Taken(child) = place
                && let Some(child) = child.upgrade()
            {
                below.extend(child.cancel().into_iter().flatten());
            }
        }
        true
    }

    /// Whether the token, or one above it, was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// A receiver that never receives anything and is closed when the token is cancelled. (Closing it by hand is seen by all who wait for the token, and
    /// cancels nothing.)
    #[must_use]
    pub fn done(&self) -> Receiver<()> {
        self.node.done.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Leaves the parent. If it was the last to hold it, that one goes too, and so on: not by recursion, as in `cancel`.
        let mut parent = self.parent.take();
        // Relaxed: as in `child`.
        let mut at = self.place.load(Ordering::Relaxed);
        while let Some(node) = parent {
            let left = node.children.lock().remove(at);
            drop(left);
            at = node.place.load(Ordering::Relaxed);
            parent = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Go's `TestCancelRemoves`.
    #[test]
    fn children_that_are_dropped_leave_their_places() {
        let root = CancelToken::new();
        for _ in 0..1000 {
            let (first, second) = (root.child(), root.child());
            drop(first.clone());
            drop(first);
            drop(second);
        }
        assert_eq!(root.node.children.lock().places.len(), 2);
        let kept = root.child();
        root.cancel();
        assert!(kept.is_cancelled() && root.node.children.lock().places.is_empty());
        drop(kept);
        drop(root.child());
        assert!(root.node.children.lock().places.is_empty(), "a cancelled token keeps no children");
    }
}
