//! Starting coroutines, what becomes of them, parking inside of them.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use throng::future::Wait;
use throng::{
    Cancelled, Completion, Error, JobState, JoinError, bounded, context_local, go, job, launch, rendezvous, scope, supervisor, task,
    yield_now, yield_now_async,
};

use crate::common::{Aviary, OnPurpose, on_runtime, on_runtimes, panic_on_purpose, scaled};

#[test]
fn values_come_by_join_and_by_await() {
    on_runtimes(|runtime, label| {
        let sum = runtime.run(|| {
            let five = launch(ready(5));
            let doubled = launch(async move { 2 * five.await.unwrap() });
            let from_goroutine = go(|| 7);
            let mixed = launch(async move { from_goroutine.await.unwrap() + doubled.await.unwrap() });
            go(move || mixed.join().unwrap()).join().unwrap()
        });
        assert_eq!(sum, 17, "{label}");
    });
}

#[test]
fn children_borrow_and_fail_their_scope() {
    on_runtimes(|runtime, label| {
        let words = ["share", "memory", "by", "communicating"];
        let lengths = [const { AtomicUsize::new(0) }; 4];
        let ended: Result<usize, Error> = runtime.run(|| {
            scope(|s| {
                let handles: Vec<_> = words
                    .iter()
                    .zip(&lengths)
                    .map(|(word, length)| {
                        s.launch(async move {
                            yield_now_async().await?;
                            length.store(word.len(), Ordering::SeqCst);
                            Ok(word.len())
                        })
                    })
                    .collect();
                handles.into_iter().map(|handle| handle.join().map_err(Error::from)).sum()
            })
        });
        assert_eq!(ended.unwrap(), 26, "{label}");
        assert_eq!(lengths.map(AtomicUsize::into_inner), [5, 6, 2, 13], "{label}");

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
        let told = AtomicUsize::new(0);
        let ended = runtime.run(|| {
            scope(|s| {
                s.launch(async {
                    let (_tx, rx) = rendezvous::<()>();
                    if rx.recv_async().await == Err(throng::channel::RecvError::Cancelled) {
                        told.fetch_add(1, Ordering::SeqCst);
                    }
                });
                s.launch(async {
                    for _ in 0..3 {
                        yield_now_async().await?;
                    }
                    Err::<(), _>(Fault::OnPurpose)
                });
                Ok(())
            })
        });
        assert_eq!(ended, Err(Fault::OnPurpose), "{label}");
        assert!(told.into_inner() <= 1, "{label}: not run, or told");
    });
}

#[test]
fn panics_are_carried() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let first = launch(async { panic_on_purpose(1) });
            let later = launch(async {
                yield_now_async().await.unwrap();
                panic_on_purpose(2)
            });
            for (n, handle) in [(1, first), (2, later)] {
                let Err(JoinError::Panicked(panic)) = handle.join() else { panic!("{label}: no panic") };
                let () = panic.into_payload().downcast::<OnPurpose>().map(|payload| assert_eq!(payload.0, n)).unwrap();
            }
            // The drop of what the future holds, after its last poll.
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic_on_purpose(3)
                }
            }
            let bomb = Bomb;
            let mut polls = 0;
            let handle = launch(poll_fn(move |cx: &mut Context<'_>| {
                let _held = &bomb;
                polls += 1;
                cx.waker().wake_by_ref();
                if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
            }));
            assert!(matches!(handle.join(), Err(JoinError::Panicked(_))), "{label}");
        });
        let failed = std::panic::catch_unwind(|| {
            runtime.run(|| {
                scope(|s| {
                    s.launch(async {
                        yield_now_async().await?;
                        if true {
                            panic_on_purpose(4);
                        }
                        Ok::<_, Cancelled>(())
                    });
                    Ok::<_, Cancelled>(())
                })
            })
        });
        assert_eq!(failed.unwrap_err().downcast_ref(), Some(&OnPurpose(4)), "{label}: the scope's panic");
    });
}

