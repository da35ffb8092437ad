//! `CancelToken`: after Go's context tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::channel::RecvError;
use throng::{CancelToken, select};

use crate::common::{Dice, scaled};
use crate::ways::{each_way, pause};

#[test]
fn cancelling_goes_down_and_not_up() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let below = left.child();
    assert!(left.cancel() && !left.cancel());
    assert_eq!([&root, &left, &right, &below].map(CancelToken::is_cancelled), [false, true, false, true]);
    assert!(!below.cancel());
    assert!(root.cancel() && right.is_cancelled());
    assert!(root.child().is_cancelled(), "born cancelled");
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

/// Go's `TestSimultaneousCancels`.
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

/// Go's `TestLayersCancel`: a random tree; cancelling one cancels exactly what lies below it.
#[test]
fn random_trees() {
    let mut dice = Dice::new(3);
    for _ in 0..scaled(20, 200) {
        let mut tokens: Vec<(CancelToken, Option<usize>)> = vec![(CancelToken::new(), None)];
        for _ in 0..50 {
            let parent = dice.below(tokens.len() as u64) as usize;
            tokens.push((tokens[parent].0.child(), Some(parent)));
        }
        let chosen = dice.below(tokens.len() as u64) as usize;
        tokens[chosen].0.cancel();
        let mut cancelled = vec![false; tokens.len()];
        for (i, (token, parent)) in tokens.iter().enumerate() {
            cancelled[i] = i == chosen || parent.is_some_and(|parent| cancelled[parent]);
            assert_eq!(token.is_cancelled(), cancelled[i]);
        }
    }
}

/// A chain longer than a stack is deep is cancelled and dropped without recursion.
#[test]
fn long_chains() {
    for cancel in [true, false] {
        let root = CancelToken::new();
        let mut last = root.child();
        for _ in 0..scaled(20_000, 200_000) {
            last = last.child();
        }
        if cancel {
            root.cancel();
            assert!(last.is_cancelled());
        }
        drop(root);
        drop(last);
    }
}
