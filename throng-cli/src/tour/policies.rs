//! Example: the same program in the orders of Go's scheduler, of Kotlin's, and of throng's own.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use super::{Outcome, Output};
use throng::policy::SlotBudget;
use throng::{Error, Policy, PolicyBuilder, PolicyMetrics, Runtime, Scope, scope, yield_now};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    let like_go = Policy::builder().slot_budget(SlotBudget::Unlimited).build()?; // so that a pause of the machine's does not show
    let like_kotlin = PolicyBuilder::kotlin().seed(5).build()?; // its dice fall the same way each time
    let all = [("go", like_go), ("kotlin", like_kotlin), ("throng", Policy::throng())];

    // Side by side: three tasks, of which one yields and one starts two more.
    let mut columns = Vec::new();
    for (name, policy) in &all {
        let mut column = in_order(policy, three_tasks)?.0;
        column.insert(0, format!("{name}:"));
        columns.push(column);
    }
    let [go, kotlin, throng] = &columns[..] else { unreachable!("three policies") };
    for ((go, kotlin), throng) in go.iter().zip(kotlin).zip(throng) {
        out.line(format_args!("{go:<12}{kotlin:<12}{throng}"));
    }

    // When does a task from outside get its turn, if there are a hundred others?
    for (name, policy) in &all[..2] {
        let (ran, counts) = in_order(policy, a_hundred_and_one)?;
        out.line(format_args!("{name}: {}; checks of the global queue: {}", ranges(&ran), counts.global_checks));
    }

    // How does another worker come by eight tasks of one that does not let go of its thread?
    for (name, policy) in &all[..2] {
        let (steals, tasks) = stolen(policy)?;
        out.line(format_args!("{name}: {tasks} tasks stolen, in {steals} steals"));
    }
    Ok(())
}

type Log = Mutex<Vec<String>>;

fn note(log: &Log, name: impl ToString) {
    log.lock().unwrap().push(name.to_string());
}

fn three_tasks<'scope>(s: &'scope Scope<'scope, '_, Error>, log: &'scope Log) {
    s.go(move || {
        note(log, "a");
        yield_now()?;
        note(log, "a, again");
        Ok(())
    });
    s.go(move || {
        note(log, "b");
        for name in ["b's first", "b's second"] {
            s.go(move || note(log, name));
        }
    });
    s.go(move || note(log, "c"));
}

fn a_hundred_and_one<'scope>(s: &'scope Scope<'scope, '_, Error>, log: &'scope Log) {
    // The worker's thread waits for this one, so nothing else happens meanwhile.
    thread::scope(|threads| _ = threads.spawn(|| _ = s.go(move || note(log, "x"))));
    for number in 1..=100 {
        s.go(move || note(log, number));
    }
}

/// Who runs in which order, if there is one worker, and what it counted.
fn in_order<F>(policy: &Policy, start: F) -> io::Result<(Vec<String>, PolicyMetrics)>
where
    F: for<'scope, 'env> FnOnce(&'scope Scope<'scope, 'env, Error>, &'scope Log) + Send,
{
    let runtime = Runtime::builder().workers(1).policy(policy.clone()).build()?;
    let log = Log::default();
    let started = runtime.run(|| {
        scope(|s| {
            start(s, &log);
            Ok::<_, Error>(())
        })
    });
    started.map_err(io::Error::other)?;
    let counts = runtime.metrics().workers[0].policy;
    Ok((log.into_inner().unwrap(), counts))
}

/// `1 2 3 x 4` as `1..3 x 4`.
fn ranges(names: &[String]) -> String {
    let number = |at: usize| names.get(at).and_then(|name: &String| name.parse::<u32>().ok());
    let mut parts = Vec::new();
    let mut at = 0;
    while at < names.len() {
        let first = at;
        while number(at).is_some_and(|this| number(at + 1) == Some(this + 1)) {
            at += 1;
        }
        parts.push(if at > first { format!("{}..{}", names[first], names[at]) } else { names[at].clone() });
        at += 1;
    }
    parts.join(" ")
}

/// How often the second worker took from the first, and how many tasks.
fn stolen(policy: &Policy) -> io::Result<(u64, u64)> {
    let runtime = Runtime::builder().workers(2).policy(policy.clone()).build()?;
    let steals = || runtime.metrics().workers.iter().map(|worker| worker.policy.steals).sum::<u64>();
    let tasks = || runtime.metrics().workers.iter().map(|worker| worker.stolen).sum::<u64>();
    let ran = AtomicUsize::new(0);
    let both = Barrier::new(2);
    let counted = runtime.run(|| {
        scope(|s| {
            // Holds the other worker's thread until all eight are there.
            s.go(|| {
                both.wait();
                both.wait();
            });
            both.wait();
            let before = (steals(), tasks());
            for _ in 0..8 {
                s.go(|| _ = ran.fetch_add(1, Ordering::Relaxed));
            }
            both.wait();
            while ran.load(Ordering::Relaxed) < 8 {
                thread::yield_now(); // which keeps the worker
            }
            Ok::<_, Error>((steals() - before.0, tasks() - before.1))
        })
    });
    counted.map_err(io::Error::other)
}
