//! The cancellation of a scope against what is started in it, and of scopes that cancel each other.

use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use throng::{Cancelled, JoinError, Receiver, Scope, ScopedJoinHandle, blocking, bounded, scope, shield, sleep, yield_now};

use crate::common::{Aviary, Canary, Dice, scaled};
use crate::races::{HOUR, with_dice};
use crate::{stall, until};

/// Who starts goroutines in a scope, or cancels it: always somebody who must have ended before the scope may.
#[derive(Clone, Copy, Debug)]
enum From {
    /// One of its goroutines.
    Child,
    /// A goroutine of a scope inside one of its goroutines.
    Grandchild,
    /// The thread of a blocking call.
    Blocking,
    /// A thread.
    Thread,
}

fn from(who: From, act: impl FnOnce() + Send) {
    match who {
        From::Child => act(),
        From::Grandchild => {
            let _ = scope(|s| {
                s.go(act);
                Ok::<_, Cancelled>(())
            });
        }
        From::Blocking => _ = blocking(act),
        From::Thread => std::thread::scope(|threads| _ = threads.spawn(act)),
    }
}

fn any(dice: &mut Dice) -> From {
    match dice.below(16) {
        0..8 => From::Child,
        8..13 => From::Grandchild,
        13..15 => From::Blocking,
        _ => From::Thread,
    }
}

/// What a scope's goroutines borrow from its caller.
struct Frame {
    canary: Canary,
    /// Goroutines between their first and their last look at it.
    inside: AtomicIsize,
}

/// Sleeps until it is cancelled.
fn child(frame: &Frame) -> Result<(), Cancelled> {
    frame.inside.fetch_add(1, Ordering::SeqCst);
    frame.canary.sing();
    let slept = sleep(HOUR);
    frame.canary.sing();
    frame.inside.fetch_sub(1, Ordering::SeqCst);
    slept
}

fn spawn_some<'scope>(s: &'scope Scope<'scope, '_, Cancelled>, frame: &'scope Frame, n: u64) {
    for _ in 0..n {
        s.go(|| child(frame));
    }
}

/// Goroutines are started in a scope from everywhere while it is being cancelled, from anywhere: each is cancelled, and the scope does not
/// return before they have ended.
#[test]
fn cancel_against_spawns() {
    with_dice(3, |dice| {
        let aviary = Aviary::new();
        for _ in 0..scaled(60, 1_500) {
            let frame = Frame { canary: aviary.canary(), inside: AtomicIsize::new(0) };
            let spawners: Vec<_> = (0..3).map(|_| (any(dice), dice.below(6), dice.below(200))).collect();
            let (canceller, pause, turns) = (any(dice), dice.below(500), dice.below(4));
            // The scope itself, or the task that it belongs to.
            let whole_task = dice.below(2) == 0;
            let task = |cancel: &(dyn Fn() + Sync)| {
                let result = scope(|s| {
                    let frame = &frame;
                    for &(who, n, pause) in &spawners {
                        s.go(move || {
                            from(who, || spawn_some(s, frame, n));
                            stall(pause);
                            let _ = yield_now();
                            from(who, || spawn_some(s, frame, n));
                        });
                    }
                    if !whole_task {
                        s.go(move || {
                            let _ = (0..turns).try_for_each(|_| yield_now());
                            stall(pause);
                            from(canceller, || s.cancel());
                        });
                    }
                    cancel();
                    spawn_some(s, frame, 2);
                    sleep(HOUR)
                });
                assert_eq!(result, Err(Cancelled::new()));
                assert_eq!(frame.inside.load(Ordering::SeqCst), 0, "a scope has returned before its goroutines");
            };
            if whole_task {
                let running = AtomicBool::new(false);
                scope(|s| {
                    let task = s.go(|| task(&|| running.store(true, Ordering::SeqCst)));
                    until(|| running.load(Ordering::SeqCst));
                    let _ = (0..turns).try_for_each(|_| yield_now());
                    stall(pause);
                    from(canceller, || task.cancel());
                    task.join()
                })
                .unwrap();
            } else {
                task(&|| {});
            }
        }
        assert_eq!(aviary.alive(), 0);
    });
}

/// A tree of the ring: one of its goroutines cancels the next tree and waits for its end, as one of another's does to this.
fn ring_tree(next: Receiver<ScopedJoinHandle<'_, ()>>, depth: u64, frame: &Frame) {
    let result = scope(|s| {
        s.go(move || {
            if let Ok(next) = shield(|| next.recv()) {
                next.cancel();
                match next.join() {
                    Ok(()) | Err(JoinError::TaskCancelled { .. } | JoinError::Cancelled) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            // Nobody may have come to cancel this tree: then it ends itself.
            s.cancel();
        });
        nested(depth, frame)
    });
    assert_eq!(result, Err(Cancelled::new()));
}

/// Scopes in scopes, in each a goroutine that sleeps, in the innermost the caller.
fn nested(depth: u64, frame: &Frame) -> Result<(), Cancelled> {
    scope(|s| {
        s.go(|| child(frame));
        if depth == 0 { child(frame) } else { s.go(move || nested(depth - 1, frame)).join().map_err(|_| Cancelled::new()) }
    })
}

/// Trees that cancel each other, in a ring: of two, a child of A's cancels B and a child of B's cancels A. All end.
#[test]
fn trees_that_cancel_each_other() {
    with_dice(5, |dice| {
        let aviary = Aviary::new();
        for _ in 0..scaled(100, 2_000) {
            let trees = 2 + dice.below(3) as usize;
            let depths: Vec<_> = (0..trees).map(|_| dice.below(4)).collect();
            let turns = dice.below(3);
            let frame = Frame { canary: aviary.canary(), inside: AtomicIsize::new(0) };
            scope(|s| {
                let lanes: Vec<_> = (0..trees).map(|_| bounded(1)).collect();
                let frame = &frame;
                let handles: Vec<_> = (0..trees)
                    .map(|i| {
                        let (next, depth) = (lanes[i].1.clone(), depths[i]);
                        s.go(move || ring_tree(next, depth, frame))
                    })
                    .collect();
                for (i, handle) in handles.into_iter().enumerate() {
                    let _ = (0..turns).try_for_each(|_| yield_now());
                    // The tree before it cancels it. (If that has ended already, nobody is left to take the handle.)
                    let _ = lanes[(i + trees - 1) % trees].0.send(handle);
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            assert_eq!(frame.inside.load(Ordering::SeqCst), 0);
        }
        assert_eq!(aviary.alive(), 0);
    });
}
