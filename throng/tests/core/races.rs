//! Resuming, cancelling, abandoning and dropping at once: each value is in one place afterwards, and nobody hangs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use throng::core::{Continuation, SuspendError, WaitError, suspend, suspend_async};
use throng::{Cancelled, JoinError, bounded, go, launch, scope, shield, sleep, timeout_async, yield_now};

use crate::built::{Mailbox, Semaphore};
use crate::common::{Aviary, Canary, Dice, on_runtimes, scaled};

fn stall(n: u64) {
    for _ in 0..n {
        std::hint::spin_loop();
    }
}

/// What is known of a round.
#[derive(Default)]
struct Books {
    /// Values that a hook was given.
    by_hook: Mutex<Vec<Option<Canary>>>,
}

impl Books {
    fn hook(self: &Arc<Books>, continuation: &Continuation<Canary>) {
        let books = Arc::clone(self);
        continuation.on_cancel(move |value| books.by_hook.lock().unwrap().push(value));
    }

    /// What the waiting one and the resuming one came to must fit together.
    fn check(&self, waited: Result<Result<Canary, SuspendError>, JoinError>, resumed: Option<Result<(), Canary>>, label: &str) {
        let by_hook = std::mem::take(&mut *self.by_hook.lock().unwrap());
        match (waited, resumed) {
            // The value has won.
            (Ok(Ok(value)), Some(Ok(()))) => {
                value.sing();
                assert!(by_hook.is_empty(), "{label}");
            }
            // The cancellation has.
            (Ok(Err(SuspendError::Cancelled)), Some(Err(value))) => {
                value.sing();
                assert!(matches!(by_hook[..], [None]), "{label}: {by_hook:?}");
            }
            (Ok(Err(SuspendError::Cancelled)), None) => assert!(matches!(by_hook[..], [None]), "{label}: {by_hook:?}"),
            (Ok(Err(SuspendError::Abandoned)), None) => assert!(by_hook.is_empty(), "{label}"),
            // It had not begun.
            (Err(JoinError::TaskCancelled(_)), None) => assert!(by_hook.is_empty(), "{label}: {by_hook:?}"),
            (waited, resumed) => panic!("{label}: {waited:?}, {resumed:?}, {by_hook:?}"),
        }
    }
}

/// One waits, one resumes or abandons, one cancels, each where and when the dice say.
#[test]
fn resume_abandon_and_cancel() {
    on_runtimes(|runtime, label| {
        let aviary = Aviary::new();
        let mut dice = Dice::new(0xc0);
        let mut outcomes = [0_usize; 2];
        runtime.run(|| {
            for _ in 0..scaled(300, 6_000) {
                let books = Arc::new(Books::default());
                let (tx, rx) = bounded::<Continuation<Canary>>(1);
                let setup = {
                    let books = Arc::clone(&books);
                    move |continuation| {
                        books.hook(&continuation);
                        tx.send(continuation).expect("there is room");
                    }
                };
                let waiter = match dice.below(3) {
                    0 => go(move || suspend(setup)),
                    1 => launch(async move { suspend_async(setup).await }),
                    // In the midst of a turn.
                    _ => launch(async move { suspend(setup) }),
                };
                let (abandons, before) = (dice.below(4) == 0, dice.below(400));
                let canary = aviary.canary();
                let resume = move || {
                    let continuation = rx.recv().ok()?;
                    stall(before);
                    if abandons {
                        return None;
                    }
                    Some(continuation.resume(canary))
                };
                let resumer = go(resume);
                for _ in 0..dice.below(4) {
                    yield_now().unwrap();
                }
                stall(dice.below(400));
                if dice.below(4) != 0 {
                    waiter.cancel();
                }
                let (waited, resumed) = (waiter.join(), resumer.join().unwrap());
                outcomes[usize::from(!matches!(waited, Ok(Ok(_))))] += 1;
                books.check(waited, resumed, label);
                assert_eq!(aviary.alive(), 0, "{label}");
            }
        });
        println!("{label}: with a value and without: {outcomes:?}");
    });
}

/// A limit of time drops the future, at about the time it is resumed.
#[test]
fn resume_and_drop() {
    on_runtimes(|runtime, label| {
        let aviary = Aviary::new();
        let mut dice = Dice::new(0xd0);
        runtime.run(|| {
            for _ in 0..scaled(40, 400) {
                let books = Arc::new(Books::default());
                let canary = aviary.canary();
                let after = Duration::from_micros(dice.below(200));
                let (tx, rx) = bounded(1);
                let setup = {
                    let books = Arc::clone(&books);
                    move |continuation: Continuation<Canary>| {
                        books.hook(&continuation);
                        let canary_resumes = move || {
                            _ = sleep(after);
                            _ = tx.send(continuation.resume(canary));
                        };
                        go(canary_resumes);
                    }
                };
                let waited = launch(timeout_async(Duration::from_micros(100), suspend_async(setup))).join().unwrap();
                let resumed = rx.recv().unwrap();
                let by_hook = std::mem::take(&mut *books.by_hook.lock().unwrap());
                match (waited, resumed, &by_hook[..]) {
                    (Ok(Ok(value)), Ok(()), []) => value.sing(),
                    (Err(_), Err(value), [None]) => value.sing(),
                    (Err(_), Ok(()), [Some(value)]) => value.sing(),
                    (waited, resumed, by_hook) => panic!("{label}: {waited:?}, {resumed:?}, {by_hook:?}"),
                }
            }
        });
        assert_eq!(aviary.alive(), 0, "{label}");
    });
}

