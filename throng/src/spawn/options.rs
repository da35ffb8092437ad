//! What can be said of a task before it starts.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::context::{Context, ContextLocal, inherited};
use crate::dispatch::Dispatcher;
use crate::handler::ExceptionHandler;
use crate::task::{ATOMIC, INHERITED, Name, PROMISE, Spec};

/// What unnamed tasks are called after.
static NAME: ContextLocal<Arc<Name>> = ContextLocal::new();

/// How a task starts. Kotlin's `CoroutineStart`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Start {
    #[default]
    Queued,
    Lazy,
    Undispatched,
    Atomic,
    /// Never: somebody else provides its value.
    Promise,
}

impl Start {
    /// Whether it is not to be queued at once.
    pub(super) fn is_put_off(self) -> bool {
        matches!(self, Start::Lazy | Start::Promise)
    }
}

/// See the module's header. The setters are those of the public builders.
#[derive(Clone, Default)]
pub(crate) struct Options {
    name: Option<Arc<Name>>,
    /// `None`: the context of the spawner, as it is then.
    context: Option<Context>,
    start: Start,
}

impl Options {
    /// With a name that is not handed down.
    pub(crate) fn called_only(name: &str) -> Options {
        Options { name: Some(Arc::new(Name(name.into()))), ..Options::default() }
    }

    /// Without the dispatcher that it would inherit.
    pub(crate) fn undispatched() -> Options {
        Options::default().no_dispatcher()
    }

    pub(crate) fn no_dispatcher(mut self) -> Options {
        let context = self.context.take().unwrap_or_else(inherited);
        self.context = Some(Dispatcher::unset_in(&context));
        self
    }

    pub(crate) fn dispatcher(&mut self, dispatcher: &Dispatcher) {
        self.change(|context| dispatcher.set_in(context));
    }

    pub(crate) fn name(&mut self, name: String) {
        let name = Arc::new(Name(name.into_boxed_str()));
        self.change(|context| context.with(&NAME, Arc::clone(&name)));
        self.name = Some(name);
    }

    pub(crate) fn handler(&mut self, handler: ExceptionHandler) {
        self.change(|context| handler.set_in(context));
    }

    pub(crate) fn with<T: Send + Sync + 'static>(&mut self, key: &'static ContextLocal<T>, value: T) {
        self.change(|context| context.with(key, value));
    }

    fn change(&mut self, f: impl FnOnce(&Context) -> Context) {
        let context = self.context.take().unwrap_or_else(inherited);
        self.context = Some(f(&context));
    }

    pub(crate) fn start(&mut self, start: Start) {
        self.start = start;
    }

    pub(crate) fn how(&self) -> Start {
        self.start
    }

    /// The specification of the task, and its dispatcher, if it has one of its own.
    #[inline(always)]
    pub(crate) fn spec(self, site: &'static Location<'static>) -> (Spec, Option<Dispatcher>) {
        let context = self.context.unwrap_or_else(inherited);
        if self.start == Start::Queued && self.name.is_none() && context.is_empty() {
            return (Spec { site, name: None, context, flags: 0, undecided: false }, None);
        }
        Self::special(self.name, context, self.start, site)
    }

    fn special(
        mut name: Option<Arc<Name>>,
        context: Context,
        start: Start,
        site: &'static Location<'static>,
    ) -> (Spec, Option<Dispatcher>) {
        let mut flags = match start {
            Start::Queued | Start::Lazy => 0,
            Start::Atomic | Start::Undispatched => ATOMIC,
            Start::Promise => PROMISE,
        };
        if name.is_none() {
            name = context.peek(&NAME, |name| name.cloned());
            if name.is_some() {
                flags |= INHERITED;
            }
        }
        // A promise runs nowhere.
        let dispatcher = if start == Start::Promise { None } else { Dispatcher::in_context(&context) };
        (Spec { site, name, context, flags, undecided: start.is_put_off() }, dispatcher)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("name", &self.name.as_ref().map(|name| &name.0)).field("start", &self.start).finish_non_exhaustive()
    }
}

