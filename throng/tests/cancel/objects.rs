//! What the calls of the table wait at, with books: a channel whose items are counted, and a gate.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::channel::{RecvError, SendError, SendTimeoutError, TrySendError};
use throng::{Cancelled, Error, Receiver, Sender, bounded, rendezvous, shield, yield_now};

use crate::common::{Aviary, Canary};
use crate::parks::Park;

/// A channel, and what became of each item: it was received, or it came back.
pub(crate) struct Lane {
    pub(crate) tx: Sender<Canary>,
    pub(crate) rx: Receiver<Canary>,
    aviary: Aviary,
    made: AtomicUsize,
    sent: AtomicUsize,
    returned: AtomicUsize,
    received: AtomicUsize,
}

/// The error of a send, which has the item.
pub(crate) trait Unsent {
    fn parts(self) -> (Error, Canary);
}

impl Unsent for SendError<Canary> {
    fn parts(self) -> (Error, Canary) {
        match self {
            SendError::Cancelled(item) => (Error::Cancelled, item),
            SendError::Closed(item) => (Error::Closed, item),
        }
    }
}

impl Unsent for SendTimeoutError<Canary> {
    fn parts(self) -> (Error, Canary) {
        match self {
            SendTimeoutError::Cancelled(item) => (Error::Cancelled, item),
            SendTimeoutError::Closed(item) => (Error::Closed, item),
            SendTimeoutError::Timeout(item) => (Error::Elapsed, item),
        }
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

impl Lane {
    /// As `bounded` does: 0 is a rendezvous, `usize::MAX` no bound.
    pub(crate) fn new(capacity: usize) -> Lane {
        let (tx, rx) = bounded(capacity);
        let zero = || AtomicUsize::new(0);
        Lane { tx, rx, aviary: Aviary::new(), made: zero(), sent: zero(), returned: zero(), received: zero() }
    }

    pub(crate) fn item(&self) -> Canary {
        count(&self.made);
        self.aviary.canary()
    }

    /// Enters what became of a send.
    pub(crate) fn sent(&self, result: Result<(), impl Unsent>) -> Result<(), Error> {
        result.inspect(|()| count(&self.sent)).map_err(|unsent| {
            let (error, item) = unsent.parts();
            self.back(item);
            error
        })
    }

    /// Enters an item that came back.
    fn back(&self, item: Canary) {
        item.sing();
        count(&self.returned);
    }

    /// Enters an item that a select has dropped, since it did not choose its arm.
    pub(crate) fn dropped(&self) {
        count(&self.returned);
    }

    /// Enters what became of a receive.
    pub(crate) fn received<E: Into<Error>>(&self, result: Result<Canary, E>) -> Result<(), Error> {
        let item = result.map_err(Into::into)?;
        item.sing();
        count(&self.received);
        Ok(())
    }

    pub(crate) fn send(&self) -> Result<(), Error> {
        self.sent(self.tx.send(self.item()))
    }

    pub(crate) fn recv(&self) -> Result<(), Error> {
        self.received(self.rx.recv())
    }

    /// Makes the next send wait, if the channel has bounds.
    pub(crate) fn fill(&self) {
        while self.tx.capacity().is_some() {
            match self.tx.try_send(self.item()) {
                Ok(()) => count(&self.sent),
                Err(TrySendError::Full(item)) => return self.back(item),
                Err(TrySendError::Closed(_)) => unreachable!("nobody closes it"),
            }
        }
    }

    /// Makes the next receive wait.
    pub(crate) fn drain(&self) {
        while self.received(self.rx.try_recv().map_err(|_| RecvError::Closed)).is_ok() {}
    }

    /// Nobody uses the lane: every item must be accounted for, and nobody left in a queue.
    pub(crate) fn audit(&self) {
        self.drain();
        match self.tx.try_send(self.item()) {
            Ok(()) => {
                count(&self.sent);
                self.received(self.rx.try_recv().map_err(|_| RecvError::Closed)).expect("a receiver that has left took an item");
            }
            Err(error) => self.back(error.into_inner()),
        }
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        assert_eq!(read(&self.sent), read(&self.received), "sent and received");
        assert_eq!(read(&self.made), read(&self.sent) + read(&self.returned), "made and sent or returned");
        assert_eq!(self.aviary.alive(), 0, "items left");
    }

    /// A call that sends.
    pub(crate) fn sending<'a, E: Into<Error>>(&'a self, call: impl Fn(std::time::Instant) -> Result<(), E> + Sync + 'a) -> Park<'a> {
        Park::new(call).block(|| self.fill()).satisfy(|| self.recv().expect("a send")).audit(|_| self.audit())
    }

    /// A call that receives.
    pub(crate) fn receiving<'a, E: Into<Error>>(&'a self, call: impl Fn(std::time::Instant) -> Result<(), E> + Sync + 'a) -> Park<'a> {
        Park::new(call).block(|| self.drain()).satisfy(|| self.send().expect("a receive")).audit(|_| self.audit())
    }
}

/// Tasks wait at it until it is open. A channel: to open it is to close that.
pub(crate) struct Gate {
    channel: Mutex<(Sender<()>, Receiver<()>)>,
    passed: AtomicUsize,
}

impl Gate {
    /// Shut.
    pub(crate) fn new() -> Gate {
        Gate { channel: Mutex::new(rendezvous()), passed: AtomicUsize::new(0) }
    }

    /// The channel that is closed when the gate is opened.
    pub(crate) fn ends(&self) -> (Sender<()>, Receiver<()>) {
        self.channel.lock().unwrap().clone()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ends().0.is_closed()
    }

    pub(crate) fn open(&self) {
        self.ends().0.close();
    }

    /// For those who come from now on.
    pub(crate) fn shut(&self) {
        let mut channel = self.channel.lock().unwrap();
        if channel.0.is_closed() {
            *channel = rendezvous();
        }
    }

    pub(crate) fn pass(&self) -> Result<(), Cancelled> {
        let (_tx, rx) = self.ends();
        match rx.recv() {
            Err(RecvError::Closed) => {
                count(&self.passed);
                Ok(())
            }
            Err(RecvError::Cancelled) => Err(Cancelled::new()),
            Ok(()) => unreachable!("nobody sends"),
        }
    }

    /// How many have passed.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    /// If the gate is open, lets the task that `is_finished` asks about pass it and end, so that nobody has to wait for that task.
    pub(crate) fn see_through(&self, is_finished: impl Fn() -> bool) {
        while self.is_open() && !is_finished() {
            shield(yield_now).expect("masked");
        }
    }
}
