//! Tokens under the model checker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use super::CancelToken;

/// The race of `done` and `cause` with `cancel`: Go's `TestContextErrDoneRace`.
#[test]
fn loom_token_done_means_a_cause() {
    loom::model(|| {
        let token = CancelToken::new();
        let canceller = thread::spawn({
            let token = token.clone();
            move || token.cancel_with("why not")
        });
        if token.is_cancelled() {
            assert!(token.cause().is_some());
        }
        assert!(token.done().recv().is_err());
        assert!(token.is_cancelled());
        assert_eq!(token.cause().map(|cause| cause.to_string()).as_deref(), Some("why not"));
        assert!(canceller.join().unwrap());
    });
}

/// A hook is called or removed.
#[test]
fn loom_token_hook_is_called_or_removed() {
    loom::model(|| {
        let token = CancelToken::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let canceller = thread::spawn({
            let token = token.clone();
            move || token.cancel()
        });
        let hook = token.child().on_cancel_now({
            let calls = calls.clone();
            move |_| {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        });
        let removed = hook.remove();
        canceller.join().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), usize::from(!removed));
        assert_eq!(token.node.below().0, 0);
    });
}

/// The first of two causes wins, for all below.
#[test]
fn loom_token_has_one_canceller() {
    loom::model(|| {
        let token = CancelToken::new();
        let child = token.child();
        let other = thread::spawn({
            let child = child.clone();
            move || child.cancel_with("other")
        });
        token.cancel_with("one");
        let cause = child.cause().unwrap().to_string();
        let first = other.join().unwrap();
        assert_eq!(cause, if first { "other" } else { "one" });
        assert_eq!(token.node.below().0, 0);
    });
}

/// Whoever goes last takes those along that nobody needs any more.
#[test]
fn loom_token_uses_end_once() {
    loom::model(|| {
        let token = CancelToken::new();
        let middle = token.child();
        let below = middle.child();
        let other = thread::spawn(move || drop(below));
        drop(middle);
        other.join().unwrap();
        assert_eq!(token.node.below().0, 0);
    });
}

/// A child that goes while its parent is cancelled, or loses its token.
#[test]
fn loom_token_child_leaves_a_parent_that_goes() {
    for cancel in [false, true] {
        loom::model(move || {
            let root = CancelToken::new();
            let token = root.child();
            let child = token.child();
            // The model does not see who drops the last `Arc`, so it is this.
            let node = token.node.clone();
            let other = thread::spawn(move || drop(child));
            if cancel {
                token.cancel();
            }
            drop(token);
            other.join().unwrap();
            assert_eq!((node.below().0, root.node.below().0), (0, 0));
        });
    }
}
