//! throng's coroutines: the same work as in `throng.rs`, by tasks that are futures.
//!
//! They hang where the goroutines do, in scopes or on their own. Whoever opens a scope is a goroutine; everything that it starts is a coroutine and waits by `await`. What is
//! selected from is raced: a receive that loses is dropped, and loses nothing. Scopes within scopes (`deep_tree`) are a goroutine's.

mod mix;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::throng::channel::{RecvError, Sender, bounded, never, rendezvous};
use ::throng::sync::WaitGroup;
use ::throng::{JoinHandle, launch, scope, sleep, sleep_async, yield_now_async};
use futures_lite::future::race;

use super::apart::{Meeting, with_two};
use super::parked::counted;
use super::throng::{enter, measure};
use crate::measure::{Bench, BenchError, Measured, check, sum_below};
use crate::sys;
use crate::workload::{DROPS, TICK, Workload, naps, tree_tasks, yields};

type Result<T> = std::result::Result<T, BenchError>;

pub(super) fn bench(workload: Workload) -> Option<Bench> {
    Some(match workload {
        Workload::SpawnJoin => |run| measure(run, spawn_join),
        Workload::SpawnJoinWg => |run| measure(run, spawn_join_wg),
        Workload::SpawnOne => |run| measure(run, |n| launch(spawn_one(n)).join()?),
        Workload::Yield => |run| measure(run, yields_of_many),
        Workload::PingPong => |run| measure(run, |n| ping_pong(n, Meeting::None)),
        Workload::PingPongApart => |run| measure(with_two(run)?, |n| ping_pong(n, Meeting::apart())),
        Workload::ChanSpsc => |run| measure(run, chan_spsc),
        Workload::Select2 => |run| measure(run, select2),
        Workload::Skynet => |run| measure(run, |n| launch(skynet(n)).join()?),
        Workload::SkynetJoin => |run| measure(run, |n| launch(skynet_join(n)).join()?),
        // Memory that a warm-up leaves behind would hide what the tasks take.
        Workload::IdleMem => |run| enter(run, || idle_mem(run.n)),
        Workload::Timers => |run| measure(run, timers),
        Workload::Trickle => |run| measure(run, trickle),
        Workload::CancelTree => |run| measure(run, cancel_tree),
        Workload::ComputeMix => |run| measure(run, mix::compute_mix),
        Workload::DeepTree => return None,
    })
}

fn spawn_join(n: u64) -> Result<Measured> {
    let count = AtomicU64::new(0);
    let start = Instant::now();
    scope(|s| {
        for _ in 0..n {
            s.launch(async { _ = count.fetch_add(1, Ordering::Relaxed) });
        }
        Ok::<(), BenchError>(())
    })?;
    let wall = start.elapsed();
    check("count of tasks", count.into_inner(), n)?;
    Ok(Measured::new(wall, n))
}

fn spawn_join_wg(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.store(0, Ordering::Relaxed);
    let start = Instant::now();
    let running = Arc::new(WaitGroup::new());
    running.add(n as usize);
    for _ in 0..n {
        let running = Arc::clone(&running);
        launch(async move {
            COUNT.fetch_add(1, Ordering::Relaxed);
            running.done();
        });
    }
    running.wait()?;
    let wall = start.elapsed();
    check("count of tasks", COUNT.load(Ordering::Relaxed), n)?;
    Ok(Measured::new(wall, n))
}

