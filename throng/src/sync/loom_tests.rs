//! Locks and tokens under the model checker.

use std::sync::Arc;

use loom::thread;

use super::{Mutex, WaitGroup};
use crate::token::CancelToken;

#[test]
fn loom_mutex_excludes_and_wakes() {
    loom::model(|| {
        let total = Arc::new(Mutex::new(0));
        let add = |total: Arc<Mutex<u32>>| thread::spawn(move || *total.lock().unwrap() += 1);
        let threads = [add(total.clone()), add(total.clone())];
        *total.lock().unwrap() += 1;
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*total.try_lock().unwrap(), 3);
    });
}

#[test]
fn loom_mutex_hog_hands_over() {
    loom::model(|| {
        let total = Arc::new(Mutex::new(0));
        let other = thread::spawn({
            let total = total.clone();
            move || *total.lock().unwrap() += 1
        });
        for _ in 0..3 {
            *total.lock().unwrap() += 1;
        }
        other.join().unwrap();
        assert_eq!(*total.try_lock().unwrap(), 4);
    });
}

#[test]
fn loom_wait_group_waits_for_all() {
    loom::model(|| {
        let group = Arc::new((WaitGroup::new(), Mutex::new(0)));
        group.0.add(2);
        for _ in 0..2 {
            let group = group.clone();
            thread::spawn(move || {
                *group.1.lock().unwrap() += 1;
                group.0.done();
            });
        }
        group.0.wait().unwrap();
        assert_eq!(*group.1.try_lock().unwrap(), 2);
    });
}

#[test]
fn loom_token_child_hears_of_cancel() {
    loom::model(|| {
        let token = CancelToken::new();
        let canceller = thread::spawn({
            let token = token.clone();
            move || token.cancel()
        });
        let child = token.child();
        assert!(child.done().recv().is_err());
        assert!(child.is_cancelled());
        assert!(canceller.join().unwrap());
    });
}
