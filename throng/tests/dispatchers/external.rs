//! Other executors, and threads of one's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use throng::dispatch::{EventLoop, Runnable, default};
use throng::{
    Cancelled, Dispatcher, Error, JoinError, bounded, go, launch, on, rendezvous, scope, shield_async, sleep, sleep_async, task,
    yield_now_async,
};

use crate::common::{Aviary, on_runtimes, panic_on_purpose, scaled, watched};

/// An executor of two threads with one queue.
struct Executor {
    dispatcher: Dispatcher,
    queue: mpsc::Sender<Option<Runnable>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Executor {
    fn new() -> Executor {
        let (queue, rx) = mpsc::channel::<Option<Runnable>>();
        let rx = Arc::new(Mutex::new(rx));
        let threads = (0..2)
            .map(|_| {
                let rx = Arc::clone(&rx);
                let work = move || {
                    loop {
                        let next = rx.lock().unwrap().recv();
                        match next {
                            Ok(Some(runnable)) => runnable.run(),
                            _ => return,
                        }
                    }
                };
                std::thread::Builder::new().name("executor".into()).spawn(work).unwrap()
            })
            .collect();
        let to = queue.clone();
        let dispatcher = Dispatcher::from_executor(move |runnable| {
            // Dropped, and so cancelled, if the executor has gone.
            let _ = to.send(Some(runnable));
        });
        Executor { dispatcher, queue, threads }
    }

    fn stop(self) {
        self.threads.iter().for_each(|_| self.queue.send(None).unwrap());
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn on_executor() -> bool {
    std::thread::current().name() == Some("executor")
}

#[test]
fn coroutines_on_another_executor() {
    watched("executor", || {
        let executor = Executor::new();
        let d = &executor.dispatcher;
        on_runtimes(|runtime, label| {
            runtime.run(|| {
                let (tx, rx) = bounded(1);
                let sum: Result<u64, Error> = scope(|s| {
                    let senders: Vec<_> = (0..4)
                        .map(|n| {
                            let tx = tx.clone();
                            s.task().on(d).launch(async move {
                                for _ in 0..scaled(20, 200) {
                                    assert!(on_executor());
                                    tx.send_async(n).await?;
                                    yield_now_async().await?;
                                    sleep_async(Duration::from_micros(5)).await?;
                                }
                                // Inherited; and a turn may park, which blocks the executor's thread.
                                let inner = launch(async { on_executor() });
                                assert!(inner.await.unwrap());
                                let elsewhere = scope(|s| Ok::<_, Error>(s.task().on(&default()).go(|| Ok(on_executor())).join()?));
                                assert!(!elsewhere?);
                                Ok(())
                            })
                        })
                        .collect();
                    drop(tx);
                    let sum = rx.iter().sum();
                    senders.into_iter().try_for_each(|sender| sender.join().map_err(Error::from))?;
                    Ok(sum)
                });
                assert_eq!(sum.unwrap(), 6 * scaled(20, 200) as u64, "{label}");
                // Panics and values of detached ones.
                assert!(matches!(task().on(d).launch(async { panic_on_purpose(1) }).join(), Err(JoinError::Panicked(_))), "{label}");
                assert_eq!(task().on(d).launch(async { 5 }).join().unwrap(), 5, "{label}");
                // No goroutines.
                let refused = task().on(d).try_go(|| ()).unwrap_err();
                assert!(refused.to_string().contains("coroutines only") && !refused.is_shut_down(), "{label}");
            });
        });
        executor.stop();
    });
}

#[test]
fn a_limited_view_of_another_executor() {
    watched("executor", || {
        let executor = Executor::new();
        let one = executor.dispatcher.limited(1);
        let inside = AtomicUsize::new(0);
        throng::run(|| {
            scope(|s| {
                for _ in 0..20 {
                    let inside = &inside;
                    s.task().on(&one).launch(async move {
                        for _ in 0..20 {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            assert!(on_executor());
                            inside.fetch_sub(1, Ordering::SeqCst);
                            yield_now_async().await?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        executor.stop();
    });
}

/// An executor that has been shut down, or throws away what it is given: the tasks end, cancelled, and nobody waits for ever.
#[test]
fn an_executor_that_goes() {
    let aviary = Aviary::new();
    watched("executor", || {
        let executor = Executor::new();
        let d = executor.dispatcher.clone();
        throng::run(|| {
            let (tx, rx) = rendezvous::<()>();
            let canary = aviary.canary();
            let waiting = task().on(&d).launch(async move {
                let _ = rx.recv_async().await;
                canary.sing();
                // Woken when the executor has gone: cut off, shielded or not.
                shield_async(std::future::pending::<()>()).await;
            });
            while !waiting.job().is_active() {
                sleep(Duration::from_micros(100)).unwrap();
            }
            executor.stop();
            let never = task().on(&d).launch(async { 5 });
            assert!(matches!(never.join(), Err(JoinError::TaskCancelled(_))));
            let ended = scope(|s| {
                s.task().on(&d).launch(async { Ok::<_, Cancelled>(()) });
                Ok(())
            });
            assert_eq!(ended, Ok(()));
            drop(tx);
            assert!(matches!(waiting.join(), Err(JoinError::TaskCancelled(_))));
        });
        let careless = Dispatcher::from_executor(|_| panic_on_purpose(3));
        assert!(matches!(task().on(&careless).launch(async { 1 }).join(), Err(JoinError::TaskCancelled(_))));
    });
    assert_eq!(aviary.alive(), 0);
}

#[test]
fn a_thread_of_ones_own() {
    watched("event loop", || {
        let here = std::thread::current().id();
        let event_loop = EventLoop::new();
        let (dispatcher, remote) = (event_loop.dispatcher(), event_loop.remote());
        let worker = go(move || {
            let steps = Mutex::new(Vec::new());
            let result = scope(|s| {
                let note = |what: &'static str| {
                    assert_eq!(std::thread::current().id(), here);
                    steps.lock().unwrap().push(what);
                };
                on(&dispatcher, || note("called")).unwrap();
                let (tx, rx) = bounded(0);
                s.task().on(&dispatcher).launch(async move {
                    note("coroutine");
                    let got = rx.recv_async().await.unwrap();
                    note(got);
                    sleep_async(Duration::from_millis(1)).await?;
                    note("slept");
                    Ok::<_, Cancelled>(())
                });
                tx.send("received").unwrap();
                let goroutine = s.task().on(&dispatcher).go(move || {
                    note("goroutine");
                    // Parks the thread.
                    sleep(Duration::from_millis(1))?;
                    scope(|inner| {
                        inner.task().on(&throng::dispatch::default()).go(|| _ = sleep(Duration::from_millis(1)));
                        Ok::<_, Cancelled>(())
                    })
                });
                goroutine.join().unwrap();
                Ok::<_, Cancelled>(())
            });
            remote.stop();
            (result, steps.into_inner().unwrap())
        });
        event_loop.run();
        let (result, mut steps) = worker.join().unwrap();
        result.unwrap();
        steps.sort_unstable();
        assert_eq!(steps, ["called", "coroutine", "goroutine", "received", "slept"]);
    });
}

/// What the thread itself sends to itself it does at once: nobody else would.
#[test]
fn a_thread_that_sends_to_itself() {
    watched("event loop", || {
        let event_loop = EventLoop::new();
        let d = event_loop.dispatcher();
        let mut called = 0;
        let inside = on(&d, || {
            called += 1;
            // What is started in there is sent there, too, and runs later.
            let later = launch(async { std::thread::current().id() });
            (Dispatcher::current(), on(&d, || 5).unwrap(), later)
        });
        let (current, five, later) = inside.unwrap();
        assert_eq!((current, five, called), (Some(d), 5, 1));
        assert_eq!(event_loop.run_pending(), 1);
        assert_eq!(later.join().unwrap(), std::thread::current().id());
    });
}

/// A loop of the user's that is told when there is something to run; and one that goes away with tasks on it.
#[test]
fn a_loop_of_ones_own() {
    watched("event loop", || {
        let aviary = Aviary::new();
        let (wake, woken) = mpsc::channel();
        let event_loop = EventLoop::with_notify(move || wake.send(()).unwrap());
        let d = event_loop.dispatcher();
        let handle = task().on(&d).launch(async {
            for _ in 0..3 {
                yield_now_async().await.unwrap();
            }
            "done"
        });
        let mut turns = 0;
        while !handle.is_finished() {
            woken.recv().unwrap();
            turns += event_loop.run_pending();
        }
        assert_eq!((handle.join().unwrap(), turns, event_loop.run_pending()), ("done", 4, 0));
        let canaries = [aviary.canary(), aviary.canary()];
        let [in_queue, waits] = canaries;
        let waits = task().on(&d).launch(async move {
            std::future::pending::<()>().await;
            waits.sing();
        });
        event_loop.run_pending();
        let in_queue = task().on(&d).go(move || in_queue.sing());
        drop(event_loop);
        assert!(matches!(in_queue.join(), Err(JoinError::TaskCancelled(_))));
        assert!(matches!(waits.join(), Err(JoinError::TaskCancelled(_))));
        assert!(task().on(&d).try_go(|| ()).unwrap_err().is_shut_down());
        assert_eq!(aviary.alive(), 0);
    });
}
