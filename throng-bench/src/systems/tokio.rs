//! tokio: its multi-thread runtime, spawning from within a task, with its own channels and `select!`.
//!
//! tokio has no rendezvous channel, so capacity 1 stands in. Its tasks cannot borrow; counters are statics, which
//! spares it an `Arc` a task, and each workload resets its own before the clock starts. Where a million tasks are joined, a
//! plain `Vec` of handles is a third faster than a `JoinSet`.

mod timing;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::tokio::runtime::Builder;
use ::tokio::sync::{Notify, mpsc, oneshot, watch};
use ::tokio::task::{JoinHandle, JoinSet, yield_now};
use ::tokio::time::sleep;
use ::tokio::{select, spawn};

use super::apart::{Meeting, with_two};
use super::mix::{NAP, compute, lateness};
use super::parked::{End, counted};
use crate::measure::{Bench, BenchError, Measured, Run, check, sum_below};
use crate::sys;
use crate::workload::{PAIRS, Workload, tree_tasks, yields};

type Result<T> = std::result::Result<T, BenchError>;

pub(super) fn bench(workload: Workload) -> Option<Bench> {
    Some(match workload {
        Workload::SpawnJoin => |run| measure(run, spawn_join),
        Workload::SpawnJoinWg => |run| measure(run, spawn_join_wg),
        Workload::SpawnOne => |run| measure(run, spawn_one),
        Workload::Yield => |run| measure(run, yields_of_many),
        Workload::PingPong => |run| measure(run, |n| ping_pong(n, Meeting::None)),
        Workload::PingPongApart => |run| measure(with_two(run)?, |n| ping_pong(n, Meeting::apart())),
        Workload::ChanSpsc => |run| measure(run, chan_spsc),
        Workload::Select2 => |run| measure(run, select2),
        Workload::Skynet => |run| measure(run, skynet),
        Workload::SkynetJoin => |run| measure(run, skynet_join),
        // Memory that a warm-up leaves behind would hide what the tasks take.
        Workload::IdleMem => |run| enter(run, idle_mem(run.n)),
        Workload::Timers => |run| measure(run, timing::timers),
        Workload::Trickle => |run| measure(run, timing::trickle),
        Workload::CancelTree => |run| measure(run, cancel_tree),
        Workload::ComputeMix => |run| measure(run, compute_mix),
        Workload::DeepTree => return None,
    })
}

/// Runs `work` as a task, so that what it spawns is spawned from a worker.
fn enter(run: &Run, work: impl Future<Output = Result<Measured>> + Send + 'static) -> Result<Measured> {
    let runtime = Builder::new_multi_thread().worker_threads(run.workers.get()).enable_time().build().map_err(BenchError::failed)?;
    runtime.block_on(async { spawn(work).await.map_err(BenchError::failed)? })
}

fn measure<F>(run: &Run, body: fn(u64) -> F) -> Result<Measured>
where
    F: Future<Output = Result<Measured>> + Send + 'static,
{
    let (warm_up, n) = (run.warm_up(), run.n);
    enter(run, async move {
        body(warm_up).await?;
        body(n).await
    })
}

async fn spawn_join(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.store(0, Ordering::Relaxed);
    let start = Instant::now();
    let count = async || _ = COUNT.fetch_add(1, Ordering::Relaxed);
    let tasks: Vec<_> = (0..n).map(|_| spawn(count())).collect();
    for task in tasks {
        task.await.map_err(BenchError::failed)?;
    }
    let wall = start.elapsed();
    check("count of tasks", COUNT.load(Ordering::Relaxed), n)?;
    Ok(Measured::new(wall, n))
}

/// Detached tasks; the one that makes the count full tells so.
async fn spawn_join_wg(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static FULL: Notify = Notify::const_new();
    COUNT.store(0, Ordering::Relaxed);
    let start = Instant::now();
    for _ in 0..n {
        spawn(async move {
            if COUNT.fetch_add(1, Ordering::AcqRel) + 1 == n {
                FULL.notify_one();
            }
        });
    }
    FULL.notified().await;
    let wall = start.elapsed();
    check("count of tasks", COUNT.load(Ordering::Relaxed), n)?;
    Ok(Measured::new(wall, n))
}

