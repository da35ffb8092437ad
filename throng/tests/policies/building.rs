//! Putting policies together: what is refused, and why.

use std::io::ErrorKind;
use std::time::Duration;

use throng::policy::{GlobalBatch, GlobalCheck, Overflow, SlotBudget};
use throng::{Policy, PolicyBuilder, PolicyMetrics, Runtime};

#[test]
fn the_default_is_throngs_own() {
    assert_eq!(Policy::default(), Policy::throng());
    assert_ne!(Policy::throng(), Policy::go());
    assert_ne!(Policy::go(), Policy::kotlin());
    assert_eq!(Policy::builder().build().unwrap(), Policy::go());
    assert_eq!(PolicyBuilder::go().build().unwrap(), Policy::go());
    assert_eq!(PolicyBuilder::kotlin().build().unwrap(), Policy::kotlin());
    assert_ne!(Policy::builder().steal_passes(1).build().unwrap(), Policy::go());
}

/// Throng's own path counts none of this.
#[test]
fn throngs_own_does_not_count() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let body = || {
        throng::scope(|s| {
            (0..10).for_each(|_| _ = s.go(throng::yield_now));
            Ok::<_, throng::Cancelled>(())
        })
    };
    runtime.run(body).unwrap();
    assert_eq!(runtime.metrics().workers[0].policy, PolicyMetrics::default());
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let refused: [(PolicyBuilder, &str); 8] = [
        (Policy::builder().local_capacity(0), "local_capacity"),
        // Half of one is none.
        (Policy::builder().local_capacity(1), "local_capacity"),
        (Policy::builder().steal_passes(0), "steal_passes"),
        (Policy::builder().poll_every(0), "poll_every"),
        (Policy::builder().global_check(GlobalCheck::Every(0)), "global_check"),
        (Policy::builder().global_check(GlobalCheck::Random(0)), "global_check"),
        (Policy::builder().global_batch(GlobalBatch::Share(0)), "global_batch"),
        (Policy::builder().slot_budget(SlotBudget::Tasks(0)), "slot_budget"),
    ];
    for (builder, culprit) in refused {
        let error = builder.build().expect_err(culprit);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(culprit), "{error}");
    }
    let error = Policy::builder().slot_budget(SlotBudget::Time(Duration::ZERO)).build().expect_err("no time at all");
    assert!(error.to_string().starts_with("slot_budget"), "{error}");
    assert!(Policy::builder().local_capacity(1).overflow(Overflow::Newcomer).build().is_ok());
    assert!(Policy::builder().local_capacity(2).build().is_ok());
}
