//! Other crates' futures, reactors and channels in tasks of this one, and this one's futures elsewhere: all as they come from their crates.

#[path = "../common/mod.rs"]
mod common;

mod callbacks;
mod channels;
mod combinators;
mod cut_off;
mod elsewhere;
mod executors;
mod reactor;
mod tokio_io;

use std::pin::pin;

use throng::Sender;
use throng::future::Wait;
use throng::{Runtime, launch};

/// Awaits what `make` makes: in a coroutine, in a goroutine that waits, and on a plain thread; on all kinds of runtimes.
fn everywhere<F, T>(make: impl Fn() -> F + Sync, check: impl Fn(T, &str))
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    common::on_runtimes(|runtime, label| everywhere_on(runtime, label, &make, &check));
}

fn everywhere_on<F, T>(runtime: &Runtime, label: &str, make: &(impl Fn() -> F + Sync), check: &impl Fn(T, &str))
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    check(runtime.run(|| launch(make()).join().unwrap()), &format!("{label}, coroutine"));
    check(runtime.run(|| make().wait().unwrap()), &format!("{label}, goroutine"));
    check(make().wait().unwrap(), &format!("{label}, thread"));
}

/// Awaits `future`, and says so on `waits` when it is pending for the first time.
async fn told<F: Future>(future: F, waits: Sender<()>) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            let _ = waits.try_send(());
        }
        polled
    })
    .await
}
