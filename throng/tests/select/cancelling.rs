//! Selects and cancellation.

use std::time::Duration;

use throng::channel::{bounded, rendezvous};
use throng::{Cancelled, JoinError, select};

use crate::common::{on_runtimes, scaled};
use crate::ways::pause;

#[test]
fn a_cancelled_select_did_nothing() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(50, 500) {
                let ((tx, rx), (back, returned)) = (rendezvous(), rendezvous::<u32>());
                let task = throng::go(move || {
                    let mut sent = 0;
                    loop {
                        let done = select! {
                            send(tx, 1) -> r => r.unwrap(),
                            recv(returned) -> _ => {}
                        };
                        match done {
                            Ok(()) => sent += 1,
                            Err(Cancelled { .. }) => break sent,
                        }
                    }
                });
                let mut received = 0;
                for _ in 0..round % 4 {
                    received += rx.recv().unwrap();
                }
                task.cancel();
                match task.join() {
                    Ok(sent) => assert_eq!(sent, received),
                    Err(JoinError::TaskCancelled(_)) => assert_eq!(received, 0),
                    Err(error) => panic!("{error:?}"),
                }
                assert!(rx.try_recv().is_err(), "its arms have left the queues");
                drop(back);
            }
        });
    });
}

#[test]
fn what_need_not_wait_succeeds() {
    throng::run(|| {
        let (tx, rx) = bounded(1);
        let task = throng::go(move || {
            while throng::check().is_ok() {
                let _ = throng::yield_now();
            }
            assert_eq!(select! { send(tx, 1) -> r => r.is_ok() }, Ok(true));
            assert_eq!(select! { send(tx, 2) -> r => r.is_ok() }, Err(Cancelled::new()));
            assert!(!select! { send(tx, 2) -> r => r.is_ok(), default => false });
            assert_eq!(select! { after(Duration::ZERO) => 1 }, Ok(1));
            assert_eq!(select! { after(Duration::from_secs(60)) => 1 }, Err(Cancelled::new()));
            throng::shield(|| assert_eq!(select! { send(tx, 2) -> _ => 0, after(Duration::from_millis(1)) => 1 }, Ok(1)));
        });
        pause();
        task.cancel();
        match task.join() {
            Ok(()) | Err(JoinError::TaskCancelled(_)) => drop(rx),
            Err(error) => panic!("{error:?}"),
        }
    });
}
