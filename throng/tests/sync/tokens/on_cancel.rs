//! `on_cancel`: Go's `TestAfterFunc..`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use throng::{CancelToken, Cause, unbounded};

use crate::common::{Aviary, panic_on_purpose, scaled, watched};
use crate::ways::{each_way, pause};

const MS: Duration = Duration::from_millis(1);

throng::context_local! { static WHO: &'static str; }

#[test]
fn it_runs_once_after_the_cancellation() {
    each_way(|_| {
        let token = CancelToken::new();
        let (tx, rx) = unbounded();
        let handle = token.on_cancel({
            let token = token.child();
            move || tx.send(token.cause().map(|cause| cause.to_string())).unwrap()
        });
        for _ in 0..10 {
            pause();
        }
        assert!(rx.is_empty());
        assert!(token.cancel_with("now") && !token.cancel());
        assert_eq!(rx.recv().unwrap().as_deref(), Some("now"));
        assert!(rx.recv().is_err(), "once, then its end of the channel is gone");
        assert!(!handle.stop());
    });
}

#[test]
fn it_runs_at_once_if_that_is_past() {
    each_way(|_| {
        for token in [CancelToken::new(), CancelToken::new().child_with_timeout(Duration::ZERO)] {
            token.cancel();
            let (tx, rx) = unbounded();
            let handle = token.on_cancel(move || tx.send(()).unwrap());
            assert!(rx.recv().is_ok() && rx.recv().is_err());
            assert!(!handle.stop());
        }
    });
}

/// Go's `TestAfterFuncNotCalledAfterStop`.
#[test]
fn it_does_not_run_after_stop() {
    each_way(|_| {
        let (token, aviary) = (CancelToken::new(), Aviary::new());
        let canary = aviary.canary();
        let stopped = token.on_cancel(move || {
            canary.sing();
            unreachable!("it was stopped");
        });
        assert!(stopped.stop() && !stopped.stop());
        assert_eq!(aviary.alive(), 0, "a closure that is stopped is dropped");
        let (tx, rx) = unbounded();
        token.on_cancel(move || tx.send(()).unwrap()); // takes the place of the other
        assert!(!stopped.stop());
        token.cancel();
        assert!(rx.recv().is_ok() && !stopped.stop());
    });
}

/// Go's `TestAfterFuncCalledOnParentCancelled`, and with nobody holding the child.
#[test]
fn it_runs_when_one_above_is_cancelled() {
    each_way(|_| {
        let root = CancelToken::new();
        let (tx, rx) = unbounded();
        let held = root.child().child();
        for token in [held.clone(), root.child().child()] {
            let (tx, cause) = (tx.clone(), root.clone());
            token.on_cancel(move || tx.send(cause.cause().unwrap().to_string()).unwrap());
        }
        drop(tx);
        root.cancel_with("from above");
        assert_eq!(rx.iter().collect::<Vec<_>>(), ["from above"; 2]);
        assert!(held.is_cancelled());
    });
}

/// Go's `TestAfterFuncCalledAfterTimeout`; again with nobody holding the token.
#[test]
fn it_runs_when_the_time_is_over() {
    each_way(|_| {
        let (tx, rx) = unbounded();
        let held = CancelToken::new().child_with_timeout(2 * MS);
        for token in [held.clone(), held.child().child_with_timeout(MS), CancelToken::new().child_with_timeout(MS)] {
            let tx = tx.clone();
            token.on_cancel(move || tx.send(()).unwrap());
        }
        drop(tx);
        assert_eq!(rx.iter().count(), 3);
        assert!(matches!(held.cause(), Some(Cause::Elapsed)));
    });
}

#[test]
fn what_nobody_can_cancel_is_dropped() {
    let aviary = Aviary::new();
    let token = CancelToken::new();
    let canary = aviary.canary();
    let handle = token.child().on_cancel(move || canary.sing());
    assert_eq!(aviary.alive(), 1);
    drop(token);
    assert_eq!(aviary.alive(), 0);
    assert!(!handle.stop());
}

/// Either it is stopped or it runs.
#[test]
fn stop_races_with_cancel() {
    each_way(|tasks| {
        for round in 0..scaled(50, 500) {
            let (token, ran) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
            let below = token.child();
            let (tx, rx) = unbounded::<()>();
            let handle = below.on_cancel({
                let ran = ran.clone();
                move || {
                    ran.fetch_add(1, Ordering::SeqCst);
                    drop(tx);
                }
            });
            tasks.go(move || {
                for _ in 0..round % 3 {
                    pause();
                }
                token.cancel();
            });
            for _ in 0..round % 5 {
                pause();
            }
            let stopped = handle.stop();
            assert!(rx.recv().is_err(), "it has run, or was dropped");
            tasks.join();
            assert_eq!(ran.load(Ordering::SeqCst), usize::from(!stopped));
        }
    });
}

/// It has a goroutine of its own: it may park, wait for others of its kind, and panic.
#[test]
fn each_has_a_goroutine() {
    each_way(|_| {
        let token = CancelToken::new();
        let (tx, rx) = throng::rendezvous();
        token.on_cancel(|| panic_on_purpose(1));
        token.on_cancel(move || tx.send(5).unwrap());
        token.on_cancel({
            let token = token.clone();
            move || assert!(!token.cancel())
        });
        token.cancel();
        assert_eq!(rx.recv(), Ok(5));
    });
}

#[test]
fn it_inherits_from_the_one_who_called() {
    each_way(|_| {
        let token = CancelToken::new();
        let (tx, rx) = unbounded();
        WHO.scope("caller", || token.on_cancel(move || tx.send(WHO.get()).unwrap()));
        WHO.scope("canceller", || token.cancel());
        assert_eq!(rx.recv(), Ok(Some("caller")));
    });
}

/// Any number, over and over.
#[test]
fn many() {
    watched("many", || {
        throng::run(|| {
            let root = CancelToken::new();
            let (tx, rx) = mpsc::channel();
            let handles: Vec<_> = (0..scaled(1000, 10_000))
                .map(|i| {
                    let tx = tx.clone();
                    root.on_cancel(move || tx.send(i).unwrap())
                })
                .collect();
            drop(tx);
            let stopped = handles.iter().step_by(3).filter(|handle| handle.stop()).count();
            assert_eq!(stopped, handles.len().div_ceil(3));
            root.cancel();
            let mut ran = Vec::new();
            while ran.len() < handles.len() - stopped {
                ran.extend(rx.try_iter());
                pause();
            }
            ran.sort_unstable();
            assert!(ran.iter().copied().eq((0..handles.len()).filter(|i| i % 3 != 0)));
        });
    });
}
