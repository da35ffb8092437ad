//! Deadlines: Go's `TestDeadline`, `TestTimeout`, `TestCanceledTimeout`, `TestLayersTimeout`, `TestDeadlineExceededSupportsTimeout` and
//! their kin.

use std::time::{Duration, Instant};

use throng::{CancelToken, Cause, select};

use super::random_tree;
use crate::common::{Dice, scaled, watched};
use crate::ways::each_way;

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Waits for its end, which the clock brings and not before its time.
fn elapses(token: &CancelToken) {
    assert!(token.done().recv().is_err());
    let at = token.deadline().expect("it has a deadline");
    assert!(Instant::now() >= at, "early");
    assert!(matches!(token.cause(), Some(Cause::Elapsed)), "{token:?}");
}

#[test]
fn the_clock_cancels() {
    each_way(|_| {
        let root = CancelToken::new();
        for ms in [1, 3, 2, 7] {
            let start = Instant::now();
            let token = root.child_with_timeout(ms * MS);
            assert!(token.deadline().unwrap() >= start + ms * MS);
            let below = token.child();
            let chosen = select! { recv(below.done()) -> end => end.is_err(), after(LONG) => false };
            assert_eq!(chosen, Ok(true));
            elapses(&below);
            elapses(&token);
        }
        assert!(!root.is_cancelled() && root.deadline().is_none());
    });
}

#[test]
fn many_wait_for_the_clock() {
    each_way(|tasks| {
        let root = CancelToken::new();
        for i in 0..scaled(50, 500) as u32 {
            let token = root.child_with_timeout(i % 7 * MS);
            tasks.go(move || elapses(&token));
        }
        tasks.join();
    });
}

#[test]
fn the_nearest_deadline_counts() {
    let at = Instant::now() + LONG;
    let token = CancelToken::new().child_with_deadline(at);
    assert_eq!(token.deadline(), Some(at));
    assert_eq!(token.child().child().deadline(), Some(at), "inherited");
    assert_eq!(token.child_with_deadline(at + MS).child().deadline(), Some(at), "not later than the parent's");
    assert_eq!(token.child_with_deadline(at - MS).child().deadline(), Some(at - MS));
    assert_eq!(token.child_with_timeout(Duration::MAX).deadline(), Some(at));
    assert_eq!(token.without_cancel().deadline(), None);
    token.cancel();
    assert_eq!(token.child().deadline(), Some(at), "it stays, like Go's");
}

/// Go's chains of timeouts: a later one below an earlier one, and the other way round.
#[test]
fn chains_of_timeouts() {
    watched("chains", || {
        let soon = CancelToken::new().child_with_timeout(2 * MS);
        let later = soon.child_with_timeout(LONG);
        elapses(&later);
        elapses(&soon);
        let later = CancelToken::new().child_with_timeout(LONG);
        let soon = later.child_with_timeout(2 * MS).child().child_with_timeout(LONG);
        elapses(&soon);
        assert!(!later.is_cancelled());
    });
}

#[test]
fn past_and_far_deadlines() {
    let root = CancelToken::new();
    let now = Instant::now();
    for token in [root.child_with_timeout(Duration::ZERO), root.child_with_deadline(now), root.child_with_deadline(now - MS)] {
        assert!(token.done().is_closed() && token.is_cancelled() && matches!(token.cause(), Some(Cause::Elapsed)));
        elapses(&token.child());
    }
    let never = root.child_with_timeout(Duration::MAX);
    assert!(never.deadline().is_none() && never.check().is_ok());
    root.cancel();
    assert!(never.is_cancelled());
}

/// Go's `TestCanceledTimeout`.
#[test]
fn who_is_cancelled_before_keeps_the_cause() {
    watched("cancelled", || {
        let root = CancelToken::new();
        let (token, soon) = (root.child_with_timeout(LONG), root.child_with_timeout(5 * MS));
        token.cancel_with("enough");
        soon.cancel_with("enough");
        elapses(&root.child_with_deadline(soon.deadline().unwrap() + MS));
        for token in [token, soon] {
            assert_eq!(token.cause().unwrap().to_string(), "enough");
            assert!(token.done().is_closed());
        }
    });
}

/// The clock reaches tokens that nobody holds, through what hangs on them.
#[test]
fn dropped_tokens_keep_their_deadlines() {
    watched("dropped", || {
        let below = CancelToken::new().child_with_timeout(2 * MS).child().child();
        elapses(&below);
    });
}

/// Who asks need not wait for the clock.
#[test]
fn asking_is_as_good_as_the_clock() {
    for _ in 0..scaled(100, 1000) {
        let at = Instant::now() + Duration::from_micros(50);
        let token = CancelToken::new().child_with_deadline(at).child();
        let open = token.done();
        loop {
            let before = Instant::now();
            let cancelled = token.is_cancelled();
            assert!(cancelled || before < at, "late");
            if cancelled {
                break;
            }
        }
        assert!(Instant::now() >= at);
        // If the clock was quicker, it may just be about to close it.
        assert!(open.recv().is_err());
        elapses(&token);
    }
}

/// Go's `TestLayersTimeout`: a random tree with random deadlines; each token ends with the first of those above it, and not before.
#[test]
fn random_trees() {
    let mut dice = Dice::new(5);
    watched("trees", || {
        for _ in 0..scaled(2, 10) {
            let start = Instant::now();
            let tokens = random_tree(&mut dice, 10_000, |dice, parent| match dice.below(4) {
                0 => parent.child_with_deadline(start + dice.below(100_000) as u32 * Duration::from_micros(1)),
                1 => parent.child_with_deadline(start + LONG),
                _ => parent.child(),
            });
            let soon: Vec<bool> = tokens.iter().map(|(token, _)| token.deadline().is_some_and(|at| at < start + LONG)).collect();
            assert!(soon.iter().filter(|soon| **soon).count() > 1000, "most are below one with a deadline");
            for ((token, parent), soon) in tokens.iter().zip(&soon) {
                if let Some(parent) = parent {
                    let above = tokens[*parent].0.deadline();
                    assert!(above.is_none_or(|above| token.deadline().unwrap() <= above));
                }
                if *soon {
                    elapses(token);
                } else {
                    assert!(!token.is_cancelled() && !token.done().is_closed());
                }
            }
            tokens[0].0.cancel_with("the end");
            for ((token, _), soon) in tokens.iter().zip(soon) {
                assert_eq!(matches!(token.cause(), Some(Cause::Elapsed)), soon);
            }
        }
    });
}

/// However many deadlines, one thread. (Go's `TestCustomContextGoroutines`: derivation starts no goroutines.)
#[cfg(target_os = "linux")]
#[test]
fn one_thread_for_all() {
    let root = CancelToken::new();
    let tokens: Vec<_> = (0..1000).map(|_| root.child_with_timeout(LONG)).collect();
    let name = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok();
    let clocks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(name).filter(|name| name.trim() == "throng-clock").count();
    assert_eq!(clocks, 1);
    assert!(!tokens[999].is_cancelled());
}
