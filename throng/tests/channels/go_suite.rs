//! The promises of Go's test/chan programs and runtime/chan_test.go, kept by ours. (Their selects are in the select suite.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use throng::channel::{Receiver, RecvError, Sender, TryRecvError, TrySendError, bounded, rendezvous};

use crate::common::scaled;
use crate::ways::{Tasks, each_way, pause};

#[test]
fn fifo_buffered() {
    each_way(|_| {
        let (tx, rx) = bounded(10);
        for i in 0..10 {
            tx.send(i).unwrap();
        }
        for i in 0..10 {
            assert_eq!(rx.recv(), Ok(i));
        }
    });
}

/// Each receiver hands the turn to the next one: the values come in the order they were sent.
#[test]
fn fifo_daisy_chain() {
    each_way(|tasks| {
        let (tx, rx) = rendezvous();
        let (first, mut turn) = rendezvous();
        for i in 0..10 {
            let (done, next) = rendezvous();
            let rx = rx.clone();
            tasks.go(move || {
                turn.recv().unwrap();
                assert_eq!(rx.recv(), Ok(i));
                done.send(()).unwrap();
            });
            turn = next;
        }
        first.send(()).unwrap();
        for i in 0..10 {
            tx.send(i).unwrap();
        }
        turn.recv().unwrap();
    });
}

/// A non-blocking operation succeeds exactly when a peer waits or there is room.
fn nonblock_with<T: Send + PartialEq + Copy + std::fmt::Debug + 'static>(tasks: &Tasks, value: T, capacity: usize) {
    let (tx, rx) = bounded(capacity);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    for _ in 0..capacity {
        tx.try_send(value).unwrap();
    }
    assert_eq!(tx.try_send(value), Err(TrySendError::Full(value)));
    for _ in 0..capacity {
        assert_eq!(rx.try_recv(), Ok(value));
    }
    // A receiver that waits.
    let waiting = rx.clone();
    let (told, tell) = bounded(1);
    tasks.go(move || told.send(waiting.recv()).unwrap());
    while tx.try_send(value).is_err() {
        pause();
    }
    assert_eq!(tell.recv(), Ok(Ok(value)));
    // A sender that waits.
    tasks.go(move || tx.send(value).unwrap());
    loop {
        match rx.try_recv() {
            Ok(got) => break assert_eq!(got, value),
            Err(error) => assert_eq!(error, TryRecvError::Empty),
        }
        pause();
    }
}

#[test]
fn nonblock() {
    each_way(|tasks| {
        for capacity in [0, 1, 2] {
            nonblock_with(tasks, 123_i32, capacity);
            nonblock_with(tasks, -123_456_789_012_i64, capacity);
            nonblock_with(tasks, true, capacity);
            nonblock_with(tasks, "hello", capacity);
            nonblock_with(tasks, (), capacity);
        }
    });
}

fn generate(tx: Sender<u32>) {
    let _ = (2..).try_for_each(|n| tx.send(n));
}

fn filter(from: Receiver<u32>, to: Sender<u32>, prime: u32) {
    for n in from {
        if n % prime != 0 && to.send(n).is_err() {
            return;
        }
    }
}

#[test]
fn sieve1() {
    each_way(|tasks| {
        let (tx, mut rx) = rendezvous();
        tasks.go(move || generate(tx));
        let mut primes = Vec::new();
        while primes.len() < 25 {
            let prime = rx.recv().unwrap();
            primes.push(prime);
            let (tx, filtered) = rendezvous();
            let from = std::mem::replace(&mut rx, filtered);
            tasks.go(move || filter(from, tx, prime));
        }
        let known = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97];
        assert_eq!(primes, known);
        // The receiver is dropped: the chain comes down by itself, from the end to the generator.
    });
}

#[test]
fn goroutines() {
    each_way(|tasks| {
        let (first, mut end) = rendezvous::<u64>();
        let length = scaled(200, 1_000) as u64;
        for _ in 0..length {
            let (tx, rx) = rendezvous();
            let from = std::mem::replace(&mut end, rx);
            tasks.go(move || {
                for n in from {
                    tx.send(n + 1).unwrap();
                }
            });
        }
        first.send(0).unwrap();
        assert_eq!(end.recv(), Ok(length));
        drop(first);
        assert_eq!(end.recv(), Err(RecvError::Closed));
    });
}

#[test]
fn zerosize() {
    each_way(|_| {
        let (tx, rx) = bounded::<[u64; 0]>(1);
        tx.send([]).unwrap();
        assert!(tx.is_full() && rx.recv().is_ok());
        let (tx, rx) = bounded::<()>(usize::MAX);
        for _ in 0..1000 {
            tx.send(()).unwrap();
        }
        assert_eq!(rx.len(), 1000);
        assert_eq!(rx.try_iter().count(), 1000);
    });
}

