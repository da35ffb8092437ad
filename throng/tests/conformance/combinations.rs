//! Everything that can go wrong in a scope, in every combination: who fails and how, what becomes of the child's handle, what is cancelled and when, and in which kind of scope.
//!
//! Each case is run, its whole log is compared with what a small model (`expected`) says, and afterwards nothing of it may be left: no value, no task, no stack. The cases are made by nested
//! loops, and a case that fails prints its coordinates.
//!
//! A case, in the order of its events: the sibling starts and waits; the child is started; its handle may go at once; the child, and what is cancelled, meet at a gate; the child ends; its handle is
//! joined or dropped; the sibling is released and fails, if there is one; the body ends.

mod model;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use throng::{
    Cancelled, Completion, ExceptionHandler, Failures, HowFailed, Job, JoinError, Scope, ScopedJoinHandle, Supervisor, bounded, check, go,
    scope, scope_all, shield, shield_async, supervisor, yield_now, yield_now_async,
};

use self::model::{Case, Handle, How, Kind, NASTY, Target, When, Who, all_cases, expected};
use crate::common::{OnPurpose, on_runtimes, panic_on_purpose, watched};

// What a case is made of.

throng::context_local! {
    /// There as long as the memory of a case's tasks is.
    static MARK: Arc<()>;
}

const OWNED: usize = 0;
const OUTCOME: usize = 1;
const BODY: usize = 2;
const SIBLING: usize = 3;

/// How many eggs of each sort were made and dropped.
#[derive(Debug, Default)]
struct Tally {
    laid: [AtomicUsize; 4],
    dropped: [AtomicUsize; 4],
}

/// Counts its drop, and panics then if it is nasty.
struct Egg {
    tally: Arc<Tally>,
    sort: usize,
    nasty: AtomicBool,
}

impl Egg {
    fn defuse(&self) {
        self.nasty.store(false, Ordering::Relaxed);
    }
}

impl Drop for Egg {
    fn drop(&mut self) {
        self.tally.dropped[self.sort].fetch_add(1, Ordering::Relaxed);
        if *self.nasty.get_mut() && !std::thread::panicking() {
            panic_on_purpose(NASTY);
        }
    }
}

struct Fault {
    number: u32,
    egg: Option<Egg>,
}

impl Fault {
    fn defused(self) -> u32 {
        self.egg.iter().for_each(Egg::defuse);
        self.number
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.number)
    }
}

impl From<Cancelled> for Fault {
    fn from(_: Cancelled) -> Fault {
        Fault { number: 0, egg: None }
    }
}

/// What the tasks of a case are. The model does not ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bodies {
    Goroutines,
    Coroutines,
}

#[derive(Debug)]
struct Env {
    case: Case,
    bodies: Bodies,
    tally: Arc<Tally>,
    mark: Arc<()>,
    /// The task the scope is in.
    task: Option<Job>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Env {
    fn egg(&self, sort: usize, nasty: bool) -> Egg {
        self.tally.laid[sort].fetch_add(1, Ordering::Relaxed);
        Egg { tally: Arc::clone(&self.tally), sort, nasty: AtomicBool::new(nasty) }
    }

    fn say(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }
}

/// What scopes and supervisors have in common here.
trait Nest<'scope> {
    type Value;

