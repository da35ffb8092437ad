//! The coroutines of the random programs: they await, call what parks, give up futures half-way, and start tasks of both kinds.

#![allow(unreachable_pub)]

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use throng::channel::RecvError;
use throng::future::Wait;
use throng::{Cancelled, Scope, go, launch, shield_async, sleep, sleep_async, timeout_async, yield_now, yield_now_async};

use crate::common::{Canary, Dice, panic_on_purpose};
use crate::{Failure, Shift, World, start};

type Living<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// A scope's child with its books.
pub fn child<'scope>(
    world: &'scope World,
    s: &'scope Scope<'scope, '_, Failure>,
    frame: &'scope Canary,
    dice: Dice,
    depth: u32,
    canary: Canary,
) -> Living<'scope> {
    Box::pin(async move {
        let _shift = Shift::begin(world);
        let result = live_async(world, s, frame, dice, depth).await;
        canary.sing();
        result
    })
}

/// As `live`, in a future.
async fn live_async<'scope>(
    world: &'scope World,
    s: &'scope Scope<'scope, '_, Failure>,
    frame: &'scope Canary,
    mut dice: Dice,
    depth: u32,
) -> Result<(), Failure> {
    for _ in 0..dice.below(6) {
        frame.sing();
        let lane = &world.lanes[dice.below(world.lanes.len() as u64) as usize];
        let short = Duration::from_micros(dice.below(60));
        match dice.below(20) {
            0 | 1 => yield_now_async().await?,
            2 => sleep_async(short).await?,
            3 | 4 => {
                // An item that is not sent in time goes with the future.
                if let Ok(Err(back)) = timeout_async(short, lane.0.send_async(world.item())).await {
                    back.into_inner().canary.sing();
                }
            }
            5 | 6 => {
                if let Ok(Ok(item)) = timeout_async(short, lane.1.recv_async()).await {
                    item.canary.sing();
                }
            }
            7 => {
                // Given up at once, whatever it has come to.
                let mut receive = Box::pin(lane.1.recv_async());
                let polled = poll_fn(|cx| Poll::Ready(receive.as_mut().poll(cx))).await;
                yield_now_async().await?;
                drop((polled, receive));
            }
            8 => match timeout_async(short, lane.1.recv_async()).await {
                Ok(Err(RecvError::Cancelled)) => return Err(Failure::Cancelled),
                received => drop(received),
            },
            9 => {
                let mut guard = world.mutex.lock_async().await?;
                let before = *guard;
                yield_now_async().await?;
                assert_eq!(*guard, before, "two holders of a mutex");
                *guard += 1;
                world.locked.fetch_add(1, Ordering::Relaxed);
            }
            10 => {
                shield_async(async {
                    let _ = sleep_async(short).await;
                    frame.sing();
                })
                .await
            }
            // Parked in a turn.
            11 => match dice.below(4) {
                0 => sleep(short)?,
                1 => yield_now()?,
                2 => throng::blocking(|| frame.sing())?,
                _ => {
                    if let Ok(item) = lane.1.recv_timeout(short) {
                        item.canary.sing();
                    }
                }
            },
            // Cut off, if it is cancelled meanwhile.
            12 => _ = timeout_async(short, pending::<()>()).await,
            13 if depth > 0 => detached(world, &mut dice, short).await,
            14 if depth > 0 && dice.below(4) == 0 => return Err(Failure::Own),
            15 if depth > 0 && dice.below(6) == 0 => panic_on_purpose(2),
            16 if dice.below(6) == 0 => s.cancel(),
            _ if depth > 0 => {
                let inner = Dice::new(dice.below(u64::MAX >> 33));
                let canary = world.aviary.canary();
                let task = start(world, s, frame, inner, depth - 1, canary);
                match dice.below(6) {
                    0 => task.cancel(),
                    1 => _ = task.await,
                    2 => _ = timeout_async(short, task.into_future()).await,
                    3 => _ = task.join(),
                    _ => {}
                }
            }
            _ => yield_now_async().await?,
        }
    }
    Ok(())
}

/// A task on its own, with its own canary: it may outlive all of this but the runtime.
async fn detached(world: &World, dice: &mut Dice, short: Duration) {
    let canary = world.aviary.canary();
    let sleeps = dice.below(2) == 0;
    let slept = async move {
        let slept = if sleeps { sleep_async(short).await } else { woken_by_others().await };
        canary.sing();
        slept
    };
    let task = match dice.below(2) {
        0 => launch(slept),
        _ => go(|| slept.wait()?),
    };
    match dice.below(4) {
        0 => drop(task),
        1 => task.cancel(),
        2 => _ = task.await,
        _ => {
            // Begun to wait for, and given up.
            let mut joining = Box::pin(task.into_future());
            _ = joining.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Woken by tasks of both kinds, more often than it needs, now or later.
async fn woken_by_others() -> Result<(), Cancelled> {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        let (early, late) = (cx.waker().clone(), cx.waker().clone());
        drop(go(move || early.wake()));
        drop(launch(async move {
            yield_now_async().await?;
            late.wake_by_ref();
            Ok::<_, Cancelled>(())
        }));
        if polls > 2 { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
