//! 6. Lazy start, and the other ways to start.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Cancelled, ExceptionHandler, JobState, JoinError, completable, go, scope, task, yield_now};

use crate::common::{Aviary, panic_on_purpose};
use crate::trace::{Log, Oops, forever, let_others_run, on_all, on_one, until, why, why_here};

throng::context_local! {
    static WHOSE: &'static str;
}

// 6. "job is New, body not scheduled".
#[test]
fn a_lazy_task_is_not_scheduled() {
    on_all(|| {
        let aviary = Aviary::new();
        let canary = aviary.canary();
        let lazy = task().lazy().go(move || canary.sing());
        for _ in 0..1000 {
            yield_now().unwrap();
        }
        assert_eq!((lazy.job().state(), lazy.is_finished(), aviary.alive()), (JobState::New, false, 1));
        lazy.join().unwrap();
        assert_eq!(aviary.alive(), 0);
    });
}

// 6. "Started by start/join/await/..": `states::new_becomes_active_by_start_join_await_or_select`. A `cancel_and_join` does not start it, and neither does dropping the handle, `completion` or `on_completion`.
#[test]
fn what_does_not_start_it() {
    on_all(|| {
        let log = Log::new();
        let lazy = task().lazy().go(|| ());
        let job = lazy.job();
        log.end("lazy", &job);
        assert!(job.completion().is_none() && job.children().unwrap().is_empty() && job.parent().is_none() && job.cause().is_none());
        drop(lazy);
        log.state("lazy", &job);
        assert!(job.start());
        job.join().unwrap();
        until(|| log.len() == 2);
        log.says(&["lazy: New", "lazy ended: completed"]);
        let lazy = task().lazy().go(|| panic!("it runs"));
        assert!(matches!(lazy.cancel_and_join(), Err::<(), _>(JoinError::TaskCancelled(_))));
    });
}

// 6. "it uses the coroutine's own context": that of its creation, not of who starts it.
#[test]
fn a_lazy_task_has_the_context_of_its_creation() {
    on_all(|| {
        let log = Log::new();
        let told = log.clone();
        let handler = ExceptionHandler::new(move |failure| told.add(format!("creator's handler: {}", failure.name().unwrap())));
        let lazy = WHOSE.scope("creator", || handler.scope(|| task().name("lazy").lazy().go(|| WHOSE.get())));
        let fails = handler.scope(|| task().name("fails").lazy().go(|| -> () { panic_on_purpose(7) }));
        let job = fails.job();
        drop(fails);
        let starter = WHOSE.scope("starter", || {
            ExceptionHandler::new(|_| panic!("the starter's handler")).scope(|| {
                task().name("starter").go(move || {
                    job.join().unwrap();
                    lazy.join()
                })
            })
        });
        assert_eq!(starter.join().unwrap().unwrap(), Some("creator"));
        log.says(&["creator's handler: fails"]);
    });
}

// 6. "Cancel before start: Cancelled, body never runs; a later await throws CE".
#[test]
fn cancelled_before_it_was_started() {
    on_all(|| {
        let lazy = task().lazy().go(|| panic!("it runs"));
        let job = lazy.job();
        lazy.cancel_with("not wanted");
        assert!(!job.start() && !lazy.start());
        job.join().unwrap();
        assert_eq!(job.state(), JobState::Cancelled);
        match lazy.join() {
            Err(JoinError::TaskCancelled(cause)) => assert_eq!(why(&cause), "not wanted"),
            Ok(()) | Err(_) => panic!("not cancelled"),
        }
    });
}

// 6. "It is attached to its parent from creation, so the parent waits for it (and cancels it) even in New". 5. "A LAZY child never started makes it wait forever".
#[test]
fn the_parent_waits_for_a_new_child() {
    on_all(|| {
        let log = Log::new();
        let seen = log.clone();
        let parent = go(move || {
            scope(|s| {
                let lazy = s.task().name("lazy").lazy().go(|| seen.add("lazy runs"));
                assert_eq!(lazy.job().parent(), Some(s.job()));
                Ok::<_, Cancelled>(())
            })
        });
        let job = parent.job();
        until(|| job.children().unwrap().first().is_some_and(|scope| scope.state() == JobState::Completing));
        let lazy = job.children().unwrap()[0].children().unwrap().remove(0);
        for _ in 0..1000 {
            yield_now().unwrap();
        }
        assert_eq!((lazy.state(), parent.is_finished()), (JobState::New, false));
        assert!(lazy.start());
        assert_eq!(parent.join().unwrap(), Ok(()));
        log.says(&["lazy runs"]);
        // And cancels it.
        let failed: Result<(), Oops> = scope(|s| {
            s.task().lazy().go(|| -> () { panic!("it runs") });
            Err(Oops::Bad("body"))
        });
        assert_eq!(failed, Err(Oops::Bad("body")));
    });
}

/// How a task is started in a scope: what happened, in order.
fn start(mode: &str, cancel_first: bool) -> Log {
    let log = Log::new();
    let seen = log.clone();
    let result = scope(|s| {
        let job = s.job();
        if cancel_first {
            s.cancel_with("enough");
        }
        let builder = match mode {
            "queued" => s.task(),
            "lazy" => s.task().lazy(),
            "atomic" => s.task().atomic(),
            _ => s.task().undispatched(),
        };
        let child = builder.go(move || {
            seen.add(format!("begins, {}", why_here()));
            seen.add(format!("parks: {:?}", yield_now()));
        });
        log.add(format!("caller goes on, {}", child.job().state()));
        if mode == "lazy" {
            log.add(format!("start: {}", child.start()));
        }
        log.end("child", &child.job());
        drop(job);
        Ok::<_, Cancelled>(())
    });
    assert_eq!(result, Ok(()));
    log
}

