//! Order and wake-ups: first in, first out, nobody forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::channel::{RecvError, SendError, bounded, rendezvous, unbounded};

use crate::common::scaled;
use crate::ways::{each_way, pause};

#[test]
fn fifo_per_sender_4x4() {
    each_way(|tasks| {
        for capacity in [0, 1, 7, usize::MAX] {
            let each = scaled(500, 5_000);
            let (tx, rx) = bounded(capacity);
            for sender in 0..4 {
                let tx = tx.clone();
                tasks.go(move || (0..each).for_each(|i| tx.send((sender, i)).unwrap()));
            }
            drop(tx);
            let total = Arc::new(AtomicUsize::new(0));
            for _ in 0..4 {
                let (rx, total) = (rx.clone(), total.clone());
                tasks.go(move || {
                    let mut last = [None; 4];
                    for (sender, i) in rx {
                        assert!(last[sender].is_none_or(|last| last < i), "sender {sender}: {i} after {:?}", last[sender]);
                        last[sender] = Some(i);
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            tasks.join();
            assert_eq!(total.load(Ordering::Relaxed), 4 * each);
        }
    });
}

/// A channel's lock comes to favour who uses it alone for long. Here others come in the middle of that, three times.
#[test]
fn a_channel_that_one_task_had_to_itself_is_anybodys() {
    const ALONE: usize = 10_000;
    each_way(|tasks| {
        for capacity in [1, usize::MAX] {
            let (tx, rx) = bounded(capacity);
            let sum = Arc::new(AtomicUsize::new(0));
            // Never more items than tasks that are about to receive one: nobody waits for ever.
            let round = {
                let (rx, sum) = (rx.clone(), sum.clone());
                move |i| {
                    if tx.try_send(i).is_ok() {
                        sum.fetch_add(i, Ordering::Relaxed);
                        sum.fetch_sub(rx.recv().unwrap(), Ordering::Relaxed);
                    }
                }
            };
            let (milestone, milestones) = unbounded();
            let first = round.clone();
            tasks.go(move || {
                for i in 1..=4 * ALONE {
                    first(i);
                    if i % ALONE == 0 {
                        milestone.send(()).unwrap();
                    }
                }
            });
            for () in milestones.iter().take(3) {
                let other = round.clone();
                tasks.go(move || (0..500).for_each(other));
            }
            tasks.join();
            assert_eq!((sum.load(Ordering::Relaxed), rx.len()), (0, 0));
        }
    });
}

#[test]
fn waiting_senders_are_served_in_the_order_they_came() {
    throng::Runtime::builder().workers(1).max_spare_workers(0).build().unwrap().run(|| {
        let (tx, rx) = rendezvous();
        for i in 0..10 {
            let tx = tx.clone();
            throng::go(move || tx.send(i).unwrap());
            // One worker: it runs until it waits.
            throng::yield_now().unwrap();
        }
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn close_wakes_all() {
    each_way(|tasks| {
        for round in 0..scaled(20, 200) {
            let (tx, rx) = rendezvous::<usize>();
            let (full, filled) = bounded::<usize>(1);
            full.send(0).unwrap();
            let ended = Arc::new(AtomicUsize::new(0));
            for i in 0..8 {
                let (rx, receivers) = (rx.clone(), ended.clone());
                tasks.go(move || {
                    assert_eq!(rx.recv(), Err(RecvError::Closed));
                    receivers.fetch_add(1, Ordering::SeqCst);
                });
                let (full, senders) = (full.clone(), ended.clone());
                tasks.go(move || {
                    assert_eq!(full.send(i), Err(SendError::Closed(i)));
                    senders.fetch_add(1, Ordering::SeqCst);
                });
            }
            for _ in 0..round % 10 {
                pause();
            }
            assert!(tx.close() && filled.close() && !rx.close() && !full.close());
            tasks.join();
            assert_eq!(ended.load(Ordering::SeqCst), 16);
            assert_eq!(filled.iter().collect::<Vec<_>>(), [0], "what was in the buffer is still there");
        }
    });
}

#[test]
fn dropping_the_last_end_closes() {
    each_way(|tasks| {
        let (tx, rx) = bounded::<u8>(0);
        let tx2 = tx.clone();
        tasks.go(move || drop(tx));
        tasks.go(move || drop(tx2));
        assert_eq!(rx.recv(), Err(RecvError::Closed));
        let (tx, rx) = bounded::<u8>(0);
        let rx2 = rx.clone();
        tasks.go(move || drop(rx));
        tasks.go(move || drop(rx2));
        assert_eq!(tx.send(1), Err(SendError::Closed(1)));
    });
}

/// The token goes round: each hand-over is a wake-up that must not be lost.
#[test]
fn ring() {
    each_way(|tasks| {
        let (first, mut last) = rendezvous::<usize>();
        for _ in 0..scaled(10, 50) {
            let (tx, rx) = rendezvous();
            let from = std::mem::replace(&mut last, rx);
            tasks.go(move || from.iter().for_each(|n| tx.send(n + 1).unwrap()));
        }
        for _ in 0..scaled(20, 200) {
            first.send(0).unwrap();
            assert_eq!(last.recv(), Ok(scaled(10, 50)));
        }
    });
}

#[test]
fn threads_and_two_runtimes_meet() {
    let (tx, rx) = bounded(2);
    let (total, totals) = unbounded();
    let each = scaled(500, 10_000) as u64;
    let runtimes = [throng::Runtime::new().unwrap(), throng::Runtime::new().unwrap()];
    for runtime in &runtimes {
        let tx = tx.clone();
        drop(runtime.go(move || (0..each).for_each(|i| tx.send(i).unwrap())));
        let (rx, total) = (rx.clone(), total.clone());
        drop(runtime.go(move || total.send(rx.iter().sum::<u64>()).unwrap()));
    }
    let sender = std::thread::spawn(move || (0..each).for_each(|i| tx.send(i).unwrap()));
    let receiver = std::thread::spawn(move || total.send(rx.iter().sum::<u64>()).unwrap());
    assert_eq!(totals.iter().sum::<u64>(), 3 * each * (each - 1) / 2);
    sender.join().unwrap();
    receiver.join().unwrap();
}
