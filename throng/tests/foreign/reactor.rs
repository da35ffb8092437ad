//! A tokio runtime kept by a thread of its own, whose reactor and timers serve futures that are polled by others.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The runtime's thread. Dropped, it ends.
pub(crate) struct Reactor {
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reactor {
    pub(crate) fn start() -> Reactor {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || _ = runtime.block_on(stopped));
        Reactor { handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Polls `future` with this runtime entered: within each poll, since the guard belongs to the thread, and the next poll may be on another.
    pub(crate) fn enter<F: Future>(&self, future: F) -> Entered<F> {
        Entered { handle: self.handle.clone(), future: Box::pin(future) }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

pub(crate) struct Entered<F> {
    handle: Handle,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = this.handle.enter();
        this.future.as_mut().poll(cx)
    }
}