async fn spawn_one(n: u64) -> Result<Measured> {
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..n {
        sum += spawn(async move { i }).await.map_err(BenchError::failed)?;
    }
    let wall = start.elapsed();
    check("sum of values", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

async fn yields_of_many(n: u64) -> Result<Measured> {
    let (tasks, each) = yields(n);
    let start = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        running.spawn(async move {
            let mut done = 0;
            for _ in 0..each {
                yield_now().await;
                done += 1;
            }
            done
        });
    }
    let done: u64 = running.join_all().await.into_iter().sum();
    let wall = start.elapsed();
    check("count of yields", done, tasks * each)?;
    Ok(Measured::new(wall, tasks * each))
}

async fn ping_pong(n: u64, meeting: Meeting) -> Result<Measured> {
    let meeting = Arc::new(meeting);
    let other = Arc::clone(&meeting);
    let (ping, mut pings) = mpsc::channel::<u64>(1);
    let (pong, mut pongs) = mpsc::channel::<u64>(1);
    let start = Instant::now();
    spawn(async move {
        other.begin();
        while let Some(value) = pings.recv().await {
            if pong.send(value + 1).await.is_err() {
                break;
            }
        }
    });
    let pinger: JoinHandle<Result<u64>> = spawn(async move {
        meeting.begin();
        let mut sum = 0;
        for i in 0..n {
            ping.send(i).await.map_err(BenchError::failed)?;
            sum += pongs.recv().await.ok_or_else(|| BenchError::failed("closed early"))?;
        }
        Ok(sum)
    });
    let sum = pinger.await.map_err(BenchError::failed)??;
    let wall = start.elapsed();
    check("sum of replies", sum, sum_below(n) + n)?;
    Ok(Measured::new(wall, n))
}

/// Until the pairs are through: as many tasks that compute as there are workers, each followed by another, and one that sleeps again and again.
async fn compute_mix(n: u64) -> Result<Measured> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static COMPUTED: AtomicU64 = AtomicU64::new(0);
    static RUNNING: AtomicU64 = AtomicU64::new(0);
    static LATE: Mutex<Vec<Option<Duration>>> = Mutex::new(Vec::new());

    fn computing() {
        spawn(async {
            compute();
            COMPUTED.fetch_add(1, Ordering::Relaxed);
            if STOP.load(Ordering::Relaxed) {
                RUNNING.fetch_sub(1, Ordering::Relaxed);
            } else {
                computing();
            }
        });
    }

    STOP.store(false, Ordering::Relaxed);
    COMPUTED.store(0, Ordering::Relaxed);
    for _ in 0..::tokio::runtime::Handle::current().metrics().num_workers() {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        computing();
    }
    let timer = spawn(async {
        loop {
            let start = Instant::now();
            sleep(NAP).await;
            LATE.lock().map_err(BenchError::failed)?.push(lateness(start));
            if STOP.load(Ordering::Relaxed) {
                return Ok::<(), BenchError>(());
            }
        }
    });
    let each = n / PAIRS;
    let start = Instant::now();
    let pairs: Vec<_> = (0..PAIRS).map(|_| spawn(ping_pong(each, Meeting::None))).collect();
    for pair in pairs {
        // Each has checked its sum.
        pair.await.map_err(BenchError::failed)??;
    }
    let wall = start.elapsed();
    STOP.store(true, Ordering::Relaxed);
    timer.await.map_err(BenchError::failed)??;
    while RUNNING.load(Ordering::Relaxed) > 0 {
        yield_now().await;
    }
    if COMPUTED.load(Ordering::Relaxed) == 0 {
        return Err(BenchError::failed("nothing was computed meanwhile"));
    }
    let late = std::mem::take(&mut *LATE.lock().map_err(BenchError::failed)?);
    Measured::new(wall, n).with_lateness(late)
}

