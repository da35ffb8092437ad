//! Example: where tasks run. A thread of its own, a view of two at a time, threads that may block, and this very thread.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Outcome, Output};
use throng::dispatch::{EventLoop, default, io, single};
use throng::{Error, go, on, scope, yield_now};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    let printer = single("printer")?;
    throng::run(|| {
        // A closure runs elsewhere while its caller waits, and borrows from it.
        let pages = ["one", "two"];
        on(&printer, || pages.iter().for_each(|page| out.line(format_args!("page {page}, printed by the thread '{}'", here()))))?;

        // At most two at a time, however many there are, on whatever threads.
        let two_at_once = default().limited(2);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        scope(|s| {
            for _ in 0..10 {
                s.task().on(&two_at_once).go(|| {
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Ok::<(), Error>(yield_now()?) // while it is parked it does not count
                });
            }
            Ok::<(), Error>(())
        })?;
        out.line(format_args!("ten tasks, never more than two at once: {}", most.into_inner() <= 2));

        // Sixteen that block their threads until all are there: as many threads as it takes.
        let barrier = Barrier::new(16);
        scope(|s| {
            for _ in 0..16 {
                s.task().on(&io()).go(|| {
                    barrier.wait(); // std's: blocks the thread
                });
            }
            Ok::<(), Error>(())
        })?;
        out.line("sixteen threads were blocked at once, and none of them was a worker");
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;

    // A thread that has something else to do, and runs tasks now and then: a window's, say.
    let window = EventLoop::new();
    let (dispatcher, remote, owner) = (window.dispatcher(), window.remote(), std::thread::current().id());
    let worker = go(move || {
        let drawn = on(&dispatcher, || std::thread::current().id() == owner);
        remote.stop();
        drawn
    });
    window.run();
    out.line(format_args!("drawn by the thread that owns the window: {}", worker.join()??));
    Ok(())
}

fn here() -> String {
    std::thread::current().name().unwrap_or("?").into()
}
