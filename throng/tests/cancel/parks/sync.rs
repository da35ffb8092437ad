//! Locks and wait groups.

use std::sync::atomic::{AtomicBool, Ordering};

use throng::{Mutex, WaitGroup};

use super::{Case, Park};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("Mutex::lock", &["Mutex::lock"], |run| {
            let mutex = Mutex::new(0_usize);
            let held = std::sync::Mutex::new(None);
            let hold = || {
                let mut held = held.lock().unwrap();
                if held.is_none() {
                    *held = mutex.try_lock();
                }
                assert!(held.is_some(), "somebody holds a mutex that nobody uses");
            };
            let release = || {
                let guard = held.lock().unwrap().take();
                drop(guard);
            };
            run(&Park::new(|_| mutex.lock().map(|mut count| *count += 1)).block(hold).satisfy(release).audit(|happened| {
                release();
                assert_eq!(*mutex.try_lock().expect("nobody holds it"), happened);
            }));
        }),
        Case::new("WaitGroup::wait", &["WaitGroup::wait"], |run| {
            let group = WaitGroup::new();
            let busy = AtomicBool::new(false);
            let begin = || {
                if !busy.swap(true, Ordering::SeqCst) {
                    group.add(1);
                }
            };
            let end = || {
                if busy.swap(false, Ordering::SeqCst) {
                    group.done();
                }
            };
            run(&Park::new(|_| group.wait()).block(begin).satisfy(end).audit(|_| {
                // It counts as ever.
                end();
                group.add(2);
                group.done();
                group.done();
                group.wait().expect("nothing to wait for");
            }));
        }),
    ]
}
