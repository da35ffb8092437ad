//! Selects put together at run time.

use std::time::Duration;

use throng::channel::{bounded, never, rendezvous, unbounded};
use throng::select::Select;

use crate::common::{Aviary, scaled};
use crate::ways::each_way;

#[test]
fn hundreds_of_arms() {
    each_way(|tasks| {
        let lanes: Vec<_> = (0..300).map(|_| rendezvous()).collect();
        for (i, (tx, _)) in lanes.iter().enumerate() {
            let tx = tx.clone();
            tasks.go(move || tx.send(i).unwrap());
        }
        let mut seen = vec![false; 300];
        for _ in 0..300 {
            let select = lanes.iter().fold(Select::new(), |select, (_, rx)| select.recv(rx, |item| item.unwrap()));
            assert_eq!(select.len(), 300);
            let i = select.run().unwrap();
            assert!(!std::mem::replace(&mut seen[i], true));
        }
    });
}

#[test]
fn arms_of_many_types() {
    let (text, texts) = unbounded::<String>();
    let (number, numbers) = unbounded::<u64>();
    text.send("seven".into()).unwrap();
    number.send(7).unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(
            Select::new()
                .recv(&texts, |t| t.unwrap())
                .recv(&numbers, |n| n.unwrap().to_string())
                .recv(&never::<()>(), |_| unreachable!())
                .run_or(|| "none".into()),
        );
    }
    seen.sort();
    assert_eq!(seen, ["7", "none", "seven"]);
    assert_eq!(Select::new().recv(&texts, |_| 1).after(Duration::from_millis(1), |_| 2).run(), Ok(2));
}

#[test]
fn an_item_of_an_arm_that_was_not_chosen_is_dropped() {
    let aviary = Aviary::new();
    let ((a, ra), (b, rb)) = (bounded(1), bounded(1));
    Select::new().send(&a, aviary.canary(), |r| r.is_ok()).send(&b, aviary.canary(), |r| r.is_ok()).run().unwrap();
    assert_eq!(aviary.alive(), 1);
    assert_eq!(ra.len() + rb.len(), 1);
    drop(Select::<()>::new().send(&a, aviary.canary(), |_| ()));
    assert_eq!(aviary.alive(), 1, "a select that is not run does nothing");
}

/// One token in each of several lanes; selecters move tokens about: none is lost or doubled.
#[test]
fn selects_over_sends_and_receives_commit_one_side() {
    each_way(|tasks| {
        let lanes: Vec<_> = (0..4).map(|_| rendezvous::<u64>()).collect();
        let rounds = scaled(200, 5_000);
        for task in 0..4_usize {
            let lanes = lanes.clone();
            tasks.go(move || {
                let mut balance: i64 = 100;
                for round in 0..rounds {
                    let (out, into) = (&lanes[(task + round) % 4], &lanes[(task + 1) % 4]);
                    let change = Select::new()
                        .send(&out.0, 1, |sent| sent.map_or(0, |()| -1))
                        .recv(&into.1, |item| item.map_or(0, |n| n as i64))
                        .after(Duration::from_micros(100), |_| 0)
                        .run()
                        .unwrap();
                    balance += change;
                }
                BALANCE.fetch_add(balance - 100, std::sync::atomic::Ordering::SeqCst);
            });
        }
        tasks.join();
        assert_eq!(BALANCE.load(std::sync::atomic::Ordering::SeqCst), 0, "as many were sent as received");
    });
}

static BALANCE: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
