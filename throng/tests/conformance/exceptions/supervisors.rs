//! Supervisors: whose failure is whose.

use throng::{JoinError, bounded, check, rendezvous, scope, shield, supervisor, task, yield_now};

use super::{SILENT, handler, noting_panics, text};
use crate::common::panic_on_purpose;
use crate::trace::{Log, Oops, forever, on_all, why_here};

/// A direct child's failure cancels neither the supervisor nor its siblings.
#[test]
fn supervisor_isolates() {
    on_all(|| {
        let log = Log::new();
        let result = handler("handler", &log).scope(|| {
            supervisor(|s| {
                let (open, gate) = bounded::<()>(2);
                let sibling = s.go(move || gate.recv().map(|()| "sibling lives"));
                let bad = s.task().lazy().name("error").go(|| Err::<(), _>("bad"));
                let job = bad.job();
                drop(bad);
                job.join()?;
                let worse = s.task().lazy().name("panic").go(|| -> () { panic_on_purpose(1) });
                let job = worse.job();
                drop(worse);
                job.join()?;
                log.add(format!("body: {:?} {}", check(), s.job().state()));
                open.send(()).unwrap();
                log.add(sibling.join()?.unwrap());
                log.add(s.go(|| Ok::<_, Oops>("later ones run")).join()?.unwrap());
                Ok::<_, Oops>("value")
            })
        });
        log.add(format!("{result:?}"));
        log.says(&[
            "handler: error failed: \"bad\"",
            &format!("handler: panic panicked: {SILENT}"),
            "body: Ok(()) Active",
            "sibling lives",
            "later ones run",
            r#"Ok("value")"#,
        ]);
    });
}

/// DIFFERS: in Kotlin an `async` child of a supervisor is silent, a `launch` is reported although it is joined. Here it is the join that decides.
#[test]
fn failure_of_a_supervised_child_is_for_who_joins_it() {
    on_all(|| {
        let log = Log::new();
        handler("handler", &log)
            .scope(|| {
                supervisor(|s| {
                    log.add(format!("{:?}", s.go(|| Err::<(), _>("joined")).join()?));
                    match s.go(|| -> () { panic_on_purpose(1) }).join() {
                        Err(JoinError::Panicked(panic)) => log.add(format!("panicked {}", text(&*panic.into_payload()))),
                        other => log.add(format!("{other:?}")),
                    }
                    let dropped = s.task().name("dropped").go(|| Err::<(), _>("dropped"));
                    dropped.job().join()?;
                    log.add("ended");
                    drop(dropped);
                    Ok::<_, Oops>(())
                })
            })
            .unwrap();
        log.says(&[r#"Err("joined")"#, "panicked 1", "ended", r#"handler: dropped failed: "dropped""#]);
    });
}

/// A direct child of a supervisor uses its own handler; its descendants' failures come up to it first.
#[test]
fn supervised_children_use_their_own_handlers() {
    on_all(|| {
        let log = Log::new();
        handler("ambient", &log)
            .scope(|| {
                supervisor(|s| {
                    let own = s.task().name("own").handler(handler("own", &log)).go(|| Err::<(), _>(1));
                    let inherits = s.task().name("inherits").go(|| Err::<(), _>(2));
                    let above = s.task().name("above").handler(handler("above's", &log)).go(|| {
                        scope(|s| {
                            s.task().name("below").handler(handler("below's", &log)).go(|| Err::<(), _>(Oops::Bad("3")));
                            Ok(())
                        })
                    });
                    for job in [own.job(), inherits.job(), above.job()] {
                        job.join()?;
                    }
                    drop((own, inherits, above));
                    Ok::<_, Oops>(())
                })
            })
            .unwrap();
        log.says(&["own: own failed: 1", "ambient: inherits failed: 2", r#"above's: above failed: Bad("3")"#]);
    });
}

/// It works in one direction only: the body's failure and a cancellation from above end the children.
#[test]
fn supervisor_body_failure_cancels_the_children() {
    on_all(|| {
        let log = Log::new();
        let child = |log: &Log, up: &throng::Sender<()>| {
            let (log, up) = (log.clone(), up.clone());
            move || {
                up.send(()).unwrap();
                let _ = forever();
                shield(yield_now).unwrap();
                log.add(format!("child: {}", why_here()));
            }
        };
        let (up, is_up) = rendezvous();
        let failed: Result<(), Oops> = supervisor(|s| {
            s.go(child(&log, &up));
            is_up.recv().unwrap();
            Err(Oops::Bad("body"))
        });
        log.add(format!("{failed:?}"));
        noting_panics(&log, || -> Result<(), Oops> {
            supervisor(|s| {
                s.go(child(&log, &up));
                is_up.recv().unwrap();
                panic_on_purpose(1)
            })
        });
        let (child_of_task, is_up_too, up_too) = (child(&log, &up), is_up.clone(), up.clone());
        let cancelled = task().go(move || -> Result<(), Oops> {
            let _up = up_too;
            supervisor(|s| {
                s.go(child_of_task);
                Ok(())
            })
        });
        is_up_too.recv().unwrap();
        cancelled.cancel_with("from above");
        log.add(format!("{:?}", cancelled.join().unwrap()));
        log.says(&[
            "child: 'main' failed",
            r#"Err(Bad("body"))"#,
            &format!("child: 'main' panicked: {SILENT}"),
            "panic: 1",
            "child: from above",
            "Err(Cancelled)",
        ]);
    });
}
