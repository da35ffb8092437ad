//! `Mutex` and `WaitGroup`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use throng::sync::{Mutex, WaitGroup};
use throng::{Cancelled, JoinError};

use crate::common::{on_runtimes, scaled};
use crate::ways::{each_way, pause};

#[test]
fn mutex_excludes() {
    each_way(|tasks| {
        let total = Arc::new(Mutex::new((0_usize, false)));
        let each = scaled(200, 10_000);
        for task in 0..8 {
            let total = total.clone();
            tasks.go(move || {
                for i in 0..each {
                    let mut guard = total.lock().unwrap();
                    assert!(!std::mem::replace(&mut guard.1, true), "two inside");
                    if (i + task) % 64 == 0 {
                        // Held while parked.
                        pause();
                    }
                    guard.0 += 1;
                    guard.1 = false;
                }
            });
        }
        tasks.join();
        assert_eq!(total.lock().unwrap().0, 8 * each);
        assert!(total.try_lock().is_some());
    });
}

/// Go's `TestMutexFairness`: one that takes the lock again at once does not starve one that waits.
#[test]
fn a_hog_does_not_starve_others() {
    each_way(|tasks| {
        let mutex = Arc::new(Mutex::new(()));
        let stop = Arc::new(AtomicBool::new(false));
        tasks.go({
            let (mutex, stop) = (mutex.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let guard = mutex.lock().unwrap();
                    // Holds it over a wait, as a slow section would.
                    throng::never::<()>().recv_timeout(Duration::from_micros(200)).unwrap_err();
                    drop(guard);
                }
            }
        });
        for _ in 0..10 {
            pause();
            drop(mutex.lock().unwrap());
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_cancelled_waiter_leaves_the_mutex_to_others() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(30, 300) {
                let mutex = Arc::new(Mutex::new(0));
                let guard = mutex.lock().unwrap();
                let tasks: Vec<_> = (0..6)
                    .map(|_| {
                        let mutex = mutex.clone();
                        throng::go(move || mutex.lock().map(|mut n| *n += 1))
                    })
                    .collect();
                for _ in 0..round % 5 {
                    pause();
                }
                for task in &tasks[..3] {
                    task.cancel();
                }
                drop(guard);
                let mut locked = 0;
                for (i, task) in tasks.into_iter().enumerate() {
                    match task.join() {
                        Ok(Ok(())) => locked += 1,
                        Ok(Err(Cancelled { .. })) | Err(JoinError::TaskCancelled(_)) => assert!(i < 3),
                        Err(error) => panic!("{error:?}"),
                    }
                }
                assert_eq!(*mutex.try_lock().expect("nobody holds it"), locked);
            }
        });
    });
}

#[test]
fn a_panic_does_not_poison() {
    let mutex = Arc::new(Mutex::new(1));
    let inside = mutex.clone();
    let panicked = std::thread::spawn(move || {
        let _guard = inside.lock().unwrap();
        crate::common::panic_on_purpose(1);
    });
    panicked.join().unwrap_err();
    assert_eq!(*mutex.lock().unwrap(), 1);
    assert_eq!(format!("{mutex:?}"), "Mutex { value: 1 }");
    let guard = mutex.lock().unwrap();
    assert_eq!(format!("{mutex:?}"), "Mutex { value: <held> }");
    drop(guard);
}

#[test]
fn wait_group_can_be_used_again() {
    each_way(|tasks| {
        let group = Arc::new(WaitGroup::new());
        let done = Arc::new(AtomicUsize::new(0));
        group.wait().unwrap();
        for round in 1..scaled(20, 200) {
            group.add(4);
            for _ in 0..4 {
                let (group, done) = (group.clone(), done.clone());
                tasks.go(move || {
                    done.fetch_add(1, Ordering::SeqCst);
                    group.done();
                });
            }
            let other = group.clone();
            tasks.go(move || other.wait().unwrap());
            group.wait().unwrap();
            assert!(done.load(Ordering::SeqCst) >= 4 * round);
            tasks.join();
        }
    });
}

#[test]
#[should_panic(expected = "`done` was called more often than `add` announced")]
fn too_many_done() {
    let group = WaitGroup::new();
    group.add(1);
    group.done();
    group.done();
}

#[test]
fn a_wait_can_be_cancelled() {
    throng::run(|| {
        let group = Arc::new(WaitGroup::new());
        group.add(1);
        let waiter = throng::go({
            let group = group.clone();
            move || group.wait()
        });
        pause();
        waiter.cancel();
        match waiter.join() {
            Ok(waited) => assert_eq!(waited, Err(Cancelled::new())),
            Err(error) => assert!(matches!(error, JoinError::TaskCancelled(_))),
        }
        group.done();
        group.wait().unwrap();
    });
}
