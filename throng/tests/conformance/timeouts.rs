//! Limits of time: whose limit ended what, and what is done with what the code inside made of it.

mod nesting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use throng::{
    Elapsed, bounded, check, deadline, go, is_cancelled, rendezvous, scope, shield, sleep, sleep_until, task, timeout, yield_now,
};

use crate::common::{Aviary, panic_on_purpose, watched};
use crate::trace::{FOREVER, Log, Oops, forever, on_all, on_one, until, why_here};

/// Soon enough to wait for, and long enough for a block to begin: one whose limit is over by then is not run.
const SHORT: Duration = Duration::from_millis(10);

/// Computes until then, without a call that parks.
fn compute_until(at: Instant) {
    while Instant::now() < at {
        std::hint::spin_loop();
    }
}

/// Waits until the limit around it has been reached, without noticing.
fn unnoticed() {
    until(|| throng::cause().is_some());
}

/// With a limit of zero, or in the past, the block is not run: in a cancelled task, too.
#[test]
fn zero_limit_does_not_run() {
    on_all(|| {
        let log = Log::new();
        let run = |log: &Log| {
            let zero = timeout(Duration::ZERO, || log.add("ran"));
            let past = deadline(Instant::now(), || log.add("ran"));
            log.add(format!("{zero:?} {past:?}"));
        };
        run(&log);
        let task = task().atomic().go({
            let log = log.clone();
            move || {
                until(is_cancelled);
                run(&log);
            }
        });
        task.cancel();
        task.join().unwrap();
        log.says(&["Err(Elapsed) Err(Elapsed)", "Err(Elapsed) Err(Elapsed)"]);
    });
}

/// The block runs in the caller, at once; a value in time is the result.
#[test]
fn value_in_time() {
    on_one(|| {
        let log = Log::new();
        let other = go({
            let log = log.clone();
            move || log.add("other")
        });
        let me = throng::job();
        let result = timeout(FOREVER, || {
            assert_eq!(throng::job(), me);
            "value"
        });
        log.add(format!("{result:?}"));
        other.join().unwrap();
        log.says(&[r#"Ok("value")"#, "other"]);
    });
}

/// On expiry the block is cancelled, its children are and are waited for, and then `Elapsed` comes out.
#[test]
fn expiry_cancels_the_block_and_its_children() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            let result = scope(|s| {
                let log = &log;
                s.task().undispatched().go(move || {
                    let _ = forever();
                    for _ in 0..10 {
                        shield(yield_now).unwrap();
                    }
                    log.add(format!("child: {}", why_here()));
                });
                let result = forever();
                log.add(format!("body: {result:?} {}", why_here()));
                Ok::<_, Oops>(())
            });
            log.add(format!("scope: {result:?}"));
            result
        });
        log.add(format!("{result:?} {:?}", check()));
        let mut events = [
            "body: Err(Cancelled) the time limit was reached",
            "child: the time limit was reached",
            "scope: Err(Cancelled)",
            "Err(Elapsed) Ok(())",
        ];
        events.sort_unstable();
        log.says_sorted(&events);
    });
}

/// A scope that only waits is ended, too.
#[test]
fn expiry_ends_a_scope_that_waits() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            scope(|s| {
                let log = &log;
                s.go(move || {
                    let result = forever();
                    log.add(format!("{result:?} {}", why_here()));
                });
                Ok::<_, Oops>("value")
            })
        });
        // The child may not have started by then.
        assert!(log.len() <= 1);
        if log.len() == 1 {
            log.says(&["Err(Cancelled) the time limit was reached"]);
        }
        log.add(format!("{result:?}"));
        log.says(&["Err(Elapsed)"]);
    });
}

/// A panic in the block wins over the limit.
#[test]
fn panic_wins_over_the_limit() {
    on_all(|| {
        let log = Log::new();
        for noticed in [false, true] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                timeout(SHORT, || {
                    if noticed {
                        assert!(forever().is_err());
                    } else {
                        unnoticed();
                    }
                    panic_on_purpose(1)
                })
            }));
            log.add(format!("{} {:?}", result.is_err(), yield_now()));
        }
        log.says(&["true Ok(())", "true Ok(())"]);
    });
}

