//! What a coroutine's block takes besides the future: at most [`MOST`] bytes, whatever the size of the future and wherever the task hangs.

use std::mem::size_of_val;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Header;
use crate::memory::block_size;
use crate::{Cancelled, Runtime, launch, rendezvous, scope};

const MOST: usize = 160;

/// A future of this many words, which is never ready.
struct Words<const N: usize>([u64; N]);

impl<const N: usize> Future for Words<N> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        assert!(self.0.iter().all(|word| *word == 7));
        Poll::Pending
    }
}

fn check(header: &Header, future: usize, what: &str) {
    let block = block_size(header.vtable.layout);
    assert!(block > future && block <= future + MOST, "{what}: a block of {block} bytes for a future of {future}");
}

/// On its own, and in a scope, where it has to know the scope.
fn words<const N: usize>() {
    let size = N * 8;
    let own = launch(Words([7; N]));
    check(own.header(), size, "on its own");
    own.cancel();
    let ended = scope(|s| {
        let child = s.launch(Words([7; N]));
        check(child.header(), size, "in a scope");
        s.cancel();
        Ok::<_, Cancelled>(())
    });
    assert!(ended.is_ok() || ended == Err(Cancelled::new()));
}

// Futures smaller than an outcome make room for that.
#[test]
fn a_block_is_its_future_and_little_more() {
    Runtime::builder().workers(1).build().expect("a runtime").run(|| {
        words::<4>();
        words::<5>();
        words::<6>();
        words::<7>();
        words::<20>();
        words::<33>();
        // Beyond the classes of the free lists.
        words::<100>();
        let (tx, rx) = rendezvous::<u64>();
        let receive = async move { rx.recv_async().await };
        let size = size_of_val(&receive);
        let receiver = launch(receive);
        check(receiver.header(), size, "a receive");
        tx.send(1).expect("received");
        assert_eq!(receiver.join().expect("not cancelled"), Ok(1));
    });
}
