//! Where the items come from: an iterator that stays with the caller, is asked late, may be endless, may park, may panic.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use throng::{Cancelled, bounded, go, group, rendezvous, yield_now};

use crate::common::{Aviary, on_runtimes, panic_on_purpose};
use crate::{Failure, dawdle, groups, panics};

#[test]
fn an_endless_iterator_ends_with_an_error() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for limit in [1, 4, 100] {
                let result: Result<Vec<usize>, _> = group().limit(limit).map(0.., |i| {
                    dawdle(i)?;
                    if i == 200 { Err(Failure::Own(i)) } else { Ok(i) }
                });
                assert_eq!(result, Err(Failure::Own(200)));
                let result = group().limit(limit).for_each(std::iter::repeat(()), |()| Err(Failure::Own(1)));
                assert_eq!(result, Err(Failure::Own(1)));
            }
        });
    });
}

/// An item is dropped by its task, and the next one is made after that: as many are alive as may be.
#[test]
fn no_item_is_taken_before_there_is_room() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for limit in [1, 2, 5] {
                let (aviary, most) = (Aviary::new(), Cell::new(0));
                let items = (0..200).map(|i| {
                    let canary = aviary.canary();
                    most.set(most.get().max(aviary.alive()));
                    (i, canary)
                });
                let result = group().limit(limit).map(items, |(i, canary)| {
                    dawdle(i)?;
                    canary.sing();
                    Ok::<_, Cancelled>(i)
                });
                assert_eq!(result, Ok((0..200).collect()));
                assert!((1..=limit as isize).contains(&most.get()), "{} > {limit}", most.get());
                assert_eq!(aviary.alive(), 0);
            }
        });
    });
}

#[test]
fn a_panic_of_the_iterator_comes_out_after_all_have_ended() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (_, group) in groups() {
                let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let items = (0..5).map(|i| if i == 3 { panic_on_purpose(9) } else { i });
                let payload = panics(|| {
                    group.map(items, |i| {
                        begun.fetch_add(1, Ordering::SeqCst);
                        let result = dawdle(i);
                        ended.fetch_add(1, Ordering::SeqCst);
                        result
                    })
                });
                assert_eq!(payload, 9);
                assert_eq!(begun.into_inner(), ended.into_inner());
            }
        });
    });
}

/// It stays with the caller, and is gone before the tasks are waited for.
#[test]
fn the_iterator_is_the_callers() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = bounded::<usize>(1);
            let counted = Rc::new(Cell::new(0));
            let items = {
                let (counted, tx) = (Rc::clone(&counted), tx);
                (0..10).inspect(move |_| {
                    let _ = &tx;
                    counted.set(counted.get() + 1);
                })
            };
            // Each task waits for the end of the sender, which the iterator holds.
            let result = group().map(items, |i| {
                assert!(rx.recv().is_err(), "closed");
                Ok::<_, Cancelled>(i)
            });
            assert_eq!(result, Ok((0..10).collect()));
            assert_eq!(counted.get(), 10);
        });
    });
}

#[test]
fn items_out_of_a_channel() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            let (tx, rx) = bounded(2);
            let source = go(move || {
                for i in 0..100 {
                    dawdle(i).unwrap();
                    tx.send(i).unwrap();
                }
            });
            let seen = Mutex::new(HashSet::new());
            group()
                .limit(3)
                .for_each(&rx, |i| {
                    dawdle(i)?;
                    assert!(seen.lock().unwrap().insert(i));
                    Ok::<_, Cancelled>(())
                })
                .unwrap();
            source.join().unwrap();
            assert_eq!(seen.into_inner().unwrap().len(), 100);
        });
    });
}

/// Iterating over a channel ends when the task is cancelled, as if the channel had been closed: what has been done by then is not the
/// whole.
#[test]
fn an_iterator_that_a_cancellation_ends_is_not_at_its_end() {
    on_runtimes(|runtime, _| {
        runtime.run(|| {
            for (_, group) in groups() {
                let (tx, rx) = rendezvous();
                let (done, is_done) = bounded(2);
                let task = go(move || {
                    group.map(rx.iter(), |i: usize| {
                        done.send(()).unwrap();
                        Ok::<_, Failure>(i)
                    })
                });
                for i in 0..2 {
                    tx.send(i).unwrap();
                    is_done.recv().unwrap();
                }
                // So that it waits for the third when it is cancelled, and all that is begun is done.
                (0..10).for_each(|_| yield_now().unwrap());
                task.cancel();
                assert_eq!(task.join().unwrap(), Err(Failure::Cancelled));
                drop(tx);
            }
        });
    });
}
