//! `suspend_async`: the same for futures, which may be dropped.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use throng::core::{Continuation, SuspendError, suspend_async};
use throng::future::Wait;
use throng::{JoinError, go, launch, shield_async, timeout_async, yield_now};

use crate::common::{Aviary, on_runtimes, scaled};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Count>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn resumed_before_and_meanwhile() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for _ in 0..scaled(5, 50) {
                let early = launch(suspend_async(|continuation| _ = continuation.resume(1)));
                let abandoned = launch(suspend_async(|continuation: Continuation<u32>| drop(continuation)));
                let late = launch(suspend_async(|continuation| _ = std::thread::spawn(|| continuation.resume(2))));
                let alone = launch(suspend_async(|continuation: Continuation<u32>| _ = go(move || drop(continuation))));
                assert_eq!(early.join().unwrap(), Ok(1), "{label}");
                assert_eq!(abandoned.join().unwrap(), Err(SuspendError::Abandoned), "{label}");
                assert_eq!(late.join().unwrap(), Ok(2), "{label}");
                assert_eq!(alone.join().unwrap(), Err(SuspendError::Abandoned), "{label}");
            }
            // In a goroutine.
            assert_eq!(suspend_async(|continuation| _ = go(|| continuation.resume(3))).wait(), Ok(Ok(3)), "{label}");
        });
        // Elsewhere.
        assert_eq!(suspend_async(|continuation| _ = std::thread::spawn(|| continuation.resume(4))).wait(), Ok(Ok(4)), "{label}");
    });
}

#[test]
fn setup_is_called_by_the_first_poll() {
    let calls = AtomicUsize::new(0);
    let setup = |continuation: Continuation<u32>| {
        calls.fetch_add(1, Ordering::SeqCst);
        std::mem::forget(continuation);
    };
    drop(suspend_async(setup));
    let mut future = pin!(suspend_async(setup));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        assert!(poll(future.as_mut()).is_pending());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_last_waker_is_called() {
    let [first, second] = [Arc::new(Count::default()), Arc::new(Count::default())];
    let kept = Mutex::new(None);
    let mut future = polled_once(&kept);
    for count in [&first, &second] {
        assert!(future.as_mut().poll(&mut Context::from_waker(&Arc::clone(count).into())).is_pending());
    }
    assert_eq!(Arc::strong_count(&first), 1, "the other waker has gone");
    kept.lock().unwrap().take().unwrap().resume(5).unwrap();
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(poll(future.as_mut()), Poll::Ready(Ok(5)));
}

/// Keeps the continuation of a future, and polls it once.
fn polled_once<T>(kept: &Mutex<Option<Continuation<T>>>) -> Pin<Box<impl Future<Output = Result<T, SuspendError>>>> {
    let mut future = Box::pin(suspend_async(|continuation| *kept.lock().unwrap() = Some(continuation)));
    assert!(poll(future.as_mut()).is_pending());
    future
}

#[test]
fn one_that_is_dropped_gives_up() {
    for hooks in [true, false] {
        let kept = Mutex::new(None);
        let future = polled_once(&kept);
        let continuation = kept.lock().unwrap().take().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        if hooks {
            let told = Arc::clone(&told);
            continuation.on_cancel(move |value| told.lock().unwrap().push(value));
        }
        assert!(continuation.is_waiting());
        drop(future);
        assert!(!continuation.is_waiting());
        assert_eq!(*told.lock().unwrap(), if hooks { vec![None] } else { vec![] });
        assert_eq!(continuation.resume(7), Err(7));
    }
}

/// Resumed, and dropped before it could say so: the hook has the value.
#[test]
fn a_value_that_is_not_fetched_goes_to_the_hook() {
    let aviary = Aviary::new();
    for hooks in [true, false] {
        let kept = Mutex::new(None);
        let future = polled_once(&kept);
        let continuation = kept.lock().unwrap().take().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        if hooks {
            let told = Arc::clone(&told);
            continuation.on_cancel(move |value| told.lock().unwrap().push(value));
        }
        assert!(continuation.resume(aviary.canary()).is_ok());
        drop(future);
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!((told.len(), aviary.alive()), if hooks { (1, 1) } else { (0, 0) });
        told.iter().for_each(|value| value.as_ref().expect("the value").sing());
    }
}

#[test]
fn cancelled_with_its_coroutine() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for _ in 0..scaled(5, 50) {
                let kept = Arc::new(Mutex::new(None));
                let called = Arc::new(AtomicBool::new(false));
                let task = launch({
                    let (kept, called) = (Arc::clone(&kept), Arc::clone(&called));
                    async move {
                        suspend_async(|continuation: Continuation<u32>| {
                            continuation.on_cancel(move |value| {
                                assert_eq!(value, None);
                                called.store(true, Ordering::SeqCst);
                            });
                            *kept.lock().unwrap() = Some(continuation);
                        })
                        .await
                    }
                });
                while kept.lock().unwrap().is_none() {
                    yield_now().unwrap();
                }
                task.cancel();
                assert_eq!(task.join().unwrap(), Err(SuspendError::Cancelled), "{label}");
                assert!(called.load(Ordering::SeqCst), "{label}");
                assert_eq!(kept.lock().unwrap().take().unwrap().resume(1), Err(1), "{label}");
            }
        });
    });
}

#[test]
fn limits_and_shields_apply() {
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            let kept = Arc::new(Mutex::new(None));
            let limited = launch({
                let kept = Arc::clone(&kept);
                let wait = suspend_async(move |continuation: Continuation<u32>| *kept.lock().unwrap() = Some(continuation));
                timeout_async(Duration::from_millis(2), wait)
            });
            assert!(limited.join().unwrap().is_err(), "{label}");
            assert_eq!(kept.lock().unwrap().take().unwrap().resume(1), Err(1), "{label}");
            let shielded = launch({
                let kept = Arc::clone(&kept);
                shield_async(suspend_async(move |continuation: Continuation<u32>| *kept.lock().unwrap() = Some(continuation)))
            });
            while kept.lock().unwrap().is_none() {
                yield_now().unwrap();
            }
            shielded.cancel();
            yield_now().unwrap();
            assert_eq!(kept.lock().unwrap().take().unwrap().resume(2), Ok(()), "{label}");
            assert_eq!(shielded.join().unwrap(), Ok(2), "{label}");
        });
    });
}

#[test]
fn polled_after_its_end() {
    let task = launch(async {
        let mut future = pin!(suspend_async(|continuation| _ = continuation.resume(1)));
        assert_eq!(future.as_mut().await, Ok(1));
        future.await
    });
    let Err(JoinError::Panicked(panic)) = task.join() else { panic!("it did not panic") };
    assert_eq!(panic.message(), "polled after it was resumed");
}
