//! Sends, receives and iteration over channels of every kind.

use throng::channel::{RecvError, RecvTimeoutError, SendError, SendTimeoutError};
use throng::{CancelToken, Cancelled};

use super::{Case, Ends, Park, far, left};
use crate::objects::{Gate, Lane};

const KINDS: [(&str, usize); 4] = [("rendezvous", 0), ("bounded(1)", 1), ("bounded(3)", 3), ("unbounded", usize::MAX)];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![woken_by_close_to_receive(), woken_by_close_to_send(), token()];
    for (kind, capacity) in KINDS {
        // It never waits to be received.
        let of_send = if capacity == usize::MAX { Ends::AtOnce } else { Ends::Peer };
        cases.push(
            Case::new(format!("Sender::send, {kind}"), &["Sender::send"], move |run| {
                let lane = Lane::new(capacity);
                run(&lane.sending(|_| lane.send()));
            })
            .ends(of_send),
        );
        cases.push(
            Case::new(format!("Sender::send_timeout, {kind}"), &["Sender::send_timeout"], move |run| {
                let lane = Lane::new(capacity);
                run(&lane.sending(|_| lane.sent(lane.tx.send_timeout(lane.item(), left(far())))));
            })
            .ends(of_send),
        );
        cases.push(Case::new(format!("Receiver::recv, {kind}"), &["Receiver::recv"], move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| lane.recv()));
        }));
        cases.push(Case::new(format!("Receiver::recv_timeout, {kind}"), &["Receiver::recv_timeout"], move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| lane.received(lane.rx.recv_timeout(left(far())))));
        }));
        cases.push(Case::new(format!("Receiver::iter, {kind}"), &["Receiver::iter", "Iter::next"], move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| lane.received(lane.rx.iter().next().ok_or(Cancelled::new()))));
        }));
        cases.push(Case::new(format!("IntoIter::next, {kind}"), &["IntoIter::next"], move |run| {
            let lane = Lane::new(capacity);
            run(&lane.receiving(|_| lane.received(lane.rx.clone().into_iter().next().ok_or(Cancelled::new()))));
        }));
        if capacity != usize::MAX {
            cases.push(timed_send(kind, capacity));
        }
        cases.push(timed_receive(kind, capacity));
    }
    cases
}

/// Its time ends it. (Of no time at all, it still looks for its cancellation before it looks at the clock.)
fn timed_send(kind: &str, capacity: usize) -> Case {
    let case = Case::new(format!("Sender::send_timeout, {kind}, by its time"), &["Sender::send_timeout"], move |run| {
        let lane = Lane::new(capacity);
        run(&lane.sending(|due| match lane.tx.send_timeout(lane.item(), left(due)) {
            Err(unsent @ SendTimeoutError::Timeout(_)) => Ok(_ = lane.sent(Err(unsent))),
            other => lane.sent(other),
        }));
    });
    case.ends(Ends::Time).looks_first()
}

/// As for `timed_send`.
fn timed_receive(kind: &str, capacity: usize) -> Case {
    let case = Case::new(format!("Receiver::recv_timeout, {kind}, by its time"), &["Receiver::recv_timeout"], move |run| {
        let lane = Lane::new(capacity);
        run(&lane.receiving(|due| match lane.rx.recv_timeout(left(due)) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            other => lane.received(other),
        }));
    });
    case.ends(Ends::Time).looks_first()
}

fn woken_by_close_to_receive() -> Case {
    Case::new("Receiver::recv, woken by the close", &["Receiver::recv"], |run| {
        let gate = Gate::new();
        run(&Park::new(|_| gate.pass())
            .block(|| gate.shut())
            .satisfy(|| gate.open())
            .audit(|happened| assert_eq!(gate.passed(), happened)));
    })
}

fn woken_by_close_to_send() -> Case {
    Case::new("Sender::send, woken by the close", &["Sender::send"], |run| {
        let gate = Gate::new();
        let call = |_| {
            let (tx, rx) = gate.ends();
            match tx.send(()) {
                Err(SendError::Closed(())) => {
                    assert_eq!(rx.recv(), Err(RecvError::Closed));
                    Ok(())
                }
                other => other,
            }
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()));
    })
}

fn token() -> Case {
    Case::new("CancelToken::done, awaited", &["Receiver::recv"], |run| {
        let token = std::sync::Mutex::new(CancelToken::new());
        let present = || token.lock().unwrap().clone();
        let call = |_| {
            let part = present().child();
            match part.done().recv() {
                Err(RecvError::Closed) => {
                    assert!(part.is_cancelled());
                    Ok(())
                }
                other => other,
            }
        };
        let renew = || {
            let mut token = token.lock().unwrap();
            if token.is_cancelled() {
                *token = CancelToken::new();
            }
        };
        run(&Park::new(call).block(renew).satisfy(|| _ = present().cancel()));
    })
}
