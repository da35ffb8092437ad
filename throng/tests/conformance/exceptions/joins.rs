//! What joins make of failures, and what they cannot wait for.

use throng::{Job, JoinHandle, bounded, check, go, rendezvous, scope, task};

use super::handler;
use crate::common::panic_on_purpose;
use crate::trace::{Log, Oops, forever, on_all, until};

/// `Job::join` never fails because of the one it joins.
#[test]
fn join_never_rethrows() {
    on_all(|| {
        let log = Log::new();
        handler("handler", &log).scope(|| {
            let panics = go(|| panic_on_purpose(1));
            let lazy = task().lazy().go(|| ());
            lazy.cancel();
            let errs = go(|| Err::<(), _>("bad"));
            for job in [panics.job(), lazy.job(), errs.job()] {
                log.add(format!("{:?} {}", job.join(), job.state()));
            }
            std::mem::forget(panics);
            // From outside of the scope that it has failed.
            let (tx, rx) = bounded::<Job>(1);
            let joiner = go(move || {
                let job = rx.recv().unwrap();
                (job.join().is_ok(), job.state())
            });
            let result = scope(|s| {
                let bad = s.task().lazy().go(|| Err::<(), _>(Oops::Bad("child")));
                tx.send(bad.job()).unwrap();
                Ok(())
            });
            log.add(format!("{result:?} {:?}", joiner.join().unwrap()));
        });
        log.says(&["Ok(()) Cancelled", "Ok(()) Cancelled", "Ok(()) Completed", r#"Err(Bad("child")) (true, Cancelled)"#]);
    });
}

/// Who joins a failing child from within its scope goes on as one who has been cancelled.
#[test]
fn join_of_a_failing_child_within_its_scope() {
    on_all(|| {
        let log = Log::new();
        // Of a child that has failed: the scope has been cancelled by then.
        let result = scope(|s| {
            let bad = s.go(|| Err::<(), _>(Oops::Bad("child")));
            let job = bad.job();
            until(|| job.is_completed() && s.job().is_cancelled());
            until(|| check().is_err());
            log.add(format!("job: {:?}", job.join()));
            log.add(format!("handle: {:?}", bad.join()));
            Ok(())
        });
        log.add(format!("{result:?}"));
        // By a sibling.
        let result = scope(|s| {
            let (open, gate) = bounded::<()>(1);
            let bad = s.go(move || {
                gate.recv().unwrap();
                Err::<(), _>(Oops::Bad("child"))
            });
            let log = &log;
            s.task().undispatched().go(move || {
                log.add(format!("sibling: {:?}", bad.join()));
                log.add(format!("then: {:?}", forever()));
            });
            open.send(()).unwrap();
            Ok(())
        });
        log.add(format!("{result:?}"));
        log.says(&[
            "job: Err(Cancelled)",
            "handle: Err(Failed)",
            r#"Err(Bad("child"))"#,
            "sibling: Err(Failed)",
            "then: Err(Cancelled)",
            r#"Err(Bad("child"))"#,
        ]);
    });
}

/// Joining another task links nothing: neither end is cancelled with the other.
#[test]
fn join_does_not_link() {
    on_all(|| {
        let log = Log::new();
        let (open, gate) = bounded::<()>(1);
        let (up, is_up) = rendezvous();
        let joined = go(move || gate.recv());
        let job = joined.job();
        let joiner = go(move || {
            up.send(()).unwrap();
            joined.join().map(drop)
        });
        is_up.recv().unwrap();
        joiner.cancel();
        log.add(format!("joiner: {:?}", joiner.join().unwrap()));
        log.add(format!("joined: {}", job.state()));
        open.send(()).unwrap();
        job.join().unwrap();
        log.add(format!("joined: {}", job.state()));
        log.says(&["joiner: Err(Cancelled)", "joined: Active", "joined: Completed"]);
    });
}

/// A task that would wait for itself is told so.
#[test]
fn join_self_and_cycle() {
    on_all(|| {
        let log = Log::new();
        let (tx, rx) = bounded::<JoinHandle<()>>(1);
        let (said, say) = bounded::<String>(8);
        let me = go(move || {
            let job = throng::job().unwrap();
            said.send(format!("its job: {:?}", job.join())).unwrap();
            said.send(format!("its handle: {:?}", rx.recv().unwrap().join())).unwrap();
        });
        let job = me.job();
        tx.send(me).unwrap();
        job.join().unwrap();
        say.iter().for_each(|line| log.add(line));
        let result = scope(|s| {
            log.add(format!("the scope around: {:?}", s.job().join()));
            let (outer, log) = (s.job(), &log);
            let child = s.go(move || {
                log.add(format!("a child, its scope: {:?}", outer.join()));
                let result: Result<(), Oops> = scope(|s| {
                    log.add(format!("from a scope of its own: {:?}", outer.join()));
                    log.add(format!("that scope: {:?}", s.job().join()));
                    Ok(())
                });
                result
            });
            child.join()?;
            let inner: Result<(), Oops> = scope(|_| {
                log.add(format!("from a scope inside: {:?}", s.job().join()));
                Ok(())
            });
            inner
        });
        log.add(format!("{result:?}"));
        log.says(&[
            "its job: Err(Itself)",
            "its handle: Err(Itself)",
            "the scope around: Err(Itself)",
            "a child, its scope: Err(Itself)",
            "from a scope of its own: Err(Itself)",
            "that scope: Err(Itself)",
            "from a scope inside: Err(Itself)",
            "Ok(())",
        ]);
    });
}

/// Two that join each other wait, as everywhere; nothing detects that, and a cancellation ends it.
#[test]
fn join_cycle_of_two_ends_by_cancellation() {
    on_all(|| {
        let log = Log::new();
        let (up, is_up) = rendezvous();
        let start = || {
            let (tx, rx) = bounded::<Job>(1);
            let up = up.clone();
            let task = go(move || {
                let other = rx.recv().unwrap();
                up.send(()).unwrap();
                other.join()
            });
            (tx, task)
        };
        let (to_one, one) = start();
        let (to_two, two) = start();
        to_one.send(two.job()).unwrap();
        to_two.send(one.job()).unwrap();
        is_up.recv().unwrap();
        is_up.recv().unwrap();
        one.cancel();
        log.add(format!("one: {:?}", one.join().unwrap()));
        log.add(format!("two: {:?}", two.join().unwrap()));
        log.says(&["one: Err(Cancelled)", "two: Ok(())"]);
    });
}
