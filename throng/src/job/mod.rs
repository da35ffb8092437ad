//! Jobs: tasks and scopes as nodes of one tree, seen from outside.
//!
//! A [`Job`] is a counted reference to a task's block or to a scope's record. It owns nothing of what it refers to: tasks live by their owners, scopes by their frames, and both end whether jobs
//! refer to them or not. `README.md` beside this file has the states, the order of events at the end of a job, and who may touch what.

mod answer;
mod state;
mod tree;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use answer::Answer;

use crate::cancelled::Cancelled;
use crate::cause::{Cause, Completion};
use crate::home::local;
use crate::join::{JoinError, wait_for_scope, wait_for_task};
use crate::task::children;
use crate::task::record::{Handler, TaskRef};
use crate::task::scope_record::ScopeRecord;
use crate::waiter::Heeds;
pub use state::{JobState, OnCompletion};
pub(crate) use tree::{path, root_path};

/// A task or a scope, as a node of the task tree: to look at, to wait for, to cancel.
///
/// Cheap to clone, and usable from any thread, also when what it stands for has ended. Holding one keeps nothing alive or running but a little memory. Get one from
/// [`JoinHandle::job`](crate::JoinHandle::job), [`Scope::job`](crate::Scope::job), or, for whoever runs, from [`job`].
///
/// A *task*'s parent is the scope it was started in; tasks started by [`go`](crate::go) have none. A *scope*'s parent is the scope around it in the same task, or the task that opened it.
///
/// Kotlin's `Job`, whose states and rules it follows.
///
/// ```
/// use throng::{JobState, go, yield_now};
///
/// throng::run(|| {
///     let handle = go(|| throng::sleep(std::time::Duration::from_secs(3600)));
///     let job = handle.job();
///     assert_eq!(job.state(), JobState::Active);
///     job.cancel_with("no longer needed");
///     job.join().unwrap();
///     assert!(job.is_completed());
/// });
/// ```
#[derive(Clone)]
pub struct Job(Kind);

#[derive(Clone)]
enum Kind {
    Task(TaskRef),
    Scope(Arc<ScopeRecord>),
}

/// The job of whoever runs: the innermost scope that is open, else the task. `None` on a plain thread outside of scopes. Never parks.
///
/// Kotlin's `coroutineContext.job`.
#[must_use]
pub fn job() -> Option<Job> {
    local::with(|local| tree::innermost(local.current(), local.is_thread()))
}

/// Why a call that parks would return [`Cancelled`] now; `None` if it would not. Never parks.
///
/// The first cause stays, whatever comes later. Go's `context.Cause`.
///
/// ```
/// use throng::{cause, go, sleep};
/// use std::time::Duration;
///
/// throng::run(|| {
///     let handle = go(|| {
///         let _ = sleep(Duration::from_secs(3600));
///         cause().map(|cause| cause.to_string())
///     });
///     throng::yield_now().unwrap();
///     handle.cancel_with("the shop is closing");
///     assert_eq!(handle.join().unwrap().as_deref(), Some("the shop is closing"));
/// });
/// ```
#[must_use]
pub fn cause() -> Option<Cause> {
    local::with(children::cause_here)
}

impl Job {
    pub(crate) fn of_task(task: TaskRef) -> Job {
        Job(Kind::Task(task))
    }

    pub(crate) fn of_scope(scope: Arc<ScopeRecord>) -> Job {
        Job(Kind::Scope(scope))
    }

    /// Where it is in its life. Out of date as soon as it is read, unless it is final.
    #[must_use]
    pub fn state(&self) -> JobState {
        match &self.0 {
            Kind::Task(task) => {
                let header = task.header();
                if header.is_done() {
                    return if header.is_lost() { JobState::Cancelled } else { JobState::Completed };
                }
                let cancelled = header.waiter.is_task_cancelled() || header.with_owner(|owner| owner.is_cancelled()) == Some(true);
                match cancelled {
                    true => JobState::Cancelling,
                    false if header.waiter.word().is_undecided() && !header.is_promise() => JobState::New,
                    false => JobState::Active,
                }
            }
            Kind::Scope(scope) => match scope.completion() {
                Some(Completion::Completed) => JobState::Completed,
                Some(_) => JobState::Cancelled,
                None => match scope.look(|children| (children.is_cancelled(), children.waits())) {
                    // It has just ended.
                    None => self.state(),
                    Some((true, _)) => JobState::Cancelling,
                    Some((false, true)) => JobState::Completing,
                    Some((false, false)) => JobState::Active,
                },
            },
        }
    }

