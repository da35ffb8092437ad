//! Join handles: what a join returns, who drops a value that nobody took, and what becomes of panics that nobody joined.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use throng::{Cancelled, JoinError, JoinHandle, bounded, go, rendezvous, scope, sleep, yield_now};

use crate::common::processes::{child, is_child};
use crate::common::{Aviary, OnPurpose, on_runtimes, panic_on_purpose};

#[test]
fn join_returns_the_value_the_panic_or_the_cancellation() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            assert_eq!(go(|| 1).join().unwrap(), 1);
            assert_eq!(go(|| yield_now().map(|()| 2)).join().unwrap(), Ok(2));
            match go(|| panic_on_purpose(3)).join() {
                Err(JoinError::Panicked(panic)) => assert_eq!(panic.into_payload().downcast_ref(), Some(&OnPurpose(3))),
                other => panic!("{other:?}"),
            }
            // Cancelled while it ran: what it returns is its value all the same.
            let (parked, is_parked) = rendezvous();
            let task = go(move || {
                parked.send(()).unwrap();
                (sleep(Duration::from_secs(3600)), 4)
            });
            is_parked.recv().unwrap();
            task.cancel();
            assert_eq!(task.join().unwrap(), (Err(Cancelled::new()), 4));
        });
    });
}

#[test]
fn join_of_itself_is_an_error() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = bounded::<JoinHandle<bool>>(1);
            let (done, is_done) = bounded(1);
            let task = go(move || {
                let me = rx.recv().unwrap();
                done.send(matches!(me.join(), Err(JoinError::Itself))).unwrap();
                true
            });
            tx.send(task).unwrap();
            assert!(is_done.recv().unwrap());
        });
    });
}

#[test]
fn a_cancelled_joiner_leaves_the_joined_running() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (release, released) = rendezvous::<()>();
            let (done, is_done) = bounded(1);
            let (parked, is_parked) = rendezvous();
            let task = go(move || {
                let _ = released.recv();
                done.send(()).unwrap();
            });
            let joiner = go(move || {
                parked.send(()).unwrap();
                task.join()
            });
            is_parked.recv().unwrap();
            joiner.cancel();
            assert!(matches!(joiner.join().unwrap(), Err(JoinError::Cancelled)));
            release.send(()).unwrap();
            is_done.recv().unwrap();
        });
    });
}

#[test]
fn a_finished_task_is_joined_even_by_a_cancelled_one() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (parked, is_parked) = rendezvous();
            let joiner = go(move || {
                let task = go(|| 5);
                while !task.is_finished() {
                    yield_now().unwrap();
                }
                parked.send(()).unwrap();
                assert!(sleep(Duration::from_secs(3600)).is_err());
                task.join().unwrap()
            });
            is_parked.recv().unwrap();
            joiner.cancel();
            assert_eq!(joiner.join().unwrap(), 5);
        });
    });
}

#[test]
fn a_value_nobody_takes_is_dropped_once_and_in_a_task() {
    on_runtimes(|runtime, label| {
        let aviary = Aviary::new();
        let in_tasks = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            for round in 0..200 {
                // On drop it parks, which it can do properly only in a task.
                struct Egg(crate::common::Canary, Arc<AtomicUsize>);
                impl Drop for Egg {
                    fn drop(&mut self) {
                        self.0.sing();
                        assert!(throng::metrics().is_some(), "dropped outside the runtime");
                        if yield_now().is_ok() && sleep(Duration::from_micros(1)).is_ok() {
                            self.1.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                let egg = Egg(aviary.canary(), Arc::clone(&in_tasks));
                let (done, is_done) = rendezvous::<()>();
                let handle = go(move || {
                    let _ = is_done.recv();
                    egg
                });
                if round % 2 == 0 {
                    // The handle goes first.
                    drop(handle);
                    drop(done);
                } else {
                    drop(done);
                    while !handle.is_finished() {
                        yield_now().unwrap();
                    }
                    drop(handle);
                }
            }
            while aviary.alive() != 0 {
                yield_now().unwrap();
            }
        });
        assert_eq!(in_tasks.load(Ordering::Relaxed), 200, "{label}");
    });
}

#[test]
fn handle_drop_races_with_completion() {
    on_runtimes(|runtime, label| {
        let aviary = Aviary::new();
        runtime.run(|| {
            let (tx, rx) = bounded::<JoinHandle<crate::common::Canary>>(8);
            let dropper = go(move || rx.iter().count());
            for _ in 0..crate::common::scaled(2_000, 50_000) {
                let canary = aviary.canary();
                tx.send(go(move || canary)).unwrap();
            }
            drop(tx);
            dropper.join().unwrap();
        });
        watch_for(|| aviary.alive() == 0, label);
    });
}

/// Spins until it is so: the harness's watchdog bounds it.
fn watch_for(condition: impl Fn() -> bool, _: &str) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn join_from_a_plain_thread() {
    on_runtimes(|runtime, _| {
        let handles: Vec<_> = (0..100).map(|i| runtime.go(move || yield_now().map(|()| i))).collect();
        let sum: i32 = handles.into_iter().map(|handle| handle.join().unwrap().unwrap()).sum();
        assert_eq!(sum, 4950);
    });
}

#[test]
fn scoped_handles_tell_failure_from_cancellation() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let result: Result<(), Failure> = scope(|s| {
                let cancelled = s.go(|| -> Result<(), Failure> { Ok(sleep(Duration::from_secs(3600))?) });
                let stays = s.go(|| -> Result<u8, Failure> { Ok(7) });
                cancelled.cancel();
                assert!(matches!(cancelled.join(), Err(JoinError::TaskCancelled(_))));
                assert_eq!(stays.join().unwrap(), 7);
                let failed = s.go(|| -> Result<(), Failure> { Err(Failure::Own(9)) });
                // Its failure may cancel us first.
                assert!(matches!(failed.join(), Err(JoinError::Failed | JoinError::Cancelled)));
                Ok(())
            });
            assert_eq!(result, Err(Failure::Own(9)));
        });
    });
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Own(u8),
    Cancelled,
}

impl From<Cancelled> for Failure {
    fn from(_: Cancelled) -> Failure {
        Failure::Cancelled
    }
}

#[test]
fn a_detached_panic_is_reported_and_harms_nobody() {
    let (output, text) = child("joining::child_detached_panic");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("throng: goroutine 'phantom' (spawned at "), "{text}");
    assert!(text.contains(file!()), "{text}");
    assert!(text.contains("boo"), "{text}");
}

#[test]
#[ignore = "child process"]
fn child_detached_panic() {
    if !is_child() {
        return;
    }
    static HANDLED: OnceLock<()> = OnceLock::new();
    throng::run(|| {
        let (tx, rx) = rendezvous::<()>();
        drop(throng::task().name("phantom").go(move || {
            let _tx = tx;
            panic!("boo");
        }));
        assert!(rx.recv().is_err());
        assert_eq!(go(|| 5).join().unwrap(), 5);
        HANDLED.set(()).unwrap();
    });
    HANDLED.get().expect("the others went on");
}
