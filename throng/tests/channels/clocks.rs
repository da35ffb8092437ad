//! The receivers of the clock.

use std::time::{Duration, Instant};

use throng::channel::{RecvTimeoutError, TryRecvError, after, at, never, tick};

use crate::ways::each_way;

const MS: Duration = Duration::from_millis(1);

#[test]
fn never_early() {
    each_way(|_| {
        for n in [0, 1, 3] {
            let start = Instant::now();
            let due = after(n * MS).recv().unwrap();
            assert!(due >= start + n * MS && Instant::now() >= due);
        }
        let due = Instant::now() + 2 * MS;
        assert_eq!(at(due).recv(), Ok(due));
        assert!(Instant::now() >= due);
    });
}

#[test]
fn one_message_for_all_clones() {
    each_way(|tasks| {
        let timer = after(2 * MS);
        let (told, tell) = throng::bounded(3);
        for _ in 0..3 {
            let (timer, told) = (timer.clone(), told.clone());
            tasks.go(move || told.send(timer.recv_timeout(20 * MS)).unwrap());
        }
        let results: Vec<_> = tell.iter().take(3).collect();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(results.iter().all(|r| r.is_ok() || *r == Err(RecvTimeoutError::Timeout)));
        assert_eq!(timer.try_recv(), Err(TryRecvError::Empty));
        assert!(timer.same_channel(&timer.clone()) && !timer.same_channel(&after(MS)));
    });
}

#[test]
fn ticks_that_nobody_took_are_dropped() {
    each_way(|_| {
        let start = Instant::now();
        let ticks = tick(2 * MS);
        assert_eq!(ticks.try_recv(), Err(TryRecvError::Empty));
        while start.elapsed() < 9 * MS {
            std::hint::spin_loop();
        }
        assert_eq!((ticks.len(), ticks.capacity(), ticks.is_full()), (1, Some(1), true));
        let first = ticks.recv().unwrap();
        let second = ticks.recv().unwrap();
        assert!(Instant::now() >= second);
        let between = (second - first).as_nanos();
        assert!(between >= (8 * MS).as_nanos() && between.is_multiple_of((2 * MS).as_nanos()), "in step: {between}");
    });
}

#[test]
fn never_is_never() {
    let never = never::<u8>();
    assert_eq!(never.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
    assert!(!never.close() && !never.is_closed() && never.is_empty());
    assert_eq!(after(Duration::MAX).recv_timeout(MS), Err(RecvTimeoutError::Timeout));
    assert_eq!(tick(Duration::ZERO).iter().take(3).count(), 3);
}

#[test]
fn a_wait_at_the_clock_can_be_cancelled() {
    throng::run(|| {
        let task = throng::go(|| (never::<u8>().recv(), after(Duration::MAX).recv(), tick(Duration::MAX).recv()));
        throng::yield_now().unwrap();
        task.cancel();
        if let Ok((a, b, c)) = task.join() {
            assert!([a.map(|_| ()), b.map(|_| ()), c.map(|_| ())].iter().all(|r| r.is_err_and(|e| e.is_cancelled())));
        }
    });
}
