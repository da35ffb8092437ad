use std::time::Duration;
use throng::channel::*;
use throng::{select, Cancelled};
fn a(rx: &Receiver<i32>, tx: Sender<String>) -> Result<i32, Cancelled> {
    let s = "x".to_string();
    let v = select! {
        recv(rx) -> v => v.unwrap(),
        send(tx, s.clone() + "b") -> r => { r.unwrap(); 2 }
        after(Duration::from_millis(10)) -> _t => return Ok(9),
        recv(never::<u8>()) -> _ => 7,
    }?;
    Ok(v)
}
fn diverge(rx: &Receiver<i32>) -> Result<i32, Cancelled> {
    loop {
        select! {
            recv(rx) -> v => return Ok(v.unwrap()),
            after(Duration::from_millis(1)) => break,
        }?;
    }
    Ok(5)
}
#[test]
fn basic() {
    let (tx, rx) = bounded(1);
    let (tx2, _rx2) = rendezvous();
    tx.send(4).unwrap();
    assert_eq!(a(&rx, tx2.clone()), Ok(4));
    assert_eq!(a(&rx, tx2), Ok(9));
    assert_eq!(diverge(&rx), Ok(5));
    let mut n = 0;
    for _ in 0..10 {
        select! {
            recv(rx) -> _ => break,
            default => { n += 1; continue }
        }
    }
    assert_eq!(n, 10);
    let x: Result<i32, Cancelled> = select! { recv(rx) -> v => v.unwrap(), default(Duration::from_millis(1)) => 3 };
    assert_eq!(x, Ok(3));
    assert_eq!(select! { default => 5 }, 5);
    let (tx3, rx3) = rendezvous();
    let t = std::thread::spawn(move || { select! { send(tx3, 5) -> r => r.unwrap() }.unwrap(); tx3 });
    assert_eq!(select! { recv(rx) -> _ => 1, recv(rx3) -> v => v.unwrap() }, Ok(5));
    t.join().unwrap();
    assert_eq!(select! { recv(rx) -> _ => 1, recv(rx3) -> v => {assert!(v.is_err()); 8} }, Ok(8));
}