    /// Whether it has been started, is not cancelled and has not ended.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state(), JobState::Active | JobState::Completing)
    }

    /// Whether it has ended, with a value or without.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        matches!(self.state(), JobState::Cancelled | JobState::Completed)
    }

    /// Whether it was cancelled or has failed. (A task that came to a value in spite of its cancellation has completed: a value is never thrown away.)
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.state(), JobState::Cancelling | JobState::Cancelled)
    }

    /// Why it was cancelled, or how it failed; `None` if neither.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match &self.0 {
            Kind::Task(task) => task.header().cause(),
            Kind::Scope(scope) => scope.cause(),
        }
    }

    /// The name it was given, or, if it was given none, that of the task it was started by, or of one above that. Scopes have none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Task(task) => task.header().name(),
            Kind::Scope(_) => None,
        }
    }

    fn own_name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Task(task) => task.header().own_name(),
            Kind::Scope(_) => None,
        }
    }

    /// Where it was started or opened.
    #[must_use]
    pub fn site(&self) -> &'static Location<'static> {
        match &self.0 {
            Kind::Task(task) => task.header().site(),
            Kind::Scope(scope) => scope.site(),
        }
    }

    /// Whether it is a scope, not a task.
    #[must_use]
    pub fn is_scope(&self) -> bool {
        matches!(self.0, Kind::Scope(_))
    }

    /// Its parent in the tree. `None` for tasks started by [`go`](crate::go), for scopes of plain threads, and once it has ended.
    #[must_use]
    pub fn parent(&self) -> Option<Job> {
        match &self.0 {
            Kind::Task(task) => {
                let record = task.header().with_owner(|owner| owner.site().is_some().then(|| owner.record()));
                record.flatten().map(Job::of_scope)
            }
            Kind::Scope(scope) => scope.look(tree::above).flatten(),
        }
    }

    /// Its children that have not ended: of a scope, the tasks started in it, the oldest first, and the scope its own code is inside of; of a task, the scope it is inside of.
    ///
    /// The list is kept by one thread; from elsewhere this parks until that thread has looked, which is when it next changes from one task to another.
    ///
    /// # Errors
    /// [`Cancelled`] if the caller is cancelled, before or meanwhile.
    pub fn children(&self) -> Result<Vec<Job>, Cancelled> {
        crate::cancel::check()?;
        let home = match &self.0 {
            Kind::Task(task) => task.header().waiter.home_of_scopes(),
            Kind::Scope(scope) => Some(scope.home()),
        };
        let Some(home) = home else { return Ok(Vec::new()) };
        if let Some(children) = local::with(|local| std::ptr::eq(local.home(), home).then(|| self.children_at_home(local))) {
            return Ok(children);
        }
        let (answer, job) = (Answer::new(), self.clone());
        let asked = answer.clone();
        home.send(move |local| asked.give(job.children_at_home(local)));
        answer.wait(|| self.is_completed()).map(Option::unwrap_or_default)
    }

    fn children_at_home(&self, local: &local::Local) -> Vec<Job> {
        match &self.0 {
            // (A coroutine may have gone elsewhere meanwhile, and left the scope it was asked about.)
            Kind::Task(task) if !task.header().waiter.has_scopes_at(local.home()) => Vec::new(),
            Kind::Task(task) => tree::below_task(task.header()),
            // SAFETY: on its home, for this call.
            Kind::Scope(scope) => unsafe { scope.at_home() }.map(tree::below_scope).unwrap_or_default(),
        }
    }

    /// Starts a lazy task. `true` if this call did; `false` if it was started before, or is not lazy. Never parks.
    pub fn start(&self) -> bool {
        match &self.0 {
            Kind::Task(task) => task.header().launch_if_lazy(),
            Kind::Scope(_) => false,
        }
    }

    /// Cancels it, and so all below it: [`cancel_with`](Job::cancel_with) without a reason.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Asked);
    }

    /// Cancels it, and so all below it, for this reason. The first reason stays. Never parks; no effect on a job that has ended.
    ///
    /// A task's present and further parks return [`Cancelled`]; one that has not started never will. A scope's children are cancelled, and its own code is interrupted at its next park;
    /// the scope then ends with what that code makes of it.
    pub fn cancel_with(&self, cause: impl Into<Cause>) {
        match &self.0 {
            Kind::Task(task) => task.header().cancel_alone(cause.into()),
            Kind::Scope(scope) => scope.cancel(cause.into()),
        }
    }

    /// Cancels the children it has now, and not itself; it may start new ones. Kotlin's `cancelChildren`.
    pub fn cancel_children(&self) {
        match &self.0 {
            Kind::Task(task) => {
                let Some(home) = task.header().waiter.home_of_scopes() else { return };
                let task = task.clone();
                let work = move |local: &local::Local| {
                    if task.header().waiter.has_scopes_at(local.home())
                        && let Some(outermost) = tree::scopes_of(&task.header().waiter).last()
                    {
                        outermost.record().cancel(Cause::Asked);
                    }
                };
                local::with(|local| if std::ptr::eq(local.home(), home) { work(local) } else { home.send(work) });
            }
            Kind::Scope(scope) => scope.cancel_present(),
        }
    }

    /// Parks until it has ended, however that was: a failure is not the joiner's. A lazy task is started. From a plain thread it blocks the thread.
    ///
    /// # Errors
    /// - [`JoinError::Cancelled`]: the caller is cancelled, before (even if the job has ended: this is a call that parks) or meanwhile.
    /// - [`JoinError::Itself`]: the caller would wait for itself: for its own task, or for a scope it is inside of.
    pub fn join(&self) -> Result<(), JoinError> {
        crate::cancel::check()?;
        self.start();
        match &self.0 {
            Kind::Task(task) => wait_for_task(task.header(), Heeds::Everything),
            Kind::Scope(scope) => {
                if self.is_around() {
                    return Err(JoinError::Itself);
                }
                wait_for_scope(scope, Heeds::Everything)
            }
        }
    }

    /// Whether it is a scope that the caller's task is inside of, or was started in.
    fn is_around(&self) -> bool {
        let Some(mut job) = job() else { return false };
        loop {
            if job == *self {
                return true;
            }
            let of_task = !job.is_scope();
            match job.parent() {
                Some(parent) if of_task => return parent == *self,
                Some(parent) => job = parent,
                None => return false,
            }
        }
    }

    /// [`cancel`](Job::cancel), then [`join`](Job::join).
    ///
    /// # Errors
    /// As for [`join`](Job::join).
    pub fn cancel_and_join(&self) -> Result<(), JoinError> {
        self.cancel();
        self.join()
    }

    /// Has `f` called once, when the job has ended: its state is final, those who wait in a join go on after it, its parent still waits. At once, by the caller, if it has ended already.
    ///
    /// Handlers run in the order they were added, on the thread that ends the job, as part of it: they must be short and must not park. A panic in one is reported and keeps
    /// neither the others nor the job. Dropping what this returns changes nothing; [`remove`](OnCompletion::remove) takes the handler back.
    ///
    /// Kotlin's `invokeOnCompletion`.
    ///
    /// ```
    /// use throng::{Completion, go};
    ///
    /// throng::run(|| {
    ///     let (tx, rx) = throng::bounded(1);
    ///     let handle = go(|| 7);
    ///     handle.job().on_completion(move |completion| {
    ///         tx.try_send(matches!(completion, Completion::Completed)).unwrap();
    ///     });
    ///     handle.join().unwrap();
    ///     assert_eq!(rx.recv(), Ok(true));
    /// });
    /// ```
    pub fn on_completion(&self, f: impl FnOnce(&Completion) + Send + 'static) -> OnCompletion {
        self.tell(Handler::Completion(Box::new(f)))
    }

    /// Has `f` called once, when the job is cancelled; at once if it has been. Not called if it ends otherwise. In the canceller's thread: must be short and must not park.
    pub(crate) fn on_cancelling(&self, f: impl FnOnce(&Cause) + Send + 'static) -> OnCompletion {
        self.tell(Handler::Cancelling(Box::new(f)))
    }

    fn tell(&self, handler: Handler) -> OnCompletion {
        let told = match &self.0 {
            Kind::Task(task) => task.header().tell(handler),
            Kind::Scope(scope) => scope.tell(handler),
        };
        let number = told.map_err(|late| match late {
            Handler::Completion(f) => {
                if let Some(completion) = self.completion() {
                    f(&completion);
                }
            }
            Handler::Cancelling(f) => {
                if let Some(cause) = self.cause() {
                    f(&cause);
                }
            }
        });
        OnCompletion::new(self.clone(), number.ok())
    }

    fn untell(&self, number: u64) -> Option<Handler> {
        match &self.0 {
            Kind::Task(task) => task.header().untell(number),
            Kind::Scope(scope) => scope.untell(number),
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn completion(&self) -> Option<Completion> {
        match &self.0 {
            Kind::Task(task) => task.header().completion(),
            Kind::Scope(scope) => scope.completion(),
        }
    }

    /// Its path in the tree from the root, as reports give it: names where there are some, else the places tasks and scopes were started at. Long ones are cut at the root's end.
    #[must_use]
    pub fn path(&self) -> String {
        let mut parts = Vec::new();
        let mut job = Some(self.clone());
        while let Some(at) = job {
            if parts.len() == 16 {
                parts.push("..".into());
                break;
            }
            parts.push(match (at.own_name(), at.is_scope()) {
                (Some(name), _) => format!("'{name}'"),
                (None, true) => format!("scope at {}", at.site()),
                (None, false) => format!("task at {}", at.site()),
            });
            job = at.parent();
        }
        parts.reverse();
        parts.join(" / ")
    }
}

/// Whether two stand for the same task or scope.
impl PartialEq for Job {
    fn eq(&self, other: &Job) -> bool {
        tree::same(self, other)
    }
}

impl Eq for Job {}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name())
            .field("site", &format_args!("{}", self.site()))
            .field("scope", &self.is_scope())
            .field("state", &self.state())
            .finish()
    }
}
