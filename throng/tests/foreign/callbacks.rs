//! A library of C's that calls back from a thread of its own: the callback wakes.
//!
//! The library is as such libraries are: it is given a function and a pointer for it, and calls the function later, once, from a thread made with `pthread_create`, which knows nothing of this runtime.

use std::ffi::{c_int, c_void};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::future::join_all;
use throng::future::Wait;
use throng::launch;

use crate::common::{Aviary, Canary, on_runtimes, scaled};
use crate::everywhere;

type Callback = extern "C" fn(*mut c_void, c_int);

/// What the library keeps of a request.
struct Request {
    argument: c_int,
    callback: Callback,
    user: *mut c_void,
}

extern "C" fn library_thread(request: *mut c_void) -> *mut c_void {
    // SAFETY: made by `library_start` for this thread.
    let request = unsafe { Box::from_raw(request.cast::<Request>()) };
    (request.callback)(request.user, 2 * request.argument);
    std::ptr::null_mut()
}

/// Doubles `argument`, and calls back with it.
fn library_start(argument: c_int, callback: Callback, user: *mut c_void) -> libc::pthread_t {
    let request = Box::into_raw(Box::new(Request { argument, callback, user }));
    let mut thread = std::mem::MaybeUninit::uninit();
    // SAFETY: the thread gets the request; no attributes.
    let failed = unsafe { libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), library_thread, request.cast()) };
    assert_eq!(failed, 0, "a thread");
    // SAFETY: it has been created.
    unsafe { thread.assume_init() }
}

/// A request as a future. Dropped early, it leaves its half to the callback.
struct Doubled {
    shared: Arc<Shared>,
    thread: libc::pthread_t,
}

struct Shared {
    state: Mutex<(Option<c_int>, Option<Waker>)>,
    _canary: Canary,
}

extern "C" fn doubled(user: *mut c_void, result: c_int) {
    // SAFETY: the reference that `Doubled::start` gave to the library, which calls once.
    let shared = unsafe { Arc::from_raw(user.cast::<Shared>()) };
    let waker = {
        let mut state = shared.state.lock().unwrap();
        state.0 = Some(result);
        state.1.take()
    };
    if let Some(waker) = waker {
        // Once more than needed.
        waker.wake_by_ref();
        waker.wake();
    }
}

impl Doubled {
    fn start(argument: c_int, canary: Canary) -> Doubled {
        let shared = Arc::new(Shared { state: Mutex::new((None, None)), _canary: canary });
        let user = Arc::into_raw(Arc::clone(&shared)).cast_mut().cast();
        Doubled { thread: library_start(argument, doubled, user), shared }
    }
}

impl Drop for Doubled {
    fn drop(&mut self) {
        // So that the test knows when the library is through. (It blocks for a moment.)
        // SAFETY: joined once.
        unsafe { libc::pthread_join(self.thread, std::ptr::null_mut()) };
    }
}

impl Future for Doubled {
    type Output = c_int;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<c_int> {
        let mut state = self.shared.state.lock().unwrap();
        match state.0 {
            Some(result) => Poll::Ready(result),
            None => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[test]
fn callbacks_wake() {
    let aviary = Aviary::new();
    everywhere(
        || {
            let aviary = aviary.clone();
            async move {
                let one = Doubled::start(4, aviary.canary()).await;
                let many = join_all((0..scaled(5, 30) as c_int).map(|n| Doubled::start(n, aviary.canary()))).await;
                (one, many.into_iter().enumerate().all(|(n, doubled)| doubled as usize == 2 * n))
            }
        },
        |got, label| assert_eq!(got, (8, true), "{label}"),
    );
    assert_eq!(aviary.alive(), 0);
}

/// The task is cut off before, while or after the library calls back.
#[test]
fn callbacks_may_come_too_late() {
    let aviary = Aviary::new();
    on_runtimes(|runtime, label| {
        runtime.run(|| {
            for round in 0..scaled(10, 100) {
                let canary = aviary.canary();
                let waiting = if round % 2 == 0 {
                    launch(async move { Ok(Doubled::start(21, canary).await) })
                } else {
                    throng::go(move || Doubled::start(21, canary).wait())
                };
                (0..round % 5).for_each(|_| throng::yield_now().unwrap());
                waiting.cancel();
                if let Ok(Ok(result)) = waiting.join() {
                    assert_eq!(result, 42, "{label}");
                }
            }
        });
    });
    assert_eq!(aviary.alive(), 0);
}
