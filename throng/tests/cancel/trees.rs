//! Large random trees of scopes, struck somewhere: all below ends, all beside goes on.
//!
//! A node is a goroutine with a scope, in which it starts its children and then waits for the end of the world. The blow falls when so many
//! nodes have started, which may be long before all have. When it has fallen, and everything beside still waits, nobody below may be there
//! any more. Then the world ends, and those beside come to their ends uncancelled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use throng::{Cancelled, JoinError, Mutex, ScopedJoinHandle, WaitGroup, never, scope, select, shield, sleep, yield_now};

use crate::common::{Aviary, Dice, OnPurpose, panic_on_purpose, scaled};
use crate::objects::Gate;
use crate::{ALL_KINDS, on_kinds, seed, until};

// What has become of a node.
const ABSENT: u8 = 0;
const STARTED: u8 = 1;
const DONE: u8 = 2;
const CANCELLED: u8 = 3;
const FAILED: u8 = 4;

#[derive(PartialEq, Debug)]
enum Fault {
    Cancelled,
    OnPurpose(usize),
}

impl From<Cancelled> for Fault {
    fn from(_: Cancelled) -> Fault {
        Fault::Cancelled
    }
}

/// How a node is struck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// Its parent cancels it.
    Cancel,
    /// It cancels its own scope, and returns.
    Scope,
    /// It returns an error, which ends the whole tree.
    Fail,
    /// It panics, with the same effect.
    Panic,
}

struct World {
    parents: Vec<usize>,
    children: Vec<Vec<usize>>,
    blow: Blow,
    struck: Vec<bool>,
    /// To be ended by a blow.
    doomed: Vec<bool>,
    /// Blows that the test waits for: those on nodes that no other blow ends.
    blows: usize,
    fates: Vec<AtomicU8>,
    started: AtomicUsize,
    fallen: AtomicUsize,
    /// The blow may fall.
    time: Gate,
    /// What nodes wait for until the end of the world.
    end: Gate,
    held: Mutex<()>,
    busy: WaitGroup,
    aviary: Aviary,
}

impl World {
    fn new(nodes: usize, blow: Blow, dice: &mut Dice) -> World {
        let shape = dice.below(3);
        let mut parents = vec![0];
        let mut children = vec![Vec::new(); nodes];
        for node in 1..nodes {
            let parent = match shape {
                // Wide, deep, and even.
                0 => dice.below(node as u64) as usize,
                1 => (node - 1).saturating_sub(dice.below(8) as usize),
                _ => node / 8,
            };
            parents.push(parent);
            children[parent].push(node);
        }
        let mut struck = vec![false; nodes];
        // A failure is the first one only if it is alone.
        let ends_all = matches!(blow, Blow::Fail | Blow::Panic);
        for _ in 0..if ends_all { 1 } else { 1 + dice.below(3) } {
            struck[1 + dice.below(nodes as u64 - 1) as usize] = true;
        }
        let (mut doomed, mut blows) = (vec![ends_all; nodes], 0);
        for node in 1..nodes {
            // Parents come before their children.
            let is_below = doomed[parents[node]] || blow == Blow::Scope && struck[parents[node]];
            blows += usize::from(struck[node] && !is_below);
            doomed[node] |= is_below || blow == Blow::Cancel && struck[node];
        }
        let fates = (0..nodes).map(|_| AtomicU8::new(ABSENT)).collect();
        let (started, fallen) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (time, end, held, busy, aviary) = (Gate::new(), Gate::new(), Mutex::new(()), WaitGroup::new(), Aviary::new());
        World { parents, children, blow, struck, doomed, blows, fates, started, fallen, time, end, held, busy, aviary }
    }

    fn fate(&self, node: usize) -> u8 {
        self.fates[node].load(Ordering::SeqCst)
    }

    fn set_fate(&self, node: usize, fate: u8) {
        self.fates[node].store(fate, Ordering::SeqCst);
    }

    /// Whether the node is not there any more, or never was, or has been ended by its own blow.
    fn is_gone(&self, node: usize) -> bool {
        let fate = self.fate(node);
        matches!(fate, ABSENT | CANCELLED) || fate == DONE && self.ends_itself(node)
    }

    fn ends_itself(&self, node: usize) -> bool {
        self.struck[node] && self.blow == Blow::Scope
    }

