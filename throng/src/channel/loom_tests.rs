//! Channels under the model checker, with threads as the tasks.

use std::sync::Arc;

use loom::thread;

use super::{RecvError, SendError, Sender, bounded, rendezvous};
use crate::waitq::loom_tests::Victim;

#[test]
fn loom_rendezvous_hands_over_once() {
    loom::model(|| {
        let (tx, rx) = rendezvous();
        let sender = thread::spawn(move || tx.send(Box::new(7)));
        assert_eq!(rx.recv(), Ok(Box::new(7)));
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(rx.recv(), Err(RecvError::Closed));
    });
}

#[test]
fn loom_bounded_two_senders_one_receiver() {
    loom::model(|| {
        let (tx, rx) = bounded(1);
        let tx = Arc::new(tx);
        let send = |tx: &Arc<Sender<u32>>, item| {
            let tx = tx.clone();
            thread::spawn(move || tx.send(item).unwrap())
        };
        let senders = [send(&tx, 1), send(&tx, 2)];
        // With one item in the buffer, one sender may have to wait, and moves up.
        let (first, second) = (rx.recv().unwrap(), rx.recv().unwrap());
        assert_eq!(first + second, 3);
        for sender in senders {
            sender.join().unwrap();
        }
        assert!(rx.is_empty());
    });
}

#[test]
fn loom_close_races_send_and_receive() {
    loom::model(|| {
        let (tx, rx) = rendezvous();
        let tx = Arc::new(tx);
        let closer = thread::spawn({
            let tx = tx.clone();
            move || tx.close()
        });
        let sender = thread::spawn(move || tx.send(1));
        let received = rx.recv();
        let sent = sender.join().unwrap();
        assert!(closer.join().unwrap());
        match sent {
            Ok(()) => assert_eq!(received, Ok(1)),
            Err(error) => {
                assert_eq!(error, SendError::Closed(1));
                assert_eq!(received, Err(RecvError::Closed));
            }
        }
    });
}

#[test]
fn loom_cancelled_receive_loses_nothing() {
    loom::model(|| {
        let (tx, rx) = bounded(1);
        let victim = Victim::me();
        let canceller = thread::spawn(move || victim.cancel());
        let sender = thread::spawn(move || tx.send(1));
        let received = rx.recv();
        canceller.join().unwrap();
        assert_eq!(sender.join().unwrap(), Ok(()));
        match received {
            Ok(item) => assert_eq!(item, 1),
            Err(error) => {
                assert_eq!(error, RecvError::Cancelled);
                assert_eq!(rx.try_recv(), Ok(1), "the item is still in the channel");
            }
        }
        assert!(rx.try_recv().is_err());
    });
}

#[test]
fn loom_cancelled_send_gives_the_item_back() {
    loom::model(|| {
        let (tx, rx) = rendezvous();
        let victim = Victim::me();
        let canceller = thread::spawn(move || victim.cancel());
        let receiver = thread::spawn(move || rx.recv());
        let sent = tx.send(Box::new(1));
        canceller.join().unwrap();
        drop(tx);
        let received = receiver.join().unwrap();
        match sent {
            Ok(()) => assert_eq!(received, Ok(Box::new(1))),
            Err(error) => {
                assert_eq!(error, SendError::Cancelled(Box::new(1)));
                assert_eq!(received, Err(RecvError::Closed));
            }
        }
    });
}

#[test]
fn loom_last_ends_dropped_at_once() {
    loom::model(|| {
        let (tx, rx) = bounded(2);
        let item = Arc::new(());
        tx.send(item.clone()).unwrap();
        let dropper = thread::spawn(move || drop(rx));
        let sent = tx.send(item.clone());
        drop(tx);
        dropper.join().unwrap();
        drop(sent);
        assert_eq!(Arc::strong_count(&item), 1, "everything in the channel has been dropped");
    });
}
