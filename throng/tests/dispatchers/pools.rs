//! Pools, `on`, and what children inherit.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use throng::dispatch::{default, io, single};
use throng::{
    Cancelled, Dispatcher, Error, OnError, cause, check, go, launch, on, rendezvous, scope, sleep, supervisor, task, yield_now,
    yield_now_async,
};

use crate::common::{OnPurpose, on_runtimes, panic_on_purpose, scaled, watched};

fn thread() -> String {
    std::thread::current().name().unwrap_or("?").into()
}

#[test]
fn tasks_run_where_they_are_sent_and_children_inherit_it() {
    let printer = single("printer").unwrap();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let seen: Mutex<BTreeSet<(&str, String)>> = Mutex::default();
            let note = |who| seen.lock().unwrap().insert((who, thread()));
            let ended: Result<(), Error> = scope(|s| {
                let note = &note;
                s.task().on(&printer).go(move || {
                    note("goroutine");
                    yield_now()?;
                    scope(|inner| {
                        inner.go(move || _ = note("child"));
                        inner.launch(async move { _ = note("child's coroutine") });
                        Ok::<_, Cancelled>(())
                    })?;
                    go(Dispatcher::current).join().unwrap().unwrap();
                    sleep(Duration::from_millis(1))?;
                    note("goroutine");
                    Ok(())
                });
                s.task().on(&printer).launch(async move {
                    note("coroutine");
                    yield_now_async().await?;
                    note("coroutine");
                    launch(async { thread() }).await.map(|thread| assert_eq!(thread, "printer")).unwrap();
                    Ok(())
                });
                s.go(move || _ = note("elsewhere"));
                Ok(())
            });
            ended.unwrap();
            for (who, thread) in seen.into_inner().unwrap() {
                assert_eq!(thread == "printer", who != "elsewhere", "{label}: {who} ran on {thread}");
            }
        });
    });
}

#[test]
fn on_borrows_and_returns() {
    let pool = Dispatcher::builder().name("pool").workers(2).build().unwrap();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let mut words = ["b", "a"];
            let first = on(&pool, || {
                assert!(thread().starts_with("pool-"));
                words.sort_unstable();
                words[0]
            });
            assert_eq!((first.unwrap(), &words[..]), ("a", &["a", "b"][..]), "{label}");
            // And back again, from inside, to the runtime it came from.
            let names =
                on(&pool, || (thread(), on(&default(), thread).unwrap(), on(&Dispatcher::current().unwrap(), thread).unwrap())).unwrap();
            assert!(names.0.starts_with("pool-") && names.1.starts_with("throng-") && names.2 == names.0, "{label}: {names:?}");
            // The panic is the caller's.
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| on(&pool, || -> () { panic_on_purpose(7) })));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&OnPurpose(7)), "{label}");
        });
    });
    // From a plain thread.
    assert!(on(&pool, thread).unwrap().starts_with("pool-"));
}

#[test]
fn cancellation_goes_into_on_and_its_value_comes_out() {
    let pool = single("pool").unwrap();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let (inside, is_inside) = rendezvous();
            let pool = pool.clone();
            let task = go(move || {
                let value = on(&pool, || {
                    inside.send(()).unwrap();
                    let met = sleep(Duration::from_secs(3600));
                    (met, cause().map(|cause| cause.to_string()), "value")
                });
                (value.unwrap(), check(), on(&pool, || ()).map_err(|error| matches!(error, OnError::Cancelled)))
            });
            is_inside.recv().unwrap();
            task.cancel_with("enough");
            let ((met, cause, value), after, again) = task.join().unwrap();
            assert_eq!((met, value, after), (Err(Cancelled::new()), "value", Err(Cancelled::new())), "{label}");
            assert_eq!((cause.as_deref(), again), (Some("enough"), Err(true)), "{label}");
        });
    });
}

