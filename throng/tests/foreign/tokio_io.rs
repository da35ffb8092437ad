//! tokio's timers, its locks and channels, and its sockets, awaited by coroutines and waited for by goroutines. A tokio runtime runs beside ours, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use throng::future::Wait;
use throng::{Cancelled, Error, JoinError, go, launch, scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Mutex, Notify, Semaphore, mpsc, oneshot, watch};

use crate::common::{Dice, on_runtimes, scaled};
use crate::everywhere;
use crate::reactor::Reactor;

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn timers() {
    let reactor = Reactor::start();
    everywhere(
        || {
            reactor.enter(async {
                let start = Instant::now();
                tokio::time::sleep(SHORT).await;
                let slept = start.elapsed();
                let limited = tokio::time::timeout(SHORT, throng::sleep_async(LONG)).await;
                let mut interval = tokio::time::interval(Duration::from_micros(200));
                for _ in 0..5 {
                    interval.tick().await;
                }
                // The other way round.
                let ours = throng::timeout_async(SHORT, tokio::time::sleep(LONG)).await;
                (slept >= SHORT, limited.is_err(), ours.is_err())
            })
        },
        |got, label| assert_eq!(got, (true, true, true), "{label}"),
    );
}

#[test]
fn futures_timer() {
    everywhere(
        || async {
            let start = Instant::now();
            futures_timer::Delay::new(SHORT).await;
            let many = futures::future::join_all((0..20).map(|n| futures_timer::Delay::new(Duration::from_micros(100 * n)))).await;
            (start.elapsed() >= SHORT, many.len())
        },
        |got, label| assert_eq!(got, (true, 20), "{label}"),
    );
}

/// Permits, messages and notes between tokio's tasks, coroutines and goroutines.
#[test]
fn synchronisation() {
    let reactor = Reactor::start();
    on_runtimes(|runtime, label| {
        let n = scaled(50, 500) as u64;
        let (items, mut sums) = mpsc::channel::<u64>(4);
        let (semaphore, total) = (Arc::new(Semaphore::new(2)), Arc::new(Mutex::new(0)));
        let work = |kind: u64, items: mpsc::Sender<u64>| {
            let (semaphore, total) = (Arc::clone(&semaphore), Arc::clone(&total));
            async move {
                for i in 0..n {
                    let _permit = semaphore.acquire().await.unwrap();
                    *total.lock().await += 1;
                    items.send(kind * i).await.unwrap();
                }
            }
        };
        let tasks: Vec<_> = (0..2).map(|kind| reactor.handle.spawn(work(kind, items.clone()))).collect();
        let coroutines: Vec<_> = (2..4).map(|kind| runtime.launch(work(kind, items.clone()))).collect();
        let goroutines: Vec<_> = [work(4, items.clone()), work(5, items)].map(|work| runtime.go(|| work.wait().unwrap())).into();
        let sum = runtime.launch(async move {
            let mut sum = 0;
            while let Some(item) = sums.recv().await {
                sum += item;
            }
            sum
        });
        assert_eq!(sum.join().unwrap(), 15 * n * (n - 1) / 2, "{label}");
        coroutines.into_iter().chain(goroutines).for_each(|task| task.join().unwrap());
        tasks.into_iter().for_each(|task| task.wait().unwrap().unwrap());
        assert_eq!(*total.blocking_lock(), 6 * n, "{label}");
    });
}

#[test]
fn notes() {
    let reactor = Reactor::start();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let (notify, barrier) = (Arc::new(Notify::new()), Arc::new(Barrier::new(3)));
            let ((tell, told), (state, mut seen)) = (oneshot::channel(), watch::channel(0));
            let note = Arc::clone(&notify);
            let mut waiting = vec![launch(async move {
                note.notified().await;
                told.await.unwrap()
            })];
            waiting.push(go(move || *seen.wait_for(|state| *state == 7).wait().unwrap().unwrap()));
            for n in 0..2 {
                let barrier = Arc::clone(&barrier);
                let arrive = async move { barrier.wait().await.is_leader() as u32 };
                waiting.push(if n == 0 { launch(arrive) } else { go(|| arrive.wait().unwrap()) });
            }
            let last = reactor.handle.spawn(async move {
                notify.notify_one();
                tell.send(5).unwrap();
                state.send(7).unwrap();
                barrier.wait().await.is_leader() as u32
            });
            let sum: u32 = waiting.into_iter().map(|task| task.join().unwrap()).sum();
            assert_eq!(sum + last.wait().unwrap().unwrap(), 5 + 7 + 1, "{label}");
        });
    });
}

/// Writes a message and expects it back, a few times.
async fn talk(address: std::net::SocketAddr, seed: u64) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    let (mut dice, mut total) = (Dice::new(seed), 0);
    for _ in 0..8 {
        let sent: Vec<u8> = (0..1 + dice.below(20_000)).map(|_| dice.below(256) as u8).collect();
        let mut back = vec![0; sent.len()];
        let (mut reads, mut writes) = stream.split();
        let (read, written) = futures::join!(reads.read_exact(&mut back), writes.write_all(&sent));
        read?;
        written?;
        assert_eq!(sent, back);
        total += back.len();
    }
    Ok(total)
}

async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let (mut reads, mut writes) = stream.split();
    tokio::io::copy(&mut reads, &mut writes).await
}

/// A server and clients over loopback, driven by tokio's reactor: a coroutine accepts, each connection has a coroutine of its own, clients are of both kinds.
#[test]
fn an_echo_server() {
    let reactor = Reactor::start();
    on_runtimes(|runtime, label| {
        let (sent, echoed) = runtime
            .run(|| {
                scope(|s| {
                    let clients = scaled(4, 12) as u64;
                    let listener = reactor.enter(TcpListener::bind(("127.0.0.1", 0))).wait()??;
                    let address = listener.local_addr()?;
                    let server = s.launch(reactor.enter(async move {
                        let mut connections = Vec::new();
                        for _ in 0..clients {
                            let (stream, _) = listener.accept().await?;
                            // (A socket knows its reactor.)
                            connections.push(launch(echo(stream)));
                        }
                        let mut echoed = 0;
                        for connection in connections {
                            echoed += connection.await??;
                        }
                        Ok::<u64, Failed>(echoed)
                    }));
                    let talks: Vec<_> = (0..clients)
                        .map(|n| {
                            let talk = reactor.enter(talk(address, n));
                            if n % 2 == 0 { s.launch(async { Ok(talk.await?) }) } else { s.go(|| Ok(talk.wait()??)) }
                        })
                        .collect();
                    let mut sent = 0;
                    for talk in talks {
                        sent += talk.join()? as u64;
                    }
                    Ok::<_, Failed>((sent, server.join()?))
                })
            })
            .unwrap();
        assert!(sent > 0 && sent == echoed, "{label}: {sent} sent, {echoed} echoed");
    });
}

#[derive(Debug)]
#[allow(dead_code, reason = "for its Debug")]
enum Failed {
    Io(io::Error),
    Throng(Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

impl From<Cancelled> for Failed {
    fn from(error: Cancelled) -> Failed {
        Failed::Throng(error.into())
    }
}

impl From<JoinError> for Failed {
    fn from(error: JoinError) -> Failed {
        Failed::Throng(error.into())
    }
}
