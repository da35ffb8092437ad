//! The promises of Go's test/chan programs and runtime/chan_test.go about `select`, kept by ours.

use std::collections::HashSet;

use throng::channel::{Receiver, Sender, bounded, never, rendezvous};
use throng::select;
use throng::select::Select;

use crate::common::scaled;
use crate::ways::{Tasks, each_way, pause};

/// doubleselect.go: two cases of one select never both run, so no value comes twice.
#[test]
fn doubleselect() {
    each_way(|tasks| {
        let n = scaled(500, 20_000);
        let (a, b, c, d) = (bounded(1), bounded(1), bounded(1), bounded(1));
        let (done, drained) = bounded::<()>(0);
        {
            let [a, b, c, d] = [a.0, b.0, c.0, d.0];
            tasks.go(move || {
                for i in 0..n {
                    select! {
                        send(a, i) -> r => r.unwrap(),
                        send(b, i) -> r => r.unwrap(),
                        send(c, i) -> r => r.unwrap(),
                        send(d, i) -> r => r.unwrap(),
                    }
                    .unwrap();
                }
            });
        }
        let (merged, all) = rendezvous();
        for rx in [a.1, b.1, c.1, d.1] {
            let (merged, done) = (merged.clone(), done.clone());
            tasks.go(move || {
                for i in rx {
                    merged.send(i).unwrap();
                }
                drop(done);
            });
        }
        drop((merged, done));
        let mut seen = HashSet::new();
        for i in all {
            assert!(seen.insert(i), "{i} came twice");
        }
        assert_eq!(seen.len(), n);
        assert!(drained.recv().is_err());
    });
}

/// select.go: a chain of values through selects with arms that are switched off.
#[test]
fn switched_off_arms() {
    each_way(|tasks| {
        for on in 0..2 {
            let ((left, l), (right, r)) = (rendezvous(), rendezvous());
            tasks.go(move || if on == 0 { left.send(7).unwrap() } else { right.send(7).unwrap() });
            let off = never();
            let got = select! {
                recv(if on == 0 { &l } else { &off }) -> v => v.unwrap(),
                recv(if on == 1 { &r } else { &off }) -> v => v.unwrap(),
            };
            assert_eq!(got, Ok(7));
        }
    });
}

/// select2.go: selects with an arm that is never ready leave nothing behind in its queue.
#[test]
fn quiet_channels_keep_no_waiters() {
    each_way(|tasks| {
        let (data, rx) = rendezvous();
        let (quiet, dummy) = rendezvous::<usize>();
        let n = scaled(1_000, 100_000);
        tasks.go(move || (0..n).for_each(|i| data.send(i).unwrap()));
        for i in 0..n {
            select! {
                recv(rx) -> v => assert_eq!(v, Ok(i)),
                recv(dummy) -> _ => unreachable!(),
            }
            .unwrap();
            assert!(quiet.try_send(i).is_err(), "nobody waits there any more");
        }
    });
}

/// select6.go (issue 2075): a losing arm at the tail of a queue is taken out without harm to the queue.
#[test]
fn losing_arms_leave_the_queue_whole() {
    each_way(|tasks| {
        let (c1, r1) = rendezvous::<bool>();
        let (c2, r2) = rendezvous::<bool>();
        let (c3, r3) = rendezvous::<bool>();
        let (c4, r4) = rendezvous::<bool>();
        tasks.go({
            let r1 = r1.clone();
            move || {
                r1.recv().unwrap();
            }
        });
        tasks.go({
            let (r1, r2) = (r1.clone(), r2);
            move || {
                select! {
                    recv(r1) -> v => panic!("dummy {v:?}"),
                    recv(r2) -> v => c3.send(v.unwrap()).unwrap(),
                }
                .unwrap();
                r1.recv().unwrap();
            }
        });
        tasks.go(move || c2.send(true).unwrap());
        r3.recv().unwrap();
        c1.send(true).unwrap();
        c1.send(true).unwrap();
        tasks.go(move || {
            c1.send(true).unwrap();
            c4.send(true).unwrap();
        });
        r1.recv().unwrap();
        r4.recv().unwrap();
    });
}

