//! What the queue does, one thread at a time.

use super::*;

fn steal(queue: &Queue<u32>, which: Which<'_>) -> Vec<u32> {
    let mut got = Vec::new();
    queue.steal(&mut got, which);
    got
}

#[test]
fn the_oldest_comes_with_a_look_at_a_later_one() {
    let queue = Queue::new();
    (1..=4).for_each(|task| _ = queue.push(task));
    assert_eq!(queue.pop_oldest_and_see(2), Some((1, Some(4))));
    assert_eq!(queue.pop_oldest_and_see(0), Some((2, Some(3))));
    assert_eq!(queue.pop_oldest_and_see(1), Some((3, None)));
    assert_eq!((queue.len(), queue.pop_oldest_and_see(0), queue.pop_oldest_and_see(0)), (1, Some((4, None)), None));
}

#[test]
fn owner_takes_the_newest_thief_half_from_the_old_end() {
    let queue = Queue::new();
    for task in 0..9 {
        let _ = queue.push(task);
    }
    assert_eq!(queue.pop_newest(), Some((8, Some(7))));
    assert_eq!(steal(&queue, Which::Any), [0, 1, 2, 3]);
    assert_eq!(queue.pop_oldest(), Some(4));
    assert_eq!(queue.pop_newest(), Some((7, Some(6))));
    assert_eq!(steal(&queue, Which::Any), [5]);
    assert_eq!(steal(&queue, Which::Any), [6]);
    assert!(queue.is_empty() && steal(&queue, Which::Any).is_empty());
}

#[test]
fn who_gives_way_goes_behind_the_others() {
    let queue = Queue::new();
    assert_eq!(queue.rotate(1), (1, None, false), "nobody to give way to");
    assert!(queue.is_empty());
    assert!(queue.push(2) && !queue.push(3));
    assert_eq!(queue.rotate(1), (2, Some(3), false));
    assert_eq!(queue.rotate(2), (3, Some(1), false));
    assert_eq!((queue.pop_oldest(), queue.pop_oldest(), queue.pop_oldest()), (Some(1), Some(2), None));
    assert_eq!(queue.look(Instant::now(), &mut Watch::default()), Look { pushed: 4, len: 0 });
}

#[test]
fn who_gives_way_to_stolen_tasks_wakes_a_watcher() {
    let queue = Queue::new();
    queue.push_stolen([1].into_iter());
    assert_eq!(queue.rotate(2), (1, Some(2), true));
}

#[test]
fn only_what_outlived_two_looks_is_aged() {
    let queue = Queue::new();
    let start = Instant::now();
    let mut watch = Watch::default();
    let later = |n: u32| start + AGE * n;
    for task in 0..6 {
        let _ = queue.push(task);
    }
    queue.look(start, &mut watch);
    assert!(steal(&queue, Which::Aged(&watch)).is_empty(), "one look tells nothing of the age");
    queue.look(start + AGE / 2, &mut watch);
    assert!(steal(&queue, Which::Aged(&watch)).is_empty(), "looks too close together tell nothing");
    // Four are taken and others put in their places: those are not aged.
    for _ in 0..4 {
        queue.pop_newest();
    }
    for task in 10..14 {
        let _ = queue.push(task);
    }
    queue.look(later(1), &mut watch);
    assert_eq!(steal(&queue, Which::Aged(&watch)), [0, 1]);
    assert!(steal(&queue, Which::Aged(&watch)).is_empty());
    queue.look(later(2), &mut watch);
    assert_eq!(steal(&queue, Which::Aged(&watch)), [10, 11]);
    // Aged tasks that are popped do not make room for the age of others.
    assert_eq!(queue.pop_newest(), Some((13, Some(12))));
    assert_eq!(queue.pop_newest(), Some((12, None)));
    let _ = queue.push(20);
    assert!(steal(&queue, Which::Aged(&watch)).is_empty());
    // Another watcher begins anew, and so does the first one after it.
    let mut other = Watch::default();
    queue.look(later(3), &mut other);
    queue.look(later(4), &mut watch);
    assert!(steal(&queue, Which::Aged(&watch)).is_empty() && steal(&queue, Which::Aged(&other)).is_empty());
    queue.look(later(5), &mut watch);
    assert_eq!(steal(&queue, Which::Aged(&watch)), [20]);
}

