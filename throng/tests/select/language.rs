//! What `select!` promises as a piece of language: evaluation, temporaries, control flow, types, names.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use throng::channel::{Receiver, RecvError, after, at, bounded, never, rendezvous, tick, unbounded};
use throng::{CancelToken, Cancelled, select};

const MS: Duration = Duration::from_millis(1);

/// select5.go: all operands are evaluated, once, in the order they are written, chosen or not.
#[test]
fn operands_in_order() {
    let log = RefCell::new(Vec::new());
    let note = |name| log.borrow_mut().push(name);
    let (tx, rx) = bounded(1);
    let off = never::<u8>();
    select! {
        recv({ note("receiver"); &off }) -> _ => note("no"),
        send({ note("sender"); &tx }, { note("item"); 5 }) -> r => { note("body"); r.unwrap() }
        after({ note("duration"); 60_000 * MS }) => note("no"),
        recv({ note("last"); &off }) -> _ => note("no"),
    }
    .unwrap();
    assert_eq!(*log.borrow(), ["receiver", "sender", "item", "duration", "last", "body"]);
    assert_eq!(rx.recv(), Ok(5));
}

#[test]
fn temporaries_live_until_the_choice() {
    let token = CancelToken::new();
    token.cancel();
    let channels = || vec![bounded::<String>(1)];
    let chosen = select! {
        recv(token.done()) -> end => end.is_err(),
        recv(channels()[0].1) -> end => end.is_err(),
    };
    assert_eq!(chosen, Ok(true));
}

#[test]
fn operands_of_many_shapes() {
    let (tx, rx) = bounded::<u8>(4);
    let (by_ref, boxed, shared) = (&tx, Box::new(tx.clone()), std::sync::Arc::new(rx.clone()));
    select! { send(by_ref, 1) -> r => r.unwrap(), default => unreachable!() }
    select! { send(boxed, 2) -> r => r.unwrap(), default => unreachable!() }
    select! { send(&tx, 3) -> r => r.unwrap(), default => unreachable!() }
    struct Holder {
        rx: Receiver<u8>,
    }
    let holder = Holder { rx: rx.clone() };
    let mut got = Vec::new();
    got.push(select! { recv(shared) -> v => v.unwrap(), default => 0 });
    got.push(select! { recv(holder.rx) -> v => v.unwrap(), default => 0 });
    got.push(select! { recv(rx.clone()) -> v => v.unwrap(), default => 0 });
    assert_eq!(got, [1, 2, 3]);
}

#[test]
fn bodies_may_leave() -> Result<(), Cancelled> {
    fn returns(rx: &Receiver<u8>) -> Result<u8, RecvError> {
        select! {
            recv(rx) -> v => return Ok(v? + 1),
            default => {}
        }
        Ok(0)
    }
    let (tx, rx) = bounded(8);
    assert_eq!(returns(&rx), Ok(0));
    tx.send(1).unwrap();
    assert_eq!(returns(&rx), Ok(2));
    // select8.go: break and continue, also to labels.
    for arms in 0..3 {
        let mut rounds = 0;
        'outer: loop {
            loop {
                tx.send(1).unwrap();
                rounds += 1;
                match arms {
                    0 => select! { recv(rx) -> _ => break 'outer }?,
                    1 => select! { recv(rx) -> _ => break, recv(never::<u8>()) -> _ => continue 'outer }?,
                    _ => select! { recv(rx) -> v => if v.is_ok() && rounds < 3 { continue } else { break }, default => {} },
                }
            }
            break;
        }
        assert_eq!(rounds, if arms == 2 { 3 } else { 1 });
    }
    tx.close();
    assert_eq!(returns(&rx), Err(RecvError::Closed));
    Ok(())
}

#[test]
fn bodies_may_use_what_the_operands_borrowed() {
    let (mut tx, mut rx) = bounded(1);
    let item = String::from("moved");
    select! {
        send(tx, item) -> r => {
            r.unwrap();
            tx = bounded(1).0;
        }
        recv(rx) -> _ => rx = never(),
    }
    .unwrap();
    drop(tx);
    assert_eq!(rx.recv().as_deref(), Ok("moved"));
}

#[test]
fn names_do_not_clash() {
    let (tx, rx) = bounded(1);
    let (chosen, value, operand_0, cancelled) = (1, 2, 3, 4);
    tx.send(10).unwrap();
    let sum = select! { recv(rx) -> arm_0 => arm_0.unwrap() + chosen + value + operand_0 + cancelled, default => 0 };
    assert_eq!(sum, 20);
}

#[test]
fn patterns_take_results_apart() {
    let (tx, rx) = bounded(1);
    tx.send((1, 2)).unwrap();
    let sum = select! { recv(rx) -> mut result => { result = result.map(|(a, b)| (b, a)); result.unwrap().0 } default => 0 };
    assert_eq!(sum, 2);
}

#[test]
fn nested_selects() {
    let (tx, rx) = unbounded();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    let pair = select! {
        recv(rx) -> a => select! { recv(rx) -> b => (a.unwrap(), b.unwrap()), default => (0, 0) },
        default => (0, 0),
    };
    assert_eq!(pair, (1, 2));
}

#[test]
fn clocks_as_arms() {
    let start = Instant::now();
    let ticks = tick(2 * MS);
    let mut n = 0;
    let end = after(9 * MS);
    while select! { recv(ticks) -> t => t.is_ok(), recv(end) -> _ => false }.unwrap() {
        n += 1;
    }
    assert!(start.elapsed() >= 9 * MS && n <= start.elapsed().as_millis() / 2, "{n} ticks");
    let due = start + 3 * MS;
    assert_eq!(select! { recv(at(due)) -> t => t, default => Ok(start) }, Ok(due));
    let when = select! { after(MS) -> when => when, recv(never::<u8>()) -> _ => start }.unwrap();
    assert!(when >= start + MS && Instant::now() >= when);
}

/// A clone takes the message away while a select waits for it: the select goes on waiting.
#[test]
fn a_clock_shared_by_selects_rings_once() {
    let timer = after(3 * MS);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let timer = timer.clone();
            std::thread::spawn(move || select! { recv(timer) -> _ => 1, after(30 * MS) => 0 }.unwrap())
        })
        .collect();
    assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).sum::<i32>(), 1);
}

#[test]
fn many_arms() {
    let c: Vec<_> = (0..17).map(|_| rendezvous::<usize>()).collect();
    let senders: Vec<_> = c.iter().map(|(tx, _)| tx.clone()).collect();
    let sender = std::thread::spawn(move || senders.iter().enumerate().rev().for_each(|(i, tx)| tx.send(i).unwrap()));
    let mut seen = Vec::new();
    for _ in 0..17 {
        seen.push(
            select! {
                recv(c[0].1) -> v => v, recv(c[1].1) -> v => v, recv(c[2].1) -> v => v, recv(c[3].1) -> v => v,
                recv(c[4].1) -> v => v, recv(c[5].1) -> v => v, recv(c[6].1) -> v => v, recv(c[7].1) -> v => v,
                recv(c[8].1) -> v => v, recv(c[9].1) -> v => v, recv(c[10].1) -> v => v, recv(c[11].1) -> v => v,
                recv(c[12].1) -> v => v, recv(c[13].1) -> v => v, recv(c[14].1) -> v => v, recv(c[15].1) -> v => v,
                recv(c[16].1) -> v => v,
            }
            .unwrap()
            .unwrap(),
        );
    }
    sender.join().unwrap();
    assert!(seen.into_iter().eq((0..17).rev()));
}
