//! Why a goroutine could not be started.

use std::error::Error;
use std::fmt;

use crate::fiber::OutOfStacks;

/// Why a goroutine could not be started. `Display` names the limit that was met.
#[derive(Clone, Debug)]
pub struct SpawnError(pub(super) Refusal);

#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Stacks(OutOfStacks),
    Memory(usize),
    ShutDown,
    Runtime(std::sync::Arc<std::io::Error>),
    CoroutinesOnly,
}

impl SpawnError {
    pub(crate) fn out_of_memory(size: usize) -> SpawnError {
        SpawnError(Refusal::Memory(size))
    }

    pub(crate) fn shut_down() -> SpawnError {
        SpawnError(Refusal::ShutDown)
    }

    #[cold]
    #[track_caller]
    pub(crate) fn refuse(&self) -> ! {
        panic!("a goroutine could not be started: {self}")
    }

    /// Whether the runtime has been shut down. Everything else is a lack of resources, which may pass.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self.0, Refusal::ShutDown)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Refusal::Stacks(refused) => refused.fmt(f),
            Refusal::Memory(size) => write!(f, "out of memory: the allocator refused {size} bytes for a task"),
            Refusal::ShutDown => f.write_str("the runtime, or the dispatcher, has been shut down"),
            Refusal::CoroutinesOnly => f.write_str("another executor's dispatcher runs coroutines only, not goroutines"),
            Refusal::Runtime(error) => write!(f, "the default runtime could not be started: {error}"),
        }
    }
}

impl Error for SpawnError {}
