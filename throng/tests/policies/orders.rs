//! New goroutines and woken ones on one worker: what each policy runs first.

use throng::policy::{GlobalCheck, LocalOrder, SlotBudget};
use throng::{Error, Policy, PolicyBuilder, Scope, rendezvous, yield_now};

use crate::log::{Log, go_without_clock, order};

fn go_names<'scope>(s: &'scope Scope<'scope, '_, Error>, log: &'scope Log, names: &[&'static str]) {
    for &name in names {
        s.go(move || log.note(name));
    }
}

/// The last one made runs next, the others as they were made; throng's own: the newest first.
#[test]
fn new_ones() {
    let body = |policy| {
        order(policy, |s, log| {
            go_names(s, log, &["a", "b", "c", "d"]);
            Ok(())
        })
    };
    assert_eq!(body(go_without_clock()), "d a b c");
    assert_eq!(body(Policy::kotlin()), "d a b c");
    assert_eq!(body(Policy::throng()), "d c b a");
    let no_slot = Policy::builder().slot(false);
    assert_eq!(body(no_slot.clone().build().unwrap()), "a b c d");
    assert_eq!(body(no_slot.local_order(LocalOrder::NewestFirst).build().unwrap()), "d c b a");
}

/// What a task starts comes after what was there, but for the last.
#[test]
fn new_ones_of_new_ones() {
    let body = |policy| {
        order(policy, |s, log| {
            for (name, inner) in [("a", ["a1", "a2"]), ("b", ["b1", "b2"])] {
                s.go(move || {
                    log.note(name);
                    go_names(s, log, &inner);
                });
            }
            Ok(())
        })
    };
    assert_eq!(body(go_without_clock()), "b b2 a a2 b1 a1");
    assert_eq!(body(Policy::kotlin()), "b b2 a a2 b1 a1");
    assert_eq!(body(Policy::throng()), "b b2 b1 a a2 a1");
}

/// Starts `r`, which waits for a message; calls `wake` with what sends it.
fn with_a_waiting_one<'scope>(s: &'scope Scope<'scope, '_, Error>, log: &'scope Log, wake: impl FnOnce(&dyn Fn())) -> Result<(), Error> {
    let (tx, rx) = rendezvous();
    s.go(move || {
        if rx.recv().is_ok() {
            log.note("r");
        }
    });
    yield_now()?; // it waits now
    wake(&|| tx.send(()).unwrap());
    Ok(())
}

/// A goroutine that is made ready and one that is new are treated alike, in the order in which that happens.
#[test]
fn new_ones_and_woken_ones() {
    let between = |policy| {
        order(policy, |s, log| {
            with_a_waiting_one(s, log, |wake| {
                go_names(s, log, &["a"]);
                wake();
                go_names(s, log, &["b", "c"]);
            })
        })
    };
    assert_eq!(between(go_without_clock()), "c a r b");
    assert_eq!(between(Policy::kotlin()), "c a r b");
    // Its own: who is ready first.
    assert_eq!(between(Policy::throng()), "r c b a");

    let last = |policy| {
        order(policy, |s, log| {
            with_a_waiting_one(s, log, |wake| {
                go_names(s, log, &["a", "b"]);
                wake();
            })
        })
    };
    assert_eq!(last(go_without_clock()), "r a b");
    assert_eq!(last(Policy::kotlin()), "r a b");
    assert_eq!(last(Policy::throng()), "r b a");
}

/// Several that are woken one after the other by one task: the last of them runs next.
#[test]
fn several_woken_ones() {
    let body = |policy| {
        order(policy, |s, log| {
            let waiting: Vec<_> = ["a", "b", "c"]
                .map(|name| {
                    let (tx, rx) = rendezvous::<()>();
                    s.go(move || {
                        if rx.recv().is_ok() {
                            log.note(name);
                        }
                    });
                    tx
                })
                .into();
            yield_now()?;
            // Under a policy that puts one that yields behind its own only, three have waited by now under any.
            yield_now()?;
            for tx in waiting {
                tx.send(()).unwrap();
            }
            Ok(())
        })
    };
    assert_eq!(body(go_without_clock()), "c a b");
    assert_eq!(body(Policy::kotlin()), "c a b");
}

/// One that another thread wakes goes to the end: the slot is for pairs of this one.
#[test]
fn woken_from_elsewhere() {
    let woken = |policy| {
        order(policy, |s, log| {
            let (tx, rx) = rendezvous();
            s.go(move || {
                if rx.recv().is_ok() {
                    log.note("r");
                }
            });
            yield_now()?;
            go_names(s, log, &["a", "b"]);
            std::thread::scope(|threads| _ = threads.spawn(|| tx.send(()).unwrap()));
            Ok(())
        })
    };
    assert_eq!(woken(go_without_clock()), "b a r");
    assert_eq!(woken(Policy::kotlin()), "b a r");
}

/// One that is started at once runs before its maker goes on, whatever the policy, and its maker before all others.
#[test]
fn started_at_once() {
    for policy in [Policy::throng(), go_without_clock(), Policy::kotlin()] {
        let ran = order(policy, |s, log| {
            let (tx, rx) = rendezvous();
            go_names(s, log, &["queued"]);
            let task = s.task().undispatched().go(move || {
                log.note("outer");
                let inner = s.task().undispatched().go(move || log.note("inner"));
                log.note("outer goes on");
                inner.join()?;
                rx.recv()?;
                log.note("woken");
                Ok(())
            });
            log.note("maker");
            tx.send(()).unwrap();
            Ok(task.join()?)
        });
        assert_eq!(ran, "outer inner outer goes on maker woken queued");
    }
}

/// A pair that hands the thread to and fro goes through the slot, past the others, for as long as the policy lets it.
#[test]
fn a_pair_that_talks() {
    let body = |policy| {
        order(policy, |s, log| {
            let (ping, pong) = (rendezvous(), rendezvous());
            s.go(move || {
                for i in 0..3 {
                    log.note(format_args!("ping{}", ping.1.recv()?));
                    pong.0.send(i)?;
                }
                Ok::<_, Error>(())
            });
            yield_now()?; // it waits now
            s.go(move || {
                s.go(move || log.note("other"));
                for i in 0..3 {
                    ping.0.send(i)?;
                    log.note(format_args!("pong{}", pong.1.recv()?));
                }
                Ok::<_, Error>(())
            });
            Ok(())
        })
    };
    for builder in [PolicyBuilder::go(), PolicyBuilder::kotlin()] {
        let builder = builder.global_check(GlobalCheck::Never);
        let unlimited = body(builder.clone().slot_budget(SlotBudget::Unlimited).build().unwrap());
        assert_eq!(unlimited, "ping0 pong0 ping1 pong1 ping2 pong2 other");
        let limited = body(builder.clone().slot_budget(SlotBudget::Tasks(2)).build().unwrap());
        assert_eq!(limited, "ping0 other pong0 ping1 pong1 ping2 pong2");
    }
}
