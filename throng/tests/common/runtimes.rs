//! The harness of the tests that have to hold on every kind of runtime: which runtimes those are, a watchdog, and canaries.

use std::io::Write;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use throng::{Builder, Policy, Runtime};

/// How long a body may take before the process is aborted as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// `small` in debug builds, `large` in release builds.
pub const fn scaled(small: usize, large: usize) -> usize {
    if cfg!(debug_assertions) { small } else { large }
}

/// Runs `body` on runtimes with 1, 2 and 8 workers, and shaken with a few seeds on 2 and 8. Says which one it was when it fails.
pub fn on_runtimes(mut body: impl FnMut(&Runtime, &str)) {
    let plain = [1, 2, 8].map(|workers| (workers, None));
    let shaken = [(2, Some(1)), (2, Some(0x5eed)), (8, Some(2)), (8, Some(0xfeed))];
    for (workers, seed) in plain.into_iter().chain(shaken) {
        on_runtime(workers, seed, &mut body);
    }
}

/// Runs `body` on one runtime, shaken if there is a seed.
pub fn on_runtime(workers: usize, seed: Option<u64>, body: &mut dyn FnMut(&Runtime, &str)) {
    let label = match seed {
        None => format!("{workers} workers"),
        Some(seed) => format!("{workers} workers, shake({seed:#x})"),
    };
    watched(&label, || {
        let runtime = builder(workers, seed).build().expect("a runtime");
        body(&runtime, &label);
    });
}

pub fn builder(workers: usize, seed: Option<u64>) -> Builder {
    let builder = Runtime::builder().workers(workers).stack_size(128 << 10).policy(chosen_policy());
    // One worker means one thread: tests of an order count on it, however seldom that gets a processor.
    let builder = if workers == 1 { builder.max_spare_workers(0) } else { builder };
    match seed {
        None => builder,
        Some(seed) => builder.shake(seed),
    }
}

/// The policy that the environment asks for, to run suites under another than the default: `THRONG_TEST_POLICY=go`.
fn chosen_policy() -> Policy {
    match std::env::var("THRONG_TEST_POLICY").as_deref() {
        Err(_) | Ok("throng") => Policy::throng(),
        Ok("go") => Policy::go(),
        Ok("kotlin") => Policy::kotlin(),
        Ok(other) => panic!("THRONG_TEST_POLICY is throng, go or kotlin, not {other}"),
    }
}

/// Runs `body`, and aborts the process with a message if it takes too long. Says `label` if it panics.
pub fn watched<R>(label: &str, body: impl FnOnce() -> R) -> R {
    let name = format!("{} ({label})", std::thread::current().name().unwrap_or("?"));
    let _failure = SayOnPanic(&name);
    let done = Arc::new((Mutex::new(false), Condvar::new()));
    let dog = std::thread::spawn({
        let (name, done) = (name.clone(), Arc::clone(&done));
        move || {
            let (over, timeout) =
                done.1.wait_timeout_while(done.0.lock().unwrap(), PATIENCE, |done| !*done).expect("nobody panics with it");
            if timeout.timed_out() && !*over {
                // Not captured, unlike what `eprintln!` writes.
                let _ = writeln!(std::io::stderr(), "watchdog: {name} hangs");
                if std::env::var_os("THRONG_TEST_KEEP_HUNG").is_some() {
                    std::thread::sleep(Duration::from_secs(3600));
                }
                std::process::abort();
            }
        }
    });
    // Also if the body panics: the dog must not bark at the next test.
    struct Release<'a>(&'a (Mutex<bool>, Condvar), Option<std::thread::JoinHandle<()>>);
    impl Drop for Release<'_> {
        fn drop(&mut self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_all();
            let _ = self.1.take().expect("dropped once").join();
        }
    }
    let _release = Release(&done, Some(dog));
    body()
}

struct SayOnPanic<'a>(&'a str);

impl Drop for SayOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "failed: {}", self.0);
        }
    }
}

/// Counts the canaries that are alive.
#[derive(Clone, Debug, Default)]
pub struct Aviary(Arc<AtomicIsize>);

impl Aviary {
    pub fn new() -> Aviary {
        Aviary::default()
    }

    pub fn canary(&self) -> Canary {
        self.0.fetch_add(1, Ordering::Relaxed);
        Canary { alive: AtomicU64::new(ALIVE), aviary: self.clone() }
    }

    pub fn alive(&self) -> isize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Poisoned when dropped: who still has a reference to it then finds out, and so does a second drop.
#[derive(Debug)]
pub struct Canary {
    alive: AtomicU64,
    aviary: Aviary,
}

const ALIVE: u64 = 0xca_1a_21;

impl Canary {
    #[track_caller]
    pub fn sing(&self) {
        assert_eq!(self.alive.load(Ordering::SeqCst), ALIVE, "a canary was used after its end");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        assert_eq!(self.alive.swap(0xdead, Ordering::SeqCst), ALIVE, "a canary died twice");
        self.aviary.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A generator for tests: xorshift64*.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// Silences the panic hook for panics with this payload, which the tests cause on purpose.
#[derive(Debug, PartialEq, Eq)]
pub struct OnPurpose(pub u32);

pub fn expect_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<OnPurpose>() {
                previous(info);
            }
        }));
    });
}

/// Panics with a payload that is not reported.
pub fn panic_on_purpose(n: u32) -> ! {
    expect_panics();
    std::panic::panic_any(OnPurpose(n))
}
