//! Every call that parks meets every cancellation: one that came before, one that comes while it waits, one that comes as it is woken.
//!
//! The first two are here, on one worker, where a task that has begun its call and does not run is known to wait (see [`Stage`]). The last
//! is in `as_it_is_woken`, on all kinds of runtimes.

mod as_it_is_woken;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use throng::{Cancelled, Elapsed, Error, Outcomes, Scope, ScopedJoinHandle, check, is_cancelled, scope, shield, timeout, yield_now};

use crate::common::runtimes::builder;
use crate::common::{scaled, watched};
use crate::parks::{Case, Ends, Heeds, Park, Stage, far, in_micros, table};
use crate::{seed, until};

/// Soon enough to be waited for, far enough away to be waited for indeed.
fn soon() -> Instant {
    in_micros(500)
}

/// What kind of task makes the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    Goroutine,
    /// In the midst of a turn, which parks the fiber under it.
    Coroutine,
}

impl Caller {
    fn start<'scope, R, E: Send + From<Cancelled>>(
        self,
        s: &'scope Scope<'scope, '_, E>,
        f: impl FnOnce() -> R + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, R::Value>
    where
        R: Outcomes<E> + 'scope,
        R::Value: Send + 'scope,
    {
        match self {
            Caller::Goroutine => s.go(f),
            Caller::Coroutine => s.launch(async move { f() }),
        }
    }
}

/// Tries each case on one worker, as it is and shaken.
fn on_one_worker(body: impl Fn(&Case, &Park<'_>, Caller) + Sync) {
    for case in table() {
        let goroutines = [None].into_iter().chain((1..=scaled(2, 8) as u64).map(|own| Some(seed(own))));
        let coroutines = [None, Some(seed(1))].map(|shake| (Caller::Coroutine, shake));
        for (caller, shake) in goroutines.map(|shake| (Caller::Goroutine, shake)).chain(coroutines) {
            // Shaken, who gives way once may be back before anyone else.
            if case.ends == Ends::Turn && shake.is_some() {
                continue;
            }
            watched(&format!("{case}, in a {caller:?}, 1 worker, shake({shake:?})"), || {
                builder(1, shake).build().expect("a runtime").run(|| case.run(|park| body(&case, park, caller)));
            });
        }
    }
}

/// The call is made by a task that is not cancelled, or behind a shield: it happens.
fn happens(case: &Case, park: &Park<'_>) {
    let stage = Stage::default();
    match case.ends {
        Ends::Peer => scope(|s| {
            park.make_it_wait();
            let peer = s.go(|| park.let_one_happen());
            assert!(park.call(far()), "cancelled without a cancellation");
            peer.join().expect("one has happened");
            Ok::<_, Cancelled>(())
        })
        .expect("not cancelled"),
        Ends::Time => assert!(park.call(soon()), "cancelled without a cancellation"),
        Ends::Turn | Ends::AtOnce => assert!(park.call(far()), "cancelled without a cancellation"),
        // Only a cancellation of its own ends it.
        Ends::Never => scope(|s| {
            s.go(|| {
                stage.wait_for_park();
                s.cancel();
            });
            assert!(!stage.call(park, far()));
            Ok::<_, Cancelled>(())
        })
        .expect("a scope that is only cancelled does not fail"),
    }
}

/// By the cancelled task: it stays cancelled.
fn stays_cancelled(case: &Case, park: &Park<'_>) {
    for _ in 0..2 {
        assert!(is_cancelled() && check().is_err() && yield_now().is_err());
        park.make_it_wait();
        if case.heeds != Heeds::None {
            assert_eq!(park.call(far()), case.ends == Ends::AtOnce && !case.looks_first, "cancelled, and not any more");
        }
    }
}

/// By the cancelled task: all that holds of it.
fn holds_of_a_cancelled_task(case: &Case, park: &Park<'_>) {
    stays_cancelled(case, park);
    shield(|| happens(case, park));
    stays_cancelled(case, park);
}

#[test]
fn to_a_task_that_was_cancelled_before() {
    on_one_worker(|case, park, caller| {
        let (begun, stage, turns) = (AtomicBool::new(false), Stage::default(), AtomicUsize::new(0));
        park.make_it_wait();
        let waits_in_spite = case.heeds == Heeds::None;
        scope(|s| {
            let task = caller.start(s, || {
                begun.store(true, Ordering::SeqCst);
                while !is_cancelled() {
                    let _ = yield_now();
                }
                let before = turns.load(Ordering::SeqCst);
                let happened = stage.call(park, far());
                if waits_in_spite {
                    assert!(happened, "it heeds no cancellation");
                } else {
                    assert_eq!(happened, case.ends == Ends::AtOnce && !case.looks_first);
                    assert!(case.tidies_up || turns.load(Ordering::SeqCst) == before, "it has given up its thread first");
                }
                holds_of_a_cancelled_task(case, park);
            });
            until(|| begun.load(Ordering::SeqCst));
            task.cancel();
            if waits_in_spite {
                stage.wait_for_park();
                park.let_one_happen();
            }
            until(|| {
                turns.fetch_add(1, Ordering::SeqCst);
                task.is_finished()
            });
            task.join().expect("its assertions hold");
            Ok::<_, Cancelled>(())
        })
        .expect("not cancelled");
        happens(case, park);
        park.check_the_books();
    });
}

/// A call that need not wait succeeds without a look at the cancellation; but for those that the table says look first.
#[test]
fn not_to_a_call_that_need_not_wait() {
    on_one_worker(|case, park, caller| {
        let (begun, satisfying) = (AtomicBool::new(false), AtomicBool::new(false));
        if matches!(case.ends, Ends::Never | Ends::Turn) {
            return;
        }
        park.make_it_wait();
        let due = if case.ends == Ends::Time { Instant::now() } else { far() };
        scope(|s| {
            let peer = s.go(|| {
                satisfying.store(true, Ordering::SeqCst);
                if case.ends == Ends::Peer {
                    park.let_one_happen();
                }
            });
            // On one worker: it has ended, or waits for the call.
            until(|| satisfying.load(Ordering::SeqCst));
            let task = caller.start(s, || {
                begun.store(true, Ordering::SeqCst);
                while !is_cancelled() {
                    let _ = yield_now();
                }
                assert_eq!(park.call(due), !case.looks_first);
                assert!(check().is_err());
            });
            until(|| begun.load(Ordering::SeqCst));
            task.cancel();
            task.join().expect("its assertion holds");
            if case.ends == Ends::Peer && case.looks_first {
                assert!(park.call(far()), "what was refused to one is there for another");
            }
            peer.join().expect("one has happened");
            Ok::<_, Cancelled>(())
        })
        .expect("not cancelled");
        park.check_the_books();
    });
}

/// Who cancels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Canceller {
    Handle,
    /// The handle, used by a plain thread.
    Thread,
    /// The scope that the task is a goroutine of.
    Scope,
    /// The scope that the call is made in the body of.
    Body,
    /// A failure in that scope.
    Failure,
    /// A time limit around the call.
    Limit,
}

