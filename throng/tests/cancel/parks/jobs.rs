//! Jobs: their ends, waited for by whoever holds one; ends that the waiter has asked for; looks at the tree from another thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use throng::select::Select;
use throng::{
    Cancelled, Completable, Completion, Error, Job, JoinError, Receiver, Runtime, Sender, completable, go, job, never, scope, select,
    shield, task, unbounded, yield_now,
};

use super::{Case, Ends, Park};
use crate::common::Aviary;
use crate::objects::{Gate, Lane};
use crate::until;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        join_task(),
        join_lazy(),
        join_promise(),
        of_a_scope("Job::join, of a scope", &["Job::join"], Job::join),
        of_a_scope("Job::cancel_and_join, of a scope", &["Job::cancel_and_join"], Job::cancel_and_join),
        cancel_and_join_task(),
        cancel_and_join_handle(),
        cancel_and_join_scoped(),
        children_here(),
        children_elsewhere("a plain thread", Post::man),
        children_elsewhere("another runtime", |post| {
            Runtime::builder().workers(1).build().expect("a runtime").run(|| post.man());
        }),
        select_join(),
        select_join_built(),
        select_join_or_receive(),
    ]
}

/// All wait for one and the same task, which none of them cancels.
fn join_task() -> Case {
    let case = Case::new("Job::join, of a task", &["Job::join"], |run| {
        let gate = Arc::new(Gate::new());
        let (present, started) = (Mutex::new(None::<Job>), AtomicUsize::new(0));
        let begin = || {
            let mut present = present.lock().unwrap();
            if present.is_none() || gate.is_open() {
                gate.shut();
                started.fetch_add(1, Ordering::SeqCst);
                let gate = Arc::clone(&gate);
                *present = Some(go(move || gate.pass().expect("nobody cancels it")).job());
            }
        };
        let call = |_| {
            let job = present.lock().unwrap().clone().expect("it has begun");
            job.join().inspect(|()| assert!(matches!(job.completion(), Some(Completion::Completed))))
        };
        run(&Park::new(call).block(begin).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == started.load(Ordering::SeqCst));
        }));
    });
    case.indirect().looks_first()
}

/// A join that was refused, or cancelled, takes nothing from the task: it can be started, and ends as it would.
fn join_lazy() -> Case {
    let case = Case::new("Job::join, of a lazy task", &["Job::join"], |run| {
        let gate = Arc::new(Gate::new());
        let made = AtomicUsize::new(0);
        let call = |_| {
            made.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            let task = task().lazy().go(move || gate.pass().expect("nobody cancels it"));
            let joined = task.job().join();
            task.start();
            joined
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == made.load(Ordering::SeqCst));
        }));
    });
    case.indirect().looks_first()
}

/// Whoever completes it lets those happen who wait, without another task.
fn join_promise() -> Case {
    let case = Case::new("Job::join, of a promise", &["Job::join"], |run| {
        let present = Mutex::new(None::<(Completable<()>, Job)>);
        let begin = || {
            let mut present = present.lock().unwrap();
            if present.as_ref().is_none_or(|(_, job)| job.is_completed()) {
                let (promise, _value) = completable();
                let job = promise.job();
                *present = Some((promise, job));
            }
        };
        let call = |_| {
            let job = present.lock().unwrap().as_ref().expect("it has begun").1.clone();
            job.join().inspect(|()| assert!(matches!(job.completion(), Some(Completion::Completed))))
        };
        let complete = || {
            // Others may have done so before.
            let _ = present.lock().unwrap().as_ref().expect("it has begun").0.complete(());
        };
        run(&Park::new(call).block(begin).satisfy(complete));
    });
    case.looks_first()
}

/// A scope of another task, with a child. Both are behind shields, so that they end when the gate is opened, whoever cancels them.
fn of_a_scope(name: &str, covers: &'static [&'static str], wait: fn(&Job) -> Result<(), JoinError>) -> Case {
    let case = Case::new(name, covers, move |run| {
        let gate = Arc::new(Gate::new());
        let (present, opened) = (Arc::new(Mutex::new(None::<Job>)), AtomicUsize::new(0));
        let open = || {
            if present.lock().unwrap().is_some() && !gate.is_open() {
                return;
            }
            gate.shut();
            *present.lock().unwrap() = None;
            opened.fetch_add(1, Ordering::SeqCst);
            let (inside, gate) = (Arc::clone(&present), Arc::clone(&gate));
            drop(task().undispatched().go(move || {
                scope(|s| {
                    s.task().atomic().go(|| shield(|| gate.pass()));
                    *inside.lock().unwrap() = Some(s.job());
                    shield(|| gate.pass())
                })
            }));
            // As a rule it has run by now.
            while present.lock().unwrap().is_none() {
                shield(yield_now).expect("masked");
            }
        };
        let call = |_| {
            let job = present.lock().unwrap().clone().expect("it is open");
            wait(&job).inspect(|()| assert!(job.is_completed() && job.is_scope()))
        };
        run(&Park::new(call).block(open).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == 2 * opened.load(Ordering::SeqCst));
        }));
    });
    case.indirect().looks_first()
}