async fn chan_spsc(n: u64) -> Result<Measured> {
    let (items, mut inlet) = mpsc::channel::<u64>(128);
    let start = Instant::now();
    spawn(async move {
        for i in 0..n {
            if items.send(i).await.is_err() {
                break;
            }
        }
    });
    let consumer = spawn(async move {
        let mut sum = 0;
        while let Some(item) = inlet.recv().await {
            sum += item;
        }
        sum
    });
    let sum = consumer.await.map_err(BenchError::failed)?;
    let wall = start.elapsed();
    check("sum of items", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

async fn select2(n: u64) -> Result<Measured> {
    let (left, mut lefts) = mpsc::channel::<u64>(1);
    let (right, mut rights) = mpsc::channel::<u64>(1);
    let (finish, mut done) = oneshot::channel::<()>();
    let start = Instant::now();
    let mut producers = JoinSet::new();
    for (side, outlet) in [(0, &left), (1, &right)] {
        // The channels stay open to the end: a closed one would be ready in every round of the consumer's loop.
        let outlet = outlet.clone();
        producers.spawn(async move {
            for i in (side..n).step_by(2) {
                outlet.send(i).await.map_err(BenchError::failed)?;
            }
            Ok::<(), BenchError>(())
        });
    }
    let consumer = spawn(async move {
        let mut sum = 0;
        loop {
            select! {
                Some(item) = lefts.recv() => sum += item,
                Some(item) = rights.recv() => sum += item,
                _ = &mut done => break,
            }
        }
        // Capacity 1: a producer may end before its last item is taken.
        sum + lefts.try_recv().unwrap_or(0) + rights.try_recv().unwrap_or(0)
    });
    producers.join_all().await.into_iter().collect::<Result<()>>()?;
    finish.send(()).map_err(|()| BenchError::failed("the consumer ended early"))?;
    let sum = consumer.await.map_err(BenchError::failed)?;
    let wall = start.elapsed();
    check("sum of items", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

async fn skynet(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let (sender, mut receiver) = mpsc::channel(1);
    channel_node(sender, 0, leaves);
    let sum = receiver.recv().await.unwrap_or(0);
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

/// Spawns a node. A sum that cannot be sent is missed by the check.
fn channel_node(parent: mpsc::Sender<u64>, first: u64, leaves: u64) {
    spawn(async move {
        let sum = if leaves == 1 {
            first
        } else {
            let (sender, mut sums) = mpsc::channel(10);
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
}

async fn skynet_join(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let sum = joined_node(0, leaves).await.map_err(BenchError::failed)?;
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

/// Spawns a node. A child that panicked adds nothing, which the check sees.
fn joined_node(first: u64, leaves: u64) -> JoinHandle<u64> {
    spawn(async move {
        if leaves == 1 {
            return first;
        }
        let each = leaves / 10;
        let children: [JoinHandle<u64>; 10] = std::array::from_fn(|child| joined_node(first + child as u64 * each, each));
        let mut sum = 0;
        for child in children {
            sum += child.await.unwrap_or(0);
        }
        sum
    })
}

/// Detached tasks; one `watch` channel for all, closed at the end.
async fn idle_mem(n: u64) -> Result<Measured> {
    static PARKED: AtomicU64 = AtomicU64::new(0);
    static ENDED: AtomicU64 = AtomicU64::new(0);
    let until = async |count: &AtomicU64| {
        while count.load(Ordering::Acquire) < n {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (gate, receiver) = watch::channel(());
    let before = sys::rss_bytes()?;
    let start = Instant::now();
    for _ in 0..n {
        let mut receiver = receiver.clone();
        spawn(async move {
            PARKED.fetch_add(1, Ordering::Release);
            if receiver.changed().await.is_err() {
                ENDED.fetch_add(1, Ordering::Release);
            }
        });
    }
    until(&PARKED).await;
    let wall = start.elapsed();
    // The last ones have counted themselves, but may still be on their way to the receive.
    sleep(Duration::from_millis(50)).await;
    let parked = sys::rss_bytes()?;
    check("tasks that ended early", ENDED.load(Ordering::Acquire), 0)?;
    drop(gate);
    until(&ENDED).await;
    check("tasks that ended", ENDED.load(Ordering::Acquire), n)?;
    Ok(Measured::new(wall, n).with_memory(before, parked))
}

/// All children wait for the same `Notify`. The parent is told to end by a message, aborts its children one by one and waits for the last future to go:
/// a `JoinSet` takes twice as long.
async fn cancel_tree(n: u64) -> Result<Measured> {
    static PARKED: AtomicU64 = AtomicU64::new(0);
    static ENDED: AtomicU64 = AtomicU64::new(0);
    static FULL: Notify = Notify::const_new();
    PARKED.store(0, Ordering::Relaxed);
    ENDED.store(0, Ordering::Relaxed);
    let (order, ordered) = oneshot::channel::<()>();
    let parent = spawn(async move {
        let child = || {
            spawn(async move {
                let _end = End { ended: &ENDED, n, full: || FULL.notify_one() };
                counted(&PARKED, std::future::pending::<()>()).await;
            })
        };
        let children: Vec<JoinHandle<()>> = (0..n).map(|_| child()).collect();
        let ordered = counted(&PARKED, ordered).await;
        for child in &children {
            child.abort();
        }
        drop(children);
        FULL.notified().await;
        ordered
    });
    // The children and the parent.
    while PARKED.load(Ordering::Acquire) < n + 1 {
        sleep(Duration::from_millis(1)).await;
    }
    check("children that ended early", ENDED.load(Ordering::Acquire), 0)?;
    let start = Instant::now();
    order.send(()).map_err(|()| BenchError::failed("the parent ended early"))?;
    parent.await.map_err(BenchError::failed)?.map_err(BenchError::failed)?;
    let wall = start.elapsed();
    check("cancelled children", ENDED.load(Ordering::Acquire), n)?;
    Ok(Measured::new(wall, n))
}
