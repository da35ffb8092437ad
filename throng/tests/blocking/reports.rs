//! Reports of goroutines that keep their worker for long while others wait for it.

use std::sync::Arc;
use std::time::Duration;

use throng::{Runtime, Stall, TaskKind, go, task, yield_now};

use crate::common::processes::{child_passes, is_child};
use crate::common::watched;
use crate::gate::Gate;

fn runtime(workers: usize, after: u64) -> Runtime {
    let builder = Runtime::builder().workers(workers).stack_size(64 << 10).max_spare_workers(0);
    builder.report_stalls_after(Duration::from_millis(after)).build().expect("a runtime")
}

/// Until `n` have been reported.
fn stalls(runtime: &Runtime, n: usize) -> Vec<Stall> {
    loop {
        let stalls = runtime.stalls();
        if stalls.len() >= n {
            return stalls;
        }
        std::thread::yield_now();
    }
}

/// A function whose name the backtrace must have.
#[inline(never)]
fn burrow(gate: &Gate) {
    gate.pass();
    // Not a tail call.
    std::hint::black_box(());
}

#[test]
fn it_names_the_culprit_once() {
    watched("1 worker", || {
        let runtime = runtime(1, 30);
        let gate = Arc::new(Gate::new());
        for round in 1..=3 {
            let gate = Arc::new(Gate::new());
            let mole = {
                let gate = Arc::clone(&gate);
                runtime.run(|| task().name("mole").go(move || burrow(&gate)))
            };
            let line = line!() - 2;
            gate.wait_for(1);
            let waits = runtime.go(|| ());
            let all = stalls(&runtime, round);
            let stall = all.last().unwrap();
            assert_eq!((stall.worker, stall.kind, stall.name.as_deref()), (0, Some(TaskKind::Goroutine), Some("mole")), "{stall}");
            assert!(stall.spawned_at.as_ref().is_some_and(|site| site.ends_with(&format!("reports.rs:{line}"))), "{stall}");
            assert!(stall.lasted >= Duration::from_millis(30), "{stall}");
            let unwound = stall.backtrace.iter().any(|call| call.contains("burrow"));
            assert_eq!(unwound, cfg!(feature = "backtrace"), "{stall}");
            // Time for more, if there were any to come.
            std::thread::sleep(Duration::from_millis(150));
            assert_eq!(runtime.stalls().len(), round, "{:?}", runtime.stalls());
            gate.open();
            waits.join().unwrap();
            mole.join().unwrap();
        }
        gate.open();
    });
}

#[test]
fn a_coroutine_is_called_one() {
    watched("1 worker", || {
        let runtime = runtime(1, 20);
        let gate = Arc::new(Gate::new());
        let mole = {
            let gate = Arc::clone(&gate);
            runtime.run(|| task().name("mole").launch(async move { burrow(&gate) }))
        };
        gate.wait_for(1);
        let waits = runtime.go(|| ());
        let stall = stalls(&runtime, 1).remove(0);
        gate.open();
        mole.join().unwrap();
        waits.join().unwrap();
        assert_eq!(stall.kind, Some(TaskKind::Coroutine));
        assert!(stall.to_string().contains(" in coroutine 'mole' (spawned at "), "{stall}");
    });
}

/// Goroutines that are ready on the same worker: nobody but the worker knows of them.
#[test]
fn a_ready_goroutine_of_the_same_worker_waits_for_it() {
    watched("1 worker", || {
        let runtime = runtime(1, 20);
        let gate = Arc::new(Gate::new());
        let opener = Arc::clone(&gate);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                stalls(&runtime, 1);
                opener.open();
            });
            runtime.run(|| {
                let other = go(|| (0..100).all(|_| yield_now().is_ok()));
                // It has started, and is ready again.
                yield_now().unwrap();
                gate.pass();
                assert!(other.join().unwrap());
            });
        });
        assert!(runtime.stalls()[0].spawned_at.is_some());
    });
}

#[test]
fn who_holds_up_nobody_is_not_reported() {
    watched("1 worker", || {
        let runtime = runtime(1, 10);
        runtime.run(|| {
            // The mail that brought this is read.
            for _ in 0..100 {
                yield_now().unwrap();
            }
            std::thread::sleep(Duration::from_millis(100));
        });
        assert_eq!(runtime.stalls(), []);
    });
    watched("1 worker, never", || {
        let runtime = Runtime::builder().workers(1).max_spare_workers(0).report_stalls_after(Duration::MAX).build().unwrap();
        let gate = Arc::new(Gate::new());
        let mole = {
            let gate = Arc::clone(&gate);
            runtime.go(move || gate.pass())
        };
        gate.wait_for(1);
        let waits = runtime.go(|| ());
        std::thread::sleep(Duration::from_millis(50));
        gate.open();
        mole.join().unwrap();
        waits.join().unwrap();
        assert_eq!(runtime.stalls(), []);
    });
}

