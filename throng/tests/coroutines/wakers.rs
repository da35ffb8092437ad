//! Wakers: from any thread, any number of times, when the task has ended, when the runtime has.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use throng::{Runtime, launch, scope};

use crate::common::{Aviary, on_runtimes, scaled};

/// Leaves its waker with others, and ends when it has been polled often enough.
async fn polled(times: usize, wakers: Arc<Mutex<Vec<Waker>>>) -> usize {
    let mut polls = 0;
    poll_fn(move |cx| {
        polls += 1;
        wakers.lock().unwrap().push(cx.waker().clone());
        if polls >= times { Poll::Ready(polls) } else { Poll::Pending }
    })
    .await
}

#[test]
fn from_plain_threads_many_times_and_too_late() {
    on_runtimes(|runtime, label| {
        for _ in 0..scaled(3, 20) {
            let wakers = Arc::new(Mutex::new(Vec::new()));
            let handle = runtime.launch(polled(50, Arc::clone(&wakers)));
            std::thread::scope(|threads| {
                for _ in 0..3 {
                    threads.spawn(|| {
                        while !handle.is_finished() {
                            let waker = wakers.lock().unwrap().last().cloned();
                            if let Some(waker) = waker {
                                waker.wake_by_ref();
                                waker.wake();
                            }
                            std::thread::yield_now();
                        }
                    });
                }
            });
            assert_eq!(handle.join().unwrap(), 50, "{label}");
            // Too late.
            wakers.lock().unwrap().drain(..).for_each(Waker::wake);
        }
    });
}

/// The task's memory stays until the last waker has gone; its future and its value do not.
#[test]
fn wakers_outlive_task_and_runtime() {
    let aviary = Aviary::new();
    let wakers = Arc::new(Mutex::new(Vec::new()));
    {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        for detached in [false, true] {
            let (canary, value) = (aviary.canary(), aviary.canary());
            let polled = polled(1, Arc::clone(&wakers));
            let handle = runtime.launch(async move {
                polled.await;
                canary.sing();
                value
            });
            if !detached {
                handle.join().unwrap().sing();
                continue;
            }
            drop(handle);
            // (One that has not begun would be skipped by the shutdown.)
            while wakers.lock().unwrap().len() < 2 {
                std::thread::yield_now();
            }
        }
    }
    assert_eq!(aviary.alive(), 0);
    let wakers = Arc::into_inner(wakers).unwrap().into_inner().unwrap();
    assert_eq!(wakers.len(), 2);
    for waker in wakers {
        waker.wake_by_ref();
        let clone = waker.clone();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        clone.wake();
    }
}

/// Woken while it is polled, while it is about to pause, while it ends.
#[test]
fn wakes_at_any_moment_are_not_lost() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let total = AtomicUsize::new(0);
            scope(|s| {
                for _ in 0..8 {
                    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
                    let (mine, times) = (Arc::clone(&wakers), scaled(100, 1_000));
                    let total = &total;
                    let coroutine = s.launch(async move {
                        total.fetch_add(polled(times, mine).await, Ordering::Relaxed);
                    });
                    // One wake for each poll, no more.
                    s.go(move || {
                        let mut woken = 0;
                        while woken < times - 1 {
                            let waker = wakers.lock().unwrap().pop();
                            match waker {
                                Some(waker) => {
                                    waker.wake();
                                    woken += 1;
                                }
                                None => throng::yield_now()?,
                            }
                        }
                        let _ = coroutine.join();
                        Ok::<_, throng::Cancelled>(())
                    });
                }
                Ok::<_, throng::Cancelled>(())
            })
            .unwrap();
            assert_eq!(total.into_inner(), 8 * scaled(100, 1_000), "{label}");
        });
        assert_eq!(runtime.run(|| launch(async { 1 }).join().unwrap()), 1);
    });
}
