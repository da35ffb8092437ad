//! 2. Parent and child: children of a parent that is being cancelled, and the cause that children see.

use std::sync::Arc;

use throng::{Cancelled, Cause, go, scope};

use crate::common::Aviary;
use crate::trace::{Log, Oops, forever, on_all, on_one};

// 2. "Attaching to a Cancelling parent: the child is cancelled at once but is still waited for". "So launch on a cancelled scope silently does nothing; it does not throw".
#[test]
fn attaching_to_a_cancelling_parent() {
    on_one(|| {
        let (log, aviary) = (Log::new(), Aviary::new());
        scope(|s| {
            log.end("scope", &s.job());
            s.cancel_with("enough");
            let canary = aviary.canary();
            let child = s.go(move || canary.sing());
            log.state("child", &child.job());
            log.end("child", &child.job());
            assert_eq!(aviary.alive(), 1, "it has not ended");
            Ok::<_, Cancelled>(())
        })
        .unwrap();
        assert_eq!(aviary.alive(), 0);
        log.says(&["child: Cancelling", "child ended: cancelled, enough", "scope ended: completed"]);
    });
    // From a child that clears up, after the scope has failed; all are waited for.
    on_all(|| {
        let (log, aviary) = (Log::new(), Aviary::new());
        let failed: Result<(), Oops> = scope(|s| {
            log.end("scope", &s.job());
            let (begun, begins) = throng::bounded(1);
            let (log, aviary) = (&log, &aviary);
            s.go(move || {
                begun.send(()).unwrap();
                let _ = forever();
                for _ in 0..10 {
                    let canary = aviary.canary();
                    let child = s.go(move || canary.sing());
                    assert!(child.job().is_cancelled());
                    log.ended("late child", &child.job());
                }
            });
            begins.recv().unwrap();
            Err(Oops::Bad("body"))
        });
        assert_eq!((failed, aviary.alive()), (Err(Oops::Bad("body")), 0));
        let mut expected = vec!["late child ended"; 10];
        expected.push("scope ended: failed, 'main' failed");
        log.says(&expected);
    });
}

// 2. "The CE a child sees: if the parent's root cause is a CE, that same instance".
#[test]
fn a_child_sees_the_same_cause() {
    on_all(|| {
        let reason: Arc<str> = "enough".into();
        let given = Cause::Reason(Arc::clone(&reason));
        let (seen, sees) = throng::unbounded();
        let (begun, begins) = throng::bounded(1);
        let parent = go(move || {
            scope(|s| {
                s.go(move || {
                    scope(|s| {
                        s.go(move || {
                            begun.send(()).unwrap();
                            let _ = forever();
                            seen.send((throng::cause(), throng::job().unwrap().cause())).unwrap_or(());
                        });
                        Ok::<_, Cancelled>(())
                    })
                });
                Ok::<_, Cancelled>(())
            })
        });
        begins.recv().unwrap();
        parent.cancel_with(given);
        let (Some(Cause::Reason(here)), Some(Cause::Reason(of_job))) = sees.recv().unwrap() else { panic!("another cause") };
        assert!(Arc::ptr_eq(&here, &reason) && Arc::ptr_eq(&of_job, &reason));
        assert_eq!(parent.join().unwrap(), Err(Cancelled::new()));
    });
}

// 2. "if it is a failure, a new JobCancellationException(cause = the failure)": `Cause::Failed` tells who failed, and how; the error itself is the scope's result.
#[test]
fn a_child_sees_who_failed() {
    on_all(|| {
        let (begun, begins) = throng::bounded(1);
        let failed: Result<(), Oops> = scope(|s| {
            s.go(move || {
                begun.send(()).unwrap();
                let _ = forever();
                let Some(Cause::Failed(failed)) = throng::cause() else { panic!("another cause") };
                assert_eq!((failed.name.as_deref(), failed.panic.as_deref()), (Some("culprit"), None));
                assert!(failed.site.file().ends_with("tree.rs"));
            });
            begins.recv().unwrap();
            s.task().name("culprit").go(|| Err::<(), _>(Oops::Bad("culprit")));
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("culprit")));
    });
}