/// A turn that parks keeps its stack and its thread; the worker goes on; scopes inside may borrow.
#[test]
fn whatever_parks_may_be_called_in_a_turn() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let (tx, rx) = rendezvous();
            let coroutine = launch(async move {
                let mut seen = Vec::new();
                for round in 0..10 {
                    let thread = std::thread::current().id();
                    seen.push(rx.recv().unwrap());
                    assert_eq!(std::thread::current().id(), thread, "a turn stays where it is");
                    yield_now().unwrap();
                    assert_eq!(std::thread::current().id(), thread, "a turn stays where it is");
                    if round % 2 == 0 {
                        yield_now_async().await.unwrap();
                    }
                    let local = [1, 2, 3];
                    let sum = scope(|s| {
                        let children: Vec<_> = local.iter().map(|n| s.launch(async move { Ok::<_, Error>(n * 2) })).collect();
                        children.into_iter().map(|child| child.join().map_err(Error::from)).sum::<Result<i32, Error>>()
                    });
                    assert_eq!(sum.unwrap(), 12);
                }
                seen
            });
            for n in 0..10 {
                tx.send(n).unwrap();
            }
            assert_eq!(coroutine.join().unwrap(), (0..10).collect::<Vec<_>>(), "{label}");
        });
    });
}

/// With its worker held up, a coroutine goes on elsewhere after an await.
#[test]
fn moves_are_seen_when_a_worker_is_stuck() {
    on_runtime(2, None, &mut |runtime, label| {
        // A coroutine that is queued on a worker which then blocks is run by the other one.
        for _ in 0..scaled(5, 50) {
            let ran_on = runtime.run(|| {
                let (tx, rx) = std::sync::mpsc::channel();
                let (wake, wait) = bounded::<()>(1);
                let coroutine = launch(async move {
                    wait.recv_async().await.unwrap();
                    tx.send(std::thread::current().id()).unwrap();
                });
                while !coroutine.is_finished() && !wake.is_empty() {
                    yield_now().unwrap();
                }
                yield_now().unwrap();
                wake.send(()).unwrap();
                // Blocks this worker until the coroutine has run.
                let ran_on = rx.recv().unwrap();
                let here = std::thread::current().id();
                coroutine.join().unwrap();
                ran_on != here
            });
            assert!(ran_on, "{label}");
        }
    });
}

#[test]
fn start_modes() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let lazy = task().lazy().launch(async { 1 });
            assert_eq!(lazy.job().state(), JobState::New, "{label}");
            assert_eq!(lazy.join().unwrap(), 1);

            let order = Mutex::new(Vec::new());
            scope(|s| {
                s.task().undispatched().launch(async {
                    order.lock().unwrap().push("child");
                    yield_now_async().await?;
                    order.lock().unwrap().push("child, later");
                    Ok::<_, Cancelled>(())
                });
                order.lock().unwrap().push("parent");
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            let order = order.into_inner().unwrap();
            // The next turn may be another worker's, and come before ours goes on.
            let other = ["child", "child, later", "parent"];
            assert!(order == ["child", "parent", "child, later"] || !label.starts_with("1 ") && order == other, "{label}: {order:?}");

            let atomic = task().atomic().launch(async { "has run" });
            atomic.cancel();
            assert_eq!(atomic.join().unwrap(), "has run", "{label}");

            let named = task().name("reader").launch(async { job().unwrap().name().map(String::from) });
            assert_eq!(named.join().unwrap().as_deref(), Some("reader"), "{label}");
        });
    });
}

context_local! {
    static REQUEST: u64;
}

#[test]
fn context_is_inherited_both_ways() {
    on_runtimes(|runtime, label| {
        let seen = runtime.run(|| {
            let coroutine = task().with(&REQUEST, 7).launch(async {
                yield_now_async().await.unwrap();
                let child = go(|| launch(async { REQUEST.get() }).join().unwrap());
                (REQUEST.get(), child.await.unwrap())
            });
            coroutine.join().unwrap()
        });
        assert_eq!(seen, (Some(7), Some(7)), "{label}");
    });
}

/// Supervised, and as nodes of the tree.
#[test]
fn coroutines_are_jobs() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            supervisor(|s| {
                let bad = s.launch(async { "seven".parse::<u32>() });
                let good = s.launch(async { "7".parse::<u32>() });
                let job = good.job();
                assert_eq!(job.parent(), Some(s.job()), "{label}");
                assert!(bad.join().unwrap().is_err() && good.join().unwrap() == Ok(7), "{label}");
                assert!(matches!(job.completion(), Some(Completion::Completed)), "{label}");
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            let told = std::sync::Arc::new(AtomicUsize::new(0));
            let (tx, rx) = rendezvous::<()>();
            let waiting = launch(async move { rx.recv_async().await });
            let counter = told.clone();
            waiting.job().on_completion(move |completion| {
                assert!(matches!(completion, Completion::Completed));
                counter.fetch_add(1, Ordering::SeqCst);
            });
            drop(tx);
            assert!(waiting.join().unwrap().is_err());
            assert_eq!(told.load(Ordering::SeqCst), 1, "{label}");
        });
    });
}

