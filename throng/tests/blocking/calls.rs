//! Calls given to `blocking`: the threads they take, and what the code inside may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, Error, JoinError, Runtime, blocking, completable, go, rendezvous, scope, timeout, try_go, yield_now};

use crate::common::processes::{child_passes, is_child, threads};
use crate::common::{OnPurpose, on_runtimes, panic_on_purpose, scaled, watched};
use crate::gate::Gate;

#[test]
fn block_handoff() {
    child_passes("calls::child_block_handoff");
}

/// N calls at once need N threads besides the workers and the monitor; goroutines go on meanwhile.
#[test]
#[ignore = "child process"]
fn child_block_handoff() {
    const N: usize = 16;
    if !is_child() {
        return;
    }
    watched("child", || {
        let before = threads();
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let gate = Gate::new();
        runtime.run(|| {
            scope(|s| {
                for _ in 0..N {
                    s.go(|| blocking(|| gate.pass()));
                }
                blocking(|| gate.wait_for(N))?;
                let done = AtomicUsize::new(0);
                scope(|s| {
                    for _ in 0..1_000 {
                        s.go(|| {
                            yield_now()?;
                            done.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        });
                    }
                    Ok::<_, Cancelled>(())
                })?;
                assert_eq!(done.into_inner(), 1_000);
                let metrics = throng::metrics().unwrap();
                // One more for the call that waited for them.
                assert!((N..=N + 1).contains(&metrics.blocking_threads), "{metrics:?}");
                let more = threads() - before;
                let most = metrics.blocking_threads + metrics.workers.len() + metrics.spare_workers.len() + 1;
                assert!(more <= most, "{more} threads, {metrics:?}");
                gate.open();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

/// What is started inside runs on the caller's runtime.
#[test]
fn inside_is_the_callers_runtime() {
    watched("1 worker", || {
        let runtime = Runtime::builder().workers(1).max_spare_workers(0).build().unwrap();
        let worker = runtime.run(|| std::thread::current().id());
        let here = || std::thread::current().id();
        runtime.run(|| {
            blocking(|| {
                assert_ne!(here(), worker);
                assert_eq!(go(here).join().unwrap(), worker);
                let in_scope = scope(|s| Ok::<_, Error>(s.go(move || Ok(here())).join()?));
                assert_eq!(in_scope.unwrap(), worker);
                let (promise, promised) = completable::<u32>();
                go(move || promise.complete(7));
                assert_eq!(promised.join().unwrap(), 7);
                // And the thread does not keep it.
            })
            .unwrap();
        });
        let other = Runtime::builder().workers(1).max_spare_workers(0).build().unwrap();
        let others = other.run(here);
        assert_eq!(other.run(|| blocking(|| go(here).join().unwrap())), Ok(others));
    });
}

/// A runtime that closes refuses what comes from inside of a call; the call goes on.
#[test]
fn a_closing_runtime_refuses_what_comes_from_inside() {
    for round in 0..scaled(20, 200) {
        watched(&format!("round {round}"), || {
            let runtime = Runtime::builder().workers(2).build().unwrap();
            let (begun, ended) = (Arc::new(Gate::new()), Arc::new(AtomicUsize::new(0)));
            {
                let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
                runtime.go(move || {
                    blocking(|| {
                        begun.pass_open();
                        loop {
                            match try_go(|| ()) {
                                // Before the end, or caught by it.
                                Ok(task) => assert!(matches!(task.join(), Ok(()) | Err(JoinError::TaskCancelled(_)))),
                                Err(error) => {
                                    assert!(error.is_shut_down());
                                    break;
                                }
                            }
                        }
                        ended.fetch_add(1, Ordering::SeqCst);
                    })
                });
            }
            begun.wait_for(1);
            runtime.shutdown();
            assert_eq!(ended.load(Ordering::SeqCst), 1);
        });
    }
}

/// A time limit that expires during the call: it is not cut short, its value is kept, and what parks next is refused.
#[test]
fn a_time_limit_does_not_interrupt_a_call() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let mut seen = 0;
            let limited = timeout(Duration::from_millis(1), || {
                seen = blocking(|| {
                    std::thread::sleep(Duration::from_millis(20));
                    5
                })?;
                yield_now()
            });
            assert!(!matches!(limited, Ok(Ok(()))), "{limited:?}");
            assert_eq!(seen, 5);
            // Outside of the limit all is as before.
            yield_now().unwrap();
        });
    });
}

/// A panic in a call is the goroutine's: its scope fails, its siblings are cancelled, what was borrowed is as the call left it.
#[test]
fn a_panic_in_a_call_fails_the_scope() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let mut steps = Vec::new();
            let siblings = AtomicUsize::new(0);
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                scope(|s| {
                    // Not cancelled before it has begun.
                    let (begun, has_begun) = rendezvous::<()>();
                    let siblings = &siblings;
                    s.go(move || {
                        begun.send(()).unwrap();
                        while yield_now().is_ok() {}
                        siblings.fetch_add(1, Ordering::Relaxed);
                    });
                    let steps = &mut steps;
                    s.go(move || {
                        has_begun.recv().unwrap();
                        blocking(|| {
                            steps.push(1);
                            panic_on_purpose(3);
                        })
                    });
                    Ok::<_, Cancelled>(())
                })
            }));
            assert_eq!(failed.unwrap_err().downcast_ref(), Some(&OnPurpose(3)));
            assert_eq!((steps, siblings.into_inner()), (vec![1], 1));
            assert_eq!(blocking(|| 1), Ok(1));
        });
    });
}
