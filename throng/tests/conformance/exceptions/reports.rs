//! What is printed, by the panic hook and for want of a handler; and handlers that panic. In processes of their own, whose stderr is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{ExceptionHandler, HowFailed, JoinError, JoinHandle, bounded, go, scope, scope_all, supervisor, task};

use crate::common::panic_on_purpose;
use crate::common::processes::{child, child_passes, is_child};
use crate::trace::{Log, Oops, on_all};

/// The message, the place, the name and the place of the start are kept, and the panic hook runs once.
#[test]
fn panic_payload_and_location_kept() {
    let stderr = child_passes("exceptions::reports::child_panic_location");
    for message in ["one", "two", "three", "four"] {
        assert_eq!(stderr.matches(&format!("\n{message}\n")).count(), 1, "the hook ran for '{message}' once:\n{stderr}");
    }
}

#[test]
#[ignore = "child process"]
fn child_panic_location() {
    if !is_child() {
        return;
    }
    fn is_here(location: Option<&str>, line: u32) {
        assert!(location.is_some_and(|location| location.contains(&format!("{}:{line}:", file!()))), "{location:?}, not line {line}");
    }
    throng::run(|| {
        let line = line!() + 1;
        let panic = match go(|| panic!("one")).join() {
            Err(JoinError::Panicked(panic)) => panic,
            other => panic!("{other:?}"),
        };
        assert_eq!(panic.message(), "one");
        is_here(panic.location(), line);

        // Through a scope, which resumes it, and a task of its own.
        let line = line!() + 4;
        let task = task().name("outer").go(|| {
            scope(|s| {
                s.go(|| -> () {
                    panic!("two");
                });
                Ok::<_, Oops>(())
            })
        });
        match task.join() {
            Err(JoinError::Panicked(panic)) => {
                assert_eq!(panic.message(), "two");
                is_here(panic.location(), line);
            }
            other => panic!("{other:?}"),
        }

        let line = line!() + 2;
        let failures = scope_all(|s| {
            s.task().name("named").go(|| -> () { panic!("three") });
            Ok::<_, Oops>(())
        });
        let first = failures.unwrap_err().into_first();
        assert_eq!(first.name(), Some("named"));
        assert_eq!((first.site().file(), first.site().line()), (file!(), line));
        match first.how() {
            HowFailed::Panicked(panic) => is_here(panic.location(), line),
            other => panic!("{other:?}"),
        }

        let (tx, rx) = bounded(1);
        let handler = ExceptionHandler::new(move |failure| {
            let place = (failure.site().file(), failure.site().line());
            tx.send((failure.name().map(String::from), place, failure.location().map(String::from), failure.panic().map(String::from)))
                .unwrap();
        });
        let line = line!() + 1;
        drop(throng::task().name("reported").handler(handler).go(|| panic!("four")));
        let (name, place, location, message) = rx.recv().unwrap();
        assert_eq!((name.as_deref(), place, message.as_deref()), (Some("reported"), (file!(), line), Some("four")));
        is_here(location.as_deref(), line);
    });
}

/// A handler that panics harms nobody: the others go on, the scope too, and it is called again.
#[test]
fn handler_that_panics_harms_nobody() {
    on_all(|| {
        let log = Log::new();
        let count = Arc::new(AtomicUsize::new(0));
        let calls = Arc::clone(&count);
        let handler = ExceptionHandler::new(move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            panic_on_purpose(9)
        });
        handler.scope(|| {
            let bad = task().lazy().go(|| panic_on_purpose(1));
            let job = bad.job();
            drop(bad);
            log.add(format!("{:?} {}", job.join(), job.state()));
            let result = supervisor(|s| {
                drop(s.go(|| Err::<(), _>("bad")));
                Ok::<_, Oops>(())
            });
            log.add(format!("{result:?}"));
            log.add(format!("{:?}", go(|| 5).join().unwrap()));
        });
        log.add(format!("{} calls", count.load(Ordering::Relaxed)));
        log.says(&["Ok(()) Cancelled", "Ok(())", "5", "2 calls"]);
    });
}

/// What it was told, and its own panic, are printed.
#[test]
fn handler_that_panics_is_reported() {
    let (output, stderr) = child("exceptions::reports::child_handler_panics");
    assert!(output.status.success(), "{stderr}");
    let line = stderr.lines().find(|line| line.starts_with("throng: the exception handler panicked")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.starts_with("throng: the exception handler panicked: handler's; it was told: goroutine 'bad' (spawned at "), "{line}");
    assert!(line.ends_with(" panicked: own"), "{line}");
}

#[test]
#[ignore = "child process"]
fn child_handler_panics() {
    if !is_child() {
        return;
    }
    throng::run(|| {
        let bad = task().lazy().name("bad").handler(ExceptionHandler::new(|_| panic!("handler's"))).go(|| panic!("own"));
        let job = bad.job();
        drop(bad);
        job.join().unwrap();
    });
}

/// Without a handler a failure is printed: the name, the place of the start, the message, the place of the panic, the path.
#[test]
fn default_report() {
    let (output, stderr) = child("exceptions::reports::child_default_report");
    assert!(output.status.success(), "{stderr}");
    let reports: Vec<&str> = stderr.split("throng: goroutine ").skip(1).collect();
    assert_eq!(reports.len(), 3, "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines().find_map(|line| line.strip_prefix("lines:")).expect("the lines");
    let mut lines = lines.split_whitespace();
    let mut check = |report: &str, name: &str, says: &str, panics: bool, path: &str| {
        let line = lines.next().unwrap();
        let here = format!("{}:{line}:", file!());
        let mut rest = report.strip_prefix(name).unwrap_or_else(|| panic!("{report}")).lines();
        let first = rest.next().unwrap();
        assert!(first.starts_with("(spawned at ") && first.contains(&here) && first.ends_with(says), "{first}, not of line {line}");
        if panics {
            let at = rest.next().unwrap();
            assert!(at.starts_with("  at ") && at.contains(&here), "{at}, not of line {line}");
        }
        let found = rest.next().and_then(|line| line.strip_prefix("  path: ")).unwrap_or_else(|| panic!("{report}"));
        assert!(found.starts_with(path.split(" .. ").next().unwrap()) && found.ends_with(path.split(" .. ").last().unwrap()), "{found}");
    };
    check(reports[0], "'named' ", " panicked: loose", true, "'named'");
    check(reports[1], "", " panicked: nameless", true, "task at .. ");
    check(reports[2], "'supervised' ", r#" failed: "bad""#, false, "'root' / scope at  ..  / 'supervised'");
}

#[test]
#[ignore = "child process"]
fn child_default_report() {
    if !is_child() {
        return;
    }
    throng::run(|| {
        let wait = |handle: JoinHandle<()>| {
            let job = handle.job();
            drop(handle);
            job.join().unwrap();
        };
        let first = line!() + 1;
        wait(task().lazy().name("named").go(|| panic!("loose")));
        wait(task().lazy().go(|| panic!("nameless")));
        let root = task().name("root").go(|| {
            supervisor(|s| {
                drop(s.task().name("supervised").go(|| Err::<(), _>("bad")));
                Ok::<_, Oops>(())
            })
        });
        root.join().unwrap().unwrap();
        let _ = scope(|s| {
            s.task().name("late").atomic().go(|| Err::<(), _>(Oops::Bad("late")));
            Err::<(), _>(Oops::Bad("first"))
        });
        println!("\nlines: {first} {} {}", first + 1, first + 4);
    });
}