/// Many at the mailbox of the guide, of both kinds, some of whom are cancelled: each item is received once or comes back.
#[test]
fn the_mailbox_loses_nothing() {
    on_runtimes(|runtime, label| {
        let aviary = Aviary::new();
        let mailbox = Arc::new(Mailbox::new());
        let [sent, received, returned] = [const { AtomicUsize::new(0) }; 3];
        let seed = AtomicU64::new(0xb0);
        runtime.run(|| {
            let count = |counter: &AtomicUsize| _ = counter.fetch_add(1, Ordering::Relaxed);
            scope(|s| {
                let (mailbox, aviary, sent, received, returned) = (&mailbox, &aviary, &sent, &received, &returned);
                let rounds = scaled(30, 300);
                let mut senders = Vec::new();
                for kind in 0..4 {
                    let dice = Dice::new(seed.fetch_add(1, Ordering::Relaxed));
                    senders.push(s.go(move || {
                        let mut dice = dice;
                        for _ in 0..rounds {
                            let (item, mailbox) = (aviary.canary(), Arc::clone(mailbox));
                            let task = if kind % 2 == 0 {
                                go(move || mailbox.send(item))
                            } else {
                                launch(async move { mailbox.send_async(item).await })
                            };
                            for _ in 0..dice.below(3) {
                                yield_now()?;
                            }
                            if dice.below(3) == 0 {
                                task.cancel();
                            }
                            match task.join() {
                                Ok(Ok(())) => count(sent),
                                Ok(Err(WaitError::Cancelled(item))) => {
                                    item.expect("the item").sing();
                                    count(returned);
                                }
                                // It had not begun, and dropped it.
                                Err(JoinError::TaskCancelled(_)) => count(returned),
                                other => panic!("{label}: {other:?}"),
                            }
                        }
                        Ok::<_, Cancelled>(())
                    }));
                    let dice = Dice::new(seed.fetch_add(1, Ordering::Relaxed));
                    s.go(move || {
                        let mut dice = dice;
                        loop {
                            let mailbox = Arc::clone(mailbox);
                            let task =
                                if kind % 2 == 0 { go(move || mailbox.recv()) } else { launch(async move { mailbox.recv_async().await }) };
                            for _ in 0..dice.below(3) {
                                yield_now()?;
                            }
                            if dice.below(3) == 0 {
                                task.cancel();
                            }
                            match task.join() {
                                Ok(Ok(item)) => {
                                    item.sing();
                                    count(received);
                                }
                                Ok(Err(WaitError::Closed(_))) => return Ok::<_, Cancelled>(()),
                                Ok(Err(WaitError::Cancelled(_))) | Err(JoinError::TaskCancelled(_)) => {}
                                other => panic!("{label}: {other:?}"),
                            }
                        }
                    });
                }
                for sender in senders {
                    sender.join().unwrap();
                }
                mailbox.close();
                Ok::<_, Cancelled>(())
            })
            .unwrap();
            // Who was given an item as it went has put it back, perhaps after the last one had looked.
            while let Ok(item) = mailbox.recv() {
                item.sing();
                count(&received);
            }
            let late = mailbox.send(aviary.canary());
            assert!(matches!(late, Err(WaitError::Closed(Some(_)))), "{label}");
        });
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        assert_eq!(read(&sent), read(&received), "{label}: {} came back", read(&returned));
        assert_eq!(aviary.alive(), 0, "{label}");
    });
}

/// Permits are neither lost nor made, whoever is cancelled when; and no more hold one than there are.
#[test]
fn the_semaphore_keeps_its_permits() {
    const PERMITS: usize = 3;
    on_runtimes(|runtime, label| {
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let inside = Arc::new(AtomicUsize::new(0));
        let mut dice = Dice::new(0xe0);
        runtime.run(|| {
            let tasks: Vec<_> = (0..scaled(200, 3_000))
                .map(|n| {
                    let (semaphore, inside) = (Arc::clone(&semaphore), Arc::clone(&inside));
                    let use_it = move || {
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < PERMITS, "too many");
                        _ = shield(yield_now);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    };
                    let task = if n % 2 == 0 {
                        go(move || {
                            semaphore.acquire()?;
                            use_it();
                            semaphore.release();
                            Ok::<_, WaitError<()>>(())
                        })
                    } else {
                        launch(async move {
                            semaphore.acquire_async().await?;
                            use_it();
                            semaphore.release();
                            Ok(())
                        })
                    };
                    if dice.below(4) == 0 {
                        yield_now().unwrap();
                    }
                    if dice.below(3) == 0 {
                        task.cancel();
                    }
                    task
                })
                .collect();
            for task in tasks {
                match task.join() {
                    Ok(Ok(()) | Err(WaitError::Cancelled(()))) | Err(JoinError::TaskCancelled(_)) => {}
                    other => panic!("{label}: {other:?}"),
                }
            }
        });
        assert_eq!(semaphore.free(), PERMITS, "{label}");
    });
}