/// Shutdown cuts off what waits for what will never come, and nothing is left of it.
#[test]
fn shutdown_ends_coroutines() {
    let aviary = Aviary::new();
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(20, 200) {
                let canary = aviary.canary();
                drop(launch(async move {
                    canary.sing();
                    if round % 2 == 0 {
                        pending::<()>().await;
                    } else {
                        let (_tx, rx) = rendezvous::<()>();
                        let _ = rx.recv_async().await;
                        canary.sing();
                    }
                }));
            }
        });
    });
    assert_eq!(aviary.alive(), 0);
}

/// Coroutines that do nothing but give way to each other are shared among the workers, though none of them waits for long.
#[test]
fn those_that_give_way_are_shared() {
    on_runtime(2, None, &mut |runtime, label| {
        let threads = std::sync::Mutex::new(std::collections::HashSet::new());
        runtime.run(|| {
            scope(|s| {
                for _ in 0..100 {
                    let threads = &threads;
                    // Until they have been seen on both workers, or on more: a worker that the system does not run for long is thought stuck, and gets help.
                    s.launch(async move {
                        loop {
                            threads.lock().unwrap().insert(std::thread::current().id());
                            if threads.lock().unwrap().len() >= 2 {
                                return Ok::<_, Cancelled>(());
                            }
                            yield_now_async().await?;
                        }
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        assert!(threads.into_inner().unwrap().len() >= 2, "{label}");
    });
}

/// A future that is always ready does not keep its worker to itself.
#[test]
fn an_always_ready_future_gives_way() {
    on_runtime(1, None, &mut |runtime, label| {
        let polls = runtime.run(|| {
            let (tx, rx) = bounded(1);
            let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let seen = stop.clone();
            let (begun, has_begun) = bounded(1);
            let busy = launch(async move {
                let mut rounds = 0_u64;
                begun.send_async(()).await.unwrap();
                while !seen.load(Ordering::Relaxed) {
                    tx.send_async(()).await.unwrap();
                    rx.recv_async().await.unwrap();
                    rounds += 1;
                }
                rounds
            });
            has_begun.recv().unwrap();
            // Would never run on the one worker.
            go(move || stop.store(true, Ordering::Relaxed));
            busy.join().unwrap()
        });
        assert!(polls > 0, "{label}");
    });
}

/// Polled as often as it is woken, by one worker at a time.
#[test]
fn turns_do_not_overlap() {
    struct Exclusive<'a> {
        inside: &'a Cell<bool>,
        left: usize,
    }
    // It is polled by one thread at a time: that is what is tested.
    struct Flag(Cell<bool>);
    // SAFETY: accessed in turns.
    unsafe impl Sync for Flag {}
    // SAFETY: as above.
    unsafe impl Send for Exclusive<'_> {}
    impl Future for Exclusive<'_> {
        type Output = Result<(), Cancelled>;
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            assert!(!self.inside.replace(true), "two turns at once");
            let waker = cx.waker().clone();
            // Woken from elsewhere in the middle of the turn, and once more from here.
            throng::go(move || waker.wake());
            cx.waker().wake_by_ref();
            self.left -= 1;
            let left = self.left;
            self.inside.set(false);
            if left == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let flags: Vec<Flag> = (0..8).map(|_| Flag(Cell::new(false))).collect();
            scope(|s| {
                for flag in &flags {
                    s.launch(Exclusive { inside: &flag.0, left: scaled(50, 500) });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn a_goroutine_waits_for_a_future_of_many_turns() {
    on_runtimes(|runtime, label| {
        let turns = runtime.run(|| {
            let mut turns = 0;
            poll_fn(|cx| {
                turns += 1;
                cx.waker().wake_by_ref();
                if turns == 1_000 { Poll::Ready(turns) } else { Poll::Pending }
            })
            .wait()
        });
        assert_eq!(turns, Ok(1_000), "{label}");
    });
}

#[test]
fn a_task_is_counted_as_started_once() {
    on_runtimes(|runtime, label| {
        let started = || {
            let metrics = runtime.metrics();
            metrics.workers.iter().chain(&metrics.spare_workers).map(|worker| worker.started).sum::<u64>()
        };
        let turns = runtime.launch(async {
            for _ in 0..100 {
                yield_now_async().await.unwrap();
            }
        });
        turns.join().unwrap();
        assert_eq!(started(), 1, "{label}");
    });
}
