//! smol: its executor, run by threads of our own, with its channels and timers.
//!
//! The executor is the static one of async-executor, which keeps no list of its tasks: a spawn takes half the time that
//! it takes on the plain one. smol has no rendezvous channel, so capacity 1 stands in. Tasks cannot borrow; counters are statics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Sender, bounded};
use async_executor::{StaticExecutor, Task};
use async_io::{Timer, block_on};
use event_listener::Event;
use futures_lite::future::yield_now;

use super::apart::{Meeting, with_two};
use super::parked::{End, counted};
use crate::measure::{Bench, BenchError, Measured, Run, check, sum_below};
use crate::sys;
use crate::workload::{DROPS, TICK, Workload, naps, tree_tasks, yields};

type Result<T> = std::result::Result<T, BenchError>;

static EXECUTOR: StaticExecutor = StaticExecutor::new();

pub(super) fn bench(workload: Workload) -> Option<Bench> {
    Some(match workload {
        Workload::SpawnJoin => |run| measure(run, spawn_join),
        Workload::SpawnOne => |run| measure(run, spawn_one),
        Workload::Yield => |run| measure(run, yields_of_many),
        Workload::PingPong => |run| measure(run, |n| ping_pong(n, Meeting::None)),
        Workload::PingPongApart => |run| measure(with_two(run)?, |n| ping_pong(n, Meeting::apart())),
        Workload::ChanSpsc => |run| measure(run, chan_spsc),
        Workload::Skynet => |run| measure(run, skynet),
        Workload::SkynetJoin => |run| measure(run, skynet_join),
        Workload::Timers => |run| measure(run, timers),
        Workload::Trickle => |run| measure(run, trickle),
        Workload::CancelTree => |run| measure(run, cancel_tree),
        _ => return None,
    })
}

fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Task<T> {
    EXECUTOR.spawn(task)
}

/// Runs warm-up and work as a task, so that what it spawns is spawned from a worker.
fn measure<F>(run: &Run, body: fn(u64) -> F) -> Result<Measured>
where
    F: Future<Output = Result<Measured>> + Send + 'static,
{
    let (warm_up, n) = (run.warm_up(), run.n);
    let (finish, finished) = bounded::<()>(1);
    thread::scope(move |s| {
        for _ in 0..run.workers.get() {
            let finished = finished.clone();
            s.spawn(move || block_on(EXECUTOR.run(finished.recv())));
        }
        let measured = block_on(spawn(async move {
            body(warm_up).await?;
            body(n).await
        }));
        // Ends the workers.
        drop(finish);
        measured
    })
}

async fn spawn_join(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.store(0, Ordering::Relaxed);
    let start = Instant::now();
    let count = async || _ = COUNT.fetch_add(1, Ordering::Relaxed);
    let tasks: Vec<_> = (0..n).map(|_| spawn(count())).collect();
    for task in tasks {
        task.await;
    }
    let wall = start.elapsed();
    check("count of tasks", COUNT.load(Ordering::Relaxed), n)?;
    Ok(Measured::new(wall, n))
}

