//! Scopes: nobody outlives the frame, the first failure comes out, the others are cancelled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, Runtime, Scope, go, rendezvous, scope, shield, sleep, timeout, yield_now};

use crate::common::{Aviary, OnPurpose, on_runtimes, panic_on_purpose, scaled, watched};

const FOREVER: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Own(u32),
    Cancelled,
}

impl From<Cancelled> for Failure {
    fn from(_: Cancelled) -> Failure {
        Failure::Cancelled
    }
}

/// Runs `f`, which must panic on purpose, and returns with what.
fn panics<R>(f: impl FnOnce() -> R) -> u32 {
    match catch_unwind(AssertUnwindSafe(f)) {
        Err(payload) => payload.downcast_ref::<OnPurpose>().expect("the payload as it was").0,
        Ok(_) => panic!("it did not panic"),
    }
}

#[test]
fn scope_waits_on_panic() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            for round in 0..scaled(100, 2_000) as u32 {
                let frame = aviary.canary();
                let ended = AtomicUsize::new(0);
                let payload = panics(|| {
                    scope(|s| {
                        for _ in 0..10 {
                            s.go(|| {
                                let slept = sleep(FOREVER);
                                // Cancelled, but its clean-up takes a while, and looks at the frame.
                                shield(|| {
                                    for _ in 0..3 {
                                        yield_now().unwrap();
                                    }
                                });
                                frame.sing();
                                ended.fetch_add(1, Ordering::SeqCst);
                                slept
                            });
                        }
                        for _ in 0..round % 4 {
                            yield_now()?;
                        }
                        if round % 2 == 0 {
                            panic_on_purpose(round);
                        }
                        s.go(|| -> () { panic_on_purpose(round) });
                        sleep(FOREVER)
                    })
                });
                assert_eq!(payload, round);
                assert!(ended.load(Ordering::SeqCst) <= 10);
                let at_return = ended.load(Ordering::SeqCst);
                yield_now().unwrap();
                assert_eq!(ended.load(Ordering::SeqCst), at_return, "a child has outlived its scope");
                drop(frame);
            }
        });
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn first_failure_wins_and_the_others_are_cancelled() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            // (who fails first, by an error or a panic), each against the others failing later.
            for first in 0..4 {
                let cancelled = AtomicUsize::new(0);
                let gate = rendezvous::<()>();
                let run = || {
                    scope(|s| {
                        for late in 0..6 {
                            let cancelled = &cancelled;
                            s.go(move || {
                                if sleep(FOREVER).is_err() {
                                    cancelled.fetch_add(1, Ordering::Relaxed);
                                }
                                if late % 2 == 0 { panic_on_purpose(99) } else { Err(Failure::Own(98)) }
                            }) as throng::ScopedJoinHandle<'_, ()>;
                        }
                        // All are parked before anyone fails.
                        for _ in 0..6 {
                            s.go(|| gate.0.send(()).map_err(|_| Failure::Own(97)));
                            gate.1.recv().map_err(|_| Failure::Own(97))?;
                        }
                        for _ in 0..20 {
                            yield_now()?;
                        }
                        match first {
                            0 => return Err(Failure::Own(0)),
                            1 => panic_on_purpose(1),
                            2 => _ = s.go(|| -> Result<(), Failure> { Err(Failure::Own(2)) }),
                            _ => _ = s.go(|| -> Result<(), Failure> { panic_on_purpose(3) }),
                        }
                        // Interrupted by the failing child: what we return is not the first failure.
                        assert_eq!(sleep(FOREVER), Err(Cancelled::new()));
                        if first == 2 { Err(Failure::Own(96)) } else { panic_on_purpose(95) }
                    })
                };
                match first {
                    0 | 2 => assert_eq!(run(), Err::<(), _>(Failure::Own(first))),
                    _ => assert_eq!(panics(run), first),
                }
                // Those that had not started when it failed never ran.
                assert!(cancelled.into_inner() <= 6);
            }
            // Nothing of it sticks to the caller.
            yield_now().unwrap();
        });
    });
}

#[test]
fn nested_scopes_fail_upwards_one_at_a_time() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let outer: Result<u32, Failure> = scope(|outer| {
                outer.go(|| {
                    let inner: Result<(), Failure> = scope(|inner| {
                        inner.go(|| -> Result<(), Failure> { Err(Failure::Own(1)) });
                        Ok(sleep(FOREVER)?)
                    });
                    // Handled here: it goes no further.
                    assert_eq!(inner, Err(Failure::Own(1)));
                    assert_eq!(yield_now(), Ok(()));
                });
                let sibling = outer.go(|| -> Result<u32, Failure> {
                    for _ in 0..10 {
                        yield_now()?;
                    }
                    Ok(5)
                });
                Ok(sibling.join().expect("untouched by the inner failure"))
            });
            assert_eq!(outer, Ok(5));
            // And unhandled it takes everything down, level by level.
            let depth = 40;
            let downed = AtomicUsize::new(0);
            assert_eq!(nest(depth, &downed), Err(Failure::Own(7)));
            assert_eq!(downed.into_inner(), depth as usize);
        });
    });
}

