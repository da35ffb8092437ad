//! Tasks that are cancelled where they wait for what knows nothing of cancellation: they end there, and everything they held is dropped.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use throng::future::Wait;
use throng::{Cancelled, JoinError, bounded, go, launch, shield_async, sleep_async};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Aviary, Canary, on_runtimes};
use crate::reactor::Reactor;
use crate::told;

const LONG: Duration = Duration::from_secs(3600);

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something of everybody's to wait for. All but the last are others' own.
const KINDS: usize = 11;

fn kind(kind: usize, canary: Canary) -> Waiting {
    match kind {
        0 => Box::pin(async move {
            let _canary = canary;
            tokio::time::sleep(LONG).await;
        }),
        1 => Box::pin(async move {
            let (_tx, mut rx) = tokio::sync::mpsc::channel::<()>(1);
            let _canary = canary;
            rx.recv().await;
        }),
        2 => Box::pin(async move {
            let notify = Arc::new(tokio::sync::Notify::new());
            notify.notified().await;
            canary.sing();
        }),
        3 => Box::pin(async move {
            let semaphore = tokio::sync::Semaphore::new(0);
            let _permit = semaphore.acquire().await;
            canary.sing();
        }),
        4 => Box::pin(async move {
            let _canary = canary;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let _ = listener.accept().await;
        }),
        5 => Box::pin(async move {
            let _canary = canary;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let _ = stream.read_u8().await;
        }),
        6 => Box::pin(async move {
            let (_tx, rx) = async_channel::bounded::<Canary>(1);
            let _canary = canary;
            let _ = rx.recv().await;
        }),
        7 => Box::pin(async move {
            let _canary = canary;
            futures_timer::Delay::new(LONG).await;
        }),
        8 => Box::pin(async move {
            let canary = Arc::new(canary);
            let part = |_| {
                let canary = Arc::clone(&canary);
                async move {
                    pending::<()>().await;
                    canary.sing();
                }
            };
            let mut set = (0..5).map(part).collect::<FuturesUnordered<_>>();
            set.next().await;
        }),
        9 => {
            let shared = async move { canary }.map(Arc::new).then(|canary| async { (pending::<()>().await, canary) }).boxed().shared();
            Box::pin(async move { _ = shared.await })
        }
        // Ours within another's.
        _ => Box::pin(async move {
            let _canary = canary;
            futures::join!(pending::<()>(), sleep_async(LONG).map(drop));
        }),
    }
}

#[test]
fn coroutines_are_cut_off() {
    let (reactor, aviary) = (Reactor::start(), Aviary::new());
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for n in 0..KINDS {
                let (waits, is_waiting) = bounded(1);
                let coroutine = launch(reactor.enter(told(kind(n, aviary.canary()), waits)));
                is_waiting.recv().unwrap();
                coroutine.cancel_with("over");
                match coroutine.join() {
                    Err(JoinError::TaskCancelled(cause)) => assert_eq!(cause.to_string(), "over", "{label}"),
                    other => panic!("{label}, kind {n}: {other:?}"),
                }
                assert_eq!(aviary.alive(), 0, "{label}, kind {n}");
            }
        });
    });
}

#[test]
fn waits_of_goroutines_are_cut_off() {
    let (reactor, aviary) = (Reactor::start(), Aviary::new());
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for n in 0..KINDS {
                let (waits, is_waiting) = bounded(1);
                let waiting = reactor.enter(told(kind(n, aviary.canary()), waits));
                let goroutine = go(|| waiting.wait());
                is_waiting.recv().unwrap();
                goroutine.cancel();
                assert_eq!(goroutine.join().unwrap(), Err(Cancelled::new()), "{label}, kind {n}");
                assert_eq!(aviary.alive(), 0, "{label}, kind {n}");
            }
        });
    });
}

/// What still waits when the runtime ends, ends with it.
#[test]
fn shutdown_cuts_off_the_rest() {
    let (reactor, aviary) = (Reactor::start(), Aviary::new());
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (waits, is_waiting) = bounded(KINDS);
            for n in 0..KINDS {
                let waiting = reactor.enter(told(kind(n, aviary.canary()), waits.clone()));
                if n % 2 == 0 {
                    drop(launch(waiting));
                } else {
                    drop(go(|| waiting.wait()));
                }
            }
            (0..KINDS).for_each(|_| is_waiting.recv().unwrap());
        });
    });
    assert_eq!(aviary.alive(), 0);
}

/// Clean-up under a shield may wait for others' futures.
#[test]
fn shields_hold_for_others() {
    let reactor = Reactor::start();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let (waits, is_waiting) = bounded(1);
            let (tx, rx) = async_channel::bounded(1);
            let coroutine = launch(reactor.enter(async move {
                let told = told(sleep_async(LONG), waits).await;
                let cleaned_up = shield_async(async {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    futures_timer::Delay::new(Duration::from_millis(1)).await;
                    tx.send("cleaned up").await.is_ok()
                });
                (told, cleaned_up.await)
            }));
            is_waiting.recv().unwrap();
            coroutine.cancel();
            assert_eq!(coroutine.join().unwrap(), (Err(Cancelled::new()), true), "{label}");
            assert_eq!(rx.try_recv(), Ok("cleaned up"), "{label}");
        });
    });
}