// 6. The table: "DEFAULT: dispatched, cancellable before the first instruction; LAZY: dispatched when started, cancellable; ATOMIC: dispatched, not cancellable; UNDISPATCHED: runs in the caller's thread to the first
// suspension, later resumptions dispatched; not cancellable".
#[test]
fn four_ways_to_start() {
    on_one(|| {
        let runs = ["begins, not cancelled", "parks: Ok(())", "child ended: completed"];
        start("queued", false).says(&["caller goes on, Active", runs[0], runs[1], runs[2]]);
        start("lazy", false).says(&["caller goes on, New", "start: true", runs[0], runs[1], runs[2]]);
        start("atomic", false).says(&["caller goes on, Active", runs[0], runs[1], runs[2]]);
        start("undispatched", false).says(&[runs[0], "caller goes on, Active", runs[1], runs[2]]);
    });
}

// 6. The same table, and 3. "DEFAULT and LAZY starts are cancellable before the first dispatch, the body then never runs; ATOMIC and UNDISPATCHED always run the body up to the first cancellable suspension".
#[test]
fn four_ways_to_start_cancelled() {
    on_one(|| {
        start("queued", true).says(&["caller goes on, Cancelling", "child ended: cancelled, enough"]);
        start("lazy", true).says(&["caller goes on, Cancelling", "start: false", "child ended: cancelled, enough"]);
        let runs = ["begins, enough", "parks: Err(Cancelled)", "child ended: completed"];
        start("atomic", true).says(&["caller goes on, Cancelling", runs[0], runs[1], runs[2]]);
        start("undispatched", true).says(&[runs[0], runs[1], "caller goes on, Completed", runs[2]]);
    });
    // Whoever takes it, and whenever: none that is cancelled before runs, all that must run do.
    on_all(|| {
        for mode in ["queued", "lazy"] {
            let log = start(mode, true);
            until(|| log.len() >= 2);
            assert!(!log.take().iter().any(|event| event.starts_with("begins")));
        }
        for mode in ["atomic", "undispatched"] {
            assert!(start(mode, true).take().iter().any(|event| event == "begins, enough"));
        }
    });
}

// 6. The same, cancelled alone, between the start and its first instruction.
#[test]
fn cancelled_between_start_and_first_instruction() {
    on_one(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = || {
            let ran = Arc::clone(&ran);
            move || {
                ran.fetch_add(1, Ordering::Relaxed);
                forever()
            }
        };
        let queued = task().go(count());
        queued.cancel();
        assert!(matches!(queued.join(), Err(JoinError::TaskCancelled(_))));
        let lazy = task().lazy().go(count());
        assert!(lazy.start());
        lazy.cancel();
        assert!(matches!(lazy.join(), Err(JoinError::TaskCancelled(_))));
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        let atomic = task().atomic().go(count());
        atomic.cancel();
        assert_eq!(atomic.join().unwrap(), Err(Cancelled::new()));
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

// 6. "UNDISPATCHED: runs in the caller's thread to the first suspension", one inside another; "later resumptions dispatched".
#[test]
fn undispatched_runs_in_the_caller_up_to_its_first_park() {
    on_all(|| {
        let log = Log::new();
        let here = std::thread::current().id();
        let seen = log.clone();
        let outer = task().undispatched().go(move || {
            assert_eq!(std::thread::current().id(), here);
            seen.add("outer begins");
            let inside = seen.clone();
            let inner = task().undispatched().go(move || {
                inside.add("inner begins");
                let _ = yield_now();
                inside.add("inner goes on");
            });
            seen.add("outer goes on");
            inner.join().unwrap();
            assert_eq!(std::thread::current().id(), here, "a goroutine keeps its thread");
            seen.add("outer ends");
        });
        log.add("caller goes on");
        outer.join().unwrap();
        log.says(&["outer begins", "inner begins", "outer goes on", "caller goes on", "inner goes on", "outer ends"]);
        // One that does not park has ended before its caller goes on, with whatever comes of it.
        assert!(task().undispatched().go(|| ()).is_finished());
        let failed: Result<(), Oops> = scope(|s| {
            let child = s.task().name("child").undispatched().go(|| Err::<(), _>(Oops::Bad("at once")));
            assert!(child.is_finished() && matches!(child.join(), Err(JoinError::Failed)));
            assert_eq!((forever(), why_here().as_str()), (Err(Cancelled::new()), "'child' failed"));
            Ok(())
        });
        assert_eq!(failed, Err(Oops::Bad("at once")));
    });
}

// 6. Promises are like lazy tasks that nobody can start: `join` waits.
#[test]
fn joining_a_promise_does_not_start_it() {
    on_one(|| {
        let (promise, value) = completable();
        let joiner = task().undispatched().go(|| value.join().unwrap());
        let_others_run();
        assert_eq!((promise.job().state(), joiner.is_finished()), (JobState::Active, false));
        promise.complete(7).unwrap();
        assert_eq!(joiner.join().unwrap(), 7);
    });
}