/// select7.go: selects of one and two arms that receive and send, against plain peers and selecting ones.
#[test]
fn one_and_two_arms() {
    type Receive = fn(&Receiver<i32>) -> i32;
    type Send = fn(&Sender<i32>);
    let receives: [Receive; 3] = [
        |rx| rx.recv().unwrap(),
        |rx| select! { recv(rx) -> v => v.unwrap() }.unwrap(),
        |rx| {
            let other = rendezvous::<()>();
            select! { recv(rx) -> v => v.unwrap(), recv(other.1) -> _ => unreachable!() }.unwrap()
        },
    ];
    let sends: [Send; 3] = [
        |tx| tx.send(42).unwrap(),
        |tx| select! { send(tx, 42) -> r => r.unwrap() }.unwrap(),
        |tx| {
            let other = rendezvous::<()>();
            select! { send(tx, 42) -> r => r.unwrap(), recv(other.1) -> _ => unreachable!() }.unwrap();
        },
    ];
    each_way(|tasks| {
        for receive in receives {
            for send in sends {
                let (tx, rx) = rendezvous();
                tasks.go(move || send(&tx));
                assert_eq!(receive(&rx), 42);
            }
        }
    });
}

/// sieve2.go's buffering proxy: a select whose send arm is on only while there is something to send.
#[test]
fn proxy_with_an_arm_that_comes_and_goes() {
    each_way(|tasks| {
        let ((tx, from), (to, rx)) = (rendezvous(), rendezvous());
        let n = scaled(500, 20_000);
        tasks.go(move || (0..n).for_each(|i| tx.send(i).unwrap()));
        tasks.go(move || {
            let mut queue = std::collections::VecDeque::new();
            let mut open = true;
            while open || !queue.is_empty() {
                let mut select = Select::new();
                if open {
                    select = select.recv(&from, Some);
                }
                if let Some(first) = queue.front() {
                    select = select.send(&to, *first, |sent| {
                        sent.unwrap();
                        None
                    });
                }
                match select.run().unwrap() {
                    Some(Ok(item)) => queue.push_back(item),
                    Some(Err(_)) => open = false,
                    None => drop(queue.pop_front()),
                }
            }
        });
        assert!(rx.iter().eq(0..n));
    });
}

/// `TestNonblockSelectRace`: at every moment one of the two channels has an item.
#[test]
fn nonblock_select_race() {
    each_way(|tasks| {
        for _ in 0..scaled(300, 5_000) {
            let ((a, ra), (b, rb)) = (bounded(1), bounded(1));
            let (told, tell) = bounded(1);
            a.send(1).unwrap();
            let (other, keep) = (ra.clone(), rb.clone());
            tasks.go(move || {
                let found = select! { recv(ra) -> _ => true, recv(rb) -> _ => true, default => false };
                told.send(found).unwrap();
            });
            b.send(1).unwrap();
            let _ = other.try_recv();
            assert_eq!(tell.recv(), Ok(true), "default ran though an item was there all the time");
            tasks.join();
            drop(keep);
        }
    });
}

/// `TestNonblockSelectRace2`: the same, the second channel getting ready by closing.
#[test]
fn nonblock_select_race_2() {
    each_way(|tasks| {
        for _ in 0..scaled(300, 5_000) {
            let ((a, ra), (b, rb)) = (bounded(1), rendezvous::<i32>());
            let (told, tell) = bounded(1);
            a.send(1).unwrap();
            let other = ra.clone();
            tasks.go(move || {
                let found = select! { recv(ra) -> _ => true, recv(rb) -> _ => true, default => false };
                told.send(found).unwrap();
            });
            b.close();
            let _ = other.try_recv();
            assert_eq!(tell.recv(), Ok(true));
            tasks.join();
        }
    });
}

/// `TestSelfSelect`: sending and receiving on one channel in one select meets others, never itself.
#[test]
fn self_select() {
    each_way(|tasks| {
        for capacity in [0, 10] {
            let (tx, rx) = bounded(capacity);
            for me in 0..2 {
                let (tx, rx) = (tx.clone(), rx.clone());
                tasks.go(move || {
                    for i in 0..scaled(200, 2_000) {
                        if me == 0 || i % 2 == 0 {
                            select! {
                                send(tx, me) -> r => r.unwrap(),
                                recv(rx) -> v => assert!(capacity != 0 || v != Ok(me), "received from itself"),
                            }
                        } else {
                            select! {
                                recv(rx) -> v => assert!(capacity != 0 || v != Ok(me), "received from itself"),
                                send(tx, me) -> r => r.unwrap(),
                            }
                        }
                        .unwrap();
                    }
                });
            }
            tasks.join();
        }
    });
}

