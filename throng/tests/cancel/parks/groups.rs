//! Many tasks of one kind: places under a limit, maps, races.
//!
//! All of them refuse a cancelled caller at once, before they start anything or take an item.

use std::sync::Mutex;

use throng::{Cancelled, group, map, race, race2, scope, shield};

use super::{Case, Ends, Park};
use crate::common::{Aviary, Canary};
use crate::objects::Gate;
use crate::until;

pub(crate) fn cases() -> Vec<Case> {
    let none = |name: &str, covers, call: fn() -> Result<(), Cancelled>| {
        Case::new(format!("{name}, of none"), covers, move |run| run(&Park::new(|_| call()))).looks_first()
    };
    let mut cases = vec![
        limited(1),
        limited(3),
        grouped("map", &["map"], |gate, aviary| checked(map(items(aviary), |item| one(gate, item)))),
        raced("race", &["race"], |gate, aviary| race(items(aviary).map(|item| move || one(gate, item)))),
        raced("race2", &["race2"], |gate, aviary| {
            let (left, right) = (aviary.canary(), aviary.canary());
            race2(|| one(gate, (0, left)), || one(gate, (1, right)))
        }),
        none("map", &["map"], || map([], |()| Ok(())).map(|nothing: Vec<()>| assert!(nothing.is_empty()))).ends(Ends::AtOnce),
        none("Group::for_each", &["Group::for_each"], || group().limit(1).for_each([], |()| Ok(()))).ends(Ends::AtOnce),
        // It has no winner and no loser.
        none("race", &["race"], || race::<(), _, _, _>([(); 0].map(|()| || Ok(())))).ends(Ends::Never),
    ];
    let kinds =
        [("without a limit", group()), ("limit(1)", group().limit(1)), ("limit(2)", group().limit(2)), ("limit(100)", group().limit(100))];
    for (kind, described) in kinds {
        let [mapping, each, racing] = [(); 3].map(|()| described.clone());
        cases.push(grouped(&format!("Group::map, {kind}"), &["Group::map"], move |gate, aviary| {
            checked(mapping.map(items(aviary), |item| one(gate, item)))
        }));
        cases.push(grouped(&format!("Group::for_each, {kind}"), &["Group::for_each"], move |gate, aviary| {
            each.for_each(items(aviary), |item| one(gate, item).map(drop))
        }));
        cases.push(raced(&format!("Group::race, {kind}"), &["Group::race"], move |gate, aviary| {
            racing.race(items(aviary).map(|item| move || one(gate, item)))
        }));
    }
    cases
}

/// A canary for each, which is made when the item is taken.
fn items(aviary: &Aviary) -> impl Iterator<Item = (usize, Canary)> {
    (0..5).map(|i| (i, aviary.canary()))
}

/// What one task does.
fn one(gate: &Gate, item: (usize, Canary)) -> Result<(usize, Canary), Cancelled> {
    gate.pass()?;
    item.1.sing();
    Ok(item)
}

/// All results, in their order.
fn checked(results: Result<Vec<(usize, Canary)>, Cancelled>) -> Result<(), Cancelled> {
    for (at, (i, canary)) in results?.into_iter().enumerate() {
        assert_eq!(at, i);
        canary.sing();
    }
    Ok(())
}

/// The others are dropped.
fn raced(
    name: &str,
    covers: &'static [&'static str],
    race: impl Fn(&Gate, &Aviary) -> Result<(usize, Canary), Cancelled> + Send + Sync + 'static,
) -> Case {
    grouped(name, covers, move |gate, aviary| race(gate, aviary).map(|(_, canary)| canary.sing()))
}

/// Cancelled or not, no item or result is left when it returns, and so no task.
fn grouped(
    name: &str,
    covers: &'static [&'static str],
    call: impl Fn(&Gate, &Aviary) -> Result<(), Cancelled> + Send + Sync + 'static,
) -> Case {
    let case = Case::new(name, covers, move |run| {
        let gate = Gate::new();
        let whole = |_| {
            let aviary = Aviary::new();
            let result = call(&gate, &aviary);
            assert_eq!(aviary.alive(), 0, "it has returned too early");
            result
        };
        run(&Park::new(whole).block(|| gate.shut()).satisfy(|| gate.open()));
    });
    case.indirect().looks_first().delegates()
}

/// All places are taken until one is wanted. A place that was refused to one, or handed to one who was cancelled, is there for another.
fn limited(places: usize) -> Case {
    let case = Case::new(format!("Limited::go, {places}"), &["Limited::go"], move |run| {
        let gate = Gate::new();
        scope(|s| {
            let few = s.limit(places);
            let taken = Mutex::new(Vec::new());
            let take = || {
                let mut taken = taken.lock().unwrap();
                if taken.is_empty() {
                    gate.shut();
                    taken.extend((0..places).map(|_| few.try_go(|| gate.pass()).map_err(drop).expect("a place is lost")));
                    assert!(few.try_go(|| ()).is_err(), "one place too many");
                }
            };
            let leave = || {
                let tasks = std::mem::take(&mut *taken.lock().unwrap());
                if !tasks.is_empty() {
                    gate.open();
                    until(|| tasks.iter().all(|task| task.is_finished()));
                }
            };
            // Its place is free again when it returns.
            let call = |_| few.go(|| ()).map(|task| shield(|| task.join()).expect("nobody cancels it"));
            run(&Park::new(call).block(take).satisfy(leave).audit(|_| {
                leave();
                take();
                leave();
            }));
            Ok::<_, Cancelled>(())
        })
        .expect("nobody cancels it");
    });
    case.indirect().looks_first()
}
