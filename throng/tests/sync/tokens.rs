//! `CancelToken`: after Go's tests of `context` (`context/x_test.go`).

mod causes;
mod deadlines;
mod limits;
mod on_cancel;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng::channel::RecvError;
use throng::{CancelToken, select};

use crate::common::{Dice, scaled, watched};
use crate::ways::{each_way, pause};

/// A random tree, each token with the number of its parent, which is smaller than its own.
fn random_tree(dice: &mut Dice, size: usize, child: impl Fn(&mut Dice, &CancelToken) -> CancelToken) -> Vec<(CancelToken, Option<usize>)> {
    let mut tokens = vec![(CancelToken::new(), None)];
    while tokens.len() < size {
        let parent = dice.below(tokens.len() as u64) as usize;
        let token = child(dice, &tokens[parent].0);
        tokens.push((token, Some(parent)));
    }
    tokens
}

#[test]
fn cancelling_goes_down_and_not_up() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let below = left.child();
    assert!(left.cancel() && !left.cancel());
    assert_eq!([&root, &left, &right, &below].map(CancelToken::is_cancelled), [false, true, false, true]);
    assert_eq!([&root, &left, &right, &below].map(|token| token.check().is_ok()), [true, false, true, false]);
    assert_eq!([&root, &left, &right, &below].map(|token| token.done().is_closed()), [false, true, false, true]);
    assert!(!below.cancel());
    assert!(root.cancel() && right.is_cancelled());
    assert!(root.child().is_cancelled(), "born cancelled");
}

/// Go's `TestParentFinishesChild`, `TestChildFinishesFirst`.
#[test]
fn parents_end_their_children_and_are_not_ended_by_them() {
    let unrelated = CancelToken::new();
    for outlived in [false, true] {
        let parent = CancelToken::new();
        let child = parent.child();
        let detached = child.without_cancel();
        if outlived {
            assert!(child.cancel());
            assert!(child.is_cancelled() && !parent.is_cancelled());
        }
        assert!(parent.cancel());
        assert!(parent.is_cancelled() && child.is_cancelled());
        assert!(!detached.is_cancelled() && !unrelated.is_cancelled());
    }
}

/// A token is held by what hangs on it: those in between may be dropped.
#[test]
fn dropped_tokens_pass_on() {
    let root = CancelToken::new();
    let last = root.child().child().child();
    let done = last.done();
    assert!(root.clone().cancel());
    assert!(last.is_cancelled() && done.is_closed());
    // Nobody above is left.
    let orphan = CancelToken::new().child().child();
    assert!(!orphan.is_cancelled() && orphan.cancel());
}

#[test]
fn done_wakes_receivers_and_selects() {
    each_way(|tasks| {
        for round in 0..scaled(10, 100) {
            let token = CancelToken::new();
            let woken = Arc::new(AtomicUsize::new(0));
            for i in 0..6 {
                let (token, woken) = (if i % 2 == 0 { token.clone() } else { token.child() }, woken.clone());
                tasks.go(move || {
                    assert_eq!(token.done().recv(), Err(RecvError::Closed));
                    assert!(token.is_cancelled(), "whoever saw `done` sees the flag");
                    let end = select! { recv(token.done()) -> end => end, recv(throng::never::<()>()) -> _ => Ok(()) };
                    assert_eq!(end, Ok(Err(RecvError::Closed)));
                    woken.fetch_add(1, Ordering::SeqCst);
                });
            }
            for _ in 0..round % 8 {
                pause();
            }
            assert!(token.cancel());
            tasks.join();
            assert_eq!(woken.load(Ordering::SeqCst), 6);
        }
    });
}

#[test]
fn one_of_many_cancels_is_the_first() {
    each_way(|tasks| {
        for _ in 0..scaled(20, 200) {
            let root = CancelToken::new();
            let first = Arc::new(AtomicUsize::new(0));
            for _ in 0..4 {
                let (token, first) = (root.clone(), first.clone());
                tasks.go(move || {
                    let child = token.child();
                    if token.cancel() {
                        first.fetch_add(1, Ordering::SeqCst);
                    }
                    assert!(child.is_cancelled() || child.done().recv().is_err());
                });
            }
            tasks.join();
            assert_eq!(first.load(Ordering::SeqCst), 1);
        }
    });
}

