//! 3. Cancellation: which calls look at it in a task that is cancelled already, and what becomes of a value that was handed over just before (prompt cancellation).

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use throng::channel::{RecvError, SendError};
use throng::{
    Cancelled, JobState, JoinError, JoinHandle, Mutex, WaitGroup, blocking, bounded, check, completable, go, is_cancelled, job, rendezvous,
    scope, select, sleep, sleep_until, supervisor, task, timeout, yield_now,
};

use crate::common::{OnPurpose, panic_on_purpose};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why_here};

const CANCELLED: Cancelled = Cancelled::new();

/// Runs `body` in a task that is cancelled already.
fn cancelled<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let task = task().atomic().go(|| {
        assert_eq!(forever(), Err(CANCELLED));
        body()
    });
    task.cancel_with("enough");
    task.join().unwrap()
}

/// A task that has ended.
fn finished<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let task = go(body);
    until(|| task.is_finished());
    task
}

// 3. Table, row 1: "delay(n>0), yield(), join() even of a finished job, ensureActive(): throws CE".
#[test]
fn sleep_yield_check_and_job_join_look() {
    on_all(|| {
        let done = finished(|| ()).job();
        cancelled(move || {
            assert_eq!(sleep(Duration::from_nanos(1)), Err(CANCELLED));
            assert_eq!(sleep_until(Instant::now() + Duration::from_secs(3600)), Err(CANCELLED));
            assert_eq!(yield_now(), Err(CANCELLED));
            assert!(matches!(done.join(), Err(JoinError::Cancelled)));
            assert_eq!(check(), Err(CANCELLED));
            assert!(is_cancelled());
            assert_eq!(done.children(), Err(CANCELLED));
        });
    });
}

// 3. Table, row 2: "delay(n<=0): returns, no check".
// DIFFERS: a sleep of no time gives way to others once, as `yield_now` does, and looks as that does: a loop around a computed time can be cancelled whatever the time is.
#[test]
fn sleeping_for_no_time_looks() {
    on_all(|| {
        cancelled(|| {
            assert_eq!(sleep(Duration::ZERO), Err(CANCELLED));
            assert_eq!(sleep_until(Instant::now() - Duration::from_millis(1)), Err(CANCELLED));
        });
    });
}

// 3. Table, row 3: "await() of a finished deferred: returns the value, no check". How it failed, too.
#[test]
fn join_of_a_finished_task_gives_its_value() {
    on_all(|| {
        let done = finished(|| 7);
        let failed = finished(|| -> () { panic_on_purpose(6) });
        let (promise, value) = completable();
        promise.complete(8).unwrap();
        cancelled(move || {
            assert_eq!(done.join().unwrap(), 7);
            assert_eq!(value.join().unwrap(), 8);
            match failed.join() {
                Err(JoinError::Panicked(panic)) => assert_eq!(*panic.into_payload().downcast::<OnPurpose>().unwrap(), OnPurpose(6)),
                other => panic!("{other:?}"),
            }
        });
    });
}

// 3. Table, row 4: "send/receive/lock/acquire/select that need not suspend: succeed, no check".
#[test]
fn what_need_not_wait_succeeds() {
    on_all(|| {
        cancelled(|| {
            let (tx, rx) = bounded(2);
            assert_eq!(tx.send(1), Ok(()));
            assert_eq!(rx.recv(), Ok(1));
            assert_eq!(*Mutex::new(2).lock().unwrap(), 2);
            assert_eq!(WaitGroup::new().wait(), Ok(()));
            tx.send(3).unwrap();
            assert_eq!(select! { recv(rx) -> item => item.unwrap() }, Ok(3));
            assert_eq!(select! { send(tx, 4) -> sent => sent.is_ok() }, Ok(true));
            assert_eq!(select! { recv(throng::never::<()>()) -> _ => 0, default => 5 }, 5);
            drop(tx);
            assert_eq!(rx.iter().collect::<Vec<_>>(), [4]);
            assert_eq!(rx.recv(), Err(RecvError::Closed));
        });
    });
}

