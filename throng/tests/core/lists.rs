//! `WaitList`: its order, its claims, its end; cancelled and dropped waiters.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use throng::core::{WaitError, WaitList};
use throng::{Cancelled, Elapsed, Error, JoinError, go, launch, scope, timeout, yield_now};

use crate::common::{on_runtime, on_runtimes};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A list whose state beside it counts who has entered.
#[derive(Default)]
struct Desk<V> {
    entered: Mutex<usize>,
    list: WaitList<V>,
}

impl<V> Desk<V> {
    fn wait(&self, value: V) -> Result<V, WaitError<V>> {
        let mut entered = self.entered.lock().unwrap();
        *entered += 1;
        self.list.wait(entered, value)
    }

    async fn wait_async(&self, value: V) -> Result<V, WaitError<V>> {
        let mut waiting = pin!(self.list.waiting(value, |_| panic!("nobody drops it")));
        {
            let mut entered = self.entered.lock().unwrap();
            *entered += 1;
            waiting.as_mut().enter();
        }
        waiting.await
    }

    /// Gives way until so many have entered: the lock is released only when they have their place.
    fn until(&self, entered: usize) {
        while *self.entered.lock().unwrap() < entered {
            yield_now().unwrap();
            std::thread::yield_now();
        }
    }

    /// Claims one, with the lock held.
    fn claim(&self, mut value: V) -> Option<V> {
        let entered = self.entered.lock().unwrap();
        let woken = self.list.claim(&mut value);
        drop(entered);
        woken.map(|_| value)
    }
}

/// A goroutine, a thread and a coroutine in one list.
#[test]
fn first_come_first_served_whoever_it_is() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let desk = Desk::<u32>::default();
            std::thread::scope(|threads| {
                scope(|s| {
                    let desk = &desk;
                    let first = s.go(move || Ok(desk.wait(1)));
                    desk.until(1);
                    let second = threads.spawn(move || desk.wait(2));
                    desk.until(2);
                    let third = s.launch(async move { Ok(desk.wait_async(3).await) });
                    desk.until(3);
                    let fourth = s.go(move || Ok(desk.wait(4)));
                    desk.until(4);
                    assert_eq!([10, 20, 30, 40].map(|value| desk.claim(value)), [1, 2, 3, 4].map(Some), "{label}");
                    assert!(desk.list.is_empty() && desk.claim(50).is_none(), "{label}");
                    assert_eq!((first.join()?, third.join()?, fourth.join()?), (Ok(10), Ok(30), Ok(40)), "{label}");
                    assert_eq!(second.join().unwrap(), Ok(20), "{label}");
                    Ok::<_, Error>(())
                })
            })
            .unwrap();
        });
    });
}

/// One in the middle leaves with its value; the others are served.
#[test]
fn who_is_cancelled_leaves() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let desk = Arc::new(Desk::<u32>::default());
            let enter = |value| {
                let desk = Arc::clone(&desk);
                if value % 2 == 0 { go(move || desk.wait(value)) } else { launch(async move { desk.wait_async(value).await }) }
            };
            let tasks: Vec<_> = (0..6)
                .map(|value| {
                    let task = enter(value);
                    desk.until(value as usize + 1);
                    task
                })
                .collect();
            for (value, task) in (0..).zip(tasks) {
                if (2..4).contains(&value) {
                    task.cancel();
                    assert_eq!(task.join().unwrap(), Err(WaitError::Cancelled(value)), "{label}");
                } else {
                    assert_eq!(desk.claim(10 * value), Some(value), "{label}");
                    assert_eq!(task.join().unwrap(), Ok(10 * value), "{label}");
                }
            }
            assert!(desk.list.is_empty(), "{label}");
            // The next one to come finds its cancellation, and leaves no trace.
            scope(|s| {
                s.cancel();
                assert_eq!(desk.wait(7), Err(WaitError::Cancelled(7)), "{label}");
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            assert!(desk.list.is_empty() && desk.entered.try_lock().is_ok(), "{label}");
        });
    });
}

#[test]
fn a_time_limit_ends_it() {
    let desk = Desk::<u32>::default();
    assert!(matches!(timeout(Duration::from_millis(2), || desk.wait(1)), Err(Elapsed { .. })));
    assert!(desk.list.is_empty());
}

#[test]
fn all_are_claimed_with_what_they_have() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let desk = Arc::new(Desk::<u32>::default());
            for closes in [false, true] {
                *desk.entered.lock().unwrap() = 0;
                let tasks: Vec<_> = (0..6)
                    .map(|value| {
                        let desk = Arc::clone(&desk);
                        if value % 2 == 0 { go(move || desk.wait(value)) } else { launch(async move { desk.wait_async(value).await }) }
                    })
                    .collect();
                desk.until(6);
                let entered = desk.entered.lock().unwrap();
                let woken = if closes { desk.list.close() } else { desk.list.claim_all() };
                assert!(desk.list.is_empty(), "{label}");
                drop(entered);
                drop(woken);
                for (value, task) in (0..).zip(tasks) {
                    let expected = if closes { Err(WaitError::Closed(value)) } else { Ok(value) };
                    assert_eq!(task.join().unwrap(), expected, "{label}");
                }
                assert_eq!(desk.list.is_closed(), closes);
            }
            // For good.
            assert_eq!(desk.wait(7), Err(WaitError::Closed(7)), "{label}");
            assert!(desk.entered.try_lock().is_ok(), "{label}: released");
            let late = Arc::clone(&desk);
            assert_eq!(launch(async move { late.wait_async(8).await }).join().unwrap(), Err(WaitError::Closed(8)), "{label}");
            assert_eq!(desk.claim(9), None, "{label}");
        });
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Count>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A claim counts when it is made; the wake comes when the `Wake` is dropped, and calls the waker of the last poll.
#[test]
fn a_wake_is_owed_until_it_is_dropped() {
    let list = WaitList::new();
    let [first, second] = [Arc::new(Count::default()), Arc::new(Count::default())];
    let mut waiting = pin!(list.waiting(1, |_| unreachable!("it is fetched")));
    for count in [&first, &second] {
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&Arc::clone(count).into())).is_pending());
    }
    let woken = list.claim(&mut 2);
    assert!(woken.is_some() && list.is_empty());
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 0));
    drop(woken);
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(poll(waiting), Poll::Ready(Ok(2)));
}

