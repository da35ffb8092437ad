//! throng: goroutines, in scopes wherever the workload waits for what it starts.
//!
//! Children borrow their parent's locals, so counters and channel ends are locals here. Detached `go` is used where the
//! workload asks for it: `spawn_join_wg`, `spawn_one`, and `skynet`, whose nodes wait for values and not for tasks.

mod mix;
mod trees;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::throng::channel::{RecvError, SendError, Sender, bounded, rendezvous};
use ::throng::sync::WaitGroup;
use ::throng::{Builder, Cancelled, JoinError, Policy, Runtime, go, scope, select, sleep, yield_now};

use super::apart::{Meeting, with_two};
use crate::measure::{Bench, BenchError, Measured, Run, check, sum_below};
use crate::sys;
use crate::workload::{DROPS, TICK, Workload, naps, tree_tasks, yields};

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
        Workload::IdleMem => |run| enter(run, || idle_mem(run.n)),
        Workload::Timers => |run| measure(run, timers),
        Workload::Trickle => |run| measure(run, trickle),
        Workload::CancelTree => |run| measure(run, trees::cancel_tree),
        // Room for the few frames of a level.
        Workload::ComputeMix => |run| measure(run, mix::compute_mix),
        Workload::DeepTree => |run| measure_on(Runtime::builder().stack_size(32 << 10), run, trees::deep_tree),
    })
}

pub(super) fn enter(run: &Run, work: impl FnOnce() -> Result<Measured> + Send) -> Result<Measured> {
    enter_on(Runtime::builder(), run, work)
}

fn enter_on(builder: Builder, run: &Run, work: impl FnOnce() -> Result<Measured> + Send) -> Result<Measured> {
    let builder = builder.workers(run.workers.get()).policy(policy()?);
    // One worker is to mean one thread.
    let builder = if run.workers.get() == 1 { builder.max_spare_workers(0) } else { builder };
    builder.build().map_err(BenchError::failed)?.run(work)
}

/// The policy that the environment asks for, to compare it with throng's own.
fn policy() -> Result<Policy> {
    match std::env::var("POLICY").as_deref() {
        Err(_) | Ok("throng") => Ok(Policy::throng()),
        Ok("go") => Ok(Policy::go()),
        Ok("kotlin") => Ok(Policy::kotlin()),
        Ok(other) => Err(BenchError::failed(format!("POLICY is '{other}'; there are throng, go and kotlin"))),
    }
}

pub(super) fn measure(run: &Run, body: fn(u64) -> Result<Measured>) -> Result<Measured> {
    measure_on(Runtime::builder(), run, body)
}

fn measure_on(builder: Builder, run: &Run, body: fn(u64) -> Result<Measured>) -> Result<Measured> {
    enter_on(builder, run, || {
        body(run.warm_up())?;
        body(run.n)
    })
}

