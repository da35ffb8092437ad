//! Futures that a goroutine waits for, and those of a coroutine.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use throng::channel::RecvError;
use throng::future::Wait;
use throng::{Cancelled, Elapsed, Error, Mutex as Lock, go, scope, sleep_async, sleep_until_async, timeout_async};

use super::{Case, Ends, Park, far, left};
use crate::objects::{Gate, Lane};
use crate::until;

const KINDS: [(&str, usize); 3] = [("rendezvous", 0), ("bounded(1)", 1), ("bounded(3)", 3)];

/// Ours notice the cancellation by themselves.
fn waited<F: Future>(future: F) -> F::Output {
    future.wait().expect("it is told before it is dropped")
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![lock(), of_others(), join(), limited(), limited_by_its_time(), awaited()];
    for (kind, capacity) in KINDS {
        cases.push(Case::new(format!("Sender::send_async, {kind}"), &["Sender::send_async", "Wait::wait"], move |run| {
            let lane = Lane::new(capacity);
            run(&lane.sending(|_| lane.sent(waited(lane.tx.send_async(lane.item())))));
        }));
        cases.push(Case::new(format!("Receiver::recv_async, {kind}"), &["Receiver::recv_async", "Wait::wait"], move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| lane.received(waited(lane.rx.recv_async()))));
        }));
    }
    let sleep = Case::new("sleep_async", &["sleep_async", "Wait::wait"], |run| run(&Park::new(|due| waited(sleep_async(left(due))))));
    let until =
        Case::new("sleep_until_async", &["sleep_until_async", "Wait::wait"], |run| run(&Park::new(|due| waited(sleep_until_async(due)))));
    // A sleep that is over is over, without a look at the cancellation.
    cases.extend([sleep, until].map(|case| case.ends(Ends::Time)));
    // The future is polled once more when its goroutine has been cancelled: if by then a peer has come, it has happened.
    cases.into_iter().map(Case::delegates).collect()
}

fn lock() -> Case {
    Case::new("Mutex::lock_async", &["Mutex::lock_async", "Wait::wait"], |run| {
        let mutex = Lock::new(0_usize);
        let held = Mutex::new(None);
        let hold = || {
            let mut held = held.lock().unwrap();
            if held.is_none() {
                *held = mutex.try_lock();
            }
            assert!(held.is_some(), "somebody holds a mutex that nobody uses");
        };
        let release = || {
            let guard = held.lock().unwrap().take();
            drop(guard);
        };
        let call = |_| waited(mutex.lock_async()).map(|mut count| *count += 1);
        run(&Park::new(call).block(hold).satisfy(release).audit(|happened| {
            release();
            assert_eq!(*mutex.try_lock().expect("nobody holds it"), happened);
        }));
    })
}

/// Permits, and the wakers of those who have found none. It knows nothing of cancellation.
#[derive(Default)]
struct Foreign {
    permits: usize,
    wakers: Vec<Waker>,
}

fn of_others() -> Case {
    Case::new("Wait::wait, for a future that knows nothing of cancellation", &["Wait::wait"], |run| {
        let foreign = Mutex::new(Foreign::default());
        let call = |_| {
            let take = |cx: &mut std::task::Context<'_>| {
                let mut foreign = foreign.lock().unwrap();
                if foreign.permits == 0 {
                    foreign.wakers.push(cx.waker().clone());
                    return Poll::Pending;
                }
                foreign.permits -= 1;
                Poll::Ready(())
            };
            poll_fn(take).wait()
        };
        let add = || {
            let mut foreign = foreign.lock().unwrap();
            foreign.permits += 1;
            let wakers = std::mem::take(&mut foreign.wakers);
            drop(foreign);
            wakers.into_iter().for_each(Waker::wake);
        };
        run(&Park::new(call).block(|| foreign.lock().unwrap().permits = 0).satisfy(add));
    })
}

fn join() -> Case {
    let case = Case::new("JoinHandle, awaited", &["Wait::wait"], |run| {
        let gate = Arc::new(Gate::new());
        let started = AtomicUsize::new(0);
        let call = |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let task = go({
                let gate = Arc::clone(&gate);
                move || gate.pass()
            });
            gate.see_through(|| task.is_finished());
            waited(task.into_future()).map(|passed| passed.expect("nobody cancels it"))
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == started.load(Ordering::SeqCst));
        }));
    });
    case.indirect()
}

fn limited() -> Case {
    Case::new("timeout_async, around a receive", &["timeout_async", "Wait::wait"], |run| {
        let lane = Lane::new(0);
        run(&lane.receiving(|_| match waited(timeout_async(left(far()), lane.rx.recv_async())) {
            Ok(received) => lane.received(received),
            Err(Elapsed { .. }) => unreachable!("it is far away"),
        }));
    })
}

fn limited_by_its_time() -> Case {
    let case = Case::new("timeout_async, by its time", &["timeout_async", "Wait::wait"], |run| {
        let lane = Lane::new(1);
        run(&lane.receiving(|due| match waited(timeout_async(left(due), lane.rx.recv_async())) {
            Ok(received) => lane.received(received),
            Err(Elapsed { .. }) => Ok(()),
        }));
    });
    case.ends(Ends::Time).looks_first()
}

/// By a coroutine of the caller's scope, who waits for it there.
fn awaited() -> Case {
    let case = Case::new("Receiver::recv_async, awaited in a coroutine", &["Receiver::recv_async", "scope"], |run| {
        let gate = Gate::new();
        let call = |_| {
            let passed = Mutex::new(Err(Error::Cancelled));
            let pass = async {
                let (_tx, rx) = gate.ends();
                *passed.lock().unwrap() = match rx.recv_async().await {
                    Err(RecvError::Closed) => Ok(()),
                    other => other.map_err(Error::from),
                };
            };
            // What the coroutine says counts, also if the scope is told later.
            _ = scope(|s| {
                s.launch(pass);
                Ok::<_, Cancelled>(())
            });
            passed.into_inner().unwrap()
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()));
    });
    case.tidies_up().indirect().looks_first().delegates()
}
