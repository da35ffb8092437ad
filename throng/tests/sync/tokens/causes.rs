//! Causes: Go's `TestCause`, `TestWithCancelCause`, `TestWithoutCancel`, `TestContextErrDoneRace`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use throng::{CancelToken, Cause};

use crate::common::{scaled, watched};
use crate::ways::{each_way, pause};

const LONG: Duration = Duration::from_secs(3600);

fn text(token: &CancelToken) -> Option<String> {
    token.cause().map(|cause| cause.to_string())
}

/// What is done to a parent and a child, and which causes they have then.
#[test]
fn the_first_cause_wins_and_goes_down() {
    const ASKED: Option<&str> = Some("cancelled on request");
    const ELAPSED: Option<&str> = Some("the time limit was reached");
    const PARENT: Option<&str> = Some("parent");
    const CHILD: Option<&str> = Some("child");
    type Make = fn(&CancelToken) -> CancelToken;
    type Act = fn(&CancelToken, &CancelToken);
    type Expected = Option<&'static str>;
    let plain: Make = CancelToken::child;
    let timed: Make = |parent| parent.child_with_timeout(LONG);
    let late: Make = |parent| parent.child_with_timeout(Duration::ZERO);
    let apart: Make = CancelToken::without_cancel;
    let cases: &[(&str, Make, Act, Expected, Expected)] = &[
        ("nothing", plain, |_, _| (), None, None),
        ("nothing, with a timeout", timed, |_, _| (), None, None),
        ("parent", plain, |parent, _| assert!(parent.cancel()), ASKED, ASKED),
        ("parent with cause", plain, |parent, _| assert!(parent.cancel_with("parent")), PARENT, PARENT),
        ("child with cause", plain, |_, child| assert!(child.cancel_with("child")), None, CHILD),
        ("child", plain, |_, child| assert!(child.cancel()), None, ASKED),
        (
            "parent before child",
            plain,
            |parent, child| assert!(parent.cancel_with("parent") && !child.cancel_with("child")),
            PARENT,
            PARENT,
        ),
        ("child before parent", plain, |parent, child| assert!(child.cancel_with("child") && parent.cancel_with("parent")), PARENT, CHILD),
        ("twice", plain, |parent, _| assert!(parent.cancel_with("parent") && !parent.cancel_with("again")), PARENT, PARENT),
        ("plain, then with cause", plain, |parent, _| assert!(parent.cancel() && !parent.cancel_with("parent")), ASKED, ASKED),
        ("parent of a timeout", timed, |parent, _| assert!(parent.cancel_with("parent")), PARENT, PARENT),
        ("cancelled before its time", timed, |_, child| assert!(child.cancel_with("child")), None, CHILD),
        ("too late", late, |_, child| assert!(!child.cancel_with("child")), None, ELAPSED),
        ("too late, then the parent", late, |parent, _| assert!(parent.cancel_with("parent")), PARENT, ELAPSED),
        ("apart", apart, |parent, _| assert!(parent.cancel_with("parent")), PARENT, None),
        ("apart, by itself", apart, |_, child| assert!(child.cancel_with("child")), None, CHILD),
    ];
    for &(name, make, act, parent_cause, child_cause) in cases {
        let parent = CancelToken::new();
        let child = make(&parent);
        let below = child.child();
        act(&parent, &child);
        assert_eq!(text(&parent).as_deref(), parent_cause, "{name}: parent");
        for child in [&child, &below, &child.child(), &child.child_with_timeout(LONG), &child.child_with_timeout(Duration::ZERO)] {
            let born_late = child.deadline().is_some_and(|at| at <= Instant::now()) && child_cause.is_none();
            let expected = if born_late { ELAPSED } else { child_cause };
            assert_eq!(text(child).as_deref(), expected, "{name}: child");
            assert_eq!(child.is_cancelled(), expected.is_some(), "{name}");
        }
    }
}

#[test]
fn causes_of_all_kinds() {
    let cancelled = |cause: Cause| {
        let token = CancelToken::new();
        let below = token.child();
        assert!(token.cancel_with(cause));
        below.cause().unwrap()
    };
    assert!(matches!(cancelled(Cause::Asked), Cause::Asked));
    assert!(matches!(cancelled(Cause::Elapsed), Cause::Elapsed));
    assert!(matches!(cancelled(Cause::Shutdown), Cause::Shutdown));
    assert!(matches!(cancelled(String::from("text").into()), Cause::Reason(text) if &*text == "text"));
    let Cause::Error(error) = cancelled(Cause::error(std::io::Error::from(std::io::ErrorKind::NotFound))) else { panic!("another cause") };
    assert_eq!(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
    let token = CancelToken::new();
    token.cancel();
    assert!(matches!(token.cause(), Some(Cause::Asked)));
    assert!(format!("{token:?}").contains("Asked"), "{token:?}");
}

/// An error as the cause may do anything when it is dropped, or formatted.
#[test]
fn causes_that_use_the_token() {
    #[derive(Debug)]
    struct Nosy(CancelToken, Arc<AtomicUsize>);
    impl std::fmt::Display for Nosy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", self.0.is_cancelled())
        }
    }
    impl std::error::Error for Nosy {}
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.child().cancel();
            assert!(self.0.cause().is_some());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    watched("the cause", || {
        let (watched, token, drops) = (CancelToken::new(), CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        token.cancel_with(Cause::error(Nosy(watched.clone(), drops.clone())));
        watched.cancel();
        assert!(!token.cancel_with(Cause::error(Nosy(watched.clone(), drops.clone()))));
        assert_eq!(drops.load(Ordering::SeqCst), 1, "the second is not kept");
        assert_eq!(token.child().cause().unwrap().to_string(), "true");
        assert!(format!("{token:?}").contains("Nosy"));
        drop(token);
        assert_eq!(drops.load(Ordering::SeqCst), 2);
    });
}

/// Go's `TestContextErrDoneRace`: who sees it cancelled, in whatever way, finds the cause.
#[test]
fn done_means_a_cause() {
    each_way(|tasks| {
        for round in 0..scaled(30, 300) {
            let root = CancelToken::new();
            for i in 0..6 {
                let token = if i < 3 { root.clone() } else { root.child().child() };
                tasks.go(move || {
                    match i % 3 {
                        0 => assert!(token.done().recv().is_err()),
                        1 => {
                            while !token.is_cancelled() {
                                pause();
                            }
                        }
                        _ => {
                            while token.check().is_ok() {
                                pause();
                            }
                        }
                    }
                    assert_eq!(text(&token).as_deref(), Some("the race is over"));
                    assert!(token.is_cancelled() && token.check().is_err() && token.done().recv().is_err());
                });
            }
            for _ in 0..round % 4 {
                pause();
            }
            root.cancel_with("the race is over");
            tasks.join();
        }
    });
}