/// `TestChan`.
#[test]
fn chan() {
    each_way(|tasks| {
        for capacity in 0..scaled(20, 100) {
            chan_of(tasks, capacity);
        }
    });
}

fn chan_of(tasks: &Tasks, capacity: usize) {
    // A receive on an empty channel blocks, and gets what is sent.
    let (tx, rx) = bounded(capacity);
    let received = Arc::new(AtomicBool::new(false));
    tasks.go({
        let (rx, received) = (rx.clone(), received.clone());
        move || {
            rx.recv().unwrap();
            received.store(true, Ordering::SeqCst);
        }
    });
    pause();
    assert!(!received.load(Ordering::SeqCst));
    tx.send(0).unwrap();
    while !received.load(Ordering::SeqCst) {
        pause();
    }
    // A send on a full channel blocks.
    for i in 0..capacity {
        tx.send(i).unwrap();
    }
    let sent = Arc::new(AtomicUsize::new(0));
    tasks.go({
        let (tx, sent) = (tx.clone(), sent.clone());
        move || {
            tx.send(capacity).unwrap();
            sent.store(1, Ordering::SeqCst);
        }
    });
    pause();
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    for i in 0..=capacity {
        assert_eq!(rx.recv(), Ok(i), "in order, the one that waited last");
    }
    // After closing, what is in the buffer, then the end, as often as one asks.
    for i in 0..capacity {
        tx.send(i).unwrap();
    }
    tx.close();
    assert_eq!(rx.iter().collect::<Vec<_>>(), (0..capacity).collect::<Vec<_>>());
    assert_eq!((rx.recv(), rx.try_recv()), (Err(RecvError::Closed), Err(TryRecvError::Closed)));
    // Closing wakes a receiver.
    let (tx, rx) = bounded::<()>(capacity);
    tasks.go(move || assert_eq!(rx.recv(), Err(RecvError::Closed)));
    pause();
    tx.close();
}

/// `TestChan`, its last part: four senders, four receivers, each value as often as it was sent.
#[test]
fn chan_4x4() {
    each_way(|tasks| {
        for capacity in [0, 1, 10] {
            let rounds = scaled(100, 1_000);
            let (tx, rx) = bounded(capacity);
            let (report, reports) = bounded(4);
            for _ in 0..4 {
                let tx = tx.clone();
                tasks.go(move || (0..rounds).for_each(|i| tx.send(i).unwrap()));
                let (rx, report) = (rx.clone(), report.clone());
                tasks.go(move || {
                    let mut seen = vec![0; rounds];
                    for _ in 0..rounds {
                        seen[rx.recv().unwrap()] += 1;
                    }
                    report.send(seen).unwrap();
                });
            }
            let mut total = vec![0; rounds];
            for _ in 0..4 {
                for (total, seen) in total.iter_mut().zip(reports.recv().unwrap()) {
                    *total += seen;
                }
            }
            assert!(total.iter().all(|n| *n == 4));
        }
    });
}

/// `TestNonblockRecvRace`: an item is there all the time, closing or not.
#[test]
fn nonblock_recv_race() {
    each_way(|tasks| {
        for _ in 0..scaled(200, 2_000) {
            let (tx, rx) = bounded(1);
            tx.send(1).unwrap();
            let (told, tell) = bounded(1);
            tasks.go(move || told.send(rx.try_recv()).unwrap());
            tx.close();
            assert_eq!(tell.recv(), Ok(Ok(1)));
            tasks.join();
        }
    });
}

/// `TestMultiConsumer`.
#[test]
fn multi_consumer() {
    each_way(|tasks| {
        const WORKERS: usize = 23;
        let items = scaled(2_000, 27_182);
        let primes = [2, 3, 7, 11, 13, 17, 19, 23, 27, 31];
        let (work, todo) = bounded(WORKERS * 3);
        let (done, results) = bounded(WORKERS * 3);
        for _ in 0..WORKERS {
            let (todo, done) = (todo.clone(), done.clone());
            tasks.go(move || {
                for n in todo {
                    if n % 100 == 0 {
                        pause();
                    }
                    done.send(n).unwrap();
                }
            });
        }
        drop(done);
        let expected = Arc::new(AtomicU64::new(0));
        tasks.go({
            let expected = expected.clone();
            move || {
                for i in 0..items {
                    let prime = primes[i % primes.len()];
                    expected.fetch_add(prime, Ordering::Relaxed);
                    work.send(prime).unwrap();
                }
            }
        });
        // The senders' side is dropped when the work is done: the closing goes through.
        let got: Vec<u64> = results.iter().collect();
        assert_eq!((got.len(), got.iter().sum::<u64>()), (items, expected.load(Ordering::Relaxed)));
    });
}
