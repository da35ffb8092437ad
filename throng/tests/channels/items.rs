//! What becomes of items: each is received once, given back or dropped, whatever is cancelled, closed or dropped meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use throng::channel::{RecvTimeoutError, SendError, SendTimeoutError, bounded, rendezvous, unbounded};

use crate::common::{Aviary, OnPurpose, on_runtimes, panic_on_purpose, scaled};
use crate::ways::{each_way, pause};

#[test]
fn dropping_the_receiver_drops_the_buffer() {
    let aviary = Aviary::new();
    let (tx, rx) = unbounded();
    for _ in 0..100 {
        tx.send(aviary.canary()).unwrap();
    }
    drop(rx.recv().unwrap());
    assert_eq!(aviary.alive(), 99);
    drop(rx);
    assert_eq!(aviary.alive(), 0, "at once, not when the sender goes");
    let back = tx.send(aviary.canary()).unwrap_err().into_inner();
    back.sing();
}

#[test]
fn dropping_both_ends_in_either_order_drops_the_buffer() {
    let aviary = Aviary::new();
    for sender_first in [true, false] {
        let (tx, rx) = bounded(10);
        for _ in 0..10 {
            tx.send(aviary.canary()).unwrap();
        }
        if sender_first {
            drop(tx);
            drop(rx);
        } else {
            drop(rx);
            drop(tx);
        }
        assert_eq!(aviary.alive(), 0);
    }
}

/// Panics when dropped the third time.
struct Grenade(Arc<AtomicUsize>);

impl Drop for Grenade {
    fn drop(&mut self) {
        if self.0.fetch_add(1, Ordering::SeqCst) == 2 && !std::thread::panicking() {
            panic_on_purpose(1);
        }
    }
}

#[test]
fn a_panicking_drop_leaves_nothing_behind() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (tx, rx) = unbounded();
    for _ in 0..10 {
        assert!(tx.send(Grenade(dropped.clone())).is_ok());
    }
    let payload = catch_unwind(AssertUnwindSafe(|| drop(rx))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&OnPurpose(1)));
    assert_eq!(dropped.load(Ordering::SeqCst), 10);
    assert!(tx.is_closed() && tx.is_empty(), "the channel is as usable as any closed one");
}

#[test]
fn items_balance_when_closed_at_any_time() {
    each_way(|tasks| {
        for round in 0..scaled(20, 200) {
            let aviary = Aviary::new();
            let (tx, rx) = bounded(round % 4);
            let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
            for _ in 0..3 {
                let (tx, sent, aviary) = (tx.clone(), counts.clone(), aviary.clone());
                tasks.go(move || {
                    while tx.send(aviary.canary()).is_ok() {
                        sent[0].fetch_add(1, Ordering::SeqCst);
                    }
                });
                let (rx, received) = (rx.clone(), counts.clone());
                tasks.go(move || {
                    for canary in &rx {
                        canary.sing();
                        received[1].fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..round % 7 {
                pause();
            }
            assert!(tx.close());
            tasks.join();
            assert_eq!(counts[0].load(Ordering::SeqCst), counts[1].load(Ordering::SeqCst), "sent as received");
            assert_eq!((aviary.alive(), rx.len()), (0, 0));
        }
    });
}

#[test]
fn a_timeout_gives_the_item_back() {
    each_way(|_| {
        let (tx, rx) = rendezvous();
        let brief = Duration::from_millis(1);
        assert_eq!(tx.send_timeout(Box::new(5), brief), Err(SendTimeoutError::Timeout(Box::new(5))));
        assert_eq!(rx.recv_timeout(brief), Err(RecvTimeoutError::Timeout));
        assert_eq!(tx.send_timeout(Box::new(6), Duration::ZERO), Err(SendTimeoutError::Timeout(Box::new(6))));
        // Neither has stayed in the queue.
        assert!(tx.try_send(Box::new(7)).is_err() && rx.try_recv().is_err());
    });
}

#[test]
fn a_timeout_races_the_peer() {
    each_way(|tasks| {
        let aviary = Aviary::new();
        let (tx, rx) = rendezvous();
        let rounds = scaled(100, 500);
        tasks.go({
            let aviary = aviary.clone();
            move || {
                let mut kept = None;
                let mut sent = 0;
                while sent < rounds {
                    let item = kept.take().unwrap_or_else(|| aviary.canary());
                    match tx.send_timeout(item, Duration::from_micros(20)) {
                        Ok(()) => sent += 1,
                        Err(error) => {
                            assert!(error.is_timeout());
                            kept = Some(error.into_inner());
                        }
                    }
                }
            }
        });
        let mut received = 0;
        while received < rounds {
            match rx.recv_timeout(Duration::from_micros(15)) {
                Ok(canary) => {
                    canary.sing();
                    received += 1;
                }
                Err(error) => assert!(error.is_timeout()),
            }
        }
        tasks.join();
        assert_eq!(aviary.alive(), 0);
    });
}

#[test]
fn cancelled_operations_happen_or_do_not() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for round in 0..scaled(50, 500) {
                let aviary = Aviary::new();
                let (tx, rx) = bounded::<crate::common::Canary>(round % 2);
                let sender = throng::go({
                    let aviary = aviary.clone();
                    move || {
                        let mut sent = 0;
                        loop {
                            match tx.send(aviary.canary()) {
                                Ok(()) => sent += 1,
                                Err(SendError::Cancelled(canary)) => {
                                    canary.sing();
                                    break sent;
                                }
                                Err(SendError::Closed(_)) => break sent,
                            }
                        }
                    }
                });
                let receiver = throng::go(move || {
                    let mut received = 0;
                    while let Ok(canary) = rx.recv() {
                        canary.sing();
                        received += 1;
                    }
                    (received, rx)
                });
                for _ in 0..round % 5 {
                    pause();
                }
                if round % 3 == 0 {
                    receiver.cancel()
                } else {
                    sender.cancel()
                }
                let (received, rx) = match receiver.join() {
                    Ok(end) => end,
                    Err(throng::JoinError::TaskCancelled(_)) => {
                        // Never ran: its receiver is gone with it, so the sender has seen the end too.
                        let _ = sender.join();
                        assert_eq!(aviary.alive(), 0);
                        continue;
                    }
                    Err(error) => panic!("{error:?}"),
                };
                let left = rx.len();
                drop(rx);
                if let Ok(sent) = sender.join()
                    && round % 3 != 0
                {
                    assert!(sent >= received && sent <= received + left + 1, "{sent} sent, {received} received, {left} left");
                }
                assert_eq!(aviary.alive(), 0);
            }
        });
    });
}