/// The setters that all builders of tasks have.
macro_rules! task_options {
    () => {
        /// Gives it a name, for reports and for [`Job::name`](crate::Job::name). Unnamed tasks started by it, and by those, are called after it.
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.options.name(name.into());
            self
        }

        /// Gives it an [`ExceptionHandler`](crate::ExceptionHandler), for its own failure and for those of the tasks started by it, and by those.
        pub fn handler(mut self, handler: crate::ExceptionHandler) -> Self {
            self.options.handler(handler);
            self
        }

        /// Has it run there. The tasks started by it, and by those, inherit the dispatcher. Started `undispatched`, it begins there all the same.
        ///
        /// Kotlin's `launch(dispatcher)`.
        ///
        /// ```
        /// use throng::dispatch::io;
        ///
        /// throng::run(|| {
        ///     let reader = throng::task().on(&io()).go(|| std::fs::read_to_string("Cargo.toml"));
        ///     assert!(reader.join().unwrap().unwrap().contains("throng"));
        /// });
        /// ```
        pub fn on(mut self, dispatcher: &crate::Dispatcher) -> Self {
            self.options.dispatcher(dispatcher);
            self
        }

        /// Sets a value of its context, for it and for the tasks started by it, and by those.
        ///
        /// ```
        /// throng::context_local! { static REQUEST: u64; }
        ///
        /// throng::run(|| {
        ///     let handle = throng::task().with(&REQUEST, 7).go(|| throng::go(|| REQUEST.get()).join());
        ///     assert_eq!(handle.join().unwrap().unwrap(), Some(7));
        /// });
        /// ```
        pub fn with<V: Send + Sync + 'static>(mut self, key: &'static crate::ContextLocal<V>, value: V) -> Self {
            self.options.with(key, value);
            self
        }

        /// It is made now, and belongs to its parent from now on, but runs only when it is first wanted: by `start`, by a `join`, or by `select!`. Cancelled before that, it ends without
        /// running. What waits for it waits for it, started or not: a scope with a lazy task that nobody starts does not end.
        ///
        /// Kotlin's `CoroutineStart.LAZY`.
        ///
        /// ```
        /// use throng::{JobState, task};
        ///
        /// throng::run(|| {
        ///     let answer = task().lazy().go(|| 6 * 7);
        ///     assert_eq!(answer.job().state(), JobState::New);
        ///     assert_eq!(answer.join().unwrap(), 42);
        /// });
        /// ```
        pub fn lazy(mut self) -> Self {
            self.options.start(crate::spawn::Start::Lazy);
            self
        }

        /// Its body runs even if it is cancelled before it starts, and meets the cancellation at its first park: for bodies that must not be skipped because they own
        /// something that has to be handed on. (A closure that is skipped is dropped, and what it owns with it.)
        ///
        /// Kotlin's `CoroutineStart.ATOMIC`.
        pub fn atomic(mut self) -> Self {
            self.options.start(crate::spawn::Start::Atomic);
            self
        }

        /// It runs at once, before the caller goes on: up to its end, or to the first time it parks. From then on it is a task like any other. Its body runs even if it is cancelled before.
        ///
        /// Only a goroutine can give its thread away like that: on a plain thread, or where there is no stack to go on with, it is queued as usual.
        ///
        /// Kotlin's `CoroutineStart.UNDISPATCHED`.
        ///
        /// ```
        /// use std::sync::atomic::{AtomicU32, Ordering};
        ///
        /// static STEP: AtomicU32 = AtomicU32::new(0);
        /// throng::run(|| {
        ///     drop(throng::task().undispatched().go(|| {
        ///         STEP.store(1, Ordering::Relaxed);
        ///         let _ = throng::yield_now();
        ///         STEP.store(2, Ordering::Relaxed);
        ///     }));
        ///     assert_eq!(STEP.load(Ordering::Relaxed), 1);
        /// });
        /// ```
        pub fn undispatched(mut self) -> Self {
            self.options.start(crate::spawn::Start::Undispatched);
            self
        }
    };
}

pub(crate) use task_options;
