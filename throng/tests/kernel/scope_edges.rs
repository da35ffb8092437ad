//! Scopes at the edges: drops that park or panic, and children or ends that come from other threads and runtimes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::channel::RecvError;
use throng::{Cancelled, Runtime, rendezvous, scope, sleep, yield_now};

use crate::common::{on_runtimes, panic_on_purpose, scaled, watched};

const FOREVER: Duration = Duration::from_secs(3600);

/// A child's value that nobody takes and whose drop parks is still the child's business: cancelling the scope ends that park.
#[test]
fn a_drop_that_parks_is_cancelled_with_the_scope() {
    struct Parks(throng::Sender<()>);
    impl Drop for Parks {
        fn drop(&mut self) {
            let _ = self.0.send(());
            let _ = sleep(FOREVER);
        }
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = rendezvous();
            let (gate, closed) = rendezvous::<()>();
            scope(|s| {
                for _ in 0..4 {
                    let (tx, closed) = (tx.clone(), closed.clone());
                    s.go(move || {
                        let _ = closed.recv();
                        Ok::<_, Cancelled>(Parks(tx))
                    });
                }
                // Not before the handles are gone: a value that is there before is dropped with its handle.
                drop(gate);
                for _ in 0..4 {
                    rx.recv().unwrap();
                }
                s.cancel();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn late_failures_that_panic_when_dropped_do_no_harm() {
    #[derive(PartialEq)]
    struct Nasty(bool);
    impl Drop for Nasty {
        fn drop(&mut self) {
            if self.0 {
                panic_on_purpose(66);
            }
        }
    }
    impl From<Cancelled> for Nasty {
        fn from(_: Cancelled) -> Nasty {
            Nasty(true)
        }
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for _ in 0..20 {
                // Whichever comes first; that one does not panic when it is dropped.
                let result = catch_unwind(AssertUnwindSafe(|| -> Result<(), Nasty> {
                    scope(|s| {
                        let cancelled = s.go(|| -> Result<(), Nasty> { Ok(sleep(FOREVER)?) });
                        yield_now().unwrap();
                        cancelled.cancel();
                        for _ in 0..4 {
                            s.go(|| -> Result<(), Nasty> { Ok(sleep(FOREVER)?) });
                        }
                        s.go(|| -> () { std::panic::resume_unwind(Box::new(Nasty(false))) });
                        let _ = yield_now();
                        Err(Nasty(false))
                    })
                }));
                match result {
                    Ok(Err(Nasty(false))) => {}
                    Err(payload) => assert!(payload.is::<Nasty>()),
                    Ok(_) => panic!("not the first failure"),
                }
            }
        });
    });
}

#[test]
fn messages_of_dead_channels_do_not_outlive_the_scope() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let words = vec![String::from("borrowed"); 8];
            let (tx, rx) = throng::unbounded::<&str>();
            let count = scope(|s| {
                for word in &words {
                    let tx = tx.clone();
                    s.go(move || _ = tx.send(word));
                }
                drop(tx);
                Ok::<_, Cancelled>(rx.iter().filter(|word| *word == "borrowed").count())
            })
            .unwrap();
            assert_eq!(count, 8);
            assert_eq!(rx.recv(), Err(RecvError::Closed));
        });
    });
}

#[test]
fn a_scope_of_a_runtime_that_is_shut_down_ends() {
    watched("shutdown", || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let (started, is_started) = rendezvous();
        let task = runtime.go(move || {
            scope(|s| {
                for _ in 0..10 {
                    s.go(|| sleep(FOREVER));
                }
                started.send(()).unwrap();
                Ok::<_, Cancelled>(())
            })
        });
        is_started.recv().unwrap();
        runtime.shutdown();
        assert_eq!(task.join().unwrap(), Err(Cancelled::new()));
    });
}

/// A thread that is no worker announces the child to the scope's home and then queues it: the home, which has nothing else to do, may take it at once, and must have
/// read the announcement before the child ends.
#[test]
fn a_child_spawned_by_a_blocking_thread_is_announced_before_it_ends() {
    Runtime::builder().workers(1).build().unwrap().run(|| {
        for round in 0..scaled(1_000, 4_000) {
            let ran = AtomicUsize::new(0);
            scope(|s| {
                throng::blocking(|| {
                    for _ in 0..200 {
                        s.go(|| {
                            ran.fetch_add(1, Ordering::Relaxed);
                        });
                        for _ in 0..round % 50 {
                            std::hint::spin_loop();
                        }
                    }
                })
            })
            .unwrap();
            assert_eq!(ran.into_inner(), 200);
        }
    });
}
