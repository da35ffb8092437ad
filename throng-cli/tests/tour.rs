//! The output of the tour's examples, and what the command makes of its arguments.

use std::process::{Command, Output as Ran};

use throng_cli::tour::{Output, TOURS, million};

/// The lines that this example prints.
fn lines(name: &str) -> Vec<String> {
    let tour = TOURS.iter().find(|tour| tour.name == name);
    let out = Output::captured();
    (tour.expect("a known example").run)(&out).expect("the example runs through");
    out.lines()
}

fn throng(args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.args(args).output().expect("throng starts")
}

fn stdout(ran: &Ran) -> &str {
    str::from_utf8(&ran.stdout).expect("UTF-8")
}

#[test]
fn structured() {
    assert_eq!(lines("structured"), ["Will be printed"]);
}

#[test]
fn structured_blocking() {
    assert_eq!(lines("structured-blocking"), ["Will be printed", "Will not be printed"]);
}

#[test]
fn blocking() {
    assert_eq!(
        lines("blocking"),
        [
            "listener: blocks a thread kept for that",
            "teller: step 1, on the worker",
            "teller: step 2, on the worker",
            "teller: step 3, on the worker",
            "listener: was told Ok(\"done\")",
            "listener: will block the only worker",
            "teller: a spare worker has started me",
            "listener: was told Ok(\"done\")",
        ]
    );
}

/// The number of rounds is a matter of timing.
#[test]
fn context_cancel() {
    let lines = lines("context-cancel");
    let (last, rounds) = lines.split_last().expect("lines");
    assert_eq!(last, "finish");
    assert!(!rounds.is_empty());
    assert!(rounds.iter().all(|line| line == "for loop"), "{lines:?}");
}

#[test]
fn done_channel() {
    let lines = lines("done-channel");
    let (rolls, end) = lines.split_at(3);
    for line in rolls {
        let roll = line.strip_prefix("rolled a ").map(str::parse);
        assert!(matches!(roll, Some(Ok(1..=6_u8))), "{line}");
    }
    assert_eq!(end, ["the generator has ended: Ok(())", "and sends no more: Err(Closed)"]);
}

#[test]
fn error_channel() {
    assert_eq!(
        lines("error-channel"),
        [
            "80: port 80",
            "http: invalid digit found in string; leaving it out",
            "443: port 443",
            "99999: number too large to fit in target type; taking 65535",
            "8080: port 8080",
        ]
    );
}

#[test]
fn supervisor() {
    assert_eq!(
        lines("supervisor"),
        [
            "Cairo: Err(ParseIntError { kind: InvalidDigit })",
            "Oslo: -4 degrees",
            "Lima: 19 degrees",
            "the supervisor has ended well: 15 degrees in all",
        ]
    );
}

#[test]
fn handler() {
    assert_eq!(
        lines("handler"),
        [
            "the other child: Err(Cancelled)",
            "the scope: Err(\"no paper\")",
            "the handler: Err(Empty)",
            "the joiner: Err(\"the joined task panicked: no toner\")",
            "the handler: Err(Empty)",
            "the handler: Ok(\"'detached' failed: no ink\")",
        ]
    );
}