/// Several at once, of two runtimes: each is asked for itself.
#[test]
fn each_answers_for_itself() {
    watched("2 and 3 workers", || {
        let runtimes = [2, 3].map(|workers| (workers, runtime(workers, 20)));
        for round in 0..4 {
            let mut rounds = Vec::new();
            for (workers, runtime) in &runtimes {
                let gate = Arc::new(Gate::new());
                let moles: Vec<_> = (0..*workers)
                    .map(|i| {
                        let gate = Arc::clone(&gate);
                        runtime.run(move || task().name(format!("mole {round}.{workers}.{i}")).go(move || burrow(&gate)))
                    })
                    .collect();
                gate.wait_for(*workers);
                rounds.push((gate, moles, runtime.go(|| ())));
            }
            for ((workers, runtime), (gate, moles, waits)) in runtimes.iter().zip(rounds) {
                let mut names;
                loop {
                    let all = runtime.stalls();
                    let last: Vec<_> = all.into_iter().rev().take(*workers).collect();
                    names = last.into_iter().filter_map(|stall| Some((stall.name?, stall.worker))).collect::<Vec<_>>();
                    names.sort();
                    if names.len() == *workers
                        && names.iter().enumerate().all(|(i, (name, _))| *name == format!("mole {round}.{workers}.{i}"))
                    {
                        break;
                    }
                    std::thread::yield_now();
                }
                let mut ids: Vec<_> = names.iter().map(|(_, worker)| *worker).collect();
                ids.sort_unstable();
                assert!(ids.iter().copied().eq(0..*workers), "{names:?}");
                gate.open();
                moles.into_iter().for_each(|mole| mole.join().unwrap());
                waits.join().unwrap();
            }
        }
    });
}

#[test]
fn it_is_said_on_stderr() {
    let text = child_passes("reports::child_stuck");
    assert!(text.contains("throng: worker 0 has been stuck for ") == cfg!(not(feature = "tracing")), "{text}");
    assert!(text.contains("goroutine 'mole' (spawned at ") == cfg!(not(feature = "tracing")), "{text}");
}

/// One goroutine that holds up another until it has been reported.
fn stuck_once() -> Vec<Stall> {
    let runtime = runtime(1, 20);
    let gate = Arc::new(Gate::new());
    let mole = {
        let gate = Arc::clone(&gate);
        runtime.run(|| task().name("mole").go(move || burrow(&gate)))
    };
    gate.wait_for(1);
    let waits = runtime.go(|| ());
    let stalls = stalls(&runtime, 1);
    gate.open();
    mole.join().unwrap();
    waits.join().unwrap();
    // The monitor has ended, so all has been said.
    drop(runtime);
    stalls
}

#[test]
#[ignore = "child process"]
fn child_stuck() {
    if is_child() {
        watched("child", || drop(stuck_once()));
    }
}

#[test]
fn a_program_that_uses_the_signal_keeps_it() {
    child_passes("reports::child_signal_in_use");
}

#[test]
#[ignore = "child process"]
fn child_signal_in_use() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static CAUGHT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn theirs(_: libc::c_int) {
        CAUGHT.fetch_add(1, Ordering::SeqCst);
    }
    if !is_child() {
        return;
    }
    watched("child", || {
        let handler = theirs as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: a handler that only counts.
        unsafe { libc::signal(libc::SIGURG, handler) };
        let stalls = stuck_once();
        // It is reported, but who it was remains unknown.
        assert!(stalls[0].kind.is_none() && stalls[0].name.is_none() && stalls[0].spawned_at.is_none(), "{}", stalls[0]);
        assert_eq!(CAUGHT.load(Ordering::SeqCst), 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::signal(libc::SIGURG, libc::SIG_DFL) }, handler);
        // Now it may be had.
        assert!(stuck_once()[0].name.is_none(), "it is asked for once");
    });
}

#[cfg(feature = "tracing")]
mod events {
    use std::fmt::Debug;
    use std::sync::Mutex;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::{child_passes, is_child, stuck_once, watched};

    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Collect;

    impl Subscriber for Collect {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "throng::stall"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            struct Text(String);
            impl Visit for Text {
                fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                    self.0 += &format!("{field}={value:?};");
                }
            }
            let mut text = Text(String::new());
            event.record(&mut text);
            SEEN.lock().unwrap().push(text.0);
            panic!("a subscriber that panics does not end the monitor");
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn it_is_an_event() {
        child_passes("reports::events::child_event");
    }

    #[test]
    #[ignore = "child process"]
    fn child_event() {
        if is_child() {
            watched("child", || {
                tracing::subscriber::set_global_default(Collect).unwrap();
                stuck_once();
                stuck_once();
                let seen = SEEN.lock().unwrap();
                assert_eq!(seen.len(), 2, "{seen:?}");
                assert!(seen.iter().all(|text| text.contains("worker=0;") && text.contains("name=\"mole\";")), "{seen:?}");
            });
        }
    }
}
