//! Limited views: never more than so many at a time, and all get their turn.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::dispatch::default;
use throng::{
    Cancelled, Dispatcher, Error, blocking, bounded, on, rendezvous, scope, sleep, sleep_async, task, timeout, yield_now, yield_now_async,
};

use crate::common::{Dice, on_runtime, on_runtimes, scaled};

/// Counts who is inside, and the most there were.
#[derive(Default)]
struct Room {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Room {
    fn enter(&self) -> impl Drop {
        struct Leave<'a>(&'a Room);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.inside.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        Leave(self)
    }

    /// Stays for a while without parking.
    fn work(&self) {
        let _inside = self.enter();
        for _ in 0..20 {
            std::hint::spin_loop();
            std::thread::yield_now();
        }
    }
}

/// Goroutines and coroutines of one view, that park in all kinds of ways between two stretches of work.
#[test]
fn limited_dispatcher_bound() {
    on_runtimes(|runtime, label| {
        for limit in [1, 2, 3] {
            let (room, done) = (Room::default(), AtomicUsize::new(0));
            let each = scaled(6, 40);
            runtime.run(|| {
                let view = default().limited(limit);
                let (tx, rx) = bounded(2);
                let ended: Result<(), Error> = scope(|s| {
                    let (room, done) = (&room, &done);
                    for n in 0..each {
                        let (tx, rx) = (tx.clone(), rx.clone());
                        s.task().on(&view).go(move || {
                            for round in 0..4 {
                                room.work();
                                match (n + round) % 5 {
                                    0 => yield_now()?,
                                    1 => tx.send(n)?,
                                    2 => drop(rx.recv_timeout(Duration::from_micros(100))),
                                    3 => sleep(Duration::from_micros(50))?,
                                    _ => blocking(std::thread::yield_now)?,
                                }
                            }
                            room.work();
                            done.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        });
                        s.task().on(&view).launch(async move {
                            for round in 0..4 {
                                room.work();
                                match (n + round) % 3 {
                                    0 => yield_now_async().await?,
                                    1 => sleep_async(Duration::from_micros(50)).await?,
                                    // In the middle of a turn.
                                    _ => yield_now()?,
                                }
                            }
                            room.work();
                            done.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        });
                    }
                    drop(tx);
                    while rx.recv().is_ok() {}
                    Ok(())
                });
                ended.unwrap();
            });
            assert_eq!(done.into_inner(), 2 * each, "{label}, limit {limit}");
            assert!(room.most.into_inner() <= limit, "{label}, limit {limit}");
        }
    });
}

/// A view of a view heeds both limits, and the outer one holds for what goes past the inner one.
#[test]
fn views_of_views() {
    on_runtimes(|runtime, label| {
        let rooms: [Room; 3] = Default::default();
        let [all, left, right] = &rooms;
        runtime.run(|| {
            let outer = default().limited(3);
            let (one, two) = (outer.limited(1), outer.limited(2));
            scope(|s| {
                for n in 0..scaled(30, 300) {
                    let (view, room) = match n % 3 {
                        0 => (&one, Some(left)),
                        1 => (&two, Some(right)),
                        _ => (&outer, None),
                    };
                    s.task().on(view).go(move || {
                        for _ in 0..2 {
                            let inside = (all.enter(), room.map(Room::enter));
                            std::thread::yield_now();
                            drop(inside);
                            yield_now()?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        let most = rooms.map(|room| room.most.into_inner());
        assert!(most[0] <= 3 && most[1] <= 1 && most[2] <= 2, "{label}: {most:?}");
    });
}

/// What waits does not count: tasks of a view of one may wait for each other.
#[test]
fn those_that_wait_do_not_count() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let one = default().limited(1);
            let (ping, pinged) = rendezvous::<u32>();
            let (pong, ponged) = rendezvous();
            let ended: Result<u32, Error> = scope(|s| {
                s.task().on(&one).go(move || (0..100).try_for_each(|n| Ok(pong.send(pinged.recv()? + n)?)));
                let asker = s.task().on(&one).launch(async move {
                    let mut sum = 0;
                    for n in 0..100 {
                        ping.send_async(n).await?;
                        sum += ponged.recv_async().await?;
                    }
                    Ok(sum)
                });
                Ok(asker.join()?)
            });
            assert_eq!(ended.unwrap(), 9_900, "{label}");
        });
    });
}

/// A view of one on one worker: first come, first served, those that come back included.
#[test]
fn turns_go_round() {
    on_runtime(1, None, &mut |runtime, label| {
        let order = Mutex::new(Vec::new());
        runtime.run(|| {
            let one = default().limited(1);
            scope(|s| {
                for name in ["a", "b", "c"] {
                    let order = &order;
                    s.task().on(&one).go(move || {
                        for round in 1..=3 {
                            order.lock().unwrap().push((name, round));
                            yield_now()?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        let order = order.into_inner().unwrap();
        let expected: Vec<_> = (1..=3).flat_map(|round| ["a", "b", "c"].map(|name| (name, round))).collect();
        assert_eq!(order, expected, "{label}");
    });
}

/// `on` a view, timeouts and cancellation in it: permits come back whatever happens.
#[test]
fn permits_come_back() {
    let pool = Dispatcher::builder().workers(2).build().unwrap();
    for seed in 0..scaled(3, 10) as u64 {
        on_runtime(2, Some(seed), &mut |runtime, label| {
            runtime.run(|| {
                let mut dice = Dice::new(seed);
                let view = if seed % 2 == 0 { default().limited(2) } else { pool.limited(2) };
                for _ in 0..scaled(30, 200) {
                    let handles: Vec<_> = (0..4)
                        .map(|n| match n % 2 {
                            0 => task().on(&view).go(move || sleep(Duration::from_micros(n * 30))),
                            _ => task().on(&view).launch(async move { sleep_async(Duration::from_micros(n * 30)).await }),
                        })
                        .collect();
                    if dice.below(2) == 0 {
                        let _ = timeout(Duration::from_micros(20), || on(&view, || sleep(Duration::from_secs(3600))));
                    }
                    for handle in handles {
                        if dice.below(2) == 0 {
                            handle.cancel();
                        }
                        drop(handle.join());
                    }
                    drop(task().on(&view).launch(async { std::future::pending::<()>().await }).cancel_and_join());
                }
                // Both permits are there.
                let (tx, rx) = rendezvous();
                let (first, second) = (task().on(&view).go(move || tx.send(5)), task().on(&view).go(move || rx.recv()));
                assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(()), Ok(5)), "{label}");
            });
        });
    }
}
