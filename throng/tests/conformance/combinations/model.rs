//! The cases, and what each of them is to say.

/// What a nasty egg panics with.
pub(super) const NASTY: u32 = 9;

/// Who fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Body,
    Child,
    /// What the child's closure owns, when it is dropped.
    Owned,
    /// What the child returned, when it is dropped.
    Outcome,
}

/// How. A drop can only panic: it does so in a child that returned an error (`Error`) or a value (`Panic`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    Error,
    Panic,
    NotAtAll,
}

/// What becomes of the child's handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Handle {
    Joined,
    DroppedAtOnce,
    DroppedAfter,
}

/// When something is cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Never,
    /// Before the child starts.
    Before,
    /// While the child runs, which does not notice.
    Unnoticed,
    /// While the child runs, which notices.
    Noticed,
    /// After the child's end.
    After,
}

/// What is cancelled then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Child,
    Scope,
    /// The task that opened the scope.
    Task,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Scope,
    ScopeAll,
    Supervisor,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) who: Who,
    pub(super) how: How,
    pub(super) handle: Handle,
    pub(super) when: When,
    pub(super) target: Target,
    /// Whether a sibling fails afterwards.
    pub(super) sibling: bool,
}

pub(super) fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [Kind::Scope, Kind::ScopeAll, Kind::Supervisor] {
        for who in [Who::Body, Who::Child, Who::Owned, Who::Outcome] {
            for how in [How::Error, How::Panic, How::NotAtAll] {
                for handle in [Handle::Joined, Handle::DroppedAtOnce, Handle::DroppedAfter] {
                    for when in [When::Never, When::Before, When::Unnoticed, When::Noticed, When::After] {
                        for target in [Target::Child, Target::Scope, Target::Task] {
                            for sibling in [false, true] {
                                if when != When::Never || target == Target::Child {
                                    cases.push(Case { kind, who, how, handle, when, target, sibling });
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

/// How the child ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Skipped,
    Value,
    /// With an error, after it has noticed that it was cancelled.
    ErrorOfCancellation,
    Error,
    Panic(u32),
}

fn end_of_child(case: &Case) -> End {
    match (case.who, case.how) {
        (Who::Owned, How::Error | How::Panic) => End::Panic(NASTY),
        _ if case.when == When::Before => End::Skipped,
        (Who::Child, How::Panic) => End::Panic(1),
        (Who::Child | Who::Outcome, How::Error) if case.when == When::Noticed => End::ErrorOfCancellation,
        (Who::Child | Who::Outcome, How::Error) => End::Error,
        _ => End::Value,
    }
}

/// What the log of the case is to be.
pub(super) fn expected(case: &Case) -> Vec<String> {
    let mut log = Vec::new();
    let end = end_of_child(case);
    let supervised = case.kind == Kind::Supervisor;

    // What nobody takes is told to the handler.
    let mut untaken = Vec::new();
    if supervised {
        match end {
            End::Error => untaken.push("handler: first, error 1"),
            End::Panic(_) => untaken.push("handler: first, panic"),
            _ => {}
        }
    }
    let kept = end == End::Value || supervised && matches!(end, End::Error | End::ErrorOfCancellation);
    if kept && case.who == Who::Outcome && case.how != How::NotAtAll {
        untaken.push("handler: first, panic of its result");
    }

    if case.handle == Handle::Joined {
        log.push(match end {
            End::Value => "join: value".into(),
            End::Skipped => "join: cancelled".into(),
            End::Error | End::ErrorOfCancellation if supervised => "join: error 1".into(),
            End::ErrorOfCancellation => "join: cancelled".into(),
            End::Panic(n) if supervised => format!("join: panic {n}"),
            End::Error | End::Panic(_) => "join: failed".into(),
        });
    }
    if case.handle == Handle::DroppedAtOnce {
        log.extend(untaken.iter().map(ToString::to_string));
    }
    log.push(match end {
        End::Value => "child: completed".into(),
        End::Skipped | End::ErrorOfCancellation => "child: cancelled".into(),
        End::Error | End::Panic(_) => "child: failed".into(),
    });
    if case.handle == Handle::DroppedAfter {
        log.extend(untaken.iter().map(ToString::to_string));
    }
    if case.sibling && supervised {
        log.push("handler: second, error 2".into());
    }

    // The failures of the scope, in their order.
    let mut failures = Vec::new();
    if !supervised {
        match end {
            End::Error => failures.push(("first", "error 1".to_string())),
            End::Panic(n) => failures.push(("first", format!("panic {n}"))),
            _ => {}
        }
        if case.sibling {
            failures.push(("second", "error 2".into()));
        }
    }
    match (case.who, case.how) {
        (Who::Body, How::Error) => failures.push(("-", "error 3".into())),
        (Who::Body, How::Panic) => failures.push(("-", "panic 3".into())),
        _ => {}
    }
    // Children that were cut short from outside make the scope's value incomplete.
    let cut = case.target == Target::Task && (case.when != When::After || case.sibling);
    if failures.is_empty() && cut {
        failures.push(("-", "error 0".into()));
    }

    if case.kind == Kind::ScopeAll && !failures.is_empty() {
        let all: Vec<_> = failures.iter().map(|(name, how)| format!("{name}, {how}")).collect();
        log.push(format!("out: {}", all.join("; ")));
        return log;
    }
    log.push(format!("out: {}", failures.first().map_or("value", |(_, how)| how)));
    log
}
