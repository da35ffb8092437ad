//! The waiter word, model-checked: its flags against its waits, and who decides.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::fence;

use super::word::{Cause, Heeds, Met, Word};

/// A lazy task is started, by two, and cancelled: exactly one of the three queues it.
#[test]
fn loom_undecided_is_decided_once() {
    loom::model(|| {
        let word = Arc::new(Word::new(true));
        let starter = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.decide())
        };
        let canceller = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.cancel(true).0 == Met::Undecided && word.decide())
        };
        let here = word.decide();
        let decided = [here, starter.join().unwrap(), canceller.join().unwrap()];
        assert_eq!(decided.iter().filter(|decided| **decided).count(), 1);
        assert!(!word.is_undecided() && word.is_cancelled() && word.is_cancelled_alone());
    });
}

/// Somebody wants to be told of a cancellation that comes just then: he is, once, by the canceller or because he sees it himself. (`Header::tell` and `Header::cancel`.)
#[test]
fn loom_watcher_is_told_once() {
    loom::model(|| {
        let word = Arc::new(Word::new(false));
        let handlers = Arc::new(Mutex::new(0));
        let canceller = {
            let (word, handlers) = (Arc::clone(&word), Arc::clone(&handlers));
            thread::spawn(move || {
                let (_, watched) = word.cancel(false);
                if watched { std::mem::take(&mut *handlers.lock().unwrap()) } else { 0 }
            })
        };
        let mut told = 0;
        if word.watch() {
            let mut handlers = handlers.lock().unwrap();
            if word.is_cancelled() { told += 1 } else { *handlers += 1 }
        } else {
            told += 1;
        }
        told += canceller.join().unwrap();
        assert_eq!(told, 1);
    });
}

/// A wait is armed while others set marks: none is lost, and the cancellation ends the wait, by the owner's hand or the canceller's, who looks again behind a fence.
#[test]
fn loom_cancel_behind_a_fence() {
    loom::model(|| {
        let word = Arc::new(Word::new(false));
        let watcher = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.watch())
        };
        let canceller = {
            let word = Arc::clone(&word);
            thread::spawn(move || {
                let (met, told) = word.cancel(true);
                let woken = met == Met::Waiting || {
                    fence::heavy();
                    word.end_cancelled_wait()
                };
                (woken, told)
            })
        };
        let (generation, cancelled) = word.arm(Heeds::Everything);
        let retracted = cancelled && word.fire(generation, Cause::CANCELLED);
        let (woken, told) = canceller.join().unwrap();
        assert_ne!(woken, retracted, "one of the two ends the wait, and one only");
        assert!(word.is_cancelled() && word.is_cancelled_alone());
        // Whoever of the two came second saw the other.
        assert_eq!(watcher.join().unwrap(), told);
        assert_eq!(word.cause(), Cause::CANCELLED);
    });
}

/// The same by a letter to the home, which is read before the wait or while it lasts.
#[test]
fn loom_cancel_by_letter() {
    loom::model(|| {
        let word = Arc::new(Word::new(false));
        let mail = Arc::new((Mutex::new(false), Condvar::new()));
        let canceller = {
            let (word, mail) = (Arc::clone(&word), Arc::clone(&mail));
            thread::spawn(move || {
                let (met, _) = word.cancel(false);
                // The wake, or the letter.
                *mail.0.lock().unwrap() = true;
                mail.1.notify_one();
                met == Met::Waiting
            })
        };
        let read = |word: &Word| std::mem::take(&mut *mail.0.lock().unwrap()) && word.end_cancelled_wait();
        assert!(!read(&word), "nothing waits");
        let (generation, cancelled) = word.arm(Heeds::Everything);
        let mut ended = cancelled && word.fire(generation, Cause::CANCELLED);
        let retracted = ended;
        if !ended {
            // Parked.
            let mut letter = mail.0.lock().unwrap();
            while !*letter {
                letter = mail.1.wait(letter).unwrap();
            }
            drop(letter);
            ended = word.end_cancelled_wait();
        }
        let woken = canceller.join().unwrap();
        assert_ne!(woken, ended, "one of the two ends the wait, and one only");
        assert!(!(retracted && woken));
    });
}

/// Two cancel at once, one with the scope and one alone: one of them is the canceller, and the cause is looked for where it put it.
#[test]
fn loom_first_canceller_counts() {
    loom::model(|| {
        let word = Arc::new(Word::new(false));
        let alone = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.cancel(true).0)
        };
        let with_scope = word.cancel(false).0;
        let alone = alone.join().unwrap();
        assert!((alone == Met::Cancelled) != (with_scope == Met::Cancelled));
        if alone == Met::Busy && with_scope == Met::Cancelled {
            assert!(word.is_cancelled_alone());
        }
    });
}
