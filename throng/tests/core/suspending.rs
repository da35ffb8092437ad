//! `suspend`, in goroutines and on plain threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng::core::{Continuation, SuspendError, suspend};
use throng::{
    Cancelled, Elapsed, Error, JoinError, Runtime, bounded, check, go, is_cancelled, job, launch, scope, shield, timeout, yield_now,
};

use crate::common::{Aviary, OnPurpose, on_runtime, on_runtimes, panic_on_purpose, scaled};

/// Where a continuation waits for who resumes it.
type Table<T> = Arc<Mutex<Vec<Continuation<T>>>>;

fn table<T>() -> Table<T> {
    Arc::default()
}

/// Gives way until somebody has put a continuation there.
fn take<T>(table: &Table<T>) -> Continuation<T> {
    loop {
        if let Some(continuation) = table.lock().unwrap().pop() {
            return continuation;
        }
        shield(yield_now).expect("masked");
        std::thread::yield_now();
    }
}

#[test]
fn resumed_before_it_waits() {
    on_runtimes(|runtime, label| {
        let body = || {
            assert_eq!(suspend(|continuation| assert_eq!(continuation.resume("early"), Ok(()))), Ok("early"), "{label}");
            assert_eq!(suspend(|continuation: Continuation<u32>| drop(continuation)), Err(SuspendError::Abandoned), "{label}");
        };
        runtime.run(body);
        body();
    });
}

/// From a goroutine, a coroutine, a thread, another runtime; and whoever waits, a goroutine or a thread.
#[test]
fn resumed_from_anywhere() {
    let elsewhere = Runtime::builder().workers(1).build().unwrap();
    on_runtimes(|runtime, label| {
        let body = || {
            for round in 0..scaled(5, 50) as u32 {
                let by_goroutine = suspend(|continuation| _ = go(move || continuation.resume(round)));
                let by_coroutine = suspend(|continuation| _ = launch(async move { continuation.resume(round) }));
                let by_thread = suspend(|continuation| _ = std::thread::spawn(move || continuation.resume(round)));
                let by_another = suspend(|continuation| _ = elsewhere.go(move || continuation.resume(round)));
                assert_eq!([by_goroutine, by_coroutine, by_thread, by_another], [Ok(round); 4], "{label}");
            }
        };
        runtime.run(body);
        body();
    });
}

#[test]
fn resumed_with_an_error() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let failed = suspend::<Result<u32, String>>(|continuation| _ = go(|| continuation.fail("no such key".to_owned())));
            assert_eq!(failed, Ok(Err("no such key".to_owned())), "{label}");
        });
    });
}

#[test]
fn abandoned_while_it_waits() {
    on_runtimes(|runtime, label| {
        let body = || {
            for _ in 0..scaled(5, 50) {
                let by_goroutine = suspend::<u32>(|continuation| _ = go(move || drop(continuation)));
                let by_thread = suspend::<u32>(|continuation| _ = std::thread::spawn(move || drop(continuation)));
                assert_eq!([by_goroutine, by_thread], [Err(SuspendError::Abandoned); 2], "{label}");
            }
        };
        runtime.run(body);
        body();
    });
}

/// A task that dies with a continuation abandons who waits for it.
#[test]
fn abandoned_by_a_task_that_fails() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let mut task = None;
            let result = suspend::<u32>(|continuation| {
                task = Some(go(move || {
                    let _continuation = continuation;
                    panic_on_purpose(1);
                }));
            });
            assert_eq!(result, Err(SuspendError::Abandoned), "{label}");
            assert!(matches!(task.unwrap().join(), Err(JoinError::Panicked(_))), "{label}");
        });
    });
}

/// The hook is called once, by the task that gives up, before it returns; a value that comes later comes back.
#[test]
fn cancelled_while_it_waits() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for _ in 0..scaled(5, 50) {
                let table = table();
                let calls = Arc::new(AtomicUsize::new(0));
                let task = go({
                    let (table, calls) = (Arc::clone(&table), Arc::clone(&calls));
                    move || {
                        let here = job();
                        let result = suspend(|continuation| {
                            let calls = Arc::clone(&calls);
                            continuation.on_cancel(move |value| {
                                assert!(value.is_none() && job() == here);
                                calls.fetch_add(1, Ordering::SeqCst);
                            });
                            table.lock().unwrap().push(continuation);
                        });
                        (result, calls.load(Ordering::SeqCst), is_cancelled())
                    }
                });
                let continuation = take(&table);
                assert!(continuation.is_waiting(), "{label}");
                task.cancel();
                assert_eq!(task.join().unwrap(), (Err(SuspendError::Cancelled), 1, true), "{label}");
                assert!(!continuation.is_waiting(), "{label}");
                assert_eq!(continuation.resume("late"), Err("late"), "{label}");
            }
        });
    });
}

/// By each of what cancels: a scope, a failure, a limit of time; and on a plain thread.
#[test]
fn cancelled_by_what_is_around_it() {
    on_runtimes(|runtime, label| {
        let body = || {
            let (mut kept, mut of_scope) = (None, None);
            let limited = timeout(Duration::from_millis(2), || suspend::<u32>(|continuation| kept = Some(continuation)));
            assert!(matches!(limited, Err(Elapsed { .. })), "{label}");
            assert_eq!(kept.unwrap().resume(7), Err(7), "{label}");
            let failed: Result<(), Error> = scope(|s| {
                let (tx, rx) = bounded(1);
                s.go(move || {
                    rx.recv()?;
                    Err::<(), Error>(Error::Elapsed)
                });
                let result = suspend::<u32>(|continuation| {
                    of_scope = Some(continuation);
                    tx.send(()).unwrap();
                });
                assert_eq!(result, Err(SuspendError::Cancelled), "{label}");
                Ok(())
            });
            assert!(matches!(failed, Err(Error::Elapsed)), "{label}");
            assert_eq!(of_scope.unwrap().resume(7), Err(7), "{label}");
            assert!(check().is_ok());
        };
        runtime.run(body);
        body();
    });
}

