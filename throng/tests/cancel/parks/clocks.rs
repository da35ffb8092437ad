//! Time: sleeps, receivers of the clock, time limits; and giving way.

use std::time::{Duration, Instant};

use throng::channel::RecvTimeoutError;
use throng::{Elapsed, Error, after, at, check, deadline, never, sleep, sleep_until, tick, timeout, yield_now};

use super::{Case, Ends, Park, far, left};
use crate::objects::Lane;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        // These ask for the cancellation before they look at the clock.
        Case::new("sleep", &["sleep"], |run| run(&Park::new(|due| sleep(left(due)).map(|()| assert_past(due)))))
            .ends(Ends::Time)
            .looks_first(),
        Case::new("sleep, longer than the clock can tell", &["sleep"], |run| run(&Park::new(|_| sleep(Duration::MAX)))).ends(Ends::Never),
        Case::new("sleep_until", &["sleep_until"], |run| run(&Park::new(|due| sleep_until(due).map(|()| assert_past(due)))))
            .ends(Ends::Time)
            .looks_first(),
        Case::new("sleep of no time", &["sleep"], |run| run(&Park::new(|_| sleep(Duration::ZERO)))).ends(Ends::Turn).looks_first(),
        Case::new("yield_now", &["yield_now"], |run| run(&Park::new(|_| yield_now()))).ends(Ends::Turn).looks_first(),
        Case::new("check", &["check"], |run| run(&Park::new(|_| check()))).ends(Ends::AtOnce).looks_first(),
        // A message that is due is received without a look at the cancellation.
        Case::new("Receiver::recv, after", &["Receiver::recv"], |run| run(&Park::new(|due| after(left(due)).recv()))).ends(Ends::Time),
        Case::new("Receiver::recv, at", &["Receiver::recv"], |run| {
            run(&Park::new(|due| at(due).recv().map(|message| assert_eq!(message, due))));
        })
        .ends(Ends::Time),
        Case::new("Receiver::recv, tick", &["Receiver::recv"], |run| run(&Park::new(|due| tick(left(due)).recv()))).ends(Ends::Time),
        Case::new("Receiver::recv_timeout, at", &["Receiver::recv_timeout"], |run| {
            run(&Park::new(|due| at(due).recv_timeout(left(far()))));
        })
        .ends(Ends::Time),
        Case::new("Receiver::iter, tick", &["Receiver::iter", "Iter::next"], |run| {
            run(&Park::new(|due| tick(left(due)).iter().next().ok_or(Error::Cancelled)));
        })
        .ends(Ends::Time),
        Case::new("Receiver::recv, never", &["Receiver::recv"], |run| run(&Park::new(|_| never::<()>().recv()))).ends(Ends::Never),
        Case::new("Receiver::recv_timeout, never", &["Receiver::recv_timeout"], |run| {
            run(&Park::new(|due| match never::<()>().recv_timeout(left(due)) {
                Err(RecvTimeoutError::Timeout) => {
                    assert_past(due);
                    Ok(())
                }
                other => other,
            }));
        })
        .ends(Ends::Time)
        .looks_first(),
    ];
    cases.extend(limits());
    cases
}

/// Time limits around a call that parks. One without time does not even call its closure, and does not look for a cancellation.
fn limits() -> [Case; 4] {
    [
        Case::new("timeout, around a receive", &["timeout"], |run| {
            let lane = Lane::new(0);
            run(&lane.receiving(|_| timeout(left(far()), || lane.recv())?));
        }),
        Case::new("deadline, around a receive", &["deadline"], |run| {
            let lane = Lane::new(1);
            run(&lane.receiving(|_| deadline(far(), || lane.recv())?));
        }),
        Case::new("timeout, by its time", &["timeout"], |run| {
            let lane = Lane::new(0);
            run(&lane.receiving(|due| by_its_time(timeout(left(due), || lane.recv()))));
        })
        .ends(Ends::Time),
        Case::new("deadline, by its time", &["deadline"], |run| {
            let lane = Lane::new(0);
            run(&lane.sending(|due| by_its_time(deadline(due, || lane.send()))));
        })
        .ends(Ends::Time),
    ]
}

fn by_its_time(result: Result<Result<(), Error>, Elapsed>) -> Result<(), Error> {
    match result {
        Err(Elapsed { .. }) => Ok(()),
        Ok(inner) => inner,
    }
}

#[track_caller]
fn assert_past(due: Instant) {
    assert!(Instant::now() >= due, "over before its time");
}