// 3. Table, row 5: "the same when they must suspend: CE at once". What was to be sent comes back.
#[test]
fn what_must_wait_is_refused_at_once() {
    on_all(|| {
        let (_open, gate) = rendezvous::<()>();
        let waits = go(move || gate.recv());
        let (_promise, value) = completable::<()>();
        let locked = Arc::new(Mutex::new(()));
        let held = Arc::clone(&locked);
        let guard = locked.lock().unwrap();
        let keep = waits.job();
        cancelled(move || {
            let (tx, rx) = rendezvous();
            assert_eq!(tx.send("back"), Err(SendError::Cancelled("back")));
            assert_eq!(rx.recv(), Err(RecvError::Cancelled));
            assert_eq!(rx.iter().next(), None);
            assert_eq!(held.lock().err(), Some(CANCELLED));
            let group = WaitGroup::new();
            group.add(1);
            assert_eq!(group.wait(), Err(CANCELLED));
            assert_eq!(select! { recv(rx) -> _ => (), send(tx, "x") -> _ => () }, Err(CANCELLED));
            assert!(matches!(waits.join(), Err(JoinError::Cancelled)));
            assert!(matches!(value.join(), Err(JoinError::Cancelled)));
        });
        drop(guard);
        keep.cancel();
    });
}

// 3. Table, row 6: "withContext(any): CE before the block runs". What goes elsewhere here is `blocking`.
#[test]
fn blocking_does_not_begin() {
    on_all(|| {
        assert_eq!(cancelled(|| blocking(|| unreachable!("it begins"))), Err::<(), _>(CANCELLED));
    });
}

// 3. Table, row 7: "coroutineScope {}, supervisorScope {}, withTimeout {}: the block runs (started undispatched) but the result is discarded: CE".
// DIFFERS in the last word: the result is returned. A scope gives E::from(Cancelled) only if it had children, which were cut short.
#[test]
fn scopes_and_timeouts_run_their_block() {
    on_all(|| {
        cancelled(|| {
            let ran = Cell::new(0);
            let count = || ran.set(ran.get() + 1);
            assert_eq!(scope(|s| (count(), Ok::<_, Cancelled>((s.job().state(), check()))).1), Ok((JobState::Cancelling, Err(CANCELLED))));
            assert_eq!(supervisor(|_| (count(), Ok::<_, Cancelled>(check())).1), Ok(Err(CANCELLED)));
            assert_eq!(timeout(Duration::from_secs(3600), || (count(), check()).1), Ok(Err(CANCELLED)));
            let cut = scope(|s| {
                count();
                s.go(|| -> () { unreachable!("it begins") });
                Ok::<_, Cancelled>(())
            });
            assert_eq!((cut, ran.get()), (Err(CANCELLED), 4));
        });
    });
}

// 3. Table, row 8: "launch/async return a job that is already cancelled". DIFFERS for `go`, whose tasks have no parent to be cancelled with.
#[test]
fn spawning_in_a_cancelled_task() {
    on_all(|| {
        cancelled(|| {
            let value = scope(|s| {
                let child = s.go(|| -> () { unreachable!("it begins") });
                assert!(child.job().is_cancelled());
                // Refused, unless it has ended already.
                assert!(matches!(child.join(), Err(JoinError::Cancelled | JoinError::TaskCancelled(_))));
                let lazy = s.task().lazy().go(|| -> () { unreachable!("it begins") });
                assert!(lazy.job().is_cancelled() && !lazy.start());
                Ok::<_, Cancelled>(())
            });
            assert_eq!(value, Err(CANCELLED));
            let free = go(|| (why_here(), job().unwrap().state()));
            until(|| free.is_finished());
            assert_eq!(free.join().unwrap(), ("not cancelled".into(), JobState::Active));
        });
    });
}

/// Starts a task that comes to wait, lets `resume` end its wait, cancels it before it has run, and tells what it got.
fn resumed_then_cancelled<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static, resume: impl FnOnce()) -> T {
    let task = task().undispatched().go(|| {
        let got = body();
        // It is met at the next park.
        assert_eq!(yield_now(), Err(CANCELLED));
        got
    });
    assert!(!task.is_finished(), "it waits");
    resume();
    task.cancel();
    let_others_run();
    assert!(task.is_finished());
    task.join().unwrap()
}

