//! What a task hands down to the tasks it starts: values under keys that [`context_local!`](crate::context_local) declares.
//!
//! A context is an immutable array behind a counted pointer; most tasks have the empty one, a null, and pay a load for it. To set a value is to make a new array. The
//! running task's context is a cell of its waiter: [`ContextLocal::scope`] exchanges it for the extent of a call, a spawn copies the pointer.
//!
//! The name and the failure handler of a task are values like any other, under keys of the library's own.

#![forbid(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use crate::home::local;

/// The values a task has inherited. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Context(Option<Arc<Values>>);

/// At most one for each key. Few: found by looking at each.
type Values = Vec<(Key, Arc<dyn Any + Send + Sync>)>;

/// The address of a key's static.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(usize);

impl Context {
    /// This context with one value more, or another one.
    pub(crate) fn with<T: Send + Sync + 'static>(&self, key: &'static ContextLocal<T>, value: T) -> Context {
        let mut values = self.0.as_ref().map_or_else(Vec::new, |values| Vec::clone(values));
        values.retain(|(present, _)| *present != key.key());
        values.push((key.key(), Arc::new(value)));
        Context(Some(Arc::new(values)))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Looks at the value under `key`.
    pub(crate) fn peek<T: Send + Sync + 'static, R>(&self, key: &'static ContextLocal<T>, f: impl FnOnce(Option<&T>) -> R) -> R {
        let mut values = self.0.iter().flat_map(|values| values.iter());
        f(values.find(|(present, _)| *present == key.key()).and_then(|(_, value)| value.downcast_ref()))
    }

    /// The value under `key`.
    pub(crate) fn get<T: Send + Sync + 'static>(&self, key: &'static ContextLocal<T>) -> Option<Arc<T>> {
        let (_, value) = self.0.as_ref()?.iter().find(|(present, _)| *present == key.key())?;
        Arc::clone(value).downcast().ok()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("values", &self.0.as_ref().map_or(0, |values| values.len())).finish()
    }
}

/// The context of whoever runs. Touched by its own thread only, as long as it runs.
#[derive(Default)]
pub(crate) struct ContextCell(Cell<Context>);

impl ContextCell {
    pub(crate) fn new(context: Context) -> ContextCell {
        ContextCell(Cell::new(context))
    }

    #[inline]
    pub(crate) fn get(&self) -> Context {
        let context = self.0.take();
        if context.0.is_none() {
            return context;
        }
        self.0.set(context.clone());
        context
    }

    pub(crate) fn replace(&self, context: Context) -> Context {
        self.0.replace(context)
    }
}

/// A value that tasks inherit: declared by [`context_local!`](crate::context_local).
///
/// It is set for the extent of a call, by [`scope`](ContextLocal::scope), or for one task, when that is started
/// ([`Task::with`](crate::Task::with)). Tasks started meanwhile inherit it, and theirs, wherever they run; what is set later in the parent does not reach those that exist
/// already.
///
/// Go's `context.WithValue`, Kotlin's context elements, tokio's `task_local!`, Java's `ScopedValue`.
pub struct ContextLocal<T: 'static> {
    /// Not of size zero, so that each has an address of its own.
    _address: u8,
    _value: PhantomData<fn() -> T>,
}

impl<T: 'static> ContextLocal<T> {
    /// For [`context_local!`](crate::context_local).
    #[doc(hidden)]
    #[must_use]
    pub const fn new() -> ContextLocal<T> {
        ContextLocal { _address: 0, _value: PhantomData }
    }

    fn key(&'static self) -> Key {
        Key(ptr::from_ref(self).addr())
    }
}

impl<T: Send + Sync + 'static> ContextLocal<T> {
    /// Runs `f` with the value set, for the calling task and for the tasks started by it meanwhile. Never parks by itself.
    ///
    /// ```
    /// throng::context_local! { static USER: &'static str; }
    ///
    /// throng::run(|| {
    ///     let seen = USER.scope("ada", || throng::go(|| USER.get()).join());
    ///     assert_eq!(seen.unwrap(), Some("ada"));
    ///     assert_eq!(USER.get(), None);
    /// });
    /// ```
    pub fn scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        within(inherited().with(self, value), f)
    }

    /// The value, if one is set. Never parks.
    #[must_use]
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Calls `f` with the value, if one is set.
    ///
    /// ```
    /// throng::context_local! { static PATH: String; }
    ///
    /// PATH.scope("/index.html".into(), || {
    ///     assert_eq!(PATH.with(|path| path.map_or(0, |path| path.len())), 11);
    /// });
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        f(inherited().get(self).as_deref())
    }
}

/// The context of the calling task.
#[inline]
pub(crate) fn inherited() -> Context {
    local::with(|local| local.current().context().get())
}

/// Runs `f` in another context.
pub(crate) fn within<R>(context: Context, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Context>);
    impl Drop for Restore {
        fn drop(&mut self) {
            // Whoever began the call is running again: a task's stack is its own.
            if let Some(context) = self.0.take() {
                local::with(|local| drop(local.current().context().replace(context)));
            }
        }
    }
    let before = local::with(|local| local.current().context().replace(context));
    let _restore = Restore(Some(before));
    f()
}

impl<T: 'static> fmt::Debug for ContextLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextLocal").finish_non_exhaustive()
    }
}

/// Declares values that tasks inherit: each a static [`ContextLocal`].
///
/// ```
/// throng::context_local! {
///     /// Which request is being served.
///     pub static REQUEST: u64;
///     static USER: String;
/// }
///
/// REQUEST.scope(7, || assert_eq!(REQUEST.get(), Some(7)));
/// assert_eq!(USER.get(), None);
/// ```
#[macro_export]
macro_rules! context_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);+ $(;)?) => {
        $($(#[$attribute])* $visibility static $name: $crate::ContextLocal<$type> = $crate::ContextLocal::new();)+
    };
}