/// Tasks that block their threads do not keep each other from running, and a pool of 64 is not full of 64 that are parked.
#[test]
fn io_grows() {
    watched("io", || {
        let n = 40;
        let barrier = Barrier::new(n);
        throng::run(|| {
            scope(|s| {
                for _ in 0..n {
                    s.task().on(&io()).go(|| _ = barrier.wait()); // blocks the thread
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            let (tx, rx) = rendezvous::<()>();
            scope(|s| {
                for _ in 0..200 {
                    let rx = rx.clone();
                    s.task().on(&io()).go(move || rx.recv().map_err(|_| Cancelled::new())); // parks
                }
                s.task().on(&io()).go(move || (0..200).try_for_each(|_| tx.send(()).map_err(|_| Cancelled::new())));
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

/// Failures, supervision and the tree do not care where a child runs.
#[test]
fn failures_cross_dispatchers() {
    let pool = Dispatcher::builder().name("pool").workers(2).build().unwrap();
    on_runtimes(|runtime, label| {
        #[derive(Debug, PartialEq)]
        enum Fault {
            OnPurpose,
            Cancelled,
        }
        impl From<Cancelled> for Fault {
            fn from(_: Cancelled) -> Fault {
                Fault::Cancelled
            }
        }
        runtime.run(|| {
            let cancelled = AtomicUsize::new(0);
            let ended: Result<(), Fault> = scope(|s| {
                let cancelled = &cancelled;
                for kind in 0..4 {
                    let (ready, is_ready) = rendezvous();
                    let task = if kind % 2 == 0 { s.task().on(&pool) } else { s.task() };
                    if kind < 2 {
                        task.go(move || {
                            ready.send(()).unwrap();
                            sleep(Duration::from_secs(3600)).inspect_err(|_| _ = cancelled.fetch_add(1, Ordering::SeqCst))?;
                            Ok(())
                        });
                    } else {
                        task.launch(async move {
                            ready.send_async(()).await.unwrap();
                            throng::sleep_async(Duration::from_secs(3600))
                                .await
                                .inspect_err(|_| _ = cancelled.fetch_add(1, Ordering::SeqCst))?;
                            Ok(())
                        });
                    }
                    is_ready.recv().unwrap();
                }
                s.task().on(&pool).go(|| Err::<(), _>(Fault::OnPurpose));
                Ok(())
            });
            assert_eq!((ended, cancelled.into_inner()), (Err(Fault::OnPurpose), 4), "{label}");
            supervisor(|s| {
                let bad = s.task().on(&pool).go(|| "seven".parse::<u32>());
                let job = bad.job();
                assert_eq!(job.parent(), Some(s.job()), "{label}");
                assert!(bad.join().unwrap().is_err(), "{label}");
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

/// Many tasks to and fro between pools, each with children on the other.
#[test]
fn to_and_fro() {
    let pools = [Dispatcher::builder().name("a").workers(2).build().unwrap(), single("b").unwrap(), io()];
    on_runtimes(|runtime, label| {
        let count = AtomicUsize::new(0);
        runtime.run(|| {
            scope(|s| {
                for n in 0..scaled(30, 300) {
                    let (here, there) = (&pools[n % 3], &pools[(n + 1) % 3]);
                    let count = &count;
                    s.task().on(here).go(move || {
                        scope(|inner| {
                            inner.task().on(there).launch(async move {
                                yield_now_async().await?;
                                count.fetch_add(1, Ordering::Relaxed);
                                Ok::<_, Cancelled>(())
                            });
                            on(there, || count.fetch_add(1, Ordering::Relaxed)).map_err(|_| Cancelled::new())?;
                            Ok(())
                        })
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        assert_eq!(count.into_inner(), 2 * scaled(30, 300), "{label}");
    });
}

#[test]
fn lazy_and_undispatched_tasks_of_a_dispatcher() {
    let pool = single("pool").unwrap();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let lazy = task().on(&pool).lazy().go(thread);
            let undispatched = task().on(&pool).undispatched().go(thread);
            let lazy_coroutine = task().on(&pool).lazy().launch(async { thread() });
            for handle in [lazy, undispatched, lazy_coroutine] {
                assert_eq!(handle.join().unwrap(), "pool", "{label}");
            }
            let never = task().on(&pool).lazy().go(thread);
            never.cancel();
            assert!(never.join().is_err(), "{label}");
        });
    });
}
