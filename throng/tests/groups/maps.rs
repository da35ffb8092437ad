//! `map` and `for_each`: results in order, the first failure out, nothing started after it.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, Group, WaitGroup, bounded, go, group, map, sleep, timeout, yield_now};

use crate::common::{Aviary, on_runtimes, panic_on_purpose, scaled, watched};
use crate::{FOREVER, Failure, Room, dawdle, groups, panics};

#[test]
fn results_are_in_the_order_of_the_items() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (limit, group) in groups() {
                for n in [0, 1, 2, 63, 64, 65, scaled(200, 2_000)] {
                    let room = Room::default();
                    let squares = group.map(0..n, |i| {
                        room.visit(|| dawdle(i * 7 + n))?;
                        Ok::<_, Cancelled>(i * i)
                    });
                    assert_eq!(squares, Ok((0..n).map(|i| i * i).collect()));
                    assert!(room.most() <= limit.min(n) && room.visits() == n, "{limit}, {n}: {room:?}");
                }
            }
        });
    });
}

#[test]
fn as_many_run_as_may() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for group in [group(), group().limit(6)] {
                let here = WaitGroup::new();
                here.add(6);
                group
                    .for_each(0..6, |_| {
                        here.done();
                        here.wait()
                    })
                    .unwrap();
            }
        });
    });
}

#[test]
fn one_at_a_time_is_in_order() {
    on_runtimes(|runtime, _| {
        let log = Mutex::new(Vec::new());
        let items = (0..50).inspect(|i| log.lock().unwrap().push((*i, "is taken")));
        runtime
            .run(|| {
                group().limit(1).for_each(items, |i| {
                    log.lock().unwrap().push((i, "begins"));
                    dawdle(i)?;
                    log.lock().unwrap().push((i, "ends"));
                    Ok::<_, Cancelled>(())
                })
            })
            .unwrap();
        let expected: Vec<_> = (0..50).flat_map(|i| [(i, "is taken"), (i, "begins"), (i, "ends")]).collect();
        assert_eq!(log.into_inner().unwrap(), expected);
    });
}

#[test]
fn what_is_borrowed_may_be_read_and_written() {
    on_runtimes(|runtime, _| {
        let words: Vec<String> = (0..100).map(|i| format!("word {i}")).collect();
        let mut lengths = vec![0; 100];
        let (longest, ones) = runtime.run(|| {
            let longest = AtomicUsize::new(0);
            group()
                .limit(4)
                .for_each(words.iter().zip(&mut lengths), |(word, length)| {
                    *length = word.len();
                    longest.fetch_max(word.len(), Ordering::Relaxed);
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            // Results may borrow, too.
            let ones: Vec<&str> = map(&words, |word| Ok::<_, Cancelled>(&word[word.len() - 1..])).unwrap();
            (longest.into_inner(), ones.into_iter().filter(|last| *last == "1").count())
        });
        assert_eq!((longest, ones), (7, 10));
        assert!(lengths.iter().zip(&words).all(|(length, word)| *length == word.len()));
    });
}

/// All four are in, one of them fails, the others wait until they are cancelled: none is started besides.
#[test]
fn the_first_error_comes_out_and_nothing_is_started_after_it() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(20, 200) {
                let (taken, begun, ended) = (Cell::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
                let here = WaitGroup::new();
                here.add(4);
                let result = group().limit(4).map((0..).inspect(|_| taken.set(taken.get() + 1)), |i: usize| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    here.done();
                    here.wait()?;
                    if i == round % 4 {
                        return Err(Failure::Own(i));
                    }
                    let slept = sleep(FOREVER);
                    ended.fetch_add(1, Ordering::SeqCst);
                    slept.map(|()| i).map_err(|_| Failure::Own(100 + i))
                });
                assert_eq!(result, Err(Failure::Own(round % 4)));
                assert_eq!((taken.get(), begun.into_inner(), ended.into_inner()), (4, 4, 3));
            }
            yield_now().expect("nothing of it sticks to the caller");
        });
    });
}

#[test]
fn one_at_a_time_is_as_strict_as_a_loop() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(50, 500) {
                for ends_by_panic in [false, true] {
                    let last = round % 7;
                    let (taken, begun) = (Cell::new(0), AtomicUsize::new(0));
                    let items = (0..).inspect(|_| taken.set(taken.get() + 1));
                    let run = || {
                        group().limit(1).for_each(items, |i: usize| {
                            begun.fetch_add(1, Ordering::SeqCst);
                            dawdle(i + round)?;
                            match i == last {
                                true if ends_by_panic => panic_on_purpose(7),
                                true => Err(Failure::Own(i)),
                                false => Ok(()),
                            }
                        })
                    };
                    if ends_by_panic {
                        assert_eq!(panics(run), 7)
                    } else {
                        assert_eq!(run(), Err(Failure::Own(last)))
                    }
                    assert_eq!((taken.get(), begun.into_inner()), (last + 1, last + 1));
                }
            }
        });
    });
}

