//! Who runs on a thread, told without allocating or locking: for the report of a stack overflow, made in a signal handler.

use std::ptr::NonNull;

use super::worker::on_worker;
use crate::task::Header;

/// Writes `'name' (spawned at file:line)` for the goroutine that runs on this thread. Only reads and writes.
pub(super) fn describe_current(write: &mut dyn FnMut(&[u8])) {
    on_worker(|worker| {
        let Some(worker) = worker.filter(|worker| !worker.local().is_thread()) else {
            return write(b"(none: the scheduler's own loop)");
        };
        let waiter = NonNull::from(worker.local().current());
        // SAFETY: on a worker the current waiter is a task's, which runs and so is alive.
        let header = unsafe { Header::of_waiter(waiter).as_ref() };
        if let Some(name) = header.name() {
            write(b"'");
            write(name.as_bytes());
            write(b"' ");
        }
        write(b"(spawned at ");
        write(header.site().file().as_bytes());
        write(b":");
        let mut digits = [0_u8; 10];
        write(decimal(header.site().line(), &mut digits));
        write(b")");
    });
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