fn nest(depth: u32, downed: &AtomicUsize) -> Result<(), Failure> {
    scope(|s| {
        let (parked, is_parked) = rendezvous::<()>();
        s.go(move || {
            parked.send(()).map_err(|_| Failure::Cancelled)?;
            let slept = sleep(FOREVER);
            downed.fetch_add(1, Ordering::Relaxed);
            Ok::<(), Failure>(slept?)
        });
        is_parked.recv().map_err(|_| Failure::Cancelled)?;
        if depth == 1 { Err(Failure::Own(7)) } else { nest(depth - 1, downed) }
    })
}

#[test]
fn a_thousand_nested_scopes_and_shields() {
    fn descend(depth: u32) -> Result<u32, Cancelled> {
        if depth == 0 {
            yield_now()?;
            return Ok(0);
        }
        let mut below = 0;
        scope(|s| {
            let child = s.go(yield_now);
            below = if depth.is_multiple_of(2) { shield(|| descend(depth - 1))? } else { descend(depth - 1)? };
            child.join().map_err(|_| Cancelled::new())
        })?;
        Ok(below + 1)
    }
    let runtime = Runtime::builder().workers(2).stack_size(16 << 20).build().unwrap();
    assert_eq!(watched("2 workers", || runtime.run(|| descend(1_000))), Ok(1_000));
}

/// Every child starts two more in the same scope: from its home, and from where it was stolen to.
#[test]
fn children_start_children_in_their_own_scope() {
    fn grow<'scope>(s: &'scope Scope<'scope, '_, Cancelled>, grown: &'scope AtomicUsize, frame: &'scope crate::common::Canary, depth: u32) {
        frame.sing();
        grown.fetch_add(1, Ordering::Relaxed);
        if depth > 0 {
            for _ in 0..2 {
                s.go(move || {
                    if depth.is_multiple_of(3) {
                        yield_now()?;
                    }
                    grow(s, grown, frame, depth - 1);
                    Ok::<_, Cancelled>(())
                });
            }
        }
    }
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            let depth = scaled(10, 14) as u32;
            for _ in 0..5 {
                let frame = aviary.canary();
                let grown = AtomicUsize::new(0);
                scope(|s| {
                    grow(s, &grown, &frame, depth);
                    Ok(())
                })
                .unwrap();
                assert_eq!(grown.into_inner(), (2 << depth) - 1);
                drop(frame);
            }
        });
        // And from a plain thread, whose children are all foreign.
        let frame = aviary.canary();
        let grown = AtomicUsize::new(0);
        scope(|s| {
            grow(s, &grown, &frame, 8);
            Ok(())
        })
        .unwrap();
        assert_eq!(grown.into_inner(), 511);
    });
}

#[test]
fn a_child_fails_while_others_still_spawn() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            for round in 0..scaled(100, 2_000) as u32 {
                let frame = aviary.canary();
                let result: Result<(), Failure> = scope(|s| {
                    let frame = &frame;
                    for _ in 0..3 {
                        s.go(move || {
                            for _ in 0..10 {
                                s.go(move || -> Result<(), Failure> {
                                    frame.sing();
                                    let slept = sleep(FOREVER);
                                    frame.sing();
                                    Ok(slept?)
                                });
                            }
                        });
                    }
                    s.go(move || -> Result<(), Failure> {
                        for _ in 0..round % 5 {
                            yield_now()?;
                        }
                        Err(Failure::Own(round))
                    });
                    Ok(())
                });
                assert_eq!(result, Err(Failure::Own(round)));
                drop(frame);
            }
        });
    });
}

#[test]
fn cancel_from_the_body_a_child_and_another_thread() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for who in 0..3 {
                let interrupted = AtomicBool::new(false);
                let result = scope(|s| {
                    for _ in 0..10 {
                        s.go(|| sleep(FOREVER));
                    }
                    match who {
                        0 => s.cancel(),
                        1 => _ = s.go(|| s.cancel()),
                        _ => std::thread::scope(|threads| _ = threads.spawn(|| s.cancel())),
                    }
                    // The body meets it too, whoever it was.
                    interrupted.store(sleep(FOREVER).is_err(), Ordering::Relaxed);
                    let late = s.go(|| -> () { unreachable!("started in a cancelled scope") });
                    let late: Result<(), _> = shield(|| late.join());
                    assert!(matches!(late, Err(throng::JoinError::TaskCancelled(_))), "{late:?}");
                    Ok::<_, Cancelled>("what the body returns")
                });
                assert_eq!(result, Ok("what the body returns"));
                assert!(interrupted.into_inner());
                // It was the scope that was cancelled, not us.
                yield_now().unwrap();
            }
        });
    });
}