/// Takes its cancellation for what it is, but not before the gate is open; it has a value then.
fn cancel_and_join_task() -> Case {
    let case = Case::new("Job::cancel_and_join, of a task", &["Job::cancel_and_join"], |run| {
        let gate = Arc::new(Gate::new());
        let started = AtomicUsize::new(0);
        let call = |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            let job = task().atomic().go(move || shield(|| gate.pass())).job();
            job.cancel_and_join().inspect(|()| assert!(matches!(job.completion(), Some(Completion::Completed))))
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == started.load(Ordering::SeqCst));
        }));
    });
    case.indirect().looks_first()
}

/// The value of a task that has one in spite of its cancellation is returned, or dropped if nobody waits for it any more.
fn cancel_and_join_handle() -> Case {
    let case = Case::new("JoinHandle::cancel_and_join", &["JoinHandle::cancel_and_join"], |run| {
        let (gate, aviary) = (Arc::new(Gate::new()), Aviary::new());
        let started = AtomicUsize::new(0);
        let call = |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let (inside, canary) = (Arc::clone(&gate), aviary.canary());
            let task = task().atomic().go(move || {
                shield(|| inside.pass()).expect("masked");
                canary
            });
            gate.see_through(|| task.is_finished());
            task.cancel_and_join().map(|canary| canary.sing())
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == started.load(Ordering::SeqCst) && aviary.alive() == 0);
        }));
    });
    case.indirect()
}

/// As for the handle of a task on its own: it belongs to a scope around it all.
fn cancel_and_join_scoped() -> Case {
    let case = Case::new("ScopedJoinHandle::cancel_and_join", &["ScopedJoinHandle::cancel_and_join"], |run| {
        let (gate, aviary) = (Gate::new(), Aviary::new());
        let started = AtomicUsize::new(0);
        scope(|s| {
            let call = |_| {
                started.fetch_add(1, Ordering::SeqCst);
                let canary = aviary.canary();
                let task = s.task().atomic().go(|| {
                    shield(|| gate.pass())?;
                    Ok(canary)
                });
                gate.see_through(|| task.is_finished());
                task.cancel_and_join().map(|canary| canary.sing())
            };
            run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
                gate.open();
                until(|| gate.passed() == started.load(Ordering::SeqCst) && aviary.alive() == 0);
            }));
            Ok::<_, Cancelled>(())
        })
        .expect("its children alone are cancelled");
    });
    case.indirect()
}

/// A list that lies at home is read at once, except by a cancelled task.
fn children_here() -> Case {
    let case = Case::new("Job::children, at home", &["Job::children"], |run| {
        let call = |_| {
            let around = job().expect("a task");
            scope(|outer| {
                let (_promise, _value) = outer.completable::<()>();
                scope(|inner| {
                    assert_eq!(inner.job().children()?, []);
                    let below = outer.job().children()?;
                    assert!(below.len() == 2 && below[1] == inner.job(), "{below:?}");
                    // Others may have been started in a scope around.
                    assert!(around.children()?.contains(&outer.job()));
                    Ok::<_, Cancelled>(())
                })
            })
        };
        run(&Park::new(call));
    });
    case.ends(Ends::AtOnce).looks_first().tidies_up()
}

/// A thread with a scope that has one child. It can be held, and reads no mail then.
struct Post {
    state: Mutex<Keep>,
    turned: Condvar,
    orders: (Sender<()>, Receiver<()>),
}

#[derive(Default)]
struct Keep {
    held: bool,
    over: bool,
    /// The scope and its child.
    jobs: Option<(Job, Job)>,
}

impl Post {
    fn new() -> Post {
        Post { state: Mutex::default(), turned: Condvar::new(), orders: unbounded() }
    }

    /// The thread's own part.
    fn man(&self) {
        let result = scope(|s| {
            let (promise, value) = s.completable();
            self.turn(|keep| keep.jobs = Some((s.job(), promise.job())));
            while self.orders.1.recv().is_ok() {
                self.turn(|keep| keep.held = !keep.over);
                drop(self.turned.wait_while(self.state.lock().unwrap(), |keep| keep.held).unwrap());
            }
            promise.complete(()).expect("nobody cancels it");
            Ok::<_, Error>(value.join()?)
        });
        result.expect("nobody cancels it");
    }

    fn turn(&self, change: impl FnOnce(&mut Keep)) {
        change(&mut self.state.lock().unwrap());
        self.turned.notify_all();
    }