#[test]
fn a_panic_comes_out_after_all_have_ended() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (limit, group) in groups() {
                let together = limit.min(10);
                let ended = AtomicUsize::new(0);
                let here = WaitGroup::new();
                here.add(together);
                let payload = panics(|| {
                    group.map(0..10, |i| {
                        here.done();
                        here.wait()?;
                        if i == 0 {
                            panic_on_purpose(42);
                        }
                        let slept = sleep(FOREVER);
                        ended.fetch_add(1, Ordering::SeqCst);
                        slept
                    })
                });
                assert_eq!(payload, 42);
                assert_eq!(ended.into_inner(), together - 1);
            }
        });
    });
}

#[test]
fn nothing_to_do() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (_, group) in groups() {
                let none: Result<Vec<u8>, Cancelled> = group.map([], |()| unreachable!());
                assert_eq!(none, Ok(vec![]));
                assert_eq!(group.for_each(None, |()| -> Result<(), Cancelled> { unreachable!() }), Ok(()));
            }
        });
    });
}

/// The limits are each group's own, so that an inner one does not wait for its outer one's places.
#[test]
fn groups_in_groups() {
    fn sum(group: &Group, depth: usize) -> Result<usize, Failure> {
        if depth == 0 {
            yield_now()?;
            return Ok(1);
        }
        Ok(group.map(0..3, |_| sum(group, depth - 1))?.into_iter().sum())
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (_, group) in groups() {
                assert_eq!(sum(&group, 5), Ok(243));
                // A failure goes up through all of them.
                let result = group.map(0..3, |i| group.map(0..3, |j| if (i, j) == (1, 1) { Err(Failure::Own(11)) } else { Ok(j) }));
                assert_eq!(result, Err(Failure::Own(11)));
                // Or is handled on its way.
                let result =
                    group.map(0..3, |i| Ok::<_, Cancelled>(group.map(0..3, |j| if i == j { Err(Failure::Own(i)) } else { Ok(j) })));
                assert_eq!(result, Ok((0..3).map(|i| Err(Failure::Own(i))).collect()));
            }
        });
    });
}

#[test]
fn on_a_plain_thread() {
    watched("plain thread", || {
        for (limit, group) in groups() {
            let room = Room::default();
            let caller = std::thread::current().id();
            let result = group.map(0..100, |i| {
                assert_ne!(std::thread::current().id(), caller);
                room.visit(|| dawdle(i))?;
                Ok::<_, Failure>(i)
            });
            assert_eq!(result, Ok((0..100).collect()));
            assert!(room.most() <= limit);
            let result = group.for_each(0..1000, |i| if i == 20 { Err(Failure::Own(i)) } else { Ok(dawdle(i)?) });
            assert_eq!(result, Err(Failure::Own(20)));
            assert_eq!(panics(|| group.map(0..9, |_| -> Result<(), Failure> { panic_on_purpose(5) })), 5);
        }
        // Threads, each with its own.
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| assert_eq!(group().limit(2).map(0..50, Ok::<_, Cancelled>), Ok((0..50).collect())));
            }
        });
    });
}

/// Cancelled while it waits for the limit, and while it waits for the last ones.
#[test]
fn a_cancelled_caller_takes_all_along() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (items, limit) in [(2, 2), (100, 2), (10, 100), (usize::MAX, 4)] {
                for is_stubborn in [false, true] {
                    let aviary = Aviary::new();
                    let (parked, is_parked) = bounded(200);
                    let (frame, birds) = (aviary.canary(), aviary.clone());
                    let task = go(move || {
                        let result = group().limit(limit).map(0..items, |i| {
                            let result = birds.canary();
                            parked.send(()).unwrap();
                            let slept = sleep(FOREVER);
                            frame.sing();
                            // Who cares for no cancellation has a result, which nobody gets.
                            if is_stubborn || slept.is_ok() { Ok(result) } else { Err(Failure::Own(i)) }
                        });
                        frame.sing();
                        result.map(|results| results.len())
                    });
                    for _ in 0..items.min(limit) {
                        is_parked.recv().unwrap();
                    }
                    dawdle(limit).unwrap();
                    task.cancel();
                    assert_eq!(task.join().unwrap(), Err(Failure::Cancelled));
                    assert_eq!(aviary.alive(), 0);
                    assert!(is_parked.try_recv().is_err(), "one was started after the cancellation");
                }
            }
        });
    });
}

#[test]
fn a_time_limit_ends_it() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (_, group) in groups() {
                let result = timeout(Duration::from_millis(2), || group.for_each(0..10, |_| sleep(FOREVER)));
                assert!(result.is_err(), "{result:?}");
            }
        });
    });
}
