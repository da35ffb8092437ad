//! select3.go: which selects wait and which never do. An arm `after` that is chosen shows that all others would have waited for ever.

use std::time::Duration;

use throng::channel::{RecvError, SendError, bounded, never, rendezvous};
use throng::select;

use crate::ways::each_way;

const BRIEF: Duration = Duration::from_millis(2);

#[derive(PartialEq, Debug)]
enum Outcome {
    Waits,
    Default,
    Done,
}
use Outcome::{Default, Done, Waits};

#[test]
fn receiving_from_never_waits() {
    each_way(|_| {
        let off = never::<u8>();
        assert_eq!(select! { recv(off) -> _ => Done, after(BRIEF) => Waits }, Ok(Waits));
        assert_eq!(select! { recv(off) -> _ => Done, default => Default }, Default);
    });
}

#[test]
fn empty_channels() {
    each_way(|_| {
        let (tx, rx) = rendezvous::<u8>();
        assert_eq!(select! { recv(rx) -> _ => Done, after(BRIEF) => Waits }, Ok(Waits));
        assert_eq!(select! { send(tx, 1) -> _ => Done, after(BRIEF) => Waits }, Ok(Waits));
        assert_eq!(select! { recv(rx) -> _ => Done, default => Default }, Default);
        assert_eq!(select! { send(tx, 1) -> _ => Done, default => Default }, Default);
        let (tx, rx) = bounded::<u8>(10);
        assert_eq!(select! { recv(rx) -> _ => Done, after(BRIEF) => Waits }, Ok(Waits));
        assert_eq!(select! { send(tx, 1) -> _ => Done, after(BRIEF) => Waits }, Ok(Done));
        assert_eq!(select! { send(tx, 1) -> _ => Done, default => Default }, Done);
    });
}

#[test]
fn ready_channels() {
    each_way(|_| {
        let (tx, rx) = bounded::<u8>(1);
        tx.send(1).unwrap();
        assert_eq!(select! { recv(rx) -> v => { assert_eq!(v, Ok(1)); Done } default => Default }, Done);
        tx.send(2).unwrap();
        assert_eq!(select! { send(tx, 3) -> _ => Done, after(BRIEF) => Waits }, Ok(Waits));
        assert_eq!(select! { send(tx, 3) -> _ => Done, default => Default }, Default);
        assert_eq!(rx.len(), 1);
    });
}

#[test]
fn closed_channels_are_ready() {
    each_way(|_| {
        for capacity in [0, 5] {
            let (tx, rx) = bounded::<u8>(capacity);
            if capacity != 0 {
                tx.send(1).unwrap();
                tx.close();
                assert_eq!(select! { recv(rx) -> v => v, default => Err(RecvError::Cancelled) }, Ok(1));
            }
            tx.close();
            assert_eq!(select! { recv(rx) -> v => v, default => Ok(0) }, Err(RecvError::Closed));
            assert_eq!(select! { recv(rx) -> v => v }, Ok(Err(RecvError::Closed)));
            assert_eq!(select! { send(tx, 7) -> r => r, default => Ok(()) }, Err(SendError::Closed(7)));
            assert_eq!(select! { send(tx, 7) -> r => r }, Ok(Err(SendError::Closed(7))));
        }
    });
}

#[test]
fn closing_wakes_a_select() {
    each_way(|tasks| {
        for _ in 0..20 {
            let ((tx, rx), (full, drain)) = (rendezvous::<u8>(), bounded::<u8>(0));
            tasks.go({
                let (rx, full) = (rx.clone(), full.clone());
                move || {
                    let end = select! { recv(rx) -> v => v.is_err(), send(full, 3) -> r => r == Err(SendError::Closed(3)) };
                    assert_eq!(end, Ok(true));
                }
            });
            crate::ways::pause();
            drop(tx);
            drop(drain);
            tasks.join();
        }
    });
}

#[test]
fn alone_with_itself_it_waits() {
    each_way(|_| {
        let (tx, rx) = rendezvous::<u8>();
        let both = select! { recv(rx) -> _ => Done, send(tx, 1) -> _ => Done, after(BRIEF) => Waits };
        assert_eq!(both, Ok(Waits), "a select does not meet itself");
        assert_eq!(select! { recv(rx) -> _ => Done, send(tx, 1) -> _ => Done, default => Default }, Default);
        assert!(tx.try_send(1).is_err() && rx.try_recv().is_err(), "and leaves nothing behind");
    });
}

#[test]
fn selects_without_channels() {
    assert_eq!(select! { default => 1 }, 1);
    assert_eq!(select! { after(BRIEF) => 2 }, Ok(2));
    assert_eq!(select! { after(Duration::ZERO) => 3, default => 4 }, 3, "no time at all is over at once");
    assert_eq!(select! { after(BRIEF) => 5, default => 6 }, 6);
    assert_eq!(select! { after(Duration::MAX) => 7, after(BRIEF) => 8 }, Ok(8));
    assert_eq!(select! { default(BRIEF) => 9 }, Ok(9));
    throng::run(|| {
        let task = throng::go(|| select! {}.map(|_| ()));
        throng::yield_now().unwrap();
        task.cancel();
        if let Ok(ended) = task.join() {
            assert_eq!(ended, Err(throng::Cancelled::new()), "an empty select waits for cancellation");
        }
    });
}
