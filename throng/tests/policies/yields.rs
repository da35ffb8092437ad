//! Where one that yields goes.

use throng::policy::{GlobalCheck, YieldTo};
use throng::{Policy, PolicyBuilder, yield_now};

use crate::log::{go_without_clock, order, run_one};

/// Go: behind all that its worker has and will have before. Kotlin: behind what its worker has now.
#[test]
fn to_the_global_tail_or_to_the_local() {
    let body = |policy| {
        order(policy, |s, log| {
            s.go(move || {
                log.note("y");
                yield_now()?;
                log.note("y again");
                Ok(())
            });
            s.go(move || {
                log.note("p");
                for name in ["q", "r"] {
                    s.go(move || log.note(name));
                }
                Ok(())
            });
            // Out of the slot, behind `y`.
            s.go(|| ());
            Ok(())
        })
    };
    assert_eq!(body(go_without_clock()), "y p r q y again");
    assert_eq!(body(Policy::kotlin()), "y p r y again q");
    let kotlin = PolicyBuilder::kotlin().global_check(GlobalCheck::Never);
    assert_eq!(body(kotlin.yield_to(YieldTo::GlobalTail).build().unwrap()), "y p r q y again");
    assert_eq!(body(PolicyBuilder::go().yield_to(YieldTo::LocalTail).build().unwrap()), "y p r y again q");
}

/// Several that yield keep their order, in the global queue as in the worker's own, and nobody else's is mixed up.
#[test]
fn in_turn() {
    for policy in [go_without_clock(), Policy::kotlin()] {
        let ran = order(policy, |s, log| {
            for name in ["a", "b", "c"] {
                s.go(move || {
                    for round in 0..3 {
                        log.note(format_args!("{name}{round}"));
                        yield_now()?;
                    }
                    Ok(())
                });
            }
            Ok(())
        });
        assert_eq!(ran, "c0 a0 b0 c1 a1 b1 c2 a2 b2");
    }
}

/// In the global queue it keeps its place among those from outside.
#[test]
fn among_those_from_outside() {
    let (ran, counts) = run_one(go_without_clock(), |s, log| {
        crate::log::submit_from_outside(s, log, &["x"]);
        log.note("main");
        yield_now()?;
        log.note("main again");
        crate::log::submit_from_outside(s, log, &["y", "z"]);
        yield_now()?;
        log.note("main at last");
        Ok(())
    });
    assert_eq!(ran.join(" "), "main x main again y z main at last");
    // Main, x with main's place behind it, y with z and main's place behind them.
    assert_eq!((counts.global_checks, counts.from_global, counts.from_local), (1, 3, 3));
}

/// Who yields alone goes on.
#[test]
fn alone() {
    for policy in [go_without_clock(), Policy::kotlin()] {
        let ran = order(policy, |_, log| {
            for round in 0..100 {
                yield_now()?;
                if round % 50 == 0 {
                    log.note(round);
                }
            }
            Ok(())
        });
        assert_eq!(ran, "0 50");
    }
}