#[test]
fn a_cancelled_caller_takes_its_scope_along() {
    on_runtimes(|runtime, _| {
        let aviary = Aviary::new();
        runtime.run(|| {
            for in_body in [true, false] {
                let (parked, is_parked) = rendezvous();
                let canary = aviary.canary();
                let task = go(move || {
                    let result: Result<u8, Cancelled> = scope(|s| {
                        for _ in 0..5 {
                            s.go(|| {
                                let slept = sleep(FOREVER);
                                canary.sing();
                                slept
                            });
                        }
                        parked.send(()).unwrap();
                        if in_body {
                            sleep(FOREVER)?;
                        }
                        Ok(1)
                    });
                    drop(canary);
                    result
                });
                is_parked.recv().unwrap();
                task.cancel();
                assert_eq!(task.join().unwrap(), Err(Cancelled::new()));
            }
        });
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn scope_on_a_plain_thread() {
    watched("plain thread", || {
        let aviary = Aviary::new();
        for round in 0..scaled(50, 500) as u32 {
            let frame = aviary.canary();
            let result: Result<(), Failure> = scope(|s| {
                for _ in 0..5 {
                    s.go(|| -> Result<(), Failure> {
                        let slept = sleep(FOREVER);
                        frame.sing();
                        Ok(slept?)
                    });
                }
                s.go(|| -> Result<(), Failure> { Err(Failure::Own(round)) });
                // A plain thread is interrupted too.
                assert!(sleep(FOREVER).is_err());
                Ok(())
            });
            assert_eq!(result, Err(Failure::Own(round)));
            assert_eq!(
                panics(|| scope(|s| {
                    s.go(|| {
                        sleep(FOREVER)?;
                        frame.sing();
                        Ok::<_, Cancelled>(())
                    });
                    s.go(|| -> () { panic_on_purpose(5) });
                    Ok::<_, Cancelled>(())
                })),
                5
            );
            drop(frame);
            yield_now().unwrap();
        }
    });
}

#[test]
fn scope_inside_timeout_and_timeout_inside_scope() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            // The limit goes down into the scope, which ends its children, and Elapsed comes out.
            let ended = AtomicUsize::new(0);
            let result = timeout(Duration::from_millis(5), || {
                scope(|s| {
                    for _ in 0..4 {
                        s.go(|| {
                            let slept = sleep(FOREVER);
                            ended.fetch_add(1, Ordering::Relaxed);
                            slept
                        });
                    }
                    yield_now()?;
                    sleep(FOREVER)
                })
            });
            assert!(result.is_err(), "{result:?}");
            // A child's own failure inside is not the limit's.
            let result = timeout(FOREVER, || {
                scope(|s| {
                    s.go(|| -> Result<(), Failure> { Err(Failure::Own(1)) });
                    Ok(sleep(FOREVER)?)
                })
            });
            assert_eq!(result, Ok(Err(Failure::Own(1))));
            // A limit in the body does not touch the scope.
            let result: Result<u8, Cancelled> = scope(|s| {
                let child = s.go(|| {
                    sleep(Duration::from_millis(20))?;
                    Ok::<u8, Cancelled>(3)
                });
                assert!(timeout(Duration::from_millis(1), || sleep(FOREVER)).is_err());
                child.join().map_err(|_| Cancelled::new())
            });
            assert_eq!(result, Ok(3));
            // A scope in a shield waits its time, and a shield in a scope is not interrupted by the scope's failure.
            let finished = AtomicBool::new(false);
            let result: Result<(), Failure> = scope(|s| {
                s.go(|| -> Result<(), Failure> { Err(Failure::Own(2)) });
                shield(|| {
                    for _ in 0..50 {
                        yield_now().unwrap();
                    }
                    scope(|inner| {
                        inner.go(|| sleep(Duration::from_millis(1)));
                        Ok::<_, Cancelled>(())
                    })
                    .unwrap();
                    finished.store(true, Ordering::Relaxed);
                });
                assert!(sleep(FOREVER).is_err());
                Ok(())
            });
            assert_eq!(result, Err(Failure::Own(2)));
            assert!(finished.into_inner());
        });
    });
}

#[test]
fn borrowed_data_is_written_by_children() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let mut cells = vec![0_usize; 1_000];
            scope(|s| {
                for (i, cell) in cells.iter_mut().enumerate() {
                    s.go(move || *cell = i);
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            assert!(cells.iter().enumerate().all(|(i, &cell)| i == cell));
        });
    });
}