// 3. "Prompt cancellation guarantee: a suspended coroutine that was already resumed with a value but not yet dispatched, and whose job is cancelled in between, gets the CE, not the value. The value is lost
// unless the primitive has an undo".
// DIFFERS: who ends a wait is decided once. A wait that was ended by a value gives that value, and the cancellation is met at the next park: nothing is ever lost, so nothing needs an undo.
#[test]
fn a_value_that_was_handed_over_is_not_lost() {
    on_one(|| {
        // recv, of a rendezvous and of a buffer
        for capacity in [0, 1] {
            let (tx, rx) = bounded(capacity);
            assert_eq!(resumed_then_cancelled(move || rx.recv(), || tx.send(7).unwrap()), Ok(7));
        }
        // send
        let (tx, rx) = rendezvous();
        assert_eq!(resumed_then_cancelled(move || tx.send(7), || assert_eq!(rx.recv(), Ok(7))), Ok(()));
        let (tx, rx) = bounded(1);
        tx.send(1).unwrap();
        assert_eq!(resumed_then_cancelled(move || tx.send(2), || assert_eq!(rx.recv(), Ok(1))), Ok(()));
        assert_eq!(rx.recv(), Ok(2));
        // select
        let (tx, rx) = rendezvous();
        let got = resumed_then_cancelled(
            move || select! { recv(rx) -> item => item, recv(throng::never()) -> item => item },
            || tx.send(7).unwrap(),
        );
        assert_eq!(got, Ok(Ok(7)));
        // lock: it is the task's, and unlocked by its guard
        let mutex = Arc::new(Mutex::new(1));
        let (theirs, guard) = (Arc::clone(&mutex), mutex.lock().unwrap());
        assert_eq!(resumed_then_cancelled(move || theirs.lock().map(|mut guard| std::mem::replace(&mut *guard, 2)), || drop(guard)), Ok(1));
        assert_eq!(*mutex.try_lock().unwrap(), 2);
        // wait
        let group = Arc::new(WaitGroup::new());
        group.add(1);
        let theirs = Arc::clone(&group);
        assert_eq!(resumed_then_cancelled(move || theirs.wait(), || group.done()), Ok(()));
        // join, of a promise and of a task
        let (promise, value) = completable();
        assert_eq!(resumed_then_cancelled(move || value.join().unwrap(), || promise.complete(7).unwrap()), 7);
        let lazy = task().lazy().go(|| 7);
        let (first, second) = (lazy.job(), lazy.job());
        assert!(resumed_then_cancelled(move || first.join().is_ok(), || second.join().unwrap()));
        assert_eq!(lazy.join().unwrap(), 7);
    });
}

// 3. The same, for a scope that waits for its last child: its value is there.
#[test]
fn a_scope_that_was_done_is_not_cut_short() {
    on_one(|| {
        let (promise, value) = completable::<()>();
        let body = move || {
            let log = Log::new();
            let got = scope(|s| {
                s.task().undispatched().go(move || Ok(value.join()?));
                log.ended("scope", &s.job());
                Ok::<_, Oops>(7)
            });
            log.says(&["scope ended"]);
            got
        };
        assert_eq!(
            resumed_then_cancelled(body, || {
                promise.complete(()).unwrap();
                // The child runs and ends; the scope's task has been woken and has not run.
                yield_now().unwrap();
            }),
            Ok(7)
        );
    });
}

// 3. "Resumed with an exception and then cancelled: that exception is delivered, the CE is not".
#[test]
fn an_error_that_was_handed_over_is_delivered() {
    on_one(|| {
        let (tx, rx) = rendezvous::<()>();
        assert_eq!(resumed_then_cancelled(move || rx.recv(), || drop(tx)), Err(RecvError::Closed));
        let (tx, rx) = rendezvous();
        assert_eq!(resumed_then_cancelled(move || tx.send(7), || drop(rx)), Err(SendError::Closed(7)));
        let (promise, value) = completable::<()>();
        let got = resumed_then_cancelled(
            move || value.join().map_err(|error| error.to_string()),
            || {
                promise.cancel_with("not wanted");
                // It ends when it is its turn.
                until(|| promise.job().is_completed());
            },
        );
        assert_eq!(got, Err("the joined task was cancelled: not wanted".into()));
    });
}

// 3. "(checked again in the dispatched task before it continues)": what gives way looks again when it goes on.
#[test]
fn yield_looks_before_and_after() {
    on_one(|| {
        let task = task().undispatched().go(|| (yield_now(), check()));
        task.cancel();
        assert_eq!(task.join().unwrap(), (Err(CANCELLED), Err(CANCELLED)));
    });
}
