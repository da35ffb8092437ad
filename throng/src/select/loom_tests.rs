//! Selects under the model checker, with threads as the tasks.

use loom::thread;

use super::Select;
use crate::channel::rendezvous;
use crate::rng;

/// What a select over a send and a receive did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Did {
    Sent,
    Received(u32),
}

#[test]
fn loom_select_atomic_commit() {
    loom::model(|| {
        rng::seed(1);
        let (out, drain) = rendezvous();
        let (source, input) = rendezvous();
        let receiver = thread::spawn(move || drain.recv());
        let sender = thread::spawn(move || source.send(2).is_ok());
        let did = Select::new().send(&out, 1, |sent| sent.map(|()| Did::Sent).ok()).recv(&input, |item| item.map(Did::Received).ok()).run();
        // The other operation has not happened: it can still be done.
        match did.unwrap().expect("nobody closes") {
            Did::Sent => {
                assert_eq!(receiver.join().unwrap(), Ok(1));
                assert_eq!(input.recv(), Ok(2));
            }
            Did::Received(item) => {
                assert_eq!(item, 2);
                out.send(3).unwrap();
                assert_eq!(receiver.join().unwrap(), Ok(3));
            }
        }
        assert!(sender.join().unwrap());
    });
}

#[test]
fn loom_select_meets_select() {
    loom::model(|| {
        rng::seed(1);
        // Either may send to the other; exactly one does.
        let (there, back) = (rendezvous::<u32>(), rendezvous::<u32>());
        let other = thread::spawn({
            let (there, back) = (there.1.clone(), back.0.clone());
            move || Select::new().recv(&there, |item| item.ok()).send(&back, 2, |_| None).run()
        });
        let mine = Select::new().recv(&back.1, |item| item.ok()).send(&there.0, 1, |_| None).run();
        match (mine.unwrap(), other.join().unwrap().unwrap()) {
            (Some(2), None) | (None, Some(1)) => {}
            both => panic!("one sends, the other receives: {both:?}"),
        }
    });
}

#[test]
fn loom_select_with_itself_only_meets_others() {
    loom::model(|| {
        rng::seed(1);
        let (tx, rx) = rendezvous::<u32>();
        let both = move || Select::new().recv(&rx, |item| item.ok()).send(&tx, 1, |_| None).run().unwrap();
        let other = thread::spawn(both.clone());
        match (both(), other.join().unwrap()) {
            (Some(1), None) | (None, Some(1)) => {}
            both => panic!("one sends, the other receives: {both:?}"),
        }
    });
}

#[test]
fn loom_default_never_runs_while_one_of_two_is_ready() {
    loom::model(|| {
        rng::seed(1);
        // Go's NonblockSelectRace: `ready` has an item before `done` loses its own.
        let (ready, r1) = crate::channel::bounded(1);
        let (done, r2) = crate::channel::bounded(1);
        done.send(()).unwrap();
        let mover = thread::spawn({
            let r2 = r2.clone();
            move || {
                ready.send(()).unwrap();
                r2.try_recv().is_ok()
            }
        });
        let found = Select::new().recv(&r1, |item| item.is_ok()).recv(&r2, |item| item.is_ok()).run_or(|| false);
        assert!(found, "at every moment one of the two was ready");
        mover.join().unwrap();
    });
}