/// `TestSelectStress`: plain senders and receivers and big selects whose arms are used up one after the other.
#[test]
fn select_stress() {
    each_way(|tasks| {
        let channels: [(Sender<usize>, Receiver<usize>); 4] = [rendezvous(), rendezvous(), bounded(2), bounded(3)];
        let n = scaled(200, 5_000);
        for (tx, rx) in &channels {
            let (tx, rx) = (tx.clone(), rx.clone());
            tasks.go(move || (0..n).for_each(|i| tx.send(i).unwrap()));
            tasks.go(move || (0..n).for_each(|_| assert!(rx.recv().is_ok())));
        }
        let senders = channels.each_ref().map(|(tx, _)| tx.clone());
        tasks.go(move || {
            let mut left = [n; 4];
            while left != [0; 4] {
                let arms = senders.iter().enumerate().filter(|(i, _)| left[*i] > 0);
                let sent = arms.fold(Select::new(), |select, (i, tx)| select.send(tx, i, move |r| r.map(|()| i))).run();
                left[sent.unwrap().unwrap()] -= 1;
            }
        });
        let receivers = channels.map(|(_, rx)| rx);
        tasks.go(move || {
            let mut left = [n; 4];
            while left != [0; 4] {
                let arms = receivers.iter().enumerate().filter(|(i, _)| left[*i] > 0);
                let received = arms.fold(Select::new(), |select, (i, rx)| select.recv(rx, move |r| r.map(|_| i))).run();
                left[received.unwrap().unwrap()] -= 1;
            }
        });
    });
}

/// `TestSelectFairness`: of two arms that are always ready among four, each gets half, within ten standard deviations.
#[test]
fn select_fairness() {
    const TRIALS: usize = 10_000;
    let (quiet, never_1) = rendezvous::<u8>();
    let never_2 = never_1.clone();
    let [(one, r1), (two, r2)] = [bounded(TRIALS + 1), bounded(TRIALS + 1)];
    for _ in 0..=TRIALS {
        one.send(1).unwrap();
        two.send(2).unwrap();
    }
    let mut counts = [0_i64; 2];
    for _ in 0..TRIALS {
        let which = select! {
            recv(never_1) -> _ => unreachable!(),
            recv(r1) -> v => v.unwrap(),
            recv(r2) -> v => v.unwrap(),
            recv(never_2) -> _ => unreachable!(),
        };
        counts[which.unwrap() as usize - 1] += 1;
    }
    let deviation = (TRIALS as f64 * 0.25).sqrt();
    assert!((counts[0] - counts[1]).abs() as f64 / 2.0 < 10.0 * deviation, "{counts:?}");
    drop(quiet);
}

/// `TestPseudoRandomSend`.
#[test]
fn pseudo_random_send() {
    each_way(|tasks| {
        for capacity in [0, 1] {
            let (tx, rx) = bounded(capacity);
            let n = 100;
            let (told, tell) = bounded(1);
            tasks.go(move || told.send((0..n).filter(|_| rx.recv() == Ok(0)).count()).unwrap());
            for _ in 0..n {
                select! { send(tx, 1) -> r => r.unwrap(), send(tx, 0) -> r => r.unwrap() }.unwrap();
            }
            let zeros = tell.recv().unwrap();
            assert!((11..90).contains(&zeros), "{zeros} zeros");
        }
    });
}

/// `TestSelectDuplicateChannel`: one channel twice in a select; taking both out does not harm the queue.
#[test]
fn select_duplicate_channel() {
    each_way(|tasks| {
        let (c, rc) = rendezvous::<i32>();
        let (d, rd) = rendezvous();
        let (e, re) = rendezvous();
        tasks.go({
            let rc = rc.clone();
            move || {
                select! { recv(rc) -> _ => {}, recv(rd) -> v => assert_eq!(v, Ok(7)), recv(rc) -> _ => {} }.unwrap();
                e.send(9).unwrap();
            }
        });
        let waits = |tasks: &Tasks| {
            let rc = rc.clone();
            tasks.go(move || assert!(rc.recv().is_ok()));
        };
        pause();
        waits(tasks);
        d.send(7).unwrap();
        re.recv().unwrap();
        // The second task is still in the queue, and only it.
        c.send(8).unwrap();
        tasks.join();
        assert!(c.try_send(1).is_err());
    });
}

/// 64 philosophers who take both forks by selects over two channels at once.
#[test]
fn philosophers() {
    each_way(|tasks| {
        let seats = scaled(8, 64);
        let forks: Vec<_> = (0..seats).map(|_| bounded::<()>(1)).collect();
        for seat in 0..seats {
            let (left, right) = (forks[seat].clone(), forks[(seat + 1) % seats].clone());
            tasks.go(move || {
                let mut meals = 0;
                while meals < scaled(20, 200) {
                    // Takes either; the other only if it lies there, else both go back.
                    let (first, second) = select! {
                        send(left.0, ()) -> r => { r.unwrap(); (&left, &right) }
                        send(right.0, ()) -> r => { r.unwrap(); (&right, &left) }
                    }
                    .unwrap();
                    if second.0.try_send(()).is_ok() {
                        meals += 1;
                        second.1.recv().unwrap();
                    }
                    first.1.recv().unwrap();
                    pause();
                }
            });
        }
    });
}
