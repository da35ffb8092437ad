//! Shutting down at any moment, from anywhere: every destructor runs once, every thread ends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use throng::{Cancelled, Runtime, Sender, WaitGroup, blocking, bounded, go, never, rendezvous, scope, shield, sleep, timeout, yield_now};

use crate::common::processes::{child_passes, is_child, threads};
use crate::common::runtimes::builder;
use crate::common::{Aviary, Canary, Dice, on_runtimes, scaled, watched};

const FOREVER: Duration = Duration::from_secs(3600);

/// Goroutines in every way of waiting, and some that make more of them, all holding canaries.
#[derive(Clone)]
struct Zoo {
    aviary: Aviary,
    mutex: Arc<throng::Mutex<()>>,
    group: Arc<WaitGroup>,
    full: Sender<Canary>,
    blocked: Arc<(StdMutex<bool>, std::sync::Condvar)>,
    begun: Arc<AtomicUsize>,
}

/// Parks when it is dropped, as the last thing its goroutine does.
struct ParksOnDrop(#[allow(dead_code)] Canary);

impl Drop for ParksOnDrop {
    fn drop(&mut self) {
        let _ = yield_now();
        let _ = sleep(FOREVER);
    }
}

const ENDS_AT_ONCE: u64 = 15;

impl Zoo {
    fn animal(&self, kind: u64) {
        let zoo = self.clone();
        let canary = self.aviary.canary();
        let detached = Arc::new(AtomicBool::new(false));
        let is_detached = Arc::clone(&detached);
        let handle = go(move || {
            zoo.begun.fetch_add(1, Ordering::Relaxed);
            zoo.live(kind, &canary);
            canary.sing();
            // A value that is there before its handle goes is dropped by whoever drops the handle: the keeper is not to park for ever.
            while kind == ENDS_AT_ONCE && !is_detached.load(Ordering::Relaxed) && yield_now().is_ok() {}
            if kind.is_multiple_of(3) { Some(ParksOnDrop(canary)) } else { None }
        });
        if kind.is_multiple_of(2) {
            // A handle that somebody waits with.
            let canary = self.aviary.canary();
            drop(go(move || {
                let joined = handle.join();
                canary.sing();
                drop(joined);
            }));
        } else {
            drop(handle);
        }
        detached.store(true, Ordering::Relaxed);
    }

    fn live(&self, kind: u64, canary: &Canary) {
        match kind {
            0 => _ = sleep(FOREVER),
            1 => _ = rendezvous::<u8>().1.recv(),
            2 => _ = self.full.send(self.aviary.canary()).map_err(|error| error.into_inner().sing()),
            3 => _ = throng::select! { recv(never::<u8>()) -> _ => (), after(FOREVER) => () },
            4 => _ = go(|| sleep(FOREVER)).join(),
            5 => {
                let held = self.mutex.lock();
                let _ = sleep(FOREVER);
                drop(held);
            }
            6 => _ = self.mutex.lock().map(|_| ()),
            7 => _ = self.group.wait(),
            8 => {
                let inside = self.aviary.canary();
                _ = blocking(|| {
                    drop(self.blocked.1.wait_while(self.blocked.0.lock().unwrap(), |open| !*open).unwrap());
                    inside.sing();
                });
            }
            9 => {
                let _ = scope(|s| {
                    for _ in 0..3 {
                        s.go(|| {
                            let slept = sleep(FOREVER);
                            canary.sing();
                            slept
                        });
                    }
                    s.go(move || {
                        for _ in 0..100 {
                            s.go(|| canary.sing());
                            yield_now()?;
                        }
                        Ok::<_, Cancelled>(())
                    });
                    Ok::<_, Cancelled>(())
                });
            }
            10 => _ = timeout(FOREVER, || rendezvous::<u8>().1.recv()),
            11 => while yield_now().is_ok() {},
            12 => {
                // Goes on spawning, also when it has been cancelled.
                for _ in 0..20 {
                    let canary = self.aviary.canary();
                    drop(go(move || canary.sing()));
                    let _ = yield_now();
                }
            }
            // Ends at once, and parks in the drop of its value.
            ENDS_AT_ONCE => {}
            _ => {
                let _ = sleep(FOREVER);
                // Clean-up that parks.
                shield(|| {
                    let _ = yield_now();
                    let _ = sleep(Duration::from_micros(10));
                });
            }
        }
    }
}

fn one_zoo(seed: u64) {
    let mut dice = Dice::new(seed);
    let aviary = Aviary::new();
    let workers = 1 + dice.below(3) as usize;
    let shaken = (dice.below(2) == 0).then_some(seed);
    let runtime = builder(workers, shaken).max_blocking_threads(2).build().unwrap();
    let (full, receiver) = bounded(1);
    let zoo =
        Zoo { aviary: aviary.clone(), mutex: Arc::default(), group: Arc::default(), full, blocked: Arc::default(), begun: Arc::default() };
    zoo.group.add(1);
    zoo.full.send(aviary.canary()).unwrap();
    let animals = dice.below(60);
    let some = dice.below(animals + 1) as usize;
    let feed = {
        let zoo = zoo.clone();
        let kinds: Vec<_> = (0..animals).map(|_| dice.below(16)).collect();
        move || kinds.into_iter().for_each(|kind| zoo.animal(kind))
    };
    // Fed from inside or from outside; and it is closed when some have begun, whatever they are doing.
    let keeper = runtime.go(feed);
    if dice.below(3) == 0 {
        keeper.join().unwrap();
        while zoo.begun.load(Ordering::Relaxed) < some {
            std::thread::yield_now();
        }
    } else {
        for _ in 0..dice.below(2_000) {
            std::hint::spin_loop();
        }
        drop(keeper);
    }
    // Blocking calls are waited for: let them end, before or while the runtime closes.
    let open = {
        let blocked = Arc::clone(&zoo.blocked);
        move || {
            *blocked.0.lock().unwrap() = true;
            blocked.1.notify_all();
        }
    };
    let opener = std::thread::spawn(open);
    drop(runtime);
    opener.join().unwrap();
    drop((zoo, receiver));
    assert_eq!(aviary.alive(), 0, "canaries left");
    // The next one works.
    if seed.is_multiple_of(8) {
        assert_eq!(throng::run(|| go(|| 5).join().unwrap()), 5);
    }
}

#[test]
fn shutdown_any_moment() {
    // In a process of its own, so that it can count the threads.
    child_passes("shutdown::child_shutdown_any_moment");
}

#[test]
#[ignore = "child process"]
fn child_shutdown_any_moment() {
    if !is_child() {
        return;
    }
    let before = threads();
    let seeds = std::env::var("THRONG_STRESS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(scaled(300, 3_000) as u64) {
        watched(&format!("seed {seed}"), || one_zoo(seed));
        // The kernel removes an ended thread from the list a little after it was joined.
        let mut looks = 0;
        while threads() != before {
            looks += 1;
            assert!(looks < 10_000, "seed {seed}: {} threads, {before} before", threads());
            std::thread::yield_now();
        }
    }
}

#[test]
fn shutdown_from_inside() {
    child_passes("shutdown::child_shutdown_from_inside");
}

#[test]
#[ignore = "child process"]
fn child_shutdown_from_inside() {
    if !is_child() {
        return;
    }
    let before = threads();
    for round in 0..scaled(50, 500) {
        watched(&format!("round {round}"), || {
            let aviary = Aviary::new();
            let runtime = Arc::new(builder(1 + round % 3, None).build().unwrap());
            let (tx, rx) = bounded(1);
            let (canary, sleeper) = (aviary.canary(), aviary.canary());
            drop(runtime.go(move || {
                let _ = sleep(FOREVER);
                sleeper.sing();
            }));
            let last = Arc::clone(&runtime);
            let task = runtime.go(move || {
                canary.sing();
                // Once it is the last: here, or on a blocking thread of the runtime's own.
                let runtime: Arc<Runtime> = rx.recv().unwrap();
                drop(last);
                if round % 2 == 0 {
                    drop(runtime);
                } else {
                    blocking(move || drop(runtime)).unwrap();
                }
                // It has begun: parks are refused, the rest goes on.
                while yield_now().is_ok() {}
                canary.sing();
                7
            });
            tx.send(runtime).unwrap();
            assert_eq!(task.join().unwrap(), 7);
            // By themselves.
            while aviary.alive() != 0 {
                std::thread::yield_now();
            }
            while threads() > before + 1 {
                std::thread::yield_now();
            }
        });
    }
}

#[test]
fn go_after_shutdown_is_refused() {
    on_runtimes(|runtime, _| {
        let (tx, rx) = rendezvous::<()>();
        let inside = runtime.go(move || {
            let _ = rx.recv();
            // Inside, while the runtime closes: taken, and cancelled before it runs.
            go(|| -> () { unreachable!() })
        });
        inside.cancel();
        drop(tx);
        drop(inside);
    });
    // A runtime whose last goroutines still run refuses new ones from outside.
    watched("1 worker", || {
        let runtime = Arc::new(Runtime::builder().workers(1).build().unwrap());
        let (tx, rx) = rendezvous::<()>();
        let (begun, has_begun) = rendezvous();
        let task = runtime.go(move || {
            begun.send(()).unwrap();
            assert!(sleep(FOREVER).is_err());
            shield(|| rx.recv()).is_ok()
        });
        has_begun.recv().unwrap();
        let closer = std::thread::spawn(move || drop(runtime));
        tx.send(()).unwrap();
        closer.join().unwrap();
        assert!(task.join().unwrap());
    });
}

#[test]
fn run_ends_what_it_has_not_waited_for() {
    watched("default", || {
        let aviary = Aviary::new();
        for _ in 0..scaled(20, 200) {
            throng::run(|| {
                for i in 0..50 {
                    let canary = aviary.canary();
                    drop(go(move || {
                        if i % 2 == 0 {
                            let _ = sleep(FOREVER);
                        }
                        canary.sing();
                    }));
                }
            });
            assert_eq!(aviary.alive(), 0);
        }
    });
}