#[test]
fn the_only_task_of_an_owner_wakes_nobody() {
    let queue = Queue::new();
    assert!(!queue.push_own(1), "the owner takes it");
    assert!(queue.push_own(2), "one that is left over");
    assert!(!queue.push_own(3), "somebody is on the way");
    (0..3).for_each(|_| _ = queue.pop_oldest());
    assert!(queue.leave_unwatched());
    assert!(!queue.push_own(4));
    assert!(queue.push(5), "still unwatched");
}

#[test]
fn a_push_after_the_last_look_wakes_and_only_the_first() {
    let queue = Queue::new();
    assert!(queue.push(1), "nobody watches a new queue");
    assert!(!queue.leave_unwatched(), "a worker does not sleep on a task");
    assert!(!queue.push(2));
    queue.pop_newest();
    queue.pop_newest();
    assert!(queue.leave_unwatched());
    assert!(queue.push(3));
    assert!(!queue.push(4));
}

#[test]
fn the_oldest_is_known_by_its_position() {
    let queue = Queue::new();
    assert_eq!(queue.oldest(), None);
    let _ = queue.push(1);
    let _ = queue.push(2);
    let first = queue.oldest();
    let _ = queue.pop_newest();
    assert_eq!(queue.oldest(), first, "what the owner takes is another");
    let _ = queue.push(3);
    steal(&queue, Which::Any);
    assert_ne!(queue.oldest(), first);
    assert!(queue.oldest().is_some());
    queue.pop_oldest();
    assert_eq!(queue.oldest(), None);
}

/// Nobody is woken for the few tasks of an owner that has always come for them, until one waits in vain.
#[test]
fn a_trusted_owner_is_left_alone_with_a_few() {
    let queue = Queue::trusting();
    let mut wakes = 0;
    while queue.push(0) {
        wakes += 1;
        assert_eq!(queue.pop_newest(), Some((0, None)));
        assert!(wakes < 100 && queue.leave_unwatched());
    }
    // There is one by now.
    let mut len = 1;
    while !queue.push(0) {
        len += 1;
    }
    assert!(len > 1, "it wakes for two");
    assert!(!queue.push(0), "somebody is on the way");
    while queue.pop_newest().is_some() {}
    assert!(queue.leave_unwatched() && !queue.push(1));
    assert!(queue.lose_trust(), "nobody was on the way");
    assert!(!queue.push(2) && !queue.lose_trust(), "now somebody is");
    while queue.pop_newest().is_some() {}
    assert!(queue.leave_unwatched() && queue.push(1));
}

/// So does the watcher who goes to work.
#[test]
fn the_watcher_leaves_few_tasks_to_their_owner() {
    let queue = Queue::trusting();
    assert!(queue.leave_to_owner() && queue.push(0));
    let mut asked = 1;
    while !queue.leave_to_owner() {
        asked += 1;
    }
    assert!(asked > 1);
    assert!(!queue.leave_unwatched(), "but does not sleep");
    assert!(!queue.push(0) && queue.lose_trust(), "it was unwatched, and the owner trusted");
    assert!(!queue.leave_to_owner());
}

#[test]
fn a_theft_ends_the_trust() {
    let queue = Queue::trusting();
    while queue.push(0) {
        assert_eq!(queue.pop_newest(), Some((0, None)));
        assert!(queue.leave_unwatched());
    }
    assert_eq!(steal(&queue, Which::Any), [0]);
    assert!(queue.push(1));
}
