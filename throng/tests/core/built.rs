//! What the guide builds, `docs/core.md`: a mailbox and a semaphore, each with parking calls and with futures.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};

use throng::core::{WaitError, WaitList, Wake};

/// A channel for one item.
pub(crate) struct Mailbox<T> {
    /// One, or none; but for what a receiver has given back.
    items: Mutex<VecDeque<T>>,
    senders: WaitList<Option<T>>,
    receivers: WaitList<Option<T>>,
}

/// Why a call has failed: cancelled or closed. A send's has its item.
pub(crate) type Failed<T> = WaitError<Option<T>>;

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Mailbox<T> {
        Mailbox { items: Mutex::new(VecDeque::new()), senders: WaitList::new(), receivers: WaitList::new() }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap()
    }

    /// Whether the item is gone: to a receiver, who is to be woken, or into the box.
    fn offer(&self, items: &mut VecDeque<T>, item: &mut Option<T>) -> (bool, Option<Wake>) {
        let woken = self.receivers.claim(item);
        if woken.is_none() && items.is_empty() && !self.senders.is_closed() {
            items.extend(item.take());
        }
        (item.is_none(), woken)
    }

    /// The item, and a sender that is to be woken: the box has its item now.
    fn take(&self, items: &mut VecDeque<T>) -> Option<(T, Option<Wake>)> {
        let item = items.pop_front()?;
        let mut next = None;
        let woken = if items.is_empty() { self.senders.claim(&mut next) } else { None };
        items.extend(next);
        Some((item, woken))
    }

    pub(crate) fn send(&self, item: T) -> Result<(), Failed<T>> {
        let mut item = Some(item);
        let mut items = self.lock();
        let (gone, woken) = self.offer(&mut items, &mut item);
        if !gone {
            return self.senders.wait(items, item).map(drop);
        }
        drop(items);
        drop(woken);
        Ok(())
    }

    pub(crate) fn recv(&self) -> Result<T, Failed<T>> {
        let mut items = self.lock();
        let Some((item, woken)) = self.take(&mut items) else {
            return self.receivers.wait(items, None).map(|item| item.expect("a receiver is claimed with an item"));
        };
        drop(items);
        drop(woken);
        Ok(item)
    }

    pub(crate) async fn send_async(&self, item: T) -> Result<(), Failed<T>> {
        let waiting = {
            let mut item = Some(item);
            let mut items = self.lock();
            let (gone, woken) = self.offer(&mut items, &mut item);
            if gone {
                drop(items);
                drop(woken);
                return Ok(());
            }
            // One that is dropped when its item has been taken has sent it: what comes back is nothing.
            let mut waiting = Box::pin(self.senders.waiting(item, drop));
            waiting.as_mut().enter();
            waiting
        };
        waiting.await.map(drop)
    }

    pub(crate) async fn recv_async(&self) -> Result<T, Failed<T>> {
        // One that is dropped with an item in its hands gives it back.
        let mut waiting = pin!(self.receivers.waiting(None, |item| self.give_back(item)));
        {
            let mut items = self.lock();
            if let Some((item, woken)) = self.take(&mut items) {
                drop(items);
                drop(woken);
                return Ok(item);
            }
            waiting.as_mut().enter();
        }
        waiting.await.map(|item| item.expect("a receiver is claimed with an item"))
    }

    fn give_back(&self, mut item: Option<T>) {
        let mut items = self.lock();
        let woken = self.receivers.claim(&mut item);
        if let Some(item) = item {
            items.push_front(item);
        }
        drop(items);
        drop(woken);
    }

    /// What is in the box can still be received.
    pub(crate) fn close(&self) {
        let items = self.lock();
        let woken = (self.senders.close(), self.receivers.close());
        drop(items);
        drop(woken);
    }
}

/// A number of permits.
pub(crate) struct Semaphore {
    free: Mutex<usize>,
    waiting: WaitList<()>,
}

impl Semaphore {
    pub(crate) fn new(permits: usize) -> Semaphore {
        Semaphore { free: Mutex::new(permits), waiting: WaitList::new() }
    }

    pub(crate) fn acquire(&self) -> Result<(), WaitError<()>> {
        let mut free = self.free.lock().unwrap();
        if *free == 0 {
            return self.waiting.wait(free, ());
        }
        *free -= 1;
        Ok(())
    }

    pub(crate) async fn acquire_async(&self) -> Result<(), WaitError<()>> {
        let mut waiting = pin!(self.waiting.waiting((), |()| self.release()));
        {
            let mut free = self.free.lock().unwrap();
            if *free > 0 {
                *free -= 1;
                return Ok(());
            }
            waiting.as_mut().enter();
        }
        waiting.await
    }

    pub(crate) fn release(&self) {
        let mut free = self.free.lock().unwrap();
        let woken = self.waiting.claim(&mut ());
        if woken.is_none() {
            *free += 1;
        }
        drop(free);
        drop(woken);
    }

    pub(crate) fn free(&self) -> usize {
        *self.free.lock().unwrap()
    }
}