fn spawn_join(n: u64) -> Result<Measured> {
    let count = AtomicU64::new(0);
    let start = Instant::now();
    scope(|s| {
        for _ in 0..n {
            s.go(|| _ = count.fetch_add(1, Ordering::Relaxed));
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
        go(move || {
            COUNT.fetch_add(1, Ordering::Relaxed);
            running.done();
        });
    }
    running.wait()?;
    let wall = start.elapsed();
    check("count of tasks", COUNT.load(Ordering::Relaxed), n)?;
    Ok(Measured::new(wall, n))
}

fn spawn_one(n: u64) -> Result<Measured> {
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..n {
        sum += go(move || i).join()?;
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
            s.go(|| {
                let mut mine = 0;
                for _ in 0..each {
                    yield_now()?;
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
        s.go(move || {
            meeting.begin();
            for value in pings {
                pong.send(value + 1)?;
            }
            Ok::<(), BenchError>(())
        });
        let pinger = s.go(move || {
            meeting.begin();
            let mut sum = 0;
            for i in 0..n {
                ping.send(i)?;
                sum += pongs.recv()?;
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
        s.go(move || {
            for i in 0..n {
                items.send(i)?;
            }
            Ok::<(), BenchError>(())
        });
        let consumer = s.go(move || Ok::<u64, BenchError>(inlet.into_iter().sum()));
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
            s.go(move || {
                for i in (side..n).step_by(2) {
                    outlet.send(i)?;
                }
                Ok::<(), BenchError>(())
            })
        });
        let consumer = s.go(|| {
            let mut sum = 0;
            loop {
                let item = select! {
                    recv(lefts) -> item => item.ok(),
                    recv(rights) -> item => item.ok(),
                    recv(done) -> _ => None,
                }?;
                match item {
                    Some(item) => sum += item,
                    None => return Ok::<u64, BenchError>(sum),
                }
            }
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

fn skynet(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let (sender, receiver) = bounded(1);
    channel_node(sender, 0, leaves);
    let sum = receiver.recv()?;
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

/// Starts a node. A sum that is not sent, or not received, is missed by the check.
fn channel_node(parent: Sender<u64>, first: u64, leaves: u64) {
    go(move || {
        let sum = if leaves == 1 {
            first
        } else {
            let (sender, sums) = bounded(10);
            let each = leaves / 10;
            for child in 0..10 {
                channel_node(sender.clone(), first + child * each, each);
            }
            (0..10).map(|_| sums.recv().unwrap_or(0)).sum()
        };
        _ = parent.send(sum);
    });
}

fn skynet_join(leaves: u64) -> Result<Measured> {
    let start = Instant::now();
    let sum = scope(|s| Ok::<u64, BenchError>(s.go(|| joined_node(0, leaves)).join()?))?;
    let wall = start.elapsed();
    check("sum of leaves", sum, sum_below(leaves))?;
    Ok(Measured::new(wall, tree_tasks(leaves)))
}

fn joined_node(first: u64, leaves: u64) -> Result<u64> {
    if leaves == 1 {
        return Ok(first);
    }
    let each = leaves / 10;
    scope(|s| {
        let children: [_; 10] = std::array::from_fn(|child| s.go(move || joined_node(first + child as u64 * each, each)));
        let mut sum = 0;
        for child in children {
            sum += child.join()?;
        }
        Ok(sum)
    })
}

/// One rendezvous channel for all, closed at the end.
fn idle_mem(n: u64) -> Result<Measured> {
    let (gate, receiver) = rendezvous::<()>();
    let (arrived, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = sys::rss_bytes()?;
    let start = Instant::now();
    let (wall, parked) = scope(|s| {
        for _ in 0..n {
            s.go(|| {
                arrived.fetch_add(1, Ordering::Release);
                if matches!(receiver.recv(), Err(RecvError::Closed)) {
                    ended.fetch_add(1, Ordering::Release);
                }
            });
        }
        while arrived.load(Ordering::Acquire) < n {
            sleep(Duration::from_millis(1))?;
        }
        let wall = start.elapsed();
        // The last ones have counted themselves, but may still be on their way to the receive.
        sleep(Duration::from_millis(50))?;
        let parked = sys::rss_bytes()?;
        check("tasks that ended early", ended.load(Ordering::Acquire), 0)?;
        gate.close();
        Ok::<_, BenchError>((wall, parked))
    })?;
    check("tasks that ended", ended.into_inner(), n)?;
    Ok(Measured::new(wall, n).with_memory(before, parked))
}

fn timers(n: u64) -> Result<Measured> {
    let naps = naps(n);
    let longest = Duration::from_millis(naps.iter().copied().max().unwrap_or(0));
    let slept = &AtomicU64::new(0);
    let cpu = sys::cpu_time()?;
    let start = Instant::now();
    scope(|s| {
        for &nap in &naps {
            s.go(move || {
                sleep(Duration::from_millis(nap))?;
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
    for _ in 0..n {
        sleep(TICK)?;
        for _ in 0..DROPS {
            drop(go(|| COUNT.fetch_add(1, Ordering::Relaxed)));
        }
    }
    while COUNT.load(Ordering::Relaxed) < n * DROPS {
        sleep(TICK)?;
    }
    let wall = start.elapsed();
    let cpu = sys::cpu_time()?.saturating_sub(cpu);
    check("count of tasks", COUNT.load(Ordering::Relaxed), n * DROPS)?;
    Ok(Measured::new(wall, n).with_cpu(cpu))
}

impl From<Cancelled> for BenchError {
    fn from(error: Cancelled) -> Self {
        BenchError::failed(error)
    }
}

impl From<JoinError> for BenchError {
    fn from(error: JoinError) -> Self {
        BenchError::failed(error)
    }
}

impl From<RecvError> for BenchError {
    fn from(error: RecvError) -> Self {
        BenchError::failed(error)
    }
}

impl<T> From<SendError<T>> for BenchError {
    fn from(error: SendError<T>) -> Self {
        BenchError::failed(error)
    }
}