#[test]
fn failure_tree() {
    let expected = "\
before:
supervisor: Active
├─ kitchen: Active
│  └─ scope: Completing
│     ├─ oven: Active
│     │  └─ scope: Completing
│     │     ├─ bread: Active
│     │     └─ cake: Active
│     └─ sink: Active
└─ shop: Active
* 'main' / 'kitchen' / 'oven' / 'cake': Failed
while bread cleans up:
supervisor: Active
├─ kitchen: Active
│  └─ scope: Completing
│     ├─ oven: Active
│     │  └─ scope: Cancelling, since cake has failed
│     │     ├─ bread: Cancelling, since cake has failed
│     │     └─ cake: Failed
│     └─ sink: Active
└─ shop: Active
* 'main' / 'kitchen' / 'oven' / 'bread': Cancelled, since cake has failed
* 'main' / 'kitchen' / 'oven': Failed
while sink cleans up:
supervisor: Active
├─ kitchen: Active
│  └─ scope: Cancelling, since oven has failed
│     ├─ oven: Failed
│     │  └─ scope: Failed
│     │     ├─ bread: Cancelled, since cake has failed
│     │     └─ cake: Failed
│     └─ sink: Cancelling, since oven has failed
└─ shop: Active
* 'main' / 'kitchen' / 'sink': Cancelled, since oven has failed
* 'main' / 'kitchen': Failed
the supervisor joins the kitchen: Err(\"burnt\")
after:
supervisor: Active
├─ kitchen: Failed
│  └─ scope: Failed
│     ├─ oven: Failed
│     │  └─ scope: Failed
│     │     ├─ bread: Cancelled, since cake has failed
│     │     └─ cake: Failed
│     └─ sink: Cancelled, since oven has failed
└─ shop: Active
* 'main' / 'shop': Cancelled, since it is late";
    assert_eq!(lines("failure-tree").join("\n"), expected);
}

#[test]
fn timeout() {
    assert_eq!(
        lines("timeout"),
        [
            "inner: Err(Elapsed)",
            "outer: Ok(\"goes on\")",
            "inner: Ok(Err(Cancelled))",
            "outer: Err(Elapsed)",
            "late: Ok(\"a late value\")",
            "child: Err(Cancelled), since the time limit was reached",
            "child: has cleaned up",
            "parent: Err(Elapsed)",
        ]
    );
}

#[test]
fn shield() {
    assert_eq!(
        lines("shield"),
        [
            "plain: Err(Cancelled(..))",
            "plain: Err(TaskCancelled(Asked))",
            "shielded: Ok(())",
            "shielded: Err(Elapsed)",
            "behind the shield: Err(Cancelled)",
            "shielded: Err(TaskCancelled(Asked))",
            "heard: goodbye",
        ]
    );
}

#[test]
fn dispatchers() {
    assert_eq!(
        lines("dispatchers"),
        [
            "page one, printed by the thread 'printer'",
            "page two, printed by the thread 'printer'",
            "ten tasks, never more than two at once: true",
            "sixteen threads were blocked at once, and none of them was a worker",
            "drawn by the thread that owns the window: true",
        ]
    );
}

#[test]
fn lazy() {
    assert_eq!(
        lines("lazy"),
        [
            "undispatched: runs before its caller goes on",
            "caller: has started them",
            "queued: runs when its caller parks",
            "undispatched: has gone on",
            "caller: lazy is New",
            "lazy: somebody wants me",
            "atomic: runs, and meets Err(Cancelled)",
            "queued: Err(TaskCancelled(Asked))",
            "lazy: Err(TaskCancelled(Asked))",
            "atomic: Err(TaskCancelled(Asked))",
        ]
    );
}

#[test]
fn inherit() {
    assert_eq!(
        lines("inherit"),
        [
            "task:       'request' for Ada",
            "child:      'request' for Ada",
            "grandchild: 'request' for Ada",
            "overridden: 'audit' for Bob",
            "early:      'request' for Ada",
            "late:       'request' for Eve",
            "request's handler was told of a lost letter",
            "audit's handler was told of a lost file",
        ]
    );
}

#[test]
fn closures() {
    assert_eq!(lines("closures"), ["moved: HELLO", "borrowed: hello! greetings!", "locked: 1000", "communicated: 500500",]);
}

#[test]
fn million() {
    let out = Output::captured();
    million::start(&out, 20_000, 2_000).expect("the example runs through");
    let lines = out.lines();
    assert_eq!(lines[0], "goroutines parked: 2000");
    assert!(lines[1].starts_with("threads: "), "{lines:?}");
    assert_eq!(lines[2], "goroutines ended: 20000");
    assert!(lines[3].starts_with("peak memory: "), "{lines:?}");
    assert!(lines[4].starts_with("time: "), "{lines:?}");
    assert_eq!(lines.len(), 5);
}

#[test]
fn fork_join() {
    let lines = lines("fork-join");
    // The sum over 1..=2^20, also computed by a loop.
    assert_eq!(lines[0], "sum: 138299831");
    assert!(lines.len() > 1, "a line for each worker: {lines:?}");
    for (number, line) in lines[1..].iter().enumerate() {
        assert!(line.starts_with(&format!("worker {number}: ")), "{line}");
    }
}

/// Source, output and the last line, in this order, and no colours away from a terminal.
#[test]
fn the_command_shows_the_source_and_then_the_output() {
    let ran = throng(&["tour", "error-channel", "closures"]);
    assert_eq!(ran.status.code(), Some(0));
    let text = stdout(&ran);
    let mut rest = text;
    for part in [
        "error-channel: ",
        "| pub fn run(out: &Output) -> Outcome {",
        "\noutput:\n80: port 80\n",
        "\n=> ",
        "closures: ",
        "| pub fn borrows(out: &Output) -> Outcome {",
        "\noutput:\nmoved: HELLO\n",
        "\n=> ",
    ] {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part:?} is not in {rest}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!text.contains('\x1b'));
    assert!(!text.contains("//! "), "the header is left out");
}

#[test]
fn the_list_names_every_example() {
    let ran = throng(&["tour", "--list"]);
    assert_eq!(ran.status.code(), Some(0));
    let names: Vec<_> = stdout(&ran).lines().filter_map(|line| line.split_whitespace().next()).collect();
    let expected: Vec<_> = TOURS.iter().map(|tour| tour.name).collect();
    assert_eq!(names, expected);
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
    let ran = throng(&["tour", "closures", "nope"]);
    assert_eq!(ran.status.code(), Some(2));
    assert_eq!(stdout(&ran), "");
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(complaint.contains("\"nope\""), "{complaint}");
    for tour in TOURS {
        assert!(complaint.contains(tour.name), "{complaint}");
    }
}

#[test]
fn policies() {
    assert_eq!(
        lines("policies"),
        [
            "go:         kotlin:     throng:",
            "c           c           c",
            "a           a           b",
            "b           b           b's second",
            "b's second  b's second  b's first",
            "b's first   a, again    a",
            "a, again    b's first   a, again",
            "go: 100 1..60 x 61..99; checks of the global queue: 2",
            "kotlin: 100 1..7 x 8..99; checks of the global queue: 1",
            "go: 8 tasks stolen, in 4 steals",
            "kotlin: 8 tasks stolen, in 8 steals",
        ]
    );
}