#[test]
fn what_need_not_wait_succeeds_in_a_cancelled_task() {
    throng::run(|| {
        let (tx, rx) = bounded(1);
        let task = throng::go(move || {
            while throng::check().is_ok() {
                pause_ignoring();
            }
            tx.send(1).unwrap();
            assert!(tx.send(2).unwrap_err().is_cancelled());
            assert_eq!(rx.recv(), Ok(1));
            assert!(rx.recv().unwrap_err().is_cancelled());
            throng::shield(|| assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout)));
        });
        throng::yield_now().unwrap();
        task.cancel();
        match task.join() {
            Ok(()) | Err(throng::JoinError::TaskCancelled(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    });
}

fn pause_ignoring() {
    let _ = throng::yield_now();
}

#[repr(align(128))]
#[derive(Debug, PartialEq, Clone, Copy)]
struct Aligned(u8);

#[test]
fn large_and_aligned_items() {
    each_way(|tasks| {
        for capacity in [0, 3] {
            let (tx, rx) = bounded(capacity);
            tasks.go(move || (0..10).for_each(|i| tx.send(Aligned(i)).unwrap()));
            for (i, item) in rx.iter().enumerate() {
                assert_eq!(item, Aligned(i as u8));
                assert_eq!(std::ptr::from_ref(&item).addr() % 128, 0);
            }
            let (tx, rx) = bounded(capacity);
            tasks.go(move || (0..10).for_each(|i| tx.send([i; 1024]).unwrap()));
            assert!(rx.iter().enumerate().all(|(i, item)| item == [i as u8; 1024]));
        }
    });
}

#[test]
fn a_large_capacity_costs_nothing_until_it_is_used() {
    let (tx, rx) = bounded::<[u8; 1024]>(usize::MAX / 2);
    assert_eq!(tx.capacity(), Some(usize::MAX / 2));
    tx.send([1; 1024]).unwrap();
    assert_eq!(rx.recv().unwrap()[1023], 1);
    assert_eq!(unbounded::<u8>().0.capacity(), None);
    assert_eq!(rendezvous::<u8>().0.capacity(), Some(0));
}

#[test]
fn channels_go_through_channels() {
    each_way(|tasks| {
        let (outer, inner) = rendezvous();
        let (tx, rx) = bounded(1);
        tasks.go(move || {
            let tx: throng::Sender<u8> = inner.recv().unwrap();
            tx.send(1).unwrap();
        });
        outer.send(tx).unwrap();
        assert_eq!(rx.recv(), Ok(1));
        assert!(rx.recv().is_err(), "the only sender went through and was dropped there");
        // A channel that holds its own end.
        let (tx, rx) = unbounded::<Box<dyn std::any::Any + Send>>();
        tx.send(Box::new(rx.clone())).unwrap();
        drop((tx, rx));
    });
}
