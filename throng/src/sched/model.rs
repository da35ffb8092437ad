//! What of the scheduler is checked by loom: the queue, the idle protocol, and with them the inbox.
//!
//! The workers here are what `rest.rs` makes of them, less the naps: a watcher that finds nothing leaves the queues unwatched and sleeps at once, without a deadline. A lost
//! wake-up is a thread that sleeps for ever, which loom reports as a deadlock.

#[path = "idle.rs"]
mod idle;
#[path = "queue.rs"]
mod queue;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::home::local::Local;
use crate::home::{Home, Message, pool};
use idle::{Idle, Rest};
use queue::{Queue, Which};

struct Model {
    idle: Box<Idle>,
    homes: Vec<&'static Home>,
    queues: Vec<Queue<u32>>,
    /// Tasks not yet taken.
    left: AtomicUsize,
    /// What becomes of a slot that is to get a thread: it gets one, or is refused.
    threads: bool,
    begun: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Model {
    fn new(workers: usize, tasks: usize) -> Arc<Model> {
        Model::with_slots(workers, workers, true, tasks)
    }

    /// The first `workers` of the `slots` have threads.
    fn with_slots(workers: usize, slots: usize, threads: bool, tasks: usize) -> Arc<Model> {
        let homes: Vec<_> = (0..slots).map(|_| pool::take()).collect();
        let queues = (0..slots).map(|_| Queue::new()).collect();
        let idle = Idle::new(&homes, workers, slots);
        Arc::new(Model { idle, homes, queues, left: AtomicUsize::new(tasks), threads, begun: Mutex::new(Vec::new()) })
    }

    /// A worker's push, into its own queue.
    fn submit(self: &Arc<Self>, worker: usize) {
        if self.queues[worker].push(7) {
            self.wake_one();
        }
    }

    fn wake_one(self: &Arc<Self>) {
        let Some(slot) = self.idle.wake_one() else { return };
        if self.threads {
            let model = Arc::clone(self);
            let thread = thread::spawn(move || model.work_as(slot, true));
            self.begun.lock().unwrap().push(thread);
        } else if self.idle.refuse(slot) && !self.leave_all_unwatched() {
            self.wake_one();
        }
    }

    fn join_begun(&self) {
        loop {
            let Some(thread) = self.begun.lock().unwrap().pop() else { return };
            thread.join().unwrap();
        }
    }

    fn leave_all_unwatched(&self) -> bool {
        self.queues[..self.idle.started()].iter().all(Queue::leave_unwatched)
    }

    fn rise(self: &Arc<Self>, worker: usize) {
        if self.idle.rise(worker) && !self.leave_all_unwatched() {
            self.wake_one();
        }
    }

    fn take(&self) -> bool {
        let mut loot = Vec::new();
        for queue in &self.queues[..self.idle.started()] {
            queue.steal(&mut loot, Which::Any);
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
    fn work(self: &Arc<Self>, worker: usize) {
        self.work_as(worker, false);
    }

    /// `noted`: it is the watcher already.
    fn work_as(self: &Arc<Self>, worker: usize, mut noted: bool) {
        let home = self.homes[worker];
        let local = Local::new(home);
        self.idle.enter(worker);
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
                Rest::Away { .. } => unreachable!("all are on duty"),
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

/// An elastic pool: no worker rests, so the task gets a thread, which may find a second task and ask for the next.
#[test]
fn loom_slot_gets_a_thread() {
    check(2, || {
        let model = Model::with_slots(1, 3, true, 2);
        model.submit(0);
        model.submit(0);
        model.join_begun();
        assert_eq!(model.left.load(Ordering::Relaxed), 0);
    });
}

/// The thread is refused while a worker runs dry, which takes the slot for the watcher and falls asleep: it must be woken instead.
#[test]
fn loom_slot_is_refused() {
    check(3, || {
        let model = Model::with_slots(2, 3, false, 1);
        let idle = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.work(1))
        };
        model.submit(0);
        idle.join().unwrap();
        assert_eq!(model.left.load(Ordering::Relaxed), 0);
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