    fn start<F>(&'scope self, name: &str, lazy: bool, mark: &Arc<()>, f: F) -> ScopedJoinHandle<'scope, Self::Value>
    where
        F: FnOnce() -> Result<Egg, Fault> + Send + 'scope;
    fn launch<F>(&'scope self, name: &str, lazy: bool, mark: &Arc<()>, future: F) -> ScopedJoinHandle<'scope, Self::Value>
    where
        F: Future<Output = Result<Egg, Fault>> + Send + 'scope;
    fn node(&'scope self) -> Job;
    fn tell(value: Self::Value) -> String;
}

fn tell_value(egg: &Egg) -> String {
    egg.defuse();
    "value".into()
}

macro_rules! start {
    ($start:ident, $nest:expr, $name:expr, $lazy:expr, $mark:expr, $body:expr) => {{
        let task = $nest.task().name($name).with(&MARK, Arc::clone($mark));
        if $lazy { task.lazy().$start($body) } else { task.$start($body) }
    }};
}

impl<'scope> Nest<'scope> for Scope<'scope, '_, Fault> {
    type Value = Egg;

    fn start<F>(&'scope self, name: &str, lazy: bool, mark: &Arc<()>, f: F) -> ScopedJoinHandle<'scope, Egg>
    where
        F: FnOnce() -> Result<Egg, Fault> + Send + 'scope,
    {
        start!(go, self, name, lazy, mark, f)
    }

    fn launch<F>(&'scope self, name: &str, lazy: bool, mark: &Arc<()>, future: F) -> ScopedJoinHandle<'scope, Egg>
    where
        F: Future<Output = Result<Egg, Fault>> + Send + 'scope,
    {
        start!(launch, self, name, lazy, mark, future)
    }

    fn node(&'scope self) -> Job {
        self.job()
    }

    fn tell(value: Egg) -> String {
        tell_value(&value)
    }
}

impl<'scope> Nest<'scope> for Supervisor<'scope, '_> {
    type Value = Result<Egg, Fault>;

    fn start<F>(&'scope self, name: &str, lazy: bool, mark: &Arc<()>, f: F) -> ScopedJoinHandle<'scope, Self::Value>
    where
        F: FnOnce() -> Result<Egg, Fault> + Send + 'scope,
    {
        start!(go, self, name, lazy, mark, f)
    }

    fn launch<F>(&'scope self, name: &str, lazy: bool, mark: &Arc<()>, future: F) -> ScopedJoinHandle<'scope, Self::Value>
    where
        F: Future<Output = Result<Egg, Fault>> + Send + 'scope,
    {
        start!(launch, self, name, lazy, mark, future)
    }

    fn node(&'scope self) -> Job {
        self.job()
    }

    fn tell(value: Self::Value) -> String {
        match value {
            Ok(egg) => tell_value(&egg),
            Err(fault) => format!("error {}", fault.defused()),
        }
    }
}

/// Waits until it is so, whether cancelled or not, and without noticing that. The watchdog bounds it.
fn until(env: &Env, condition: impl Fn() -> bool) {
    while !condition() {
        match env.task {
            Some(_) => shield(yield_now).unwrap(),
            // A thread reads its messages when it parks.
            None => shield(|| go(|| ()).join()).unwrap(),
        }
    }
}

fn number_of(payload: &(dyn std::any::Any + Send)) -> u32 {
    payload.downcast_ref::<OnPurpose>().map_or(u32::MAX, |purpose| purpose.0)
}

// Running a case.

/// What the child does.
fn child(env: &Env, up: &throng::Sender<()>, gate: &throng::Receiver<()>) -> Result<Egg, Fault> {
    up.try_send(()).unwrap();
    shield(|| gate.recv()).unwrap();
    if env.case.when == When::Noticed {
        while check().is_ok() {
            shield(yield_now).unwrap();
        }
    }
    outcome(env)
}

/// The same, awaited.
async fn child_async(env: &Env, up: &throng::Sender<()>, gate: &throng::Receiver<()>) -> Result<Egg, Fault> {
    up.try_send(()).unwrap();
    shield_async(gate.recv_async()).await.unwrap();
    if env.case.when == When::Noticed {
        while check().is_ok() {
            shield_async(yield_now_async()).await.unwrap();
        }
    }
    outcome(env)
}

/// What it comes to.
fn outcome(env: &Env) -> Result<Egg, Fault> {
    match (env.case.who, env.case.how) {
        (Who::Child, How::Error) => Err(Fault { number: 1, egg: Some(env.egg(OUTCOME, false)) }),
        (Who::Child, How::Panic) => panic_on_purpose(1),
        // Without an egg: when the drop of a local panics, rustc may leak what the function was to return.
        (Who::Owned, How::Error) => Err(Fault { number: 1, egg: None }),
        (Who::Owned, How::Panic) => Err(Fault { number: 1, egg: None }),
        (Who::Outcome, How::Error) => Err(Fault { number: 1, egg: Some(env.egg(OUTCOME, true)) }),
        (Who::Outcome, How::Panic) => Ok(env.egg(OUTCOME, true)),
        _ => Ok(env.egg(OUTCOME, false)),
    }
}

fn body<'scope, N: Nest<'scope>>(nest: &'scope N, env: &'scope Env) -> Result<(), Fault> {
    let case = &env.case;
    let _egg = env.egg(BODY, false);
    let sibling = case.sibling.then(|| {
        let (release, released) = bounded::<()>(1);
        let (up, is_up) = bounded::<()>(1);
        let fault = || Err(Fault { number: 2, egg: Some(env.egg(SIBLING, false)) });
        let handle = match env.bodies {
            Bodies::Goroutines => nest.start("second", false, &env.mark, move || {
                up.try_send(()).unwrap();
                shield(|| released.recv()).unwrap();
                fault()
            }),
            Bodies::Coroutines => nest.launch("second", false, &env.mark, async move {
                up.try_send(()).unwrap();
                shield_async(released.recv_async()).await.unwrap();
                fault()
            }),
        };
        is_up.recv().unwrap();
        (handle.job(), release)
    });

    let owned = env.egg(OWNED, case.who == Who::Owned && case.how != How::NotAtAll);
    let (up, is_up) = bounded::<()>(1);
    let (gate, closed_gate) = bounded::<()>(1);
    let lazy = case.when == When::Before;
    let handle = match env.bodies {
        Bodies::Goroutines => nest.start("first", lazy, &env.mark, move || {
            let _owned = &owned;
            child(env, &up, &closed_gate)
        }),
        Bodies::Coroutines => nest.launch("first", lazy, &env.mark, async move {
            let _owned = &owned;
            child_async(env, &up, &closed_gate).await
        }),
    };
    let job = handle.job();
    let completed = Arc::new(OnceLock::new());
    job.on_completion({
        let completed = Arc::clone(&completed);
        move |completion| completed.set(completion.clone()).unwrap()
    });
    let mut handle = (case.handle != Handle::DroppedAtOnce).then_some(handle);
    let cancel = || match case.target {
        Target::Child => job.cancel(),
        Target::Scope => nest.node().cancel(),
        Target::Task => {
            env.task.as_ref().unwrap().cancel();
            // It goes by a message to this thread.
            until(env, || nest.node().is_cancelled());
        }
    };
    if case.when == When::Before {
        cancel();
    } else {
        is_up.recv().unwrap();
        if matches!(case.when, When::Unnoticed | When::Noticed) {
            cancel();
            assert!(job.is_cancelled());
        }
        gate.try_send(()).unwrap();
    }

    if case.handle == Handle::Joined {
        let joined = shield(|| handle.take().unwrap().join());
        env.say(match joined {
            Ok(value) => format!("join: {}", N::tell(value)),
            Err(JoinError::TaskCancelled(_)) => "join: cancelled".into(),
            Err(JoinError::Failed) => "join: failed".into(),
            Err(JoinError::Panicked(panic)) => format!("join: panic {}", number_of(&*panic.into_payload())),
            Err(other) => format!("join: {other:?}"),
        });
    }
    until(env, || completed.get().is_some());
    env.say(match completed.get() {
        Some(Completion::Completed) => "child: completed",
        Some(Completion::Cancelled(_)) => "child: cancelled",
        Some(Completion::Failed(_)) => "child: failed",
        other => unreachable!("{other:?}"),
    });
    if case.when == When::After {
        // The list is shorter a moment after the child has completed.
        until(env, || shield(|| nest.node().children()).unwrap().len() == usize::from(case.sibling));
        cancel();
    }
    drop(handle.take());

    if let Some((job, release)) = sibling {
        release.try_send(()).unwrap();
        until(env, || job.is_completed());
    }
    match (case.who, case.how) {
        (Who::Body, How::Error) => Err(Fault { number: 3, egg: None }),
        (Who::Body, How::Panic) => panic_on_purpose(3),
        _ => Ok(()),
    }
}

fn tell_all(failures: Failures<Fault>) -> String {
    let tell = |failure: throng::ChildFailure<Fault>| {
        let name = failure.name().unwrap_or("-").to_string();
        match failure.into_how() {
            HowFailed::Error(fault) => format!("{name}, error {}", fault.defused()),
            HowFailed::Panicked(panic) => format!("{name}, panic {}", number_of(&*panic.into_payload())),
        }
    };
    failures.into_iter().map(tell).collect::<Vec<_>>().join("; ")
}

/// Runs it in the calling task or thread: the log, and what there may be nothing left of.
fn run(case: Case, bodies: Bodies) -> (Vec<String>, Arc<Tally>, Arc<()>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let handled = Arc::clone(&log);
    let handler = ExceptionHandler::new(move |failure| {
        let how = match (failure.error(), failure.panic()) {
            (Some(error), _) => format!("{error:?}"),
            (_, Some(_)) if failure.to_string().contains("while its result was dropped") => "panic of its result".into(),
            (_, Some(_)) => "panic".into(),
            _ => "some error".into(),
        };
        handled.lock().unwrap().push(format!("handler: {}, {how}", failure.name().unwrap_or("-")));
    });
    let env = Env { case, bodies, tally: Arc::default(), mark: Arc::default(), task: throng::job(), log };
    let out = catch_unwind(AssertUnwindSafe(|| {
        handler.scope(|| match case.kind {
            Kind::Scope => scope(|s| body(s, &env)).map_err(|fault| format!("error {}", fault.defused())),
            Kind::ScopeAll => scope_all(|s| body(s, &env)).map_err(tell_all),
            Kind::Supervisor => supervisor(|s| body(s, &env)).map_err(|fault| format!("error {}", fault.defused())),
        })
    }));
    env.say(match out {
        Ok(Ok(())) => "out: value".into(),
        Ok(Err(failures)) => format!("out: {failures}"),
        Err(payload) => format!("out: panic {}", number_of(&*payload)),
    });
    let log = std::mem::take(&mut *env.log.lock().unwrap());
    (log, env.tally, env.mark)
}

fn compare(case: &Case, (log, tally, mark): (Vec<String>, Arc<Tally>, Arc<()>), label: &str) {
    let expected = expected(case);
    assert!(log == expected, "{case:?} on {label}: {log:?}, expected {expected:?}");
    for sort in [OWNED, OUTCOME, BODY, SIBLING] {
        let (laid, dropped) = (&tally.laid[sort], &tally.dropped[sort]);
        assert_eq!(laid.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed), "eggs of sort {sort}: {case:?} on {label}");
        assert!(laid.load(Ordering::Relaxed) <= 1);
    }
    // Whose end was the last thing a scope waited for frees its memory a little after that.
    let soon = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while Arc::strong_count(&mark) > 1 && std::time::Instant::now() < soon {
        std::thread::yield_now();
    }
    assert_eq!(Arc::strong_count(&mark), 1, "the memory of a task is left: {case:?} on {label}");
}

fn on_all(bodies: Bodies) {
    on_runtimes(|runtime, label| {
        for case in all_cases() {
            let outcome = runtime.go(move || run(case, bodies)).join().unwrap();
            compare(&case, outcome, &format!("{bodies:?} on {label}"));
            // A case has three tasks, for which a worker makes a few fibers at most; and it takes its stacks by the sixteen.
            let metrics = runtime.metrics();
            assert!(
                metrics.stacks <= 24 * (metrics.workers.len() + metrics.spare_workers.len()),
                "{} stacks: {case:?} on {label}",
                metrics.stacks
            );
        }
    });
}

#[test]
fn scope_panic_combinations() {
    on_all(Bodies::Goroutines);
}

#[test]
fn scope_panic_combinations_of_coroutines() {
    on_all(Bodies::Coroutines);
}

/// The same with the scope in a plain thread, its children on the default runtime.
#[test]
fn scope_panic_combinations_in_a_thread() {
    watched("a thread", || {
        for case in all_cases().into_iter().filter(|case| case.target != Target::Task) {
            for bodies in [Bodies::Goroutines, Bodies::Coroutines] {
                compare(&case, run(case, bodies), &format!("{bodies:?} of a thread"));
            }
        }
    });
}