const CANCELLERS: [Canceller; 6] =
    [Canceller::Handle, Canceller::Thread, Canceller::Scope, Canceller::Body, Canceller::Failure, Canceller::Limit];

/// `body` makes its call on `stage`; it is cancelled as soon as that waits.
fn cancelled_by(canceller: Canceller, caller: Caller, stage: &Stage, body: impl Fn() + Sync) {
    #[derive(PartialEq, Debug)]
    enum Fault {
        Cancelled,
        OnPurpose,
    }
    impl From<Cancelled> for Fault {
        fn from(_: Cancelled) -> Fault {
            Fault::Cancelled
        }
    }
    let result = match canceller {
        Canceller::Handle | Canceller::Thread => scope(|s| {
            let task = caller.start(s, &body);
            stage.wait_for_park();
            if canceller == Canceller::Handle {
                task.cancel();
            } else {
                std::thread::scope(|threads| _ = threads.spawn(|| task.cancel()));
            }
            task.join().expect("its assertions hold");
            Ok(())
        }),
        Canceller::Scope => scope(|s| {
            caller.start(s, &body);
            stage.wait_for_park();
            s.cancel();
            Ok(())
        }),
        Canceller::Body => scope(|s| {
            s.go(|| {
                stage.wait_for_park();
                s.cancel();
            });
            body();
            Ok(())
        }),
        Canceller::Failure => {
            let failed = scope(|s| {
                s.go(|| {
                    stage.wait_for_park();
                    Err::<(), _>(Fault::OnPurpose)
                });
                body();
                Ok(())
            });
            assert_eq!(failed, Err(Fault::OnPurpose));
            Ok(())
        }
        Canceller::Limit => {
            assert!(matches!(timeout(Duration::from_micros(500), body), Err(Elapsed { .. })), "it was the limit that ended it");
            Ok(())
        }
    };
    assert_eq!(result, Ok::<(), Fault>(()));
    assert!(check().is_ok(), "it was for those inside only");
}

