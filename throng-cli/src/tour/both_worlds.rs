//! Example: goroutines and coroutines, and the ways from each to the other.

use std::time::Duration;

use super::{Outcome, Output};
use throng::future::Wait;
use throng::{Error, bounded, go, launch, rendezvous, scope, sleep, sleep_async};

const SHORT: Duration = Duration::from_millis(10);

/// As libraries have them: it knows nothing of goroutines.
async fn price(of: &str) -> u32 {
    let _ = sleep_async(SHORT).await;
    of.len() as u32
}

/// A goroutine waits for a future; a coroutine calls what parks.
pub fn calls(out: &Output) -> Result<(), Error> {
    scope(|s| {
        let goroutine = s.go(|| {
            let price = price("tea").wait()?; // parks, as any call does
            out.line(format_args!("a goroutine has waited: {price}"));
            Ok(())
        });
        goroutine.join()?;
        let coroutine = s.launch(async {
            sleep(SHORT)?; // keeps a stack for as long as it is parked; its worker runs others
            out.line("a coroutine has parked");
            sleep_async(SHORT).await?; // keeps none
            out.line(format_args!("a coroutine has awaited: {}", price("coffee").await));
            Ok(())
        });
        coroutine.join()?;
        Ok(())
    })
}

/// Channels do not care who is at their ends.
pub fn channels(out: &Output) -> Result<(), Error> {
    let ((numbers, inlet), (squares, outlet)) = (rendezvous::<u32>(), bounded(2));
    scope(|s| {
        s.go(move || {
            for n in 1..=4 {
                numbers.send(n)?;
            }
            Ok(())
        });
        s.launch(async move {
            while let Ok(n) = inlet.recv_async().await {
                squares.send_async(n * n).await?;
            }
            Ok(())
        });
        let squares: Vec<_> = outlet.iter().collect();
        out.line(format_args!("numbers from a goroutine, squared in a coroutine: {squares:?}"));
        Ok(())
    })
}

/// A handle is a handle, whatever its task is.
pub fn joins(out: &Output) -> Result<(), Error> {
    let coroutine = launch(async { 20 });
    let goroutine = go(|| 22);
    let both = launch(async move {
        let awaited = goroutine.await?; // instead of `join`
        let joined = coroutine.join()?;
        Ok::<u32, Error>(awaited + joined)
    });
    out.line(format_args!("awaited and joined: {}", both.join()??));
    Ok(())
}

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        calls(out)?;
        channels(out)?;
        joins(out)?;
        Ok(())
    })
}
