//! Parks in destructors while a panic unwinds a goroutine: refused at once, since a switch would corrupt std's count of panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::channel::{RecvError, SendError};
use throng::{Cancelled, JoinError, go, rendezvous, scope, sleep, yield_now};

use crate::common::{on_runtimes, panic_on_purpose};

const FOREVER: Duration = Duration::from_secs(3600);

#[test]
fn park_while_unwinding() {
    struct ParksOnDrop(Arc<AtomicUsize>);
    impl Drop for ParksOnDrop {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            let (tx, rx) = rendezvous::<u8>();
            assert_eq!(sleep(FOREVER), Err(Cancelled::new()));
            assert_eq!(rx.recv(), Err(RecvError::Cancelled));
            assert_eq!(tx.send(1), Err(SendError::Cancelled(1)));
            assert!(throng::select! { recv(rx) -> _ => () }.is_err());
            let held = throng::Mutex::new(());
            let guard = held.lock().unwrap();
            assert!(held.lock().is_err());
            drop(guard);
            // These do without giving up the thread.
            let _ = yield_now();
            assert_eq!(throng::blocking(|| 3), Ok(3));
            let forked = scope(|s| {
                s.go(|| ());
                Ok::<_, Cancelled>(())
            });
            assert_eq!(forked, Err(Cancelled::new()));
            // Starting others is fine.
            drop(go(|| assert!(!std::thread::panicking())));
            assert!(std::thread::panicking());
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    on_runtimes(|runtime, _| {
        let drops = Arc::new(AtomicUsize::new(0));
        let std_mutex = std::sync::Mutex::new(0);
        runtime.run(|| {
            scope(|s| {
                // Bystanders that look at the panic count of their thread all the time.
                for _ in 0..8 {
                    let std_mutex = &std_mutex;
                    s.go(move || {
                        for _ in 0..200 {
                            assert!(!std::thread::panicking());
                            *std_mutex.lock().expect("not poisoned: no holder panics") += 1;
                            yield_now()?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                }
                for _ in 0..50 {
                    let canary = ParksOnDrop(Arc::clone(&drops));
                    let task = go(move || {
                        let _canary = canary;
                        yield_now().unwrap();
                        panic_on_purpose(1);
                    });
                    match task.join() {
                        Err(JoinError::Panicked(_)) => {}
                        other => panic!("{other:?}"),
                    }
                    assert!(!std::thread::panicking());
                }
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            // Poisoning works as ever.
            let poisoned = std::sync::Mutex::new(0);
            let held = catch_unwind(AssertUnwindSafe(|| {
                let _guard = poisoned.lock().unwrap();
                panic_on_purpose(2);
            }));
            assert!(held.is_err() && poisoned.is_poisoned());
        });
        assert_eq!(drops.load(Ordering::Relaxed), 50);
        assert_eq!(*std_mutex.lock().unwrap(), 8 * 200);
        // On every worker: as many tasks as it takes, each looks.
        for _ in 0..50 {
            assert!(!runtime.go(std::thread::panicking).join().unwrap());
        }
    });
}

#[test]
fn a_scope_body_may_panic_with_guards_that_park() {
    struct Sends(throng::Sender<u8>);
    impl Drop for Sends {
        fn drop(&mut self) {
            // Refused: nobody receives.
            assert!(self.0.send(1).is_err());
        }
    }
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for _ in 0..50 {
                let (tx, _rx) = rendezvous();
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    scope(|s| {
                        s.go(|| sleep(FOREVER));
                        let _guard = Sends(tx);
                        yield_now()?;
                        panic_on_purpose(3);
                        #[allow(unreachable_code)]
                        Ok::<_, Cancelled>(())
                    })
                }));
                assert!(panicked.is_err());
                assert!(!std::thread::panicking());
                // After the unwinding parks work again.
                yield_now().unwrap();
                sleep(Duration::from_micros(1)).unwrap();
            }
        });
    });
}
