//! `Scope::limit`: so many at once, first come first served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use throng::{Cancelled, Limited, Scope, WaitGroup, group, rendezvous, scope, yield_now};

use crate::common::{Aviary, on_runtime, on_runtimes, scaled, watched};
use crate::{Failure, Room, dawdle, was_cancelled};

/// From the body and from tasks of the scope at once.
fn storm<'scope>(s: &'scope Scope<'scope, '_, Failure>, limit: usize, room: &'scope Room) -> Result<(), Failure> {
    let few = s.limit(limit);
    let start = move |few: &Limited<'scope, '_, Failure>| {
        for i in 0..scaled(50, 500) {
            few.go(move || room.visit(|| dawdle(i)).map_err(Failure::from))?;
        }
        Ok(())
    };
    for _ in 0..3 {
        let few = few.clone();
        s.go(move || start(&few));
    }
    start(&few)
}

#[test]
fn the_limit_is_never_exceeded_and_all_are_done() {
    on_runtimes(|runtime, _| {
        for limit in [1, 2, 7, usize::MAX] {
            let room = Room::default();
            runtime.run(|| scope(|s| storm(s, limit, &room))).unwrap();
            assert!(room.most() <= limit, "{} > {limit}", room.most());
            assert_eq!(room.visits(), 4 * scaled(50, 500));
        }
    });
}

#[test]
fn from_plain_threads() {
    watched("plain threads", || {
        let room = Room::default();
        scope(|s| {
            let few = s.limit(3);
            std::thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        for i in 0..100 {
                            few.go({
                                let room = &room;
                                move || room.visit(|| dawdle(i))
                            })
                            .unwrap();
                        }
                    });
                }
            });
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        assert!(room.most() <= 3, "{}", room.most());
        assert_eq!(room.visits(), 400);
    });
}

#[test]
fn as_many_run_as_may() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let here = WaitGroup::new();
            here.add(5);
            scope(|s| {
                let five = s.limit(5);
                for _ in 0..5 {
                    five.go(|| {
                        here.done();
                        here.wait()
                    })?;
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn one_at_a_time_is_in_order() {
    on_runtimes(|runtime, _| {
        let log = Mutex::new(Vec::new());
        runtime.run(|| {
            scope(|s| {
                let one = s.limit(1);
                for i in 0..50 {
                    let log = &log;
                    one.go(move || {
                        log.lock().unwrap().push((i, "begins"));
                        dawdle(i)?;
                        log.lock().unwrap().push((i, "ends"));
                        Ok::<_, Cancelled>(())
                    })?;
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        let expected: Vec<_> = (0..50).flat_map(|i| [(i, "begins"), (i, "ends")]).collect();
        assert_eq!(log.into_inner().unwrap(), expected);
    });
}

/// One worker, so that a task that has said it is about to wait does wait when another runs.
#[test]
fn who_waits_is_served_in_the_order_of_coming() {
    on_runtime(1, None, &mut |runtime, _| {
        let served = Mutex::new(Vec::new());
        runtime.run(|| {
            scope(|s| {
                let one = s.limit(1);
                let (gate, opened) = rendezvous::<()>();
                one.go(move || _ = opened.recv())?;
                let mut cancelled = Vec::new();
                for i in 0..10 {
                    let (one, served, comes) = (one.clone(), &served, &*Box::leak(Box::new(AtomicBool::new(false))));
                    let waiter = s.go(move || {
                        comes.store(true, Ordering::SeqCst);
                        one.go(move || served.lock().unwrap().push(i)).map(drop)
                    });
                    while !comes.load(Ordering::SeqCst) {
                        yield_now()?;
                    }
                    if i % 3 == 1 {
                        waiter.cancel();
                        cancelled.push(waiter);
                    }
                }
                for waiter in cancelled {
                    assert!(was_cancelled(waiter.join()));
                }
                assert!(one.try_go(|| ()).is_err(), "the place is taken");
                drop(gate);
                Ok::<_, Cancelled>(())
            })
            .unwrap();
        });
        assert_eq!(served.into_inner().unwrap(), [0, 2, 3, 5, 6, 8, 9]);
    });
}

#[test]
fn try_go_gives_the_closure_back() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            scope(|s| {
                let one = s.limit(1);
                let (gate, opened) = rendezvous::<()>();
                let holder = one.try_go(move || _ = opened.recv()).unwrap_or_else(|_| panic!("there is room"));
                let canary = aviary.canary();
                let task = move || {
                    canary.sing();
                    Ok("ran")
                };
                let Err(task) = one.try_go(task) else { panic!("there is no room") };
                let Err(task) = one.try_go(task) else { panic!("there is no room") };
                assert_eq!(aviary.alive(), 1, "neither run nor dropped");
                drop(gate);
                holder.join()?;
                assert_eq!(one.try_go(task).unwrap_or_else(|_| panic!("there is room again")).join()?, "ran");
                Ok::<_, Failure>(())
            })
            .unwrap();
        });
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn a_limit_of_nothing_is_refused() {
    for attempt in [0, 1] {
        let refused = catch_unwind(AssertUnwindSafe(|| match attempt {
            0 => _ = group().limit(0),
            _ => scope(|s| {
                let _ = s.limit(0);
                Ok::<_, Cancelled>(())
            })
            .unwrap(),
        }));
        let message =
            refused.unwrap_err().downcast::<String>().map_or_else(|other| (*other.downcast::<&str>().unwrap()).to_owned(), |it| *it);
        assert!(message.contains("limit of 0"), "{message}");
    }
}

#[test]
fn a_loop_ends_when_its_scope_fails() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let result: Result<(), Failure> = scope(|s| {
                let few = s.limit(4);
                for i in 0.. {
                    few.go(move || {
                        dawdle(i)?;
                        if i == 30 { Err(Failure::Own(30)) } else { Ok(()) }
                    })?;
                }
                Ok(())
            });
            assert_eq!(result, Err(Failure::Own(30)));
        });
    });
}

#[test]
fn tasks_know_their_name_and_the_place_they_were_started_at() {
    scope(|s| {
        let fetch = s.limit(2).name("fetch");
        let (line, named) = (line!(), fetch.go(|| ())?);
        let unnamed = s.limit(2).try_go(|| ()).unwrap_or_else(|_| panic!("there is room"));
        assert_eq!((named.name(), unnamed.name()), (Some("fetch"), None));
        let site = format!("{}:{line}:", file!());
        assert!(format!("{named:?}").contains(&site), "{named:?} is not of {site}");
        assert!(format!("{unnamed:?}").contains(file!()), "{unnamed:?}");
        assert!(format!("{fetch:?}").contains("fetch"), "{fetch:?}");
        Ok::<_, Cancelled>(())
    })
    .unwrap();
}
