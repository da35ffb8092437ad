//! Selects: each kind of arm by itself, several together, and the same with the builder.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use throng::channel::RecvError;
use throng::select::Select;
use throng::{Cancelled, Error, after, at, never, select};

use super::{Case, Ends, Park, far, left};
use crate::objects::{Gate, Lane};

const MACRO: &[&str] = &["select!"];
const BUILDER: &[&str] = &["Select::run"];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, capacity) in [("rendezvous", 0), ("bounded", 2), ("unbounded", usize::MAX)] {
        cases.push(Case::new(format!("select!, recv, {kind}"), MACRO, move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| select! { recv(lane.rx) -> item => lane.received(item) }?));
        }));
        cases.push(Case::new(format!("Select::run, recv, {kind}"), BUILDER, move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| Select::new().recv(&lane.rx, |item| lane.received(item)).run()?));
        }));
        let of_send = if capacity == usize::MAX { Ends::AtOnce } else { Ends::Peer };
        let send = Case::new(format!("select!, send, {kind}"), MACRO, move |run| {
            let lane = Lane::new(capacity);
            run(&lane.sending(|_| sent(&lane, select! { send(lane.tx, lane.item()) -> result => lane.sent(result) })));
        });
        cases.push(send.ends(of_send));
        let send = Case::new(format!("Select::run, send, {kind}"), BUILDER, move |run| {
            let lane = Lane::new(capacity);
            run(&lane.sending(|_| sent(&lane, Select::new().send(&lane.tx, lane.item(), |result| lane.sent(result)).run())));
        });
        cases.push(send.ends(of_send));
    }
    cases.extend(timed());
    cases.extend([closed(), several(), several_built(), with_default()]);
    cases.push(Case::new("select!, no arms", MACRO, |run| run(&Park::new(|_| select! {}.map(|_| ())))).ends(Ends::Never));
    cases.push(Case::new("Select::run, no arms", BUILDER, |run| run(&Park::new(|_| Select::<()>::new().run()))).ends(Ends::Never));
    cases.push(
        Case::new("select!, recv, never", MACRO, |run| run(&Park::new(|_| select! { recv(never::<()>()) -> _ => () }))).ends(Ends::Never),
    );
    cases
}

/// A select that is cancelled drops its item.
fn sent(lane: &Lane, result: Result<Result<(), Error>, Cancelled>) -> Result<(), Error> {
    result.unwrap_or_else(|cancelled| {
        lane.dropped();
        Err(cancelled.into())
    })
}

fn timed() -> Vec<Case> {
    let cases = vec![
        Case::new("select!, after", MACRO, |run| run(&Park::new(|due| select! { after(left(due)) => () }))),
        Case::new("select!, default with a time", MACRO, |run| run(&Park::new(|due| select! { default(left(due)) => () }))),
        Case::new("select!, recv, at", MACRO, |run| {
            run(&Park::new(|due| select! { recv(at(due)) -> message => assert_eq!(message, Ok(due)) }))
        }),
        Case::new("select!, recv, after, and a channel", MACRO, |run| {
            let lane = Lane::new(0);
            run(&lane.receiving(|due| select! { recv(after(left(due))) -> _ => Ok(()), recv(lane.rx) -> item => lane.received(item) }?));
        }),
        Case::new("Select::run, after", BUILDER, |run| run(&Park::new(|due| Select::new().after(left(due), drop::<Instant>).run()))),
        Case::new("Select::run, recv, at", BUILDER, |run| run(&Park::new(|due| Select::new().recv(&at(due), |_| ()).run()))),
    ];
    cases.into_iter().map(|case| case.ends(Ends::Time)).collect()
}

fn closed() -> Case {
    Case::new("select!, recv, woken by the close", MACRO, |run| {
        let gate = Gate::new();
        let call = |_| {
            let ((_tx, rx), (other, _receiver)) = (gate.ends(), throng::rendezvous());
            select! { recv(rx) -> end => assert_eq!(end, Err(RecvError::Closed)), send(other, ()) -> _ => unreachable!() }
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()));
    })
}

/// It does not park, so it has the value of an arm and no error.
fn with_default() -> Case {
    let case = Case::new("select!, default", MACRO, |run| {
        let lane = Lane::new(0);
        run(&lane.receiving(|_| select! { recv(lane.rx) -> item => lane.received(item), default => Ok(()) }));
    });
    case.ends(Ends::AtOnce)
}

/// Three channels of a select; each turn another one is made ready.
struct Lanes {
    rendezvous: Lane,
    bounded: Lane,
    full: Lane,
    turn: AtomicUsize,
}

impl Lanes {
    fn new() -> Lanes {
        Lanes { rendezvous: Lane::new(0), bounded: Lane::new(1), full: Lane::new(1), turn: AtomicUsize::new(0) }
    }

    fn park<'a>(&'a self, call: impl Fn(Instant) -> Result<(), Error> + Sync + 'a) -> Park<'a> {
        let block = || {
            self.rendezvous.drain();
            self.bounded.drain();
            self.full.fill();
        };
        let satisfy = || match self.turn.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => self.rendezvous.send().expect("a receive"),
            1 => self.bounded.send().expect("a receive"),
            _ => self.full.recv().expect("a send"),
        };
        Park::new(call).block(block).satisfy(satisfy).audit(|_| {
            for lane in [&self.rendezvous, &self.bounded, &self.full] {
                lane.audit();
            }
        })
    }

    /// An arm that receives was chosen: the item of the one that sends is gone.
    fn received(&self, lane: &Lane, item: Result<crate::common::Canary, RecvError>) -> Result<(), Error> {
        self.full.dropped();
        lane.received(item)
    }
}

fn several() -> Case {
    Case::new("select!, several arms", MACRO, |run| {
        let lanes = Lanes::new();
        run(&lanes.park(|_| {
            let chosen = select! {
                recv(lanes.rendezvous.rx) -> item => lanes.received(&lanes.rendezvous, item),
                recv(never::<()>()) -> _ => unreachable!(),
                recv(lanes.bounded.rx) -> item => lanes.received(&lanes.bounded, item),
                send(lanes.full.tx, lanes.full.item()) -> result => lanes.full.sent(result),
                after(left(far())) => unreachable!(),
            };
            sent(&lanes.full, chosen)
        }));
    })
}

fn several_built() -> Case {
    Case::new("Select::run, several arms", BUILDER, |run| {
        let lanes = Lanes::new();
        run(&lanes.park(|_| {
            let chosen = Select::new()
                .recv(&lanes.rendezvous.rx, |item| lanes.received(&lanes.rendezvous, item))
                .recv(&lanes.bounded.rx, |item| lanes.received(&lanes.bounded, item))
                .send(&lanes.full.tx, lanes.full.item(), |result| lanes.full.sent(result))
                .after(left(far()), |_| unreachable!())
                .run();
            sent(&lanes.full, chosen)
        }));
    })
}
