//! Resuming, abandoning and cancelling at once: model-checked with threads that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use super::{SuspendError, WaitError, WaitList, suspend};
use crate::waitq::loom_tests::Victim;

#[test]
fn loom_suspend_is_resumed_or_abandoned() {
    loom::model(|| {
        for resumes in [true, false] {
            let mut resumer = None;
            let result = suspend(|continuation| {
                resumer = Some(thread::spawn(move || resumes.then(|| continuation.resume(7))));
            });
            assert_eq!(result, if resumes { Ok(7) } else { Err(SuspendError::Abandoned) });
            assert_eq!(resumer.unwrap().join().unwrap(), resumes.then_some(Ok(())));
        }
    });
}

#[test]
fn loom_suspend_resume_races_cancel() {
    loom::model(|| {
        let victim = Victim::me();
        let calls = Arc::new(AtomicUsize::new(0));
        let canceller = thread::spawn(move || victim.cancel());
        let mut resumer = None;
        let result = suspend(|continuation| {
            let calls = calls.clone();
            continuation.on_cancel(move |value| {
                assert_eq!(value, None);
                // Relaxed: hidden from the model, and read by the same thread.
                calls.fetch_add(1, Ordering::Relaxed);
            });
            resumer = Some(thread::spawn(move || continuation.resume(7)));
        });
        let gave_up = calls.load(Ordering::Relaxed);
        match resumer.unwrap().join().unwrap() {
            Ok(()) => assert_eq!((result, gave_up), (Ok(7), 0)),
            Err(7) => assert_eq!((result, gave_up), (Err(SuspendError::Cancelled), 1)),
            Err(other) => panic!("not the value: {other}"),
        }
        canceller.join().unwrap();
    });
}

#[test]
fn loom_wait_list_claim_races_cancel_and_close() {
    loom::model(|| {
        let victim = Victim::me();
        let list = Arc::new(WaitList::new());
        let canceller = thread::spawn(move || victim.cancel());
        let claimer = thread::spawn({
            let list = list.clone();
            move || {
                let mut value = 7;
                drop(list.claim(&mut value));
                drop(list.close());
                value
            }
        });
        // Nobody else enters, so the state beside the list has nothing to say.
        let alone = std::sync::Mutex::new(());
        let result = list.wait(alone.lock().unwrap(), 1);
        let left = claimer.join().unwrap();
        match result {
            Ok(value) => assert_eq!((value, left), (7, 1), "exchanged"),
            Err(WaitError::Closed(value) | WaitError::Cancelled(value)) => assert_eq!((value, left), (1, 7), "each has kept its own"),
        }
        canceller.join().unwrap();
    });
}
