//! Linearizability: short histories of concurrent operations, each explained by some order of the operations one after the other that keeps
//! the order of those that did not overlap (Wing and Gong's search).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng::channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, bounded};

use crate::common::{Dice, scaled};
use crate::ways::each_way;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Did {
    Sent(u32),
    Received(u32),
    /// A non-blocking send found no room.
    Full,
    /// A non-blocking receive found nothing.
    Empty,
    SawClosedSending,
    SawClosedReceiving,
    Closed(bool),
    /// Timed out: no effect, explained anywhere.
    Nothing,
}

#[derive(Clone, Debug)]
struct Step {
    did: Did,
    began: u64,
    ended: u64,
}

/// The sequential channel. For a rendezvous channel, a send and its receive are one step in two halves: the first half leaves the item
/// in `handing`, and the second must follow at once.
#[derive(Clone)]
struct Model {
    capacity: usize,
    buffer: VecDeque<u32>,
    closed: bool,
    handing: Option<u32>,
}

impl Model {
    fn apply(&mut self, did: Did) -> bool {
        if self.handing.is_some() {
            return matches!(did, Did::Received(item) if self.handing.take() == Some(item));
        }
        match did {
            Did::Sent(_) if self.closed => false,
            Did::Sent(item) if self.capacity == 0 => {
                self.handing = Some(item);
                true
            }
            Did::Sent(item) => {
                // A send that waited enters together with the receive that made room, so it may be ahead of it by one.
                self.buffer.push_back(item);
                self.buffer.len() <= self.capacity
            }
            Did::Received(item) => self.buffer.pop_front() == Some(item),
            Did::Full => !self.closed && self.buffer.len() == self.capacity,
            Did::Empty => !self.closed && self.buffer.is_empty(),
            Did::SawClosedSending => self.closed,
            Did::SawClosedReceiving => self.closed && self.buffer.is_empty(),
            Did::Closed(first) => std::mem::replace(&mut self.closed, true) != first,
            Did::Nothing => true,
        }
    }
}

/// Whether some order of `steps` explains them.
fn explained(model: &Model, steps: &[Step], done: u32) -> bool {
    if done.count_ones() as usize == steps.len() {
        return model.handing.is_none();
    }
    let open = |i: usize| done & 1 << i == 0;
    let first_end = (0..steps.len()).filter(|i| open(*i)).map(|i| steps[i].ended).min().expect("some are open");
    (0..steps.len()).filter(|i| open(*i) && steps[*i].began <= first_end).any(|i| {
        let mut next = model.clone();
        next.apply(steps[i].did) && explained(&next, steps, done | 1 << i)
    })
}

#[test]
fn the_model_knows_right_from_wrong() {
    let model = Model { capacity: 1, buffer: VecDeque::new(), closed: false, handing: None };
    let step = |did, began, ended| Step { did, began, ended };
    assert!(explained(&model, &[step(Did::Sent(1), 0, 3), step(Did::Received(1), 1, 2)], 0));
    assert!(!explained(&model, &[step(Did::Sent(1), 2, 3), step(Did::Received(1), 0, 1)], 0));
    assert!(!explained(&model, &[step(Did::Sent(1), 0, 1), step(Did::Empty, 2, 3)], 0));
    assert!(!explained(&model, &[step(Did::Sent(1), 0, 1), step(Did::Received(1), 2, 3), step(Did::Received(1), 2, 3)], 0));
}

#[test]
fn histories_are_linearizable() {
    each_way(|tasks| {
        let mut dice = Dice::new(7);
        for round in 0..scaled(100, 3_000) {
            let capacity = [0, 1, 2, usize::MAX][round % 4];
            let (tx, rx) = bounded(capacity);
            let clock = Arc::new(AtomicU64::new(0));
            let history = Arc::new(Mutex::new(Vec::new()));
            for task in 0..3 {
                let script: Vec<u64> = (0..3).map(|_| dice.below(20)).collect();
                let (tx, rx, clock, history) = (tx.clone(), rx.clone(), clock.clone(), history.clone());
                tasks.go(move || {
                    for (at, op) in script.into_iter().enumerate() {
                        let item = task * 10 + at as u32;
                        let began = clock.fetch_add(1, Ordering::SeqCst);
                        let did = perform(op, item, &tx, &rx);
                        let ended = clock.fetch_add(1, Ordering::SeqCst);
                        history.lock().unwrap().push(Step { did, began, ended });
                    }
                });
            }
            tasks.join();
            let history = history.lock().unwrap();
            let model = Model { capacity, buffer: VecDeque::new(), closed: false, handing: None };
            assert!(explained(&model, &history, 0), "capacity {capacity}: {history:#?}");
        }
    });
}

fn perform(op: u64, item: u32, tx: &throng::Sender<u32>, rx: &throng::Receiver<u32>) -> Did {
    let brief = Duration::from_micros(50);
    match op {
        0..5 => match tx.send_timeout(item, brief) {
            Ok(()) => Did::Sent(item),
            Err(SendTimeoutError::Closed(_)) => Did::SawClosedSending,
            Err(_) => Did::Nothing,
        },
        5..10 => match rx.recv_timeout(brief) {
            Ok(item) => Did::Received(item),
            Err(RecvTimeoutError::Closed) => Did::SawClosedReceiving,
            Err(_) => Did::Nothing,
        },
        10..14 => match tx.try_send(item) {
            Ok(()) => Did::Sent(item),
            Err(TrySendError::Full(_)) => Did::Full,
            Err(TrySendError::Closed(_)) => Did::SawClosedSending,
        },
        14..19 => match rx.try_recv() {
            Ok(item) => Did::Received(item),
            Err(TryRecvError::Empty) => Did::Empty,
            Err(TryRecvError::Closed) => Did::SawClosedReceiving,
        },
        _ => Did::Closed(tx.close()),
    }
}
