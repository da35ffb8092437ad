//! 1. Job states: the final ones, and what is kept of a value.

use throng::{Cancelled, Completion, JobState, completable, go, scope, task};

use crate::trace::{forever, how, on_all, until};

// 1. "Nothing leaves a final state; cancel() on it is a no-op and await() still gives the value".
#[test]
fn nothing_leaves_a_final_state() {
    on_all(|| {
        let handle = go(|| 7);
        let job = handle.job();
        job.join().unwrap();
        handle.cancel_with("too late");
        job.cancel_with("too late");
        job.cancel_children();
        assert!(!job.start());
        assert_eq!((job.state(), job.cause().is_none()), (JobState::Completed, true));
        assert!(matches!(job.completion(), Some(Completion::Completed)));
        assert_eq!(handle.join().unwrap(), 7);
        assert_eq!(job.state(), JobState::Completed, "a job outlives its handle");

        let lost = task().lazy().go(|| ());
        let job = lost.job();
        job.cancel_with("first");
        job.join().unwrap();
        job.cancel_with("second");
        assert_eq!(how(&job.completion().unwrap()), "cancelled, first");

        let ended = scope(|s| Ok::<_, Cancelled>(s.job())).unwrap();
        ended.cancel_with("too late");
        assert_eq!((ended.state(), ended.cause().is_none()), (JobState::Completed, true));

        let (promise, value) = completable();
        promise.complete(1).unwrap();
        promise.cancel_with("too late");
        assert_eq!(promise.complete(2), Err(2));
        assert_eq!(value.join().unwrap(), 1);
    });
}

// 1. "Cancelling wins over a value: if a body returns normally after its job was cancelled, the value is lost".
// DIFFERS: a value is never lost. A task that returns one has completed, cancelled or not; a scope loses its value only if children of its were cut short from outside.
#[test]
fn a_value_is_never_lost() {
    on_all(|| {
        let handle = task().atomic().go(|| (forever(), 7));
        let job = handle.job();
        job.cancel_with("enough");
        job.join().unwrap();
        assert_eq!((job.state(), job.cause().is_none()), (JobState::Completed, true));
        assert_eq!(handle.join().unwrap(), (Err(Cancelled::new()), 7));

        let value = scope(|s| {
            s.go(|| {
                let _ = forever();
            });
            s.cancel();
            Ok::<_, Cancelled>((s.job(), forever()))
        });
        let (job, met) = value.unwrap();
        assert_eq!((met, job.state()), (Err(Cancelled::new()), JobState::Completed));

        // In a cancelled task: without children cut short, and with.
        for cut in [false, true] {
            let handle = go(move || {
                scope(|s| {
                    let _ = s.job();
                    if cut {
                        s.go(|| {
                            let _ = forever();
                        });
                    }
                    let _ = forever();
                    Ok::<_, Cancelled>(7)
                })
            });
            let job = handle.job();
            until(|| !job.children().unwrap().is_empty());
            handle.cancel();
            assert_eq!(handle.join().unwrap(), if cut { Err(Cancelled::new()) } else { Ok(7) });
        }
    });
}