    fn hold(&self) {
        let keep = self.state.lock().unwrap();
        if !keep.held {
            self.orders.0.try_send(()).expect("there is always room");
            drop(self.turned.wait_while(keep, |keep| !keep.held).unwrap());
        }
    }

    fn release(&self) {
        self.turn(|keep| keep.held = false);
    }

    fn jobs(&self) -> (Job, Job) {
        let keep = self.turned.wait_while(self.state.lock().unwrap(), |keep| keep.jobs.is_none()).unwrap();
        keep.jobs.clone().expect("waited for")
    }
}

/// Sends the thread home, also when the case fails.
struct Over<'a>(&'a Post);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.orders.0.close();
        self.0.turn(|keep| (keep.held, keep.over) = (false, true));
    }
}

/// A list that lies elsewhere has to be asked for. A question that was given up is answered all the same, and disturbs no other.
fn children_elsewhere(whose: &str, man: fn(&Post)) -> Case {
    let case = Case::new(format!("Job::children, at {whose}"), &["Job::children"], move |run| {
        let post = Post::new();
        std::thread::scope(|threads| {
            let _over = Over(&post);
            threads.spawn(|| man(&post));
            let (scope, child) = post.jobs();
            let call = |_| scope.children().map(|children| assert_eq!(children, std::slice::from_ref(&child)));
            run(&Park::new(call).block(|| post.hold()).satisfy(|| post.release()).audit(|_| {
                post.release();
                assert_eq!(scope.children(), Ok(vec![child.clone()]));
                assert!(child.is_active() && child.parent() == Some(scope.clone()));
            }));
        });
    });
    case.indirect().looks_first()
}

/// A select leaves the task alone, and its handle as it was.
fn select_join() -> Case {
    let case = Case::new("select!, join", &["select!"], |run| {
        let gate = Arc::new(Gate::new());
        let started = AtomicUsize::new(0);
        let call = |_| {
            started.fetch_add(1, Ordering::SeqCst);
            let inside = Arc::clone(&gate);
            let task = go(move || inside.pass());
            gate.see_through(|| task.is_finished());
            let passed = select! {
                join(task) => task.join().expect("it has ended with a value"),
                recv(never::<()>()) -> _ => unreachable!(),
            };
            passed.map(|passed| passed.expect("nobody cancels it"))
        };
        run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
            gate.open();
            until(|| gate.passed() == started.load(Ordering::SeqCst));
        }));
    });
    case.indirect()
}

/// Two tasks of a scope; one of them is never ready.
fn select_join_built() -> Case {
    let case = Case::new("Select::run, join", &["Select::run"], |run| {
        let (gate, end) = (Gate::new(), Gate::new());
        let started = AtomicUsize::new(0);
        scope(|s| {
            let idle = s.go(|| end.pass());
            let call = |_| {
                started.fetch_add(1, Ordering::SeqCst);
                let task = s.go(|| gate.pass());
                gate.see_through(|| task.is_finished());
                Select::new().join(&idle, || unreachable!("it waits")).join(&task, || ()).run()?;
                task.join().map_err(Error::from)
            };
            run(&Park::new(call).block(|| gate.shut()).satisfy(|| gate.open()).audit(|_| {
                gate.open();
                until(|| gate.passed() == started.load(Ordering::SeqCst));
                assert!(!idle.is_finished());
            }));
            end.open();
            Ok::<_, Cancelled>(())
        })
        .expect("nobody cancels it");
    });
    case.indirect()
}

/// Its arms are made ready in turns. Who joins takes no item.
fn select_join_or_receive() -> Case {
    let case = Case::new("select!, join or receive", &["select!"], |run| {
        let (gate, lane) = (Gate::new(), Lane::new(usize::MAX));
        let (started, turn) = (AtomicUsize::new(0), AtomicUsize::new(0));
        scope(|s| {
            let call = |_| {
                started.fetch_add(1, Ordering::SeqCst);
                let task = s.go(|| gate.pass());
                gate.see_through(|| task.is_finished());
                select! {
                    join(task) => task.join().map_err(Error::from),
                    recv(lane.rx) -> item => lane.received(item),
                }?
            };
            let block = || {
                gate.shut();
                lane.drain();
            };
            let satisfy = || match turn.fetch_add(1, Ordering::SeqCst) % 2 {
                0 => gate.open(),
                _ => lane.send().expect("there is always room"),
            };
            run(&Park::new(call).block(block).satisfy(satisfy).audit(|_| {
                lane.audit();
                gate.open();
                until(|| gate.passed() == started.load(Ordering::SeqCst));
            }));
            Ok::<_, Cancelled>(())
        })
        .expect("nobody cancels it");
    });
    case.indirect()
}