/// DIFFERS: in Kotlin a failure thrown in the block wins over the timeout. Here an `Err` is part of the block's result, and of that `timeout` knows nothing: once the block has met its limit
/// the result is `Elapsed`, whatever the block returns; before, the error is the result.
#[test]
fn error_after_the_limit_was_met_is_dropped() {
    on_all(|| {
        let log = Log::new();
        let aviary = Aviary::new();
        for noticed in [false, true] {
            let result = timeout(SHORT, || {
                if noticed {
                    assert!(forever().is_err());
                } else {
                    unnoticed();
                }
                Err::<(), _>((Oops::Bad("block"), aviary.canary()))
            });
            log.add(format!("{:?}", result.map(|result| result.map_err(|(error, _)| error))));
            assert_eq!(aviary.alive(), 0);
        }
        log.says(&[r#"Ok(Err(Bad("block")))"#, "Err(Elapsed)"]);
    });
}

/// A failure of a child that ends the block comes first, and is the result.
#[test]
fn failure_before_the_limit_wins() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(FOREVER, || {
            scope(|s| {
                s.go(|| Err::<(), _>(Oops::Bad("child")));
                forever()?;
                Ok(())
            })
        });
        log.add(format!("{result:?}"));
        // The other way round: the limit is inside of the scope that fails.
        let result = scope(|s| {
            s.go(|| Err::<(), _>(Oops::Bad("child")));
            let inner = timeout(FOREVER, forever);
            log.add(format!("inner: {inner:?}"));
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&[r#"Ok(Err(Bad("child")))"#, "inner: Ok(Err(Cancelled))", r#"Err(Bad("child"))"#]);
    });
}

/// A block that never parks and comes to its value late has come to it: a value wins.
#[test]
fn late_value_of_a_block_that_does_not_notice() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            compute_until(Instant::now() + SHORT * 2);
            "computed"
        });
        log.add(format!("{result:?}"));
        let result = timeout(SHORT, || {
            unnoticed();
            "in a shield"
        });
        log.add(format!("{result:?} {:?}", check()));
        log.says(&[r#"Ok("computed")"#, r#"Ok("in a shield") Ok(())"#]);
    });
}

/// As in Kotlin, `isActive` turns false when the time is over: a block that computes and asks is told, though it never gives way.
#[test]
fn limit_is_noticed_by_asking() {
    on_one(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            compute_until(Instant::now() + SHORT * 2);
            log.add(format!("asked: {} {:?}", is_cancelled(), check()));
            check()
        });
        log.add(format!("{result:?}"));
        log.says(&["asked: true Err(Cancelled)", "Err(Elapsed)"]);
    });
}

/// As in Kotlin, a block that swallows the cancellation of its own limit does not save its value.
#[test]
fn value_after_the_limit_was_met_is_lost() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            assert!(forever().is_err());
            log.add(format!("again: {:?}", yield_now()));
            "swallowed"
        });
        log.add(format!("{result:?}"));
        log.says(&["again: Err(Cancelled)", "Err(Elapsed)"]);
    });
}

/// `Elapsed` is for the limit's own: one further out passes through those inside ..
#[test]
fn outer_limit_passes_through_the_inner() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            let inner = timeout(FOREVER, || {
                let innermost = timeout(FOREVER, forever);
                log.add(format!("innermost: {innermost:?}"));
                forever()
            });
            log.add(format!("inner: {inner:?} {}", why_here()));
            inner
        });
        log.add(format!("outer: {result:?} {:?}", check()));
        log.says(&["innermost: Ok(Err(Cancelled))", "inner: Ok(Err(Cancelled)) the time limit was reached", "outer: Err(Elapsed) Ok(())"]);
    });
}

/// .. and one further in leaves those outside alone.
#[test]
fn inner_limit_leaves_the_outer_alone() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(FOREVER, || {
            let inner = timeout(SHORT, forever);
            log.add(format!("inner: {inner:?} {:?}", yield_now()));
            "value"
        });
        log.add(format!("outer: {result:?}"));
        // Also when the outer is reached, but not met.
        let result = timeout(SHORT, || {
            let inner = shield(|| timeout(SHORT, forever));
            unnoticed();
            inner
        });
        log.add(format!("outer: {result:?}"));
        log.says(&["inner: Err(Elapsed) Ok(())", r#"outer: Ok("value")"#, "outer: Ok(Err(Elapsed))"]);
    });
}

/// The same moment for both: which of the two ended the block is open, but one of them says so, and neither outlives it.
#[test]
fn both_limits_at_once() {
    on_all(|| {
        let at = Instant::now() + SHORT;
        let mut inner = None;
        let outer = deadline(at, || inner = Some(deadline(at, forever)));
        let said = inner.map_or(String::new(), |inner| format!("{inner:?} {outer:?}"));
        // Or it was over before anything began.
        let possible = ["", "Ok(Err(Cancelled)) Err(Elapsed)", "Err(Elapsed) Err(Elapsed)", "Err(Elapsed) Ok(())"];
        assert!(possible.contains(&said.as_str()), "{said}");
        assert_eq!(yield_now(), Ok(()));
    });
}

/// The cancellation of the task is not the limit's: the result of the block comes out.
#[test]
fn cancellation_of_the_task_is_not_elapsed() {
    on_all(|| {
        let log = Log::new();
        let (up, is_up) = rendezvous();
        let task = go({
            let log = log.clone();
            move || {
                let result = timeout(FOREVER, || {
                    up.send(()).unwrap();
                    forever()
                });
                log.add(format!("{result:?} {}", why_here()));
                // In a cancelled task the block runs, and meets that.
                let result = timeout(FOREVER, || {
                    log.add("runs");
                    forever()
                });
                log.add(format!("{result:?}"));
            }
        });
        is_up.recv().unwrap();
        task.cancel_with("stop");
        task.join().unwrap();
        log.says(&["Ok(Err(Cancelled)) stop", "runs", "Ok(Err(Cancelled))"]);
    });
}