async fn spawn_one(n: u64) -> Result<Measured> {
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..n {
        sum += spawn(async move { i }).await;
    }
    let wall = start.elapsed();
    check("sum of values", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

async fn yields_of_many(n: u64) -> Result<Measured> {
    let (tasks, each) = yields(n);
    let yielder = || {
        spawn(async move {
            let mut done = 0;
            for _ in 0..each {
                yield_now().await;
                done += 1;
            }
            done
        })
    };
    let start = Instant::now();
    let running: Vec<Task<u64>> = (0..tasks).map(|_| yielder()).collect();
    let mut done = 0;
    for task in running {
        done += task.await;
    }
    let wall = start.elapsed();
    check("count of yields", done, tasks * each)?;
    Ok(Measured::new(wall, tasks * each))
}

async fn ping_pong(n: u64, meeting: Meeting) -> Result<Measured> {
    let meeting = Arc::new(meeting);
    let other = Arc::clone(&meeting);
    let (ping, pings) = bounded::<u64>(1);
    let (pong, pongs) = bounded::<u64>(1);
    let start = Instant::now();
    let ponger = spawn(async move {
        other.begin();
        while let Ok(value) = pings.recv().await {
            if pong.send(value + 1).await.is_err() {
                break;
            }
        }
    });
    let pinger: Task<Result<u64>> = spawn(async move {
        meeting.begin();
        let mut sum = 0;
        for i in 0..n {
            ping.send(i).await.map_err(BenchError::failed)?;
            sum += pongs.recv().await.map_err(BenchError::failed)?;
        }
        Ok(sum)
    });
    let sum = pinger.await?;
    let wall = start.elapsed();
    ponger.await;
    check("sum of replies", sum, sum_below(n) + n)?;
    Ok(Measured::new(wall, n))
}

async fn chan_spsc(n: u64) -> Result<Measured> {
    let (items, inlet) = bounded::<u64>(128);
    let start = Instant::now();
    let producer = spawn(async move {
        for i in 0..n {
            if items.send(i).await.is_err() {
                break;
            }
        }
    });
    let consumer = spawn(async move {
        let mut sum = 0;
        while let Ok(item) = inlet.recv().await {
            sum += item;
        }
        sum
    });
    let sum = consumer.await;
    let wall = start.elapsed();
    producer.await;
    check("sum of items", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

async fn skynet(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let (sender, receiver) = bounded(1);
    channel_node(sender, 0, leaves);
    let sum = receiver.recv().await.unwrap_or(0);
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

/// Spawns a node. A sum that cannot be sent is missed by the check.
fn channel_node(parent: Sender<u64>, first: u64, leaves: u64) {
    let node = spawn(async move {
        let sum = if leaves == 1 {
            first
        } else {
            let (sender, sums) = bounded(10);
            let each = leaves / 10;
            for child in 0..10 {
                channel_node(sender.clone(), first + child * each, each);
            }
            let mut sum = 0;
            for _ in 0..10 {
                sum += sums.recv().await.unwrap_or(0);
            }
            sum
        };
        _ = parent.send(sum).await;
    });
    node.detach();
}

async fn skynet_join(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let sum = joined_node(0, leaves).await;
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

fn joined_node(first: u64, leaves: u64) -> Task<u64> {
    spawn(async move {
        if leaves == 1 {
            return first;
        }
        let each = leaves / 10;
        let children: [Task<u64>; 10] = std::array::from_fn(|child| joined_node(first + child as u64 * each, each));
        let mut sum = 0;
        for child in children {
            sum += child.await;
        }
        sum
    })
}

async fn timers(n: u64) -> Result<Measured> {
    let naps = naps(n);
    let longest = Duration::from_millis(naps.iter().copied().max().unwrap_or(0));
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    let nap_for = async |nap| {
        Timer::after(Duration::from_millis(nap)).await;
        nap
    };
    let sleepers: Vec<Task<u64>> = naps.iter().map(|&nap| spawn(nap_for(nap))).collect();
    let mut slept = 0;
    for sleeper in sleepers {
        slept += sleeper.await;
    }
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("sum of sleeps", slept, naps.iter().sum())?;
    Measured::new(wall, n).with_timers(longest, cpu)
}

async fn trickle(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.store(0, Ordering::Relaxed);
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    for _ in 0..n {
        Timer::after(TICK).await;
        for _ in 0..DROPS {
            spawn(async { COUNT.fetch_add(1, Ordering::Relaxed) }).detach();
        }
    }
    while COUNT.load(Ordering::Relaxed) < n * DROPS {
        Timer::after(TICK).await;
    }
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("count of tasks", COUNT.load(Ordering::Relaxed), n * DROPS)?;
    Ok(Measured::new(wall, n).with_cpu(cpu))
}

/// All children wait for the same channel. The parent is told to end by a message, drops its handles, which cancels, and waits for the last future to go:
/// `cancel().await` on one after the other takes more than twice as long.
async fn cancel_tree(n: u64) -> Result<Measured> {
    static PARKED: AtomicU64 = AtomicU64::new(0);
    static ENDED: AtomicU64 = AtomicU64::new(0);
    static FULL: Event = Event::new();
    PARKED.store(0, Ordering::Relaxed);
    ENDED.store(0, Ordering::Relaxed);
    let (order, ordered) = bounded::<()>(1);
    let parent = spawn(async move {
        let child = || {
            spawn(async move {
                let _end = End { ended: &ENDED, n, full: || _ = FULL.notify(1) };
                _ = counted(&PARKED, std::future::pending::<()>()).await;
            })
        };
        let children: Vec<Task<()>> = (0..n).map(|_| child()).collect();
        let full = FULL.listen();
        let ordered = counted(&PARKED, ordered.recv()).await;
        drop(children);
        full.await;
        ordered
    });
    // The children and the parent.
    while PARKED.load(Ordering::Acquire) < n + 1 {
        Timer::after(Duration::from_millis(1)).await;
    }
    check("children that ended early", ENDED.load(Ordering::Acquire), 0)?;
    let start = Instant::now();
    order.send(()).await.map_err(BenchError::failed)?;
    parent.await.map_err(BenchError::failed)?;
    let wall = start.elapsed();
    check("cancelled children", ENDED.load(Ordering::Acquire), n)?;
    Ok(Measured::new(wall, n))
}
