//! Who runs on a thread, told without allocating or locking: for reports of stack overflows and of stalls, which are made in signal handlers.

use std::ptr::NonNull;

use super::worker::on_worker;
use crate::probe::Running;
use crate::task::Header;

/// Calls `tell` with the task that runs on this thread, if one does. Only reads.
pub(super) fn current(tell: &mut dyn FnMut(Running<'_>)) {
    on_worker(|worker| {
        let Some(worker) = worker else { return };
        if let Some(waiter) = worker.local().interrupted() {
            // SAFETY: on a worker the current waiter is a task's.
            let header = unsafe { Header::of_waiter(NonNull::from(waiter)).as_ref() };
            tell(Running { kind: header.kind(), name: header.name(), site: header.site(), others_wait: worker.local().has_ready() });
        }
    });
}

/// Writes `goroutine 'name' (spawned at file:line)` for the task that runs on this thread. Only reads and writes.
pub(super) fn describe_current(write: &mut dyn FnMut(&[u8])) {
    let mut told = false;
    current(&mut |running| {
        told = true;
        let site = running.site;
        write(running.kind.word().as_bytes());
        write(b" ");
        if let Some(name) = running.name {
            write(b"'");
            write(name.as_bytes());
            write(b"' ");
        }
        write(b"(spawned at ");
        write(site.file().as_bytes());
        write(b":");
        let mut digits = [0_u8; 10];
        write(decimal(site.line(), &mut digits));
        write(b")");
    });
    if !told {
        write(b"a worker's own loop");
    }
}

/// Formats without allocating.
fn decimal(mut n: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}
