//! The slot: for how long it goes before others.

use std::time::{Duration, Instant};

use throng::policy::{GlobalCheck, SlotBudget, SlotSteal, YieldTo};
use throng::{Error, PolicyBuilder, Scope};

use crate::log::{Log, order, run_one};

/// Each starts the next, and ends: a chain through the slot.
fn chain<'scope>(s: &'scope Scope<'scope, '_, Error>, log: &'scope Log, from: u32, to: u32) {
    log.note(from);
    if from < to {
        s.go(move || chain(s, log, from + 1, to));
    }
}

fn chain_with_another(policy: PolicyBuilder) -> String {
    order(policy.global_check(GlobalCheck::Never).build().unwrap(), |s, log| {
        s.go(move || log.note("x"));
        s.go(move || chain(s, log, 0, 6));
        Ok(())
    })
}

#[test]
fn so_many_tasks_in_a_row() {
    for builder in [PolicyBuilder::go(), PolicyBuilder::kotlin()] {
        for steal in [SlotSteal::Never, SlotSteal::LastPass(Duration::from_micros(3)), SlotSteal::Aged(Duration::from_micros(100))] {
            let with = |budget| chain_with_another(builder.clone().slot_steal(steal).slot_budget(budget));
            assert_eq!(with(SlotBudget::Unlimited), "0 1 2 3 4 5 6 x");
            assert_eq!(with(SlotBudget::Tasks(6)), "0 1 2 3 4 5 x 6");
            // Then nobody else waits, and nobody counts.
            assert_eq!(with(SlotBudget::Tasks(1)), "0 x 1 2 3 4 5 6");
        }
        assert_eq!(chain_with_another(builder.slot(false)), "x 0 1 2 3 4 5 6");
    }
}

/// A time slice: the first that comes from the slot begins it, those that follow share it.
#[test]
fn so_long_a_time() {
    let with = |budget, spin: Duration| {
        let policy = PolicyBuilder::go().slot_budget(SlotBudget::Time(budget)).build().unwrap();
        order(policy, move |s, log| {
            s.go(move || log.note("x"));
            s.go(move || {
                log.note("0");
                let start = Instant::now();
                while start.elapsed() <= spin {}
                s.go(move || log.note("1"));
            });
            Ok(())
        })
    };
    assert_eq!(with(Duration::from_secs(3600), Duration::ZERO), "0 1 x");
    assert_eq!(with(Duration::from_millis(2), Duration::from_millis(2)), "0 x 1");
}

/// Whoever is in the slot when the slice is over goes where one that yields goes.
#[test]
fn when_it_is_spent() {
    let with = |to| {
        let policy = PolicyBuilder::go().slot_budget(SlotBudget::Tasks(1)).yield_to(to).build().unwrap();
        order(policy, |s, log| {
            s.go(move || log.note("x"));
            s.go(move || {
                log.note("y");
                s.go(move || log.note("z"));
            });
            s.go(move || {
                log.note("0");
                s.go(move || log.note("1"));
            });
            Ok(())
        })
    };
    // In the slot 0, in the queue x and y. After 0 its slice is over: 1 goes to the end of one of the queues; x and y; z in the slot that y filled.
    assert_eq!(with(YieldTo::LocalTail), "0 x y z 1");
    assert_eq!(with(YieldTo::GlobalTail), "0 x y z 1");
    // A difference: the queue is longer by those that x starts.
    let longer = |to| {
        let policy = PolicyBuilder::go().slot_budget(SlotBudget::Tasks(1)).yield_to(to).build().unwrap();
        order(policy, |s, log| {
            s.go(move || {
                for name in ["a", "b", "c"] {
                    s.go(move || log.note(name));
                }
            });
            s.go(move || {
                log.note("0");
                s.go(move || log.note("1"));
            });
            Ok(())
        })
    };
    assert_eq!(longer(YieldTo::LocalTail), "0 c 1 a b");
    assert_eq!(longer(YieldTo::GlobalTail), "0 c a b 1");
}

/// What is counted: main comes from the global queue and goes on from the slot, which its last child fills.
#[test]
fn counts() {
    let policy = PolicyBuilder::kotlin().build().unwrap();
    let (ran, counts) = run_one(policy, |s, log| {
        for name in ["a", "b", "c"] {
            s.go(move || log.note(name));
        }
        Ok(())
    });
    assert_eq!(ran.join(" "), "c a b");
    assert_eq!((counts.from_slot, counts.from_local, counts.from_global), (2, 2, 1));
    assert_eq!((counts.global_checks, counts.overflows, counts.steals), (0, 0, 0));
}
