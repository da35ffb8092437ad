//! Goroutines: starting, joining, cancelling, failing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, JoinError, Runtime, go, scope, sleep, yield_now};

#[test]
fn join_gives_the_value() {
    assert_eq!(throng::run(|| go(|| 6 * 7).join().unwrap()), 42);
}

#[test]
fn go_from_a_plain_thread_uses_the_default_runtime() {
    assert_eq!(go(|| 6 * 7).join().unwrap(), 42);
}

#[test]
fn a_scope_waits_for_its_children_and_lends_to_them() {
    for workers in [1, 2, 8] {
        let sum = AtomicUsize::new(0);
        Runtime::builder().workers(workers).build().unwrap().run(|| {
            scope(|s| {
                for i in 0..1000 {
                    let sum = &sum;
                    s.go(move || {
                        sum.fetch_add(i, Ordering::Relaxed);
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        assert_eq!(sum.into_inner(), 499_500);
    }
}

#[test]
fn a_scope_works_on_a_plain_thread() {
    let mut parts = [0_u64; 100];
    scope(|s| {
        for (i, part) in parts.iter_mut().enumerate() {
            s.go(move || {
                yield_now()?;
                *part = i as u64;
                Ok::<_, Cancelled>(())
            });
        }
        Ok::<_, Cancelled>(())
    })
    .unwrap();
    assert_eq!(parts.iter().sum::<u64>(), 4950);
}

#[test]
fn yields_interleave_a_million_times() {
    let count = AtomicUsize::new(0);
    Runtime::builder().workers(2).build().unwrap().run(|| {
        scope(|s| {
            for _ in 0..100 {
                s.go(|| {
                    for _ in 0..10_000 {
                        yield_now()?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<_, Cancelled>(())
                });
            }
            Ok::<_, Cancelled>(())
        })
        .unwrap();
    });
    assert_eq!(count.into_inner(), 1_000_000);
}

#[test]
fn a_cancelled_sleeper_wakes_at_once() {
    throng::run(|| {
        let sleeper = go(|| sleep(Duration::from_secs(3600)));
        yield_now().unwrap();
        sleeper.cancel();
        assert_eq!(sleeper.join().unwrap(), Err(Cancelled::new()));
    });
}

#[test]
fn a_task_cancelled_before_its_start_never_runs() {
    Runtime::builder().workers(1).max_spare_workers(0).build().unwrap().run(|| {
        let task = go(|| unreachable!("cancelled before it ran"));
        task.cancel();
        assert!(matches!(task.join(), Err(JoinError::TaskCancelled(_))));
    });
}