/// As any call that parks: it succeeds if it need not wait, and is refused if it must; `setup` is called in any case.
#[test]
fn cancelled_before() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            scope(|s| {
                s.cancel();
                assert_eq!(suspend(|continuation| _ = continuation.resume(1)), Ok(1), "{label}");
                let (mut kept, called) = (None, Arc::new(AtomicBool::new(false)));
                let result = suspend::<u32>(|continuation| {
                    let called = Arc::clone(&called);
                    continuation.on_cancel(move |_| called.store(true, Ordering::SeqCst));
                    kept = Some(continuation);
                });
                assert_eq!(result, Err(SuspendError::Cancelled), "{label}");
                assert!(called.load(Ordering::SeqCst), "{label}");
                assert_eq!(kept.unwrap().resume(2), Err(2), "{label}");
                // A shield masks it.
                let behind = shield(|| suspend(|continuation| _ = std::thread::spawn(|| continuation.resume(3))));
                assert_eq!(behind, Ok(3), "{label}");
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn a_hook_that_comes_late_is_called_at_once() {
    let mut kept = None;
    assert!(timeout(Duration::from_millis(2), || suspend::<u32>(|continuation| kept = Some(continuation))).is_err());
    let continuation = kept.unwrap();
    for n in 1..=2 {
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        continuation.on_cancel(move |value| {
            assert_eq!(value, None);
            count.fetch_add(n, Ordering::SeqCst);
        });
        assert_eq!(called.load(Ordering::SeqCst), n);
    }
}

#[test]
fn there_is_one_hook() {
    let second = std::panic::catch_unwind(|| {
        _ = suspend::<u32>(|continuation| {
            continuation.on_cancel(|_| ());
            continuation.on_cancel(|_| unreachable!("refused"));
        });
    });
    let text = *second.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(text, "a continuation has one hook");
}

/// A hook that is not called is dropped when the call returns, with what it holds.
#[test]
fn a_hook_that_is_not_called_goes() {
    let aviary = Aviary::new();
    let hooked = |continuation: &Continuation<u32>| {
        let canary = aviary.canary();
        continuation.on_cancel(move |_| panic!("{canary:?}: nobody has given up"));
    };
    for resumes in [true, false] {
        let early = suspend(|continuation| {
            hooked(&continuation);
            if resumes {
                continuation.resume(1).unwrap();
            }
        });
        assert_eq!((early.is_ok(), aviary.alive()), (resumes, 0));
        let late = suspend(|continuation| {
            hooked(&continuation);
            std::thread::spawn(move || resumes.then(|| continuation.resume(1)));
        });
        assert_eq!((late.is_ok(), aviary.alive()), (resumes, 0));
    }
}

#[test]
fn a_panic_of_setup_gives_up() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let table = table();
            let called = Arc::new(AtomicBool::new(false));
            let task = go({
                let (table, called) = (Arc::clone(&table), Arc::clone(&called));
                move || {
                    suspend::<u32>(|continuation| {
                        continuation.on_cancel(move |_| called.store(true, Ordering::SeqCst));
                        table.lock().unwrap().push(continuation);
                        panic_on_purpose(7);
                    })
                }
            });
            let Err(JoinError::Panicked(panic)) = task.join() else { panic!("{label}: it did not panic") };
            assert_eq!(panic.into_payload().downcast_ref::<OnPurpose>(), Some(&OnPurpose(7)), "{label}");
            assert!(called.load(Ordering::SeqCst), "{label}");
            assert_eq!(take(&table).resume(1), Err(1), "{label}");
        });
    });
}

/// The worker goes on: what resumes it runs on the same one, whether a goroutine waits or a coroutine in the midst of a poll.
#[test]
fn the_worker_goes_on() {
    for seed in [None, Some(3)] {
        on_runtime(1, seed, &mut |runtime, label| {
            runtime.run(|| {
                let wait = || {
                    suspend(|continuation| {
                        _ = go(|| {
                            yield_now().unwrap();
                            continuation.resume(5)
                        })
                    })
                };
                assert_eq!(go(wait).join().unwrap(), Ok(5), "{label}");
                assert_eq!(launch(async move { wait() }).join().unwrap(), Ok(5), "{label}");
            });
        });
    }
}

/// What is borrowed may be handed over.
#[test]
fn values_may_borrow() {
    on_runtimes(|runtime, label| {
        let text = String::from("borrowed");
        runtime.run(|| {
            scope(|s| {
                let text = text.as_str();
                let result = suspend(|continuation: Continuation<&str>| _ = s.go(move || _ = continuation.resume(text)));
                assert_eq!(result, Ok("borrowed"), "{label}");
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn it_says_what_it_is() {
    let shown = suspend(|continuation: Continuation<String>| {
        let shown = format!("{continuation:?}");
        _ = continuation.resume(shown);
    });
    assert_eq!(shown.unwrap(), "Continuation { is_waiting: true, .. }");
    assert_eq!(SuspendError::Abandoned.to_string(), "the continuation was dropped without being resumed");
    assert_eq!(Error::from(SuspendError::Abandoned).to_string(), SuspendError::Abandoned.to_string());
    assert!(matches!(Error::from(SuspendError::Cancelled), Error::Cancelled));
}
