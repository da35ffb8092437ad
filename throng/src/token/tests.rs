//! What only the inside of the tree shows: places, who is freed, and in which order things are called.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::node::Leftover;
use super::slab::Slab;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// What was called, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u32>>>);

impl Log {
    fn note(&self, what: u32) {
        self.0.lock().unwrap().push(what);
    }

    fn on_cancel(&self, token: &CancelToken, what: u32) -> Hook {
        let log = self.clone();
        token.on_cancel_now(move |_| log.note(what))
    }

    fn read(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

/// Go's `TestCancelRemoves`, and the same for all other ways to go.
#[test]
fn who_goes_leaves_its_place() {
    let root = CancelToken::new();
    let go = |child: CancelToken, way: u32| match way {
        0 => drop(child),
        1 => assert!(child.cancel()),
        2 => {
            let below = child.child();
            drop(child);
            assert_eq!(root.node.below().0, 1, "what is below needs it");
            drop(below);
        }
        3 => {
            let hook = child.on_cancel_now(|_| unreachable!());
            drop(child);
            assert_eq!(root.node.below().0, 1, "the hook needs it");
            assert!(hook.remove());
        }
        _ => {
            let cancelled = child.child();
            drop(child.clone());
            drop(child);
            assert!(cancelled.cancel());
            assert_eq!(root.node.below().0, 0, "a cancelled token needs nobody");
        }
    };
    for way in 0..5 {
        for _ in 0..100 {
            go(root.child(), way);
            go(root.child_with_timeout(HOUR), way);
        }
        assert_eq!(root.node.below(), (0, 1), "way {way}");
    }
    for _ in 0..1000 {
        assert!(root.on_cancel_now(|_| unreachable!()).remove());
        assert!(root.on_cancel(|| unreachable!()).stop());
    }
    assert_eq!(root.node.below(), (0, 1));
    let kept = root.child();
    root.cancel();
    assert!(kept.is_cancelled() && root.node.below() == (0, 0));
    drop(kept);
    drop(root.child());
    assert_eq!(root.node.below(), (0, 0), "a cancelled token keeps no children");
}

#[test]
fn a_rush_leaves_nothing_behind() {
    let root = CancelToken::new();
    let children: Vec<_> = (0..10_000).map(|_| root.child()).collect();
    assert_eq!(root.node.below(), (10_000, 10_000));
    drop(children);
    assert_eq!(root.node.below(), (0, 0));
}

#[test]
fn a_slab_agrees_with_a_model() {
    let mut slab = Slab::new();
    let mut model: Vec<(usize, u32)> = Vec::new();
    let mut seed = 7_u64;
    for value in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let random = (seed >> 33) as usize;
        if random.is_multiple_of(2) || model.len() > 100 {
            if !model.is_empty() {
                let (at, value) = model.remove(random / 2 % model.len());
                assert_eq!(slab.remove(at), Some(value));
                assert_eq!(slab.remove(at), None);
            }
        } else {
            model.push((slab.insert(value), value));
        }
        assert_eq!(slab.len(), model.len());
    }
    let mut stack = vec![u32::MAX];
    slab.pour(&mut stack);
    model.reverse();
    assert!(stack[1..].iter().eq(model.iter().map(|(_, value)| value)), "the oldest comes off the stack first");
}

#[test]
fn cancelling_goes_in_the_order_of_attachment() {
    let log = Log::default();
    let root = CancelToken::new();
    let gap = root.child();
    let _first = log.on_cancel(&root, 1);
    let left = root.child();
    let _hook = log.on_cancel(&root, 5);
    drop(gap); // its place is given to the next
    let right = root.child();
    let below = left.child();
    let hooks = [(&right, 6), (&left, 3), (&below, 2), (&left, 4), (&root, 7)].map(|(token, what)| log.on_cancel(token, what));
    let late = log.on_cancel(&root, 8);
    assert!(late.remove() && !late.remove());
    root.cancel();
    assert_eq!(log.read(), [1, 2, 3, 4, 5, 6, 7]);
    assert!(hooks.iter().all(|hook| !hook.remove()));
    log.on_cancel(&root, 9);
    assert_eq!(log.read().last(), Some(&9), "called at once");
}

#[test]
fn hooks_are_given_the_cause() {
    let root = CancelToken::new();
    let (tx, rx) = mpsc::channel();
    let hear = |token: &CancelToken| {
        let (tx, token) = (tx.clone(), token.clone());
        token.clone().on_cancel_now(move |cause| tx.send((cause.to_string(), token.is_cancelled(), token.done().is_closed())).unwrap());
    };
    let below = root.child().child();
    hear(&root);
    hear(&below);
    root.cancel_with("why not");
    hear(&below);
    drop(tx);
    assert_eq!(rx.iter().collect::<Vec<_>>(), vec![("why not".to_owned(), true, true); 3]);
}

/// What hangs below dropped tokens is reached by those above, and goes with the last who could cancel it.
#[test]
fn what_nobody_can_cancel_is_freed() {
    let root = CancelToken::new();
    let log = Log::default();
    let middle = root.child();
    log.on_cancel(&middle.child(), 1);
    drop(middle);
    assert_eq!(Arc::strong_count(&log.0), 2, "the hook waits");
    root.cancel();
    assert_eq!(log.read(), [1]);

    let root = CancelToken::new();
    let (middle, other) = (root.child(), root.child());
    log.on_cancel(&middle.child(), 2);
    let node = Arc::downgrade(&middle.node);
    drop(middle);
    drop(root);
    assert!(node.upgrade().is_none() && Arc::strong_count(&log.0) == 1 && log.read() == [1], "freed, not called");
    assert!(!other.is_cancelled() && other.cancel());
}

/// A chain longer than a stack is deep, with nobody holding what is in between.
#[test]
fn long_chains_that_only_a_hook_keeps() {
    for cancel in [true, false] {
        let log = Log::default();
        let root = CancelToken::new();
        let mut last = root.child();
        for _ in 0..100_000 {
            last = last.child();
        }
        let hook = log.on_cancel(&last, 1);
        drop(last);
        assert_eq!(root.node.below().0, 1);
        if cancel {
            root.cancel();
            assert_eq!(log.read(), [1]);
        } else {
            assert!(hook.remove());
            assert_eq!(root.node.below().0, 0);
            // And downwards.
            let mut last = root.child();
            for _ in 0..100_000 {
                last = last.child();
            }
            log.on_cancel(&last, 1);
            drop(last);
            drop(root);
            assert_eq!(Arc::strong_count(&log.0), 1);
        }
    }
}

fn leftover(f: impl Fn() + Send + Sync + 'static) -> Leftover {
    Arc::new(f)
}

/// Leftovers are run when all is cancelled, and their panics harm nobody.
#[test]
fn leftovers_come_last() {
    let log = Log::default();
    let root = CancelToken::new();
    let late = root.child();
    let notes = log.clone();
    root.node.hook(Box::new(move |_| {
        notes.note(1);
        let late = late.clone();
        Some(leftover(move || {
            assert!(late.is_cancelled());
            notes.note(3);
            resume_unwind(Box::new("on purpose"));
        }))
    }));
    let notes = log.clone();
    root.node.hook(Box::new(move |_| {
        notes.note(2);
        Some(leftover(move || notes.note(4)))
    }));
    assert!(root.cancel());
    assert_eq!(log.read(), [1, 2, 3, 4]);
    let notes = log.clone();
    root.node.hook(Box::new(move |_| Some(leftover(move || notes.note(5)))));
    assert_eq!(log.read().last(), Some(&5), "here and now, since it is cancelled already");
}