async fn spawn_one(n: u64) -> Result<Measured> {
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..n {
        sum += launch(async move { i }).await?;
    }
    let wall = start.elapsed();
    check("sum of values", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

fn yields_of_many(n: u64) -> Result<Measured> {
    let (tasks, each) = yields(n);
    let done = AtomicU64::new(0);
    let start = Instant::now();
    scope(|s| {
        for _ in 0..tasks {
            s.launch(async {
                let mut mine = 0;
                for _ in 0..each {
                    yield_now_async().await?;
                    mine += 1;
                }
                done.fetch_add(mine, Ordering::Relaxed);
                Ok::<(), BenchError>(())
            });
        }
        Ok::<(), BenchError>(())
    })?;
    let wall = start.elapsed();
    check("count of yields", done.into_inner(), tasks * each)?;
    Ok(Measured::new(wall, tasks * each))
}

fn ping_pong(n: u64, meeting: Meeting) -> Result<Measured> {
    let meeting = &meeting;
    let (ping, pings) = rendezvous::<u64>();
    let (pong, pongs) = rendezvous::<u64>();
    let start = Instant::now();
    let sum = scope(|s| {
        s.launch(async move {
            meeting.begin();
            while let Ok(value) = pings.recv_async().await {
                pong.send_async(value + 1).await?;
            }
            Ok::<(), BenchError>(())
        });
        let pinger = s.launch(async move {
            meeting.begin();
            let mut sum = 0;
            for i in 0..n {
                ping.send_async(i).await?;
                sum += pongs.recv_async().await?;
            }
            Ok::<u64, BenchError>(sum)
        });
        Ok::<u64, BenchError>(pinger.join()?)
    })?;
    let wall = start.elapsed();
    check("sum of replies", sum, sum_below(n) + n)?;
    Ok(Measured::new(wall, n))
}

fn chan_spsc(n: u64) -> Result<Measured> {
    let (items, inlet) = bounded::<u64>(128);
    let start = Instant::now();
    let sum = scope(|s| {
        s.launch(async move {
            for i in 0..n {
                items.send_async(i).await?;
            }
            Ok::<(), BenchError>(())
        });
        let consumer = s.launch(async move {
            let mut sum = 0;
            while let Ok(item) = inlet.recv_async().await {
                sum += item;
            }
            Ok::<u64, BenchError>(sum)
        });
        Ok::<u64, BenchError>(consumer.join()?)
    })?;
    let wall = start.elapsed();
    check("sum of items", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

fn select2(n: u64) -> Result<Measured> {
    // The channels stay open to the end: a closed one would be ready in every round of the consumer's loop.
    let (left, lefts) = rendezvous::<u64>();
    let (right, rights) = rendezvous::<u64>();
    let (finish, done) = rendezvous::<()>();
    let start = Instant::now();
    let sum = scope(|s| {
        let producers = [(0, &left), (1, &right)].map(|(side, outlet)| {
            s.launch(async move {
                for i in (side..n).step_by(2) {
                    outlet.send_async(i).await?;
                }
                Ok::<(), BenchError>(())
            })
        });
        let consumer = s.launch(async {
            let mut sum = 0;
            loop {
                let item = async |inlet: &::throng::Receiver<u64>| inlet.recv_async().await.ok();
                let end = async { done.recv_async().await.err().and(None) };
                match race(race(item(&lefts), item(&rights)), end).await {
                    Some(item) => sum += item,
                    None => break,
                }
            }
            // A receive that is handed an item and loses the race gives it back to the channel: so the last ones may lie there.
            Ok::<u64, BenchError>(sum + lefts.try_recv().unwrap_or(0) + rights.try_recv().unwrap_or(0))
        });
        for producer in producers {
            producer.join()?;
        }
        finish.close();
        Ok::<u64, BenchError>(consumer.join()?)
    })?;
    let wall = start.elapsed();
    check("sum of items", sum, sum_below(n))?;
    Ok(Measured::new(wall, n))
}

async fn skynet(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let (sender, receiver) = bounded(1);
    channel_node(sender, 0, leaves);
    let sum = receiver.recv_async().await?;
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

/// Starts a node. A sum that is not sent, or not received, is missed by the check.
fn channel_node(parent: Sender<u64>, first: u64, leaves: u64) {
    launch(async move {
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
                sum += sums.recv_async().await.unwrap_or(0);
            }
            sum
        };
        _ = parent.send_async(sum).await;
    });
}

async fn skynet_join(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let sum = joined_node(0, leaves).await?;
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

/// Starts a node. A child that panicked adds nothing, which the check sees.
fn joined_node(first: u64, leaves: u64) -> JoinHandle<u64> {
    launch(async move {
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

/// One rendezvous channel for all, closed at the end.
fn idle_mem(n: u64) -> Result<Measured> {
    let (gate, receiver) = rendezvous::<()>();
    let (parked, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = sys::rss_bytes()?;
    let start = Instant::now();
    let (wall, full) = scope(|s| {
        for _ in 0..n {
            s.launch(async {
                parked.fetch_add(1, Ordering::Release);
                if receiver.recv_async().await == Err(RecvError::Closed) {
                    ended.fetch_add(1, Ordering::Release);
                }
            });
        }
        until(&parked, n)?;
        let wall = start.elapsed();
        // The last ones have counted themselves, but may still be on their way to the receive.
        sleep(Duration::from_millis(50))?;
        let full = sys::rss_bytes()?;
        check("tasks that ended early", ended.load(Ordering::Acquire), 0)?;
        gate.close();
        Ok::<_, BenchError>((wall, full))
    })?;
    check("tasks that ended", ended.into_inner(), n)?;
    Ok(Measured::new(wall, n).with_memory(before, full))
}

fn until(count: &AtomicU64, n: u64) -> Result<()> {
    // Acquire pairs with the Release of those who count themselves.
    while count.load(Ordering::Acquire) < n {
        sleep(Duration::from_millis(1))?;
    }
    Ok(())
}

fn timers(n: u64) -> Result<Measured> {
    let naps = naps(n);
    let longest = Duration::from_millis(naps.iter().copied().max().unwrap_or(0));
    let slept = &AtomicU64::new(0);
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    scope(|s| {
        for &nap in &naps {
            s.launch(async move {
                sleep_async(Duration::from_millis(nap)).await?;
                slept.fetch_add(nap, Ordering::Relaxed);
                Ok::<(), BenchError>(())
            });
        }
        Ok::<(), BenchError>(())
    })?;
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("sum of sleeps", slept.load(Ordering::Relaxed), naps.iter().sum())?;
    Measured::new(wall, n).with_timers(longest, cpu)
}

fn trickle(n: u64) -> Result<Measured> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.store(0, Ordering::Relaxed);
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    let ticking = launch(async move {
        for _ in 0..n {
            sleep_async(TICK).await?;
            for _ in 0..DROPS {
                drop(launch(async { COUNT.fetch_add(1, Ordering::Relaxed) }));
            }
        }
        while COUNT.load(Ordering::Relaxed) < n * DROPS {
            sleep_async(TICK).await?;
        }
        Ok::<(), BenchError>(())
    });
    ticking.join()??;
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("count of tasks", COUNT.load(Ordering::Relaxed), n * DROPS)?;
    Ok(Measured::new(wall, n).with_cpu(cpu))
}

/// The parent is a goroutine in a scope with its children. Each has a flag of its own for its end, which takes no atomic.
fn cancel_tree(n: u64) -> Result<Measured> {
    let mut ended = vec![false; n as usize];
    let parked = AtomicU64::new(0);
    let wall = scope(|s| {
        let parent = s.go(|| {
            let children = scope(|s| {
                for ended in &mut ended {
                    s.launch(async {
                        let quiet = never::<()>();
                        *ended = counted(&parked, quiet.recv_async()).await == Err(RecvError::Cancelled);
                    });
                }
                Ok::<(), ::throng::Cancelled>(())
            });
            Ok(children.is_err())
        });
        until(&parked, n)?;
        let start = Instant::now();
        parent.cancel();
        let cancelled = parent.join()?;
        let wall = start.elapsed();
        check("cancelled parents", cancelled.into(), 1)?;
        Ok::<_, BenchError>(wall)
    })?;
    check("cancelled children", ended.into_iter().filter(|ended| *ended).count() as u64, n)?;
    Ok(Measured::new(wall, n))
}