    /// The blow on `node` has fallen: below it nobody is there any more.
    fn fallen(&self, node: usize) {
        let mut below = self.children[node].clone();
        while let Some(node) = below.pop() {
            assert!(self.is_gone(node), "node {node}: {}", self.fate(node));
            below.extend(&self.children[node]);
        }
        self.fallen.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for the end of the world; the doomed may as well wait for ever.
    fn wait(&self, node: usize) -> Result<(), Cancelled> {
        match node % 7 {
            0 if self.doomed[node] => sleep(Duration::from_secs(3600)),
            1 if self.doomed[node] => select! { recv(never::<()>()) -> _ => () },
            2 => self.held.lock().map(drop),
            3 => self.busy.wait(),
            _ => self.end.pass(),
        }
    }

    fn node(&self, me: usize) -> Result<(), Fault> {
        struct Leave<'a>(&'a World, usize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                if self.0.fate(self.1) == STARTED {
                    self.0.set_fate(self.1, FAILED);
                }
            }
        }
        let frame = self.aviary.canary();
        self.set_fate(me, STARTED);
        let _leave = Leave(self, me);
        self.started.fetch_add(1, Ordering::SeqCst);
        let result = scope(|s| {
            let frame = &frame;
            let start = |&child: &usize| {
                s.go(move || {
                    let result = self.node(child);
                    frame.sing();
                    result
                })
            };
            let tasks: Vec<_> = self.children[me].iter().map(start).collect();
            if self.struck[me] && self.blow != Blow::Cancel {
                self.time.pass()?;
                match self.blow {
                    Blow::Fail => return Err(Fault::OnPurpose(me)),
                    Blow::Panic => panic_on_purpose(me as u32),
                    _ => s.cancel(),
                }
                return Ok(());
            }
            if self.blow == Blow::Cancel {
                self.strike(me, tasks)?;
            }
            Ok(self.wait(me)?)
        });
        if result.is_err() && me.is_multiple_of(5) {
            shield(yield_now)?;
        }
        frame.sing();
        self.set_fate(me, if result.is_ok() { DONE } else { CANCELLED });
        if matches!(result, Err(Fault::OnPurpose(_))) {
            self.set_fate(me, FAILED);
        }
        if self.ends_itself(me) && result.is_ok() {
            self.fallen(me);
        }
        result
    }

    /// Cancels those of the children that are to be, and waits for their ends.
    fn strike(&self, parent: usize, tasks: Vec<ScopedJoinHandle<'_, ()>>) -> Result<(), Cancelled> {
        let mut struck: Vec<_> = self.children[parent].iter().zip(tasks).collect();
        struck.retain(|(child, _)| self.struck[**child]);
        if struck.is_empty() {
            return Ok(());
        }
        self.time.pass()?;
        struck.iter().for_each(|(_, task)| task.cancel());
        for (&child, task) in struck {
            match task.join() {
                Err(JoinError::TaskCancelled { .. }) => {}
                Err(JoinError::Cancelled) => return Err(Cancelled::new()),
                other => panic!("a cancelled node was not: {other:?}"),
            }
            assert!(self.is_gone(child));
            self.fallen(child);
        }
        Ok(())
    }

    /// Lets the blow fall when `nodes` have started, and then the world end.
    fn rule(&self, nodes: usize) {
        until(|| self.started.load(Ordering::SeqCst) >= nodes);
        self.time.open();
        if matches!(self.blow, Blow::Fail | Blow::Panic) {
            return;
        }
        // A blow on one that is doomed by another may fall or not, before or after.
        until(|| self.fallen.load(Ordering::SeqCst) >= self.blows && (0..self.fates.len()).all(|node| self.is_settled(node)));
    }

    /// Ended if it is doomed; waiting if not, unless it is its own blow that has ended it.
    fn is_settled(&self, node: usize) -> bool {
        let fate = self.fate(node);
        if self.doomed[node] {
            return self.is_gone(node);
        }
        let ends_itself = self.ends_itself(node);
        assert!(matches!(fate, ABSENT | STARTED) || ends_itself && fate == DONE, "node {node}: {fate}");
        fate == if ends_itself { DONE } else { STARTED }
    }

    fn is_above_the_blow(&self, node: usize) -> bool {
        let mut at = self.struck.iter().position(|struck| *struck).expect("there is a blow");
        while at != node && at != 0 {
            at = self.parents[at];
        }
        at == node
    }

    fn check(&self) {
        for node in 0..self.fates.len() {
            let fate = self.fate(node);
            let right = match self.blow {
                Blow::Cancel | Blow::Scope if self.doomed[node] => self.is_gone(node),
                Blow::Cancel | Blow::Scope => fate == DONE,
                Blow::Fail | Blow::Panic if self.is_above_the_blow(node) => fate == FAILED,
                Blow::Fail | Blow::Panic => matches!(fate, ABSENT | CANCELLED),
            };
            assert!(right, "node {node} below {}: {fate}", self.parents[node]);
        }
        assert_eq!(self.aviary.alive(), 0);
    }
}

fn grow(blow: Blow, dice: &mut Dice) {
    let nodes = scaled(600, 10_000);
    let world = World::new(nodes, blow, dice);
    let before_the_blow = 1 + dice.below(nodes as u64) as usize;
    world.busy.add(1);
    let held = std::sync::Mutex::new(world.held.try_lock());
    let tree = || {
        scope(|s| {
            s.go(|| {
                world.rule(before_the_blow);
                if matches!(blow, Blow::Cancel | Blow::Scope) {
                    world.end.open();
                    world.busy.done();
                    drop(held.lock().unwrap().take());
                }
            });
            world.node(0)
        })
    };
    let end = catch_unwind(AssertUnwindSafe(tree));
    let struck = world.struck.iter().position(|struck| *struck).expect("there is a blow");
    match (blow, end) {
        (Blow::Cancel | Blow::Scope, Ok(Ok(()))) => {}
        (Blow::Fail, Ok(Err(fault))) => assert_eq!(fault, Fault::OnPurpose(struck)),
        (Blow::Panic, Err(payload)) => assert_eq!(payload.downcast_ref(), Some(&OnPurpose(struck as u32))),
        (_, end) => panic!("struck at {struck}: {end:?}"),
    }
    world.check();
}

/// In one test, since two such trees at once could be more stacks than the system has mappings for.
#[test]
fn random_trees() {
    for (own, blow) in [Blow::Cancel, Blow::Scope, Blow::Fail, Blow::Panic].into_iter().enumerate() {
        let seed = seed(100 + own as u64);
        let mut dice = Dice::new(seed);
        on_kinds(&ALL_KINDS, &format!("{blow:?}, dice({seed:#x})"), |runtime| runtime.run(|| grow(blow, &mut dice)));
    }
}
