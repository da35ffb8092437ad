//! What of the scheduler is checked by loom: the queue, the idle protocol, and with them the inbox.
//!
//! The workers here are what `rest.rs` makes of them, less the naps: a watcher that finds nothing leaves the queues unwatched and sleeps at once, without a deadline. A lost
//! wake-up is a thread that sleeps for ever, which loom reports as a deadlock.

#[path = "idle.rs"]
mod idle;
#[path = "queue.rs"]
mod queue;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::cell::Cell;
use std::ptr::NonNull;

use crate::home::local::Local;
use crate::home::{Home, Message, pool};
use idle::{Idle, Rest};
use queue::Queue;

struct Model {
    idle: Box<Idle>,
    homes: Vec<&'static Home>,
    queues: Vec<Queue<u32>>,
    /// Tasks not yet taken.
    left: AtomicUsize,
}

impl Model {
    fn new(workers: usize, tasks: usize) -> Arc<Model> {
        let homes: Vec<_> = (0..workers).map(|_| pool::take()).collect();
        let queues = (0..workers).map(|_| Queue::new()).collect();
        Arc::new(Model { idle: Idle::new(&homes), homes, queues, left: AtomicUsize::new(tasks) })
    }

    /// A worker's push, into its own queue.
    fn submit(&self, worker: usize) {
        if self.queues[worker].push(7) {
            self.idle.wake_one();
        }
    }

    fn leave_all_unwatched(&self) -> bool {
        self.queues.iter().all(Queue::leave_unwatched)
    }

    fn rise(&self, worker: usize) {
        if self.idle.rise(worker) && !self.leave_all_unwatched() {
            self.idle.wake_one();
        }
    }

    fn take(&self) -> bool {
        let mut loot = Vec::new();
        for queue in &self.queues {
            queue.steal(&mut loot, false);
            if !loot.is_empty() {
                return true;
            }
        }
        false
    }

    /// The last task has been taken: everybody is to look once more, and end.
    fn took_one(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.wake_all();
        }
    }

    /// A worker that has no work of its own, until all tasks have been taken.
    fn work(&self, worker: usize) {
        let home = self.homes[worker];
        let local = Local::new(home);
        let mut noted = false;
        loop {
            local.read_mail();
            if self.left.load(Ordering::Acquire) == 0 {
                break;
            }
            if noted && self.take() {
                noted = false;
                self.rise(worker);
                self.took_one();
                continue;
            }
            noted = true;
            match self.idle.rest(worker) {
                Rest::Sleep => {
                    home.sleep(None);
                }
                Rest::Watch => {
                    if self.take() {
                        noted = false;
                        self.rise(worker);
                        self.took_one();
                    } else if self.leave_all_unwatched() {
                        self.idle.stop_watching(worker);
                        home.sleep(None);
                    }
                }
            }
        }
        while !self.idle.retire(worker) {
            local.read_mail();
        }
    }
}

fn check(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(preemptions);
    model.check(f);
}

/// One worker is stuck in a task that submits another; an idle one must come and take it.
#[test]
fn loom_submit_vs_sleep() {
    check(3, || {
        let model = Model::new(2, 1);
        let idle = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.work(1))
        };
        model.submit(0);
        idle.join().unwrap();
        assert_eq!(model.left.load(Ordering::Relaxed), 0);
    });
}

/// Two submissions, one idle worker: the second must not be lost while the first is being taken.
#[test]
fn loom_submit_twice() {
    check(2, || {
        let model = Model::new(2, 2);
        let idle = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.work(1))
        };
        model.submit(0);
        model.submit(0);
        idle.join().unwrap();
    });
}

/// Two idle workers: whichever watches or sleeps, the task is taken, and the one that takes it hands over.
#[test]
fn loom_watcher_hands_over() {
    check(2, || {
        let model = Model::new(3, 1);
        let idle: Vec<_> = (1..3)
            .map(|worker| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.work(worker))
            })
            .collect();
        model.submit(0);
        for worker in idle {
            worker.join().unwrap();
        }
    });
}

/// A message with a count, for the inbox alone.
#[repr(C)]
struct Letter {
    message: Message,
    read: Cell<bool>,
}

unsafe fn read_letter(message: NonNull<Message>, _: &Local) {
    // SAFETY: posted by the tests below with this function.
    let letter = unsafe { message.cast::<Letter>().as_ref() };
    assert!(!letter.read.replace(true), "read twice");
}

/// Two pushers and a home that sleeps in between: every message is read, once, and nobody sleeps for ever.
#[test]
fn loom_push_vs_sleep() {
    check(3, || {
        let home = pool::take();
        let letters: [&'static Letter; 2] =
            std::array::from_fn(|_| &*Box::leak(Box::new(Letter { message: Message::new(), read: Cell::new(false) })));
        let pushers = letters.map(|letter| {
            let letter = std::ptr::from_ref(letter).expose_provenance();
            thread::spawn(move || {
                let letter = NonNull::new(std::ptr::with_exposed_provenance_mut::<Message>(letter)).unwrap();
                // SAFETY: a fresh letter, pushed once, leaked.
                unsafe { home.push(letter, read_letter) };
            })
        });
        let local = Local::new(home);
        while letters.iter().any(|letter| !letter.read.get()) {
            local.read_mail();
            if letters.iter().any(|letter| !letter.read.get()) {
                home.sleep(None);
            }
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}
