//! 3. Cancellation: what runs although its task is cancelled, `NonCancellable` in Kotlin.

use std::time::Duration;

use throng::{Cancelled, check, go, is_cancelled, scope, shield, task, timeout};

use crate::trace::{Log, Oops, forever, on_all, why_here};

// 3. "NonCancellable: withContext(NonCancellable) in finally runs suspending cleanup", "its value is returned even though the outer job is cancelled".
#[test]
fn a_shield_lets_clean_up_park() {
    on_all(|| {
        let log = Log::new();
        let (seen, (tx, rx)) = (log.clone(), throng::rendezvous());
        let task = task().atomic().go(move || {
            seen.add(format!("{:?}", forever()));
            let sent = shield(|| {
                assert_eq!((is_cancelled(), check(), why_here().as_str()), (false, Ok(()), "not cancelled"));
                tx.send("cleaned up").map(|()| 7)
            });
            seen.add(format!("{sent:?} {}", why_here()));
            assert_eq!(check(), Err(Cancelled::new()));
        });
        task.cancel_with("enough");
        assert_eq!(rx.recv(), Ok("cleaned up"));
        task.join().unwrap();
        log.says(&["Err(Cancelled)", "Ok(7) enough"]);
    });
}

// 3. "the block's job is a fresh ScopeCoroutine whose parent is NonCancellable, so nothing cancels it from above": a scope inside a shield, and its children, are not cancelled with the task. It can be
// cancelled itself. A timeout inside works.
#[test]
fn nothing_cancels_a_shielded_scope_from_above() {
    on_all(|| {
        let log = Log::new();
        let (begun, begins) = throng::bounded(1);
        let (open, gate) = throng::rendezvous::<()>();
        let seen = log.clone();
        let task = go(move || {
            shield(|| {
                let value = scope(|s| {
                    let (begun, gate) = (&begun, &gate);
                    let child = s.go(move || {
                        begun.send(())?;
                        assert!(gate.recv().is_err());
                        Ok(why_here())
                    });
                    Ok::<_, throng::Error>(child.join()?)
                });
                seen.add(format!("{:?}", value.unwrap()));
                let cancelled: Result<_, Cancelled> = scope(|s| {
                    s.cancel_with("inside");
                    Ok((forever(), why_here()))
                });
                seen.add(format!("{cancelled:?}"));
                let limited = timeout(Duration::from_millis(1), forever);
                seen.add(format!("{limited:?}"));
            });
            seen.add(why_here());
        });
        begins.recv().unwrap();
        task.cancel_with("outside");
        drop(open);
        task.join().unwrap();
        log.says(&["\"not cancelled\"", "Ok((Err(Cancelled), \"inside\"))", "Err(Elapsed)", "outside"]);
    });
}

// 3. "Its children's failures still fail that block's job and are rethrown by withContext".
#[test]
fn a_failure_inside_a_shield_fails_what_is_inside() {
    on_all(|| {
        let task = task().atomic().go(|| {
            shield(|| {
                scope(|s| {
                    s.go(|| Err::<(), _>(Oops::Bad("child")));
                    Ok(forever()?)
                })
            })
        });
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Oops::Bad("child")));
    });
}

// 3. "if the dispatcher does change, the way back is a cancellable dispatch, so the caller gets CE and the value is lost".
// DIFFERS: a goroutine keeps its thread; the value comes back, from a shield and from `blocking`, which once begun is not interrupted.
#[test]
fn what_was_done_elsewhere_comes_back() {
    on_all(|| {
        let (begun, begins) = throng::rendezvous();
        let (open, gate) = throng::rendezvous();
        let task = go(move || {
            let value = throng::blocking(|| {
                begun.send(()).unwrap();
                gate.recv().unwrap();
                7
            });
            (value, why_here())
        });
        begins.recv().unwrap();
        task.cancel_with("enough");
        open.send(()).unwrap();
        assert_eq!(task.join().unwrap(), (Ok(7), "enough".into()));
    });
}
