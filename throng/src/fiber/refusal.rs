//! Why there is no stack: the error a spawn ends with when the system refuses another one, naming the limit it met.

use std::error::Error;
use std::fmt;
use std::io;

use super::guard::GuardKind;
use super::sys;

/// There is no stack left, and the system refuses another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutOfStacks {
    live: usize,
    stack_size: usize,
    errno: i32,
    limit: Limit,
}

/// What the slab asked for and did not get.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Mapping,
    Guard,
}

/// What most likely refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// The number of mappings: guards by protection take two a stack.
    Mappings { most: Option<u64> },
    /// The limit on the process's address space (`RLIMIT_AS`).
    AddressSpace { bytes: u64 },
    /// Memory, or the number of mappings for some other reason.
    Memory { most_mappings: Option<u64> },
}

impl OutOfStacks {
    pub(super) fn new(live: usize, stack_size: usize, kind: GuardKind, asked: Asked, error: &io::Error) -> OutOfStacks {
        let limit = match (asked, sys::address_space_limit()) {
            (Asked::Mapping, Some(bytes)) => Limit::AddressSpace { bytes },
            _ if kind == GuardKind::Protection => Limit::Mappings { most: sys::mappings_limit() },
            _ => Limit::Memory { most_mappings: sys::mappings_limit() },
        };
        OutOfStacks { live, stack_size, errno: error.raw_os_error().unwrap_or(0), limit }
    }

    /// The same refusal once more; the limits are not read again.
    pub(super) fn again(self, live: usize) -> OutOfStacks {
        OutOfStacks { live, ..self }
    }
}

impl fmt::Display for OutOfStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, kib) = (self.live, self.stack_size >> 10);
        write!(f, "out of stacks: {live} stacks of {kib} KiB are in use and the kernel refuses another mapping")?;
        match self.limit {
            Limit::Mappings { most: Some(most) } => {
                write!(f, " (vm.max_map_count = {most}; guards by mprotect need two mappings a stack)")?;
            }
            Limit::Mappings { most: None } => {
                write!(f, " (the limit on mappings; guards by mprotect need two a stack)")?;
            }
            Limit::AddressSpace { bytes } => {
                write!(f, " (the address space is limited to {} MiB: RLIMIT_AS, ulimit -v)", bytes >> 20)?;
            }
            Limit::Memory { most_mappings: Some(most) } => {
                write!(f, " (out of memory or of commit, or of mappings: vm.max_map_count = {most})")?;
            }
            Limit::Memory { most_mappings: None } => write!(f, " (out of memory)")?,
        }
        write!(f, ": {}", io::Error::from_raw_os_error(self.errno))
    }
}

impl Error for OutOfStacks {}