#[test]
fn while_it_waits() {
    on_one_worker(|case, park, caller| {
        if case.ends == Ends::AtOnce || case.heeds != Heeds::All {
            return;
        }
        for canceller in CANCELLERS {
            // Those are the goroutine's own calls.
            if caller == Caller::Coroutine && !matches!(canceller, Canceller::Handle | Canceller::Thread | Canceller::Scope) {
                continue;
            }
            // A turn is over long before.
            if canceller == Canceller::Limit && case.ends == Ends::Turn {
                continue;
            }
            let stage = Stage::default();
            park.make_it_wait();
            cancelled_by(canceller, caller, &stage, || {
                assert!(!stage.call(park, far()), "{canceller:?}");
                holds_of_a_cancelled_task(case, park);
            });
            happens(case, park);
            park.check_the_books();
        }
    });
}

/// What heeds no cancellation once it waits goes on waiting, and its result is not lost.
#[test]
fn not_while_it_must_not_be_interrupted() {
    on_one_worker(|case, park, caller| {
        if case.heeds == Heeds::All {
            return;
        }
        let stage = Stage::default();
        park.make_it_wait();
        scope(|s| {
            let task = caller.start(s, || {
                assert!(stage.call(park, far()));
                holds_of_a_cancelled_task(case, park);
            });
            stage.wait_for_park();
            task.cancel();
            for _ in 0..20 {
                yield_now()?;
                stage.assert_waiting();
            }
            park.let_one_happen();
            task.join().expect("its assertions hold");
            Ok::<_, Cancelled>(())
        })
        .expect("not cancelled");
        happens(case, park);
        park.check_the_books();
    });
}

/// One of three that wait for the same is cancelled; the one before it and the one behind it wait on, and get what they wait for.
#[test]
fn to_the_one_in_the_middle_of_a_queue() {
    on_one_worker(|case, park, caller| {
        if case.ends != Ends::Peer || case.heeds != Heeds::All {
            return;
        }
        let [first, middle, last] = [const { Stage::new() }; 3];
        park.make_it_wait();
        scope(|s| {
            let before = caller.start(s, || assert!(first.call(park, far())));
            first.wait_for_park();
            let cancelled = caller.start(s, || assert!(!middle.call(park, far())));
            middle.wait_for_park();
            let behind = caller.start(s, || assert!(last.call(park, far())));
            last.wait_for_park();
            cancelled.cancel();
            cancelled.join().expect("its assertion holds");
            first.assert_waiting();
            last.assert_waiting();
            let peers = [s.go(|| park.let_one_happen()), s.go(|| park.let_one_happen())];
            for task in [before, behind].into_iter().chain(peers) {
                task.join().expect("its assertion holds");
            }
            Ok::<_, Cancelled>(())
        })
        .expect("not cancelled");
        park.check_the_books();
    });
}

/// On one worker nothing comes between the two: whichever is first decides.
#[test]
fn first_come_first_served() {
    on_one_worker(|case, park, caller| {
        if case.ends != Ends::Peer || case.heeds != Heeds::All {
            return;
        }
        for satisfied_first in [true, false] {
            let stage = Stage::default();
            park.make_it_wait();
            scope(|s| {
                let task = caller.start(s, || Ok(stage.call(park, far())));
                stage.wait_for_park();
                if satisfied_first {
                    // It waits, so this does not.
                    park.let_one_happen();
                    task.cancel();
                    let happened = task.join()?;
                    assert!(happened || case.indirect, "it had happened");
                } else {
                    task.cancel();
                    let peer = s.go(|| park.let_one_happen());
                    let happened = task.join()?;
                    assert!(!happened || case.delegates, "it was cancelled");
                    assert!(happened || park.call(far()), "what did not happen to one is there for another");
                    peer.join()?;
                }
                Ok::<_, Error>(())
            })
            .expect("not cancelled");
            happens(case, park);
            park.check_the_books();
        }
    });
}