/// Claimed before its first poll.
#[test]
fn a_future_waits_from_its_entering_on() {
    let list = WaitList::new();
    let mut waiting = pin!(list.waiting(1, |_| unreachable!("it is fetched")));
    assert!(list.is_empty(), "not yet");
    waiting.as_mut().enter();
    waiting.as_mut().enter();
    assert!(list.claim(&mut 2).is_some() && list.claim(&mut 3).is_none(), "it is there once");
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(Ok(2)));
    waiting.enter();
    assert!(list.is_empty(), "it is over");
}

/// Who goes says what it was given, and only if it was.
#[test]
fn a_future_that_is_dropped_passes_on_what_it_was_given() {
    let list = WaitList::new();
    let undelivered = Mutex::new(Vec::new());
    let waiting = || {
        let mut waiting = Box::pin(list.waiting(0, |value| undelivered.lock().unwrap().push(value)));
        waiting.as_mut().enter();
        waiting
    };
    drop(list.waiting(0, |_| unreachable!("not in the list")));
    let (unclaimed, claimed, all, next) = (waiting(), waiting(), waiting(), waiting());
    drop(unclaimed);
    assert!(list.claim(&mut 1).is_some());
    drop(claimed);
    assert_eq!(*undelivered.lock().unwrap(), [1]);
    drop(list.claim_all());
    drop(all);
    assert_eq!(*undelivered.lock().unwrap(), [1, 0], "it was claimed with its own");
    drop(next);
    let closed = waiting();
    drop(list.close());
    drop(closed);
    drop(waiting());
    assert_eq!(*undelivered.lock().unwrap(), [1, 0, 0]);
}

/// A future that is forgotten stays in its list, which may go before it.
#[test]
fn a_future_that_is_forgotten() {
    let list = WaitList::new();
    let mut waiting = Box::pin(list.waiting(1, |_| unreachable!("it is forgotten")));
    waiting.as_mut().enter();
    std::mem::forget(waiting);
    assert!(!list.is_empty());
    drop(list);
}

/// While the claimer still has the `Wake`, the claimed one waits, and its cancellation comes too late.
#[test]
fn a_claim_is_final() {
    for seed in [None, Some(5)] {
        on_runtime(1, seed, &mut |runtime, label| {
            runtime.run(|| {
                let desk = Arc::new(Desk::<u32>::default());
                for _ in 0..10 {
                    let tasks = [
                        go({
                            let desk = Arc::clone(&desk);
                            move || desk.wait(1)
                        }),
                        launch({
                            let desk = Arc::clone(&desk);
                            async move { desk.wait_async(1).await }
                        }),
                    ];
                    desk.until(2);
                    *desk.entered.lock().unwrap() = 0;
                    let woken = [desk.list.claim(&mut 2), desk.list.claim(&mut 2)];
                    tasks.iter().for_each(throng::JoinHandle::cancel);
                    for _ in 0..3 {
                        yield_now().unwrap();
                    }
                    assert!(!tasks[0].is_finished(), "{label}");
                    drop(woken);
                    for task in tasks {
                        assert_eq!(task.join().unwrap(), Ok(2), "{label}");
                    }
                }
            });
        });
    }
}

#[test]
fn polled_after_its_end() {
    let task = launch(async {
        let list = WaitList::new();
        drop(list.close());
        let mut waiting = pin!(list.waiting(1, |_| ()));
        assert_eq!(waiting.as_mut().await, Err(WaitError::Closed(1)));
        waiting.await.is_ok()
    });
    let Err(JoinError::Panicked(panic)) = task.join() else { panic!("it did not panic") };
    assert_eq!(panic.message(), "polled after its end");
}

#[test]
fn it_says_what_it_is() {
    let list = WaitList::<u32>::new();
    assert_eq!(format!("{list:?}"), "WaitList { is_closed: false, is_empty: true, .. }");
    let waiting = list.waiting(1, drop);
    assert!(format!("{waiting:?}").contains("is_in_the_list: false"));
    assert_eq!(WaitError::Closed(7).into_value() + WaitError::Cancelled(1).into_value(), 8);
    assert_eq!(WaitError::Closed(7).to_string(), "what was waited for is closed");
    assert_eq!(format!("{:?}", WaitError::Cancelled(7)), "Cancelled(..)");
    assert!(
        matches!(Error::from(WaitError::Closed(())), Error::Closed) && matches!(Error::from(WaitError::Cancelled(())), Error::Cancelled)
    );
}