/// Cancelled when the limit has been met: the task's cancellation is the wider one, and no `Elapsed` hides it.
#[test]
fn cancellation_after_the_limit_was_met() {
    on_all(|| {
        let log = Log::new();
        let (up, is_up) = rendezvous();
        let task = go(move || {
            let result = timeout(SHORT, || {
                assert!(forever().is_err());
                shield(|| up.send(())).unwrap();
                let me = throng::job().unwrap();
                until(|| me.is_cancelled());
                "value"
            });
            format!("{result:?}")
        });
        is_up.recv().unwrap();
        task.cancel();
        log.add(task.join().unwrap());
        log.says(&[r#"Ok("value")"#]);
    });
}

/// DIFFERS: a TimeoutCancellationException that escapes from a coroutine cancels just that one. `Elapsed` is an error like others: what becomes of it is the code's choice, and if it makes it the
/// child's error, the scope fails.
#[test]
fn elapsed_that_escapes_is_a_failure() {
    on_all(|| {
        let log = Log::new();
        let result = scope(|s| {
            let child = s.go(|| timeout(SHORT, forever).map(drop).map_err(|Elapsed { .. }| Oops::Bad("elapsed")));
            log.add(format!("{:?}", child.join()));
            Ok(())
        });
        log.add(format!("{result:?}"));
        // A root's is its value.
        log.add(format!("{:?}", go(|| timeout(SHORT, forever)).join().unwrap()));
        log.says(&["Err(Failed)", r#"Err(Bad("elapsed"))"#, "Err(Elapsed)"]);
    });
}

/// Inside a `shield` a limit from outside is not met; it is afterwards. One from inside is.
#[test]
fn limits_and_shields() {
    on_all(|| {
        let log = Log::new();
        let result = timeout(SHORT, || {
            shield(|| {
                let at = Instant::now() + SHORT * 2;
                log.add(format!("shielded: {:?}", sleep_until(at)));
                log.add(format!("inside: {:?}", timeout(SHORT, forever)));
                log.add(format!("shielded: {:?}", yield_now()));
            });
            yield_now()
        });
        log.add(format!("{result:?}"));
        log.says(&["shielded: Ok(())", "inside: Err(Elapsed)", "shielded: Ok(())", "Err(Elapsed)"]);
    });
}

/// When a limit was not reached nothing of it is left, however the block ended.
#[test]
fn limit_in_time_leaves_nothing() {
    on_all(|| {
        let log = Log::new();
        for _ in 0..50 {
            let _ = timeout(SHORT, || ());
            let _ = catch_unwind(AssertUnwindSafe(|| timeout(SHORT, || panic_on_purpose(1))));
        }
        let (_tx, rx) = bounded::<()>(1);
        // Longer than those.
        log.add(format!("{:?}", timeout(SHORT * 5, || rx.recv())));
        log.add(format!("{:?}", sleep(SHORT * 2)));
        log.says(&["Err(Elapsed)", "Ok(())"]);
    });
}

/// On a plain thread, too.
#[test]
fn limits_on_a_plain_thread() {
    watched("a thread", || {
        let log = Log::new();
        log.add(format!("{:?}", timeout(SHORT, forever)));
        log.add(format!("{:?}", timeout(Duration::ZERO, || ())));
        let result = timeout(SHORT, || timeout(FOREVER, forever));
        log.add(format!("{result:?} {:?}", check()));
        let result = timeout(SHORT, || {
            scope(|s| {
                s.go(|| {
                    let _ = forever();
                });
                Ok::<_, Oops>("value")
            })
        });
        log.add(format!("{result:?} {:?}", check()));
        log.says(&["Err(Elapsed)", "Err(Elapsed)", "Err(Elapsed) Ok(())", "Err(Elapsed) Ok(())"]);
    });
}

/// A sleep is at least as long as it says; the longest never ends but by a cancellation.
#[test]
fn sleeps() {
    on_all(|| {
        let log = Log::new();
        let start = Instant::now();
        sleep(SHORT).unwrap();
        assert!(start.elapsed() >= SHORT);
        log.add(format!("{:?}", timeout(SHORT, || sleep(Duration::MAX))));
        log.add(format!("{:?}", timeout(Duration::MAX, || sleep(Duration::ZERO))));
        log.says(&["Err(Elapsed)", "Ok(Ok(()))"]);
    });
}

/// DIFFERS: `delay(0)` returns without a look at the cancellation. A `sleep` of zero is a `yield_now`.
#[test]
fn sleep_of_zero_gives_way_and_notices() {
    on_one(|| {
        let log = Log::new();
        let other = go({
            let log = log.clone();
            move || log.add("other")
        });
        log.add(format!("{:?}", sleep(Duration::ZERO)));
        other.join().unwrap();
        let task = task().atomic().go(|| sleep(Duration::ZERO));
        task.cancel();
        log.add(format!("{:?}", task.join().unwrap()));
        log.says(&["other", "Ok(())", "Err(Cancelled)"]);
    });
}
