//! That a scope is not left early: by a panic, by forgotten handles, or from a depth.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use throng::{Runtime, rendezvous, scope, scope_all, shield, supervisor, yield_now};

use super::forever_ok;
use crate::common::{Aviary, panic_on_purpose, watched};
use crate::trace::{Oops, forever, on_all};

/// While a panic leaves the body, the children may still use what it has lent them: they are waited for before that goes.
#[test]
fn scope_waits_on_panic() {
    on_all(|| {
        let aviary = Aviary::new();
        for kind in 0..3 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let lent = aviary.canary();
                let (up, is_up) = rendezvous();
                let using = |up: throng::Sender<()>| {
                    let lent = &lent;
                    move || {
                        up.send(()).unwrap();
                        let _ = forever();
                        for _ in 0..20 {
                            lent.sing();
                            shield(yield_now).unwrap();
                        }
                        lent.sing();
                    }
                };
                match kind {
                    0 => drop(scope(|s| -> Result<(), Oops> {
                        s.go(using(up));
                        is_up.recv().unwrap();
                        panic_on_purpose(1)
                    })),
                    1 => drop(supervisor(|s| -> Result<(), Oops> {
                        s.go(using(up));
                        is_up.recv().unwrap();
                        panic_on_purpose(1)
                    })),
                    // A child's panic.
                    _ => drop(scope(|s| -> Result<(), Oops> {
                        s.go(using(up));
                        is_up.recv().unwrap();
                        s.go(|| -> () { panic_on_purpose(1) });
                        Ok(())
                    })),
                }
            }));
            assert!(panicked.is_err());
            assert_eq!(aviary.alive(), 0);
        }
        let failures = scope_all(|s| -> Result<(), Oops> {
            s.go(forever_ok);
            panic_on_purpose(1)
        });
        assert!(failures.unwrap_err().later().is_empty());
    });
}

/// Forgetting handles, or whole scopes of handles, keeps no scope from waiting.
#[test]
fn scope_leak_forget() {
    on_all(|| {
        let aviary = Aviary::new();
        let ended = AtomicBool::new(false);
        let result = {
            let lent = aviary.canary();
            scope(|s| {
                let child = s.go(|| {
                    for _ in 0..20 {
                        lent.sing();
                        yield_now()?;
                    }
                    ended.store(true, Ordering::Relaxed);
                    Ok::<_, Oops>(())
                });
                mem::forget(child.job());
                mem::forget(child);
                Ok("value")
            })
        };
        assert!(ended.load(Ordering::Relaxed));
        assert_eq!(result, Ok("value"));
        // A forgotten handle of a failing child changes nothing, either.
        let result = scope(|s| {
            mem::forget(s.go(|| Err::<(), _>(Oops::Bad("child"))));
            forever()?;
            Ok(())
        });
        assert_eq!(result, Err(Oops::Bad("child")));
        // Nor that of one that is cancelled before it starts.
        let result = scope(|s| {
            let lazy = s.task().lazy().go(|| ());
            lazy.cancel();
            mem::forget(lazy);
            Ok::<_, Oops>(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(aviary.alive(), 0);
    });
}

/// The runtime ends well although jobs and handles of it were forgotten.
#[test]
fn forgotten_handles_do_not_keep_a_runtime() {
    watched("forgotten", || {
        let aviary = Aviary::new();
        let runtime = Runtime::builder().workers(2).build().unwrap();
        for _ in 0..100 {
            let canary = aviary.canary();
            let handle = runtime.go(move || {
                let _canary = canary;
                let _ = forever();
            });
            mem::forget(handle.job());
            mem::forget(handle);
        }
        drop(runtime);
        assert_eq!(aviary.alive(), 0);
    });
}

/// A thousand scopes within each other, each with a child: a cancellation ends all of them.
#[test]
fn thousand_nested_scopes() {
    fn nest(depth: usize, up: &throng::Sender<()>) -> Result<(), Oops> {
        scope(|s| {
            s.go(|| {
                let _ = forever();
            });
            if depth == 0 {
                up.send(()).unwrap();
                return Ok(());
            }
            nest(depth - 1, up)
        })
    }
    watched("nested", || {
        let runtime = Runtime::builder().workers(2).stack_size(16 << 20).build().unwrap();
        let (up, is_up) = rendezvous();
        let task = runtime.go(move || nest(1_000, &up));
        is_up.recv().unwrap();
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Oops::Cancelled));
    });
}