/// Go's `TestSimultaneousCancels`: every token of a tree is cancelled by a task of its own, while others wait for it and add to it.
#[test]
fn simultaneous_cancels() {
    let dice = Mutex::new(Dice::new(11));
    each_way(|tasks| {
        for _ in 0..scaled(3, 20) {
            let mut tokens = vec![CancelToken::new()];
            for parent in 0..scaled(25, 100) {
                tokens.extend((0..4).map(|_| tokens[parent].child()).collect::<Vec<_>>());
            }
            let mut order: Vec<usize> = (0..tokens.len()).collect();
            for i in (1..order.len()).rev() {
                order.swap(i, dice.lock().unwrap().below(i as u64 + 1) as usize);
            }
            for batch in order.chunks(if tokens.len() > 200 { 100 } else { 25 }) {
                let batch: Vec<_> = batch.iter().map(|&i| tokens[i].clone()).collect();
                tasks.go(move || {
                    for token in batch {
                        let child = token.child();
                        token.cancel_with("simultaneously");
                        assert!(child.done().recv().is_err() && token.done().recv().is_err());
                        assert_eq!(child.cause().unwrap().to_string(), "simultaneously");
                    }
                });
            }
            for &i in order.iter().rev() {
                assert_eq!(tokens[i].done().recv(), Err(RecvError::Closed));
            }
            tasks.join();
            assert!(tokens.iter().all(CancelToken::is_cancelled));
        }
    });
}

/// Go's `TestInterlockedCancels`: a child is cancelled by one that has heard of its parent.
#[test]
fn interlocked_cancels() {
    each_way(|tasks| {
        for _ in 0..scaled(50, 500) {
            let parent = CancelToken::new();
            let child = parent.child();
            tasks.go({
                let (parent, child) = (parent.clone(), child.clone());
                move || {
                    assert!(parent.done().recv().is_err());
                    child.cancel();
                    parent.cancel();
                }
            });
            parent.cancel();
            assert!(child.done().recv().is_err());
            tasks.join();
        }
    });
}

/// Go's `TestLayersCancel`: cancelling one token of a random tree cancels exactly what lies below it.
#[test]
fn random_trees() {
    let mut dice = Dice::new(3);
    for (size, rounds) in [(50, scaled(20, 200)), (10_000, scaled(3, 20))] {
        for _ in 0..rounds {
            let tokens = random_tree(&mut dice, size, |_, parent| parent.child());
            let mut cancelled: Vec<Option<usize>> = vec![None; size];
            // One after another, each near the leaves more often than not.
            for _ in 0..4 {
                let chosen = dice.below(size as u64) as usize;
                let first = tokens[chosen].0.cancel_with(chosen.to_string());
                assert_eq!(first, cancelled[chosen].is_none());
                for i in 0..size {
                    let above = tokens[i].1.and_then(|parent| cancelled[parent]);
                    cancelled[i] = cancelled[i].or(above).or((i == chosen).then_some(chosen));
                    let (token, cause) = (&tokens[i].0, tokens[i].0.cause());
                    assert_eq!(cause.map(|cause| cause.to_string()), cancelled[i].map(|by| by.to_string()));
                    assert_eq!((token.is_cancelled(), token.done().is_closed()), (cancelled[i].is_some(), cancelled[i].is_some()));
                }
            }
        }
    }
}

/// Trees that grow, are cancelled and are dropped by several tasks at once.
#[test]
fn trees_that_change_meanwhile() {
    each_way(|tasks| {
        for seed in 0..scaled(4, 20) {
            let root = CancelToken::new();
            for task in 0..4 {
                let mut mine = vec![root.clone()];
                tasks.go(move || {
                    let mut dice = Dice::new((seed * 4 + task + 1) as u64);
                    for _ in 0..scaled(300, 2000) {
                        let at = dice.below(mine.len() as u64) as usize;
                        match dice.below(10) {
                            0 if at > 0 => {
                                mine[at].cancel();
                            }
                            1..5 if at > 0 => drop(mine.swap_remove(at)),
                            5 => drop(mine[at].child_with_timeout(Duration::from_secs(3600))),
                            _ => mine.push(mine[at].child()),
                        }
                    }
                    let kept = mine[0].child();
                    kept.done().recv().unwrap_err();
                    assert!(mine.iter().all(|token| token.done().recv().is_err()));
                });
            }
            for _ in 0..20 {
                pause();
            }
            root.cancel();
            tasks.join();
        }
    });
}

/// A chain longer than a stack is deep is cancelled and dropped without recursion: from above, from below, and with nobody holding what is
/// in between.
#[test]
fn long_chains() {
    let length = 100_000;
    for from_above in [true, false] {
        for cancel in [true, false] {
            let root = CancelToken::new();
            let mut last = root.child();
            for _ in 0..length {
                last = last.child();
            }
            if cancel {
                root.cancel();
                assert!(last.is_cancelled());
            }
            if from_above {
                drop(root);
                drop(last);
            } else {
                drop(last);
                drop(root);
            }
        }
    }
    // On the small stack of a goroutine, with all of them held.
    watched("goroutine", || {
        throng::run(|| {
            let mut chain = vec![CancelToken::new()];
            for i in 0..length {
                chain.push(chain[i].child());
            }
            chain[0].cancel();
            assert!(chain.iter().all(CancelToken::is_cancelled));
        });
    });
}
