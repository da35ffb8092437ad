//! What of tasks is checked by loom: the turns of a coroutine, and who frees it.
//!
//! The workers are reduced to a queue of one place: that there is never a second task for it is one of the things checked. The body is a cell whose uses the checker watches: two turns at once, or
//! a turn that does not see what the one before did, are reported. A lost wake is a worker that waits for ever, which is reported as a deadlock.

#[path = "turn_word.rs"]
mod turn_word;

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::lock::SpinLock;
use turn_word::{Turn, TurnWord, WAKERS};

/// A coroutine that waits for some events, and its queue.
struct Model {
    word: TurnWord,
    body: UnsafeCell<u32>,
    events: Vec<AtomicBool>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    queued: bool,
    ended: bool,
}

impl Model {
    fn new(events: usize) -> Arc<Model> {
        Arc::new(Model {
            word: TurnWord::new(),
            body: UnsafeCell::new(0),
            events: (0..events).map(|_| AtomicBool::new(false)).collect(),
            queue: Mutex::new(Queue { queued: true, ended: false }),
            changed: Condvar::new(),
        })
    }

    fn queue(&self) {
        let mut queue = self.queue.lock().unwrap();
        assert!(!queue.queued, "queued twice");
        assert!(!queue.ended, "queued after its end");
        queue.queued = true;
        drop(queue);
        self.changed.notify_one();
    }

    /// An event happens, and the coroutine is woken for it.
    fn happen(&self, event: usize) {
        // Relaxed: that the turn sees it is the word's business.
        self.events[event].store(true, Ordering::Relaxed);
        if self.word.notify() == Turn::Due {
            self.queue();
        }
    }

    /// Waits for a turn of it to be due. `false`: it has ended.
    fn take(&self) -> bool {
        let mut queue = self.queue.lock().unwrap();
        loop {
            if std::mem::take(&mut queue.queued) {
                return true;
            }
            if queue.ended {
                return false;
            }
            queue = self.changed.wait(queue).unwrap();
        }
    }

    fn end(&self) {
        self.queue.lock().unwrap().ended = true;
        self.changed.notify_all();
    }

    /// A worker.
    fn work(&self) {
        while self.take() {
            self.word.begin();
            self.body.with_mut(|turns| {
                // SAFETY: this is what the model checks.
                unsafe { *turns += 1 }
            });
            if self.events.iter().all(|event| event.load(Ordering::Relaxed)) {
                self.end();
            } else if self.word.pause() {
                self.queue();
            }
        }
    }
}

#[test]
fn loom_turns_no_wake_is_lost() {
    loom::model(|| {
        let model = Model::new(2);
        let wakers: Vec<_> = (0..2)
            .map(|event| {
                let model = model.clone();
                thread::spawn(move || model.happen(event))
            })
            .collect();
        model.work();
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

#[test]
fn loom_turns_one_worker_at_a_time() {
    loom::model(|| {
        let model = Model::new(2);
        let waker = thread::spawn({
            let model = model.clone();
            move || (0..2).for_each(|event| model.happen(event))
        });
        let worker = thread::spawn({
            let model = model.clone();
            move || model.work()
        });
        model.work();
        waker.join().unwrap();
        worker.join().unwrap();
    });
}

const RUNTIME: u32 = 1 << 1;
const HANDLE: u32 = 1 << 2;
const REFERENCES: u32 = RUNTIME | HANDLE | WAKERS;

/// A coroutine's block.
struct Block {
    word: TurnWord,
    join: SpinLock<()>,
    /// Used by whoever has a reference; freed when there is none.
    memory: UnsafeCell<bool>,
}

impl Block {
    fn new() -> Arc<Block> {
        Arc::new(Block { word: TurnWord::new(), join: SpinLock::with_flags((), RUNTIME | HANDLE), memory: UnsafeCell::new(true) })
    }

    fn touch(&self) {
        self.memory.with(|there| {
            // SAFETY: this is what the model checks.
            assert!(unsafe { *there }, "used after it was freed");
        });
    }

    fn free(&self) {
        self.memory.with_mut(|there| {
            // SAFETY: as above.
            assert!(unsafe { std::mem::replace(&mut *there, false) }, "freed twice");
        });
    }

    /// As the runtime and the handle do.
    fn release(&self, reference: u32) {
        let mut join = self.join.lock();
        *join.flags() &= !reference;
        let last = *join.flags() & REFERENCES == 0;
        drop(join);
        if last {
            self.free();
        }
    }

    fn is_freed(&self) -> bool {
        self.memory.with(|there| {
            // SAFETY: as above.
            !unsafe { *there }
        })
    }
}

/// A waker, as far as the block is concerned.
struct Held(Arc<Block>);

impl Held {
    fn new(block: &Arc<Block>) -> Held {
        block.word.add_waker(&block.join);
        Held(block.clone())
    }

    /// A wake of a task whose last turn has begun.
    fn wake(&self) {
        self.0.touch();
        assert_ne!(self.0.word.notify(), Turn::Due, "queued after its end");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.touch();
        if self.0.word.drop_waker(&self.0.join, REFERENCES) {
            self.0.free();
        }
    }
}

#[test]
fn loom_turns_last_one_frees() {
    loom::model(|| {
        let block = Block::new();
        // The one turn it has; two wakers go elsewhere meanwhile.
        block.word.begin();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let held = Held::new(&block);
                thread::spawn(move || {
                    held.wake();
                    drop(held);
                })
            })
            .collect();
        block.release(HANDLE);
        block.word.end(&block.join);
        block.touch();
        block.release(RUNTIME);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(block.is_freed(), "never freed");
    });
}

#[test]
fn loom_turns_waker_outlives_all() {
    loom::model(|| {
        let block = Block::new();
        block.word.begin();
        let held = Held::new(&block);
        let waker = thread::spawn(move || {
            // A clone of a waker needs neither the turn nor the runtime.
            let other = Held::new(&held.0);
            drop(held);
            other.wake();
        });
        let handle = thread::spawn({
            let block = block.clone();
            move || block.release(HANDLE)
        });
        block.word.end(&block.join);
        block.touch();
        block.release(RUNTIME);
        waker.join().unwrap();
        handle.join().unwrap();
        assert!(block.is_freed(), "never freed");
    });
}
