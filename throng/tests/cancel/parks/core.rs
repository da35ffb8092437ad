//! What others build on: continuations, and lists of those who wait.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Mutex;

use throng::core::{Continuation, SuspendError, WaitError, WaitList, suspend, suspend_async};
use throng::future::Wait;

use super::{Case, Park};

/// Answers that nobody has asked for yet, and those who wait for one.
#[derive(Default)]
struct Desk {
    answers: Mutex<usize>,
    waiting: Mutex<VecDeque<Continuation<()>>>,
}

impl Desk {
    fn ask(&self, continuation: Continuation<()>) {
        let mut answers = self.answers.lock().unwrap();
        if *answers == 0 {
            self.waiting.lock().unwrap().push_back(continuation);
        } else {
            *answers -= 1;
            drop(answers);
            continuation.resume(()).expect("it has not even begun to wait");
        }
    }

    fn answer(&self) {
        let mut answers = self.answers.lock().unwrap();
        while let Some(next) = self.waiting.lock().unwrap().pop_front() {
            // Those who have given up are passed over.
            if next.resume(()).is_ok() {
                return;
            }
        }
        *answers += 1;
    }

    fn park<'a>(&'a self, call: impl Fn() -> Result<(), SuspendError> + Sync + 'a) -> Park<'a> {
        Park::new(move |_| call()).block(|| *self.answers.lock().unwrap() = 0).satisfy(|| self.answer()).audit(|_| {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
            assert!(waiting.iter().all(|continuation| !continuation.is_waiting()), "somebody waits still");
        })
    }
}

/// Permits, for which some wait.
#[derive(Default)]
struct Permits {
    free: Mutex<usize>,
    waiting: WaitList<()>,
}

impl Permits {
    fn take(&self) -> Result<(), WaitError<()>> {
        let mut free = self.free.lock().unwrap();
        if *free == 0 {
            return self.waiting.wait(free, ());
        }
        *free -= 1;
        Ok(())
    }

    async fn take_async(&self) -> Result<(), WaitError<()>> {
        let mut waiting = pin!(self.waiting.waiting((), |()| self.add()));
        {
            let mut free = self.free.lock().unwrap();
            if *free > 0 {
                *free -= 1;
                return Ok(());
            }
            waiting.as_mut().enter();
        }
        waiting.await
    }

    fn add(&self) {
        let mut free = self.free.lock().unwrap();
        let woken = self.waiting.claim(&mut ());
        *free += usize::from(woken.is_none());
        drop(free);
        drop(woken);
    }

    fn park<'a>(&'a self, call: impl Fn() -> Result<(), WaitError<()>> + Sync + 'a) -> Park<'a> {
        let audit = |_| assert!(self.waiting.is_empty(), "somebody waits still");
        Park::new(move |_| call()).block(|| *self.free.lock().unwrap() = 0).satisfy(|| self.add()).audit(audit)
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("suspend", &["suspend"], |run| {
            let desk = Desk::default();
            run(&desk.park(|| suspend(|continuation| desk.ask(continuation))));
        }),
        Case::new("suspend_async", &["suspend_async", "Wait::wait"], |run| {
            let desk = Desk::default();
            run(&desk.park(|| suspend_async(|continuation| desk.ask(continuation)).wait().expect("it notices by itself")));
        }),
        Case::new("WaitList::wait", &["WaitList::wait"], |run| {
            let permits = Permits::default();
            run(&permits.park(|| permits.take()));
        }),
        Case::new("WaitList::waiting", &["WaitList::waiting", "Wait::wait"], |run| {
            let permits = Permits::default();
            run(&permits.park(|| permits.take_async().wait().expect("it notices by itself")));
        }),
    ]
}
