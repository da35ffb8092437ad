//! The tour: short examples that show their own source, run, and say what that showed.
//!
//! Each example is a file beside this one with a `run(&Output)`, which starts a runtime of its
//! own. The text shown is `include_str!` of the very file that is compiled, so the two cannot
//! drift apart. [`TOURS`] lists them in the order in which they are shown.

use std::error::Error;
use std::io;

use crate::cli::{FAILED, USAGE, complain, output_failed};

pub mod blocking;
pub mod closures;
pub mod context_cancel;
pub mod dispatchers;
pub mod done_channel;
pub mod error_channel;
pub mod failure_tree;
pub mod fork_join;
pub mod handler;
pub mod inherit;
pub mod lazy;
pub mod million;
mod output;
pub mod policies;
pub mod shield;
mod show;
pub mod structured;
pub mod structured_blocking;
pub mod supervisor;
pub mod timeout;

pub use output::Output;
use show::Style;

/// What an example returns: what it showed has been printed, or something got in its way.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// One example of the tour.
#[derive(Clone, Copy, Debug)]
pub struct Tour {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// What its output has shown.
    pub showed: &'static str,
    /// The file it was compiled from.
    pub source: &'static str,
    /// Runs it on a runtime of its own.
    pub run: fn(&Output) -> Outcome,
}

macro_rules! tours {
    ($($name:literal = $module:ident: $title:literal, $showed:literal;)*) => {
        /// All examples, in the order in which they are shown.
        pub const TOURS: &[Tour] = &[$(Tour {
            name: $name,
            title: $title,
            showed: $showed,
            source: include_str!(concat!(stringify!($module), ".rs")),
            run: $module::run,
        }),*];
    };
}

tours! {
    "structured" = structured: "a cancelled parent takes its children along",
        "the first child was through before the cancellation; the second was cancelled in its sleep, and join() waited for both";
    "structured-blocking" = structured_blocking: "a blocking call runs to its end",
        "cancellation is seen where a goroutine parks; a blocking call goes on, and join() waits for it";
    "blocking" = blocking: "calls that block",
        "a blocking call takes a thread of its own and the others go on; where it was forgotten, what had not started went to a spare worker";
    "context-cancel" = context_cancel: "a token tells a loop to end",
        "the loop looked at the token in each round, and ended once somebody had cancelled it";
    "done-channel" = done_channel: "a generator that ends when nobody wants more",
        "closing `done` ended the generator, which kept a thread-local generator of random numbers across all its sends";
    "error-channel" = error_channel: "workers report errors, the parent decides",
        "an error is a value like any other: it went up a channel to the one who knows what to do about it";
    "supervisor" = supervisor: "one child fails, the others finish",
        "the failure was a value for the one who joined; it cancelled neither the other children nor the supervisor";
    "handler" = handler: "who is told of a failure",
        "a failure goes to the scope, else to the one who joins, else to the handler, which is told when it is too late to stop anything";
    "failure-tree" = failure_tree: "a failure on its way up the tree",
        "each scope cancelled its other children, waited for them and failed in its turn, up to the supervisor, which went on";
    "timeout" = timeout: "time limits inside of time limits",
        "a limit ended what stood inside of it, children included, and nothing else; the value that came late was kept";
    "shield" = shield: "clean-up that has to park",
        "a cancelled task's calls that park are refused, but for those under a shield; the cancellation was met again behind it";
    "lazy" = lazy: "four ways to start a task",
        "lazy waits for somebody to want it, undispatched runs at once, and atomic runs even if it was cancelled before";
    "inherit" = inherit: "what a task hands down",
        "name, value and handler came from the parent as it was at the start, unless the child was given its own";
    "dispatchers" = dispatchers: "where tasks run",
        "a dispatcher is where a task runs: one thread, some of the workers, threads that may block, or one that is busy with something else";
    "closures" = closures: "what a goroutine may take along",
        "goroutines take by move, borrow from their parent's stack, share under a lock, or hand over through a channel; the compiler refuses the rest";
    "million" = million: "a million goroutines",
        "a goroutine costs a stack only while it is parked, and a thread never";
    "fork-join" = fork_join: "a sum by divide and conquer",
        "idle workers took a share of the work, and the numbers were borrowed, not copied";
    "policies" = policies: "one program in three orders",
        "a policy decides what runs next, where one that yields goes, when the global queue has the turn, and how much a thief takes; it changes no result";
}

/// The arguments of `throng tour`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// The examples to show; all of them if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List the examples instead
    #[arg(long)]
    list: bool,
}

/// `throng tour`: returns the exit code.
pub(crate) fn command(args: &Args) -> u8 {
    let chosen = match choose(&args.names) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            complain(&unknown);
            return USAGE;
        }
    };
    let shown = if args.list { show::list(&chosen) } else { show_all(&chosen) };
    match shown {
        Ok(code) => code,
        Err(error) => output_failed("tour", &error),
    }
}

/// The examples of these names, in the order given; all of them for no names.
fn choose(names: &[String]) -> Result<Vec<&'static Tour>, String> {
    if names.is_empty() {
        return Ok(TOURS.iter().collect());
    }
    let find = |name: &String| TOURS.iter().find(|tour| tour.name == name).ok_or_else(|| unknown(name));
    names.iter().map(find).collect()
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = TOURS.iter().map(|tour| tour.name).collect();
    format!("tour: there is no example {name:?}; the examples are {}", known.join(", "))
}

/// Shows and runs these examples. An example that fails is named, and the next one is shown.
/// Fails as soon as its output cannot be written.
fn show_all(chosen: &[&Tour]) -> io::Result<u8> {
    let style = Style::of_stdout();
    let out = Output::stdout();
    let mut code = 0;
    for (index, tour) in chosen.iter().enumerate() {
        show::opening(style, tour, index > 0)?;
        let ran = (tour.run)(&out);
        out.written()?;
        match ran {
            Ok(()) => show::closing(style, tour)?,
            Err(error) => {
                complain(&format!("tour: {}: {error}", tour.name));
                code = FAILED;
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_names_choose_everything() {
        let chosen = choose(&[]).expect("all of them");
        assert_eq!(chosen.len(), TOURS.len());
    }

    #[test]
    fn names_are_chosen_in_the_order_given() {
        let names = ["million".to_owned(), "closures".to_owned()];
        let chosen = choose(&names).expect("both are known");
        let chosen: Vec<_> = chosen.iter().map(|tour| tour.name).collect();
        assert_eq!(chosen, names);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = choose(&["nope".to_owned()]).expect_err("unknown");
        assert!(message.contains("\"nope\""), "{message}");
        for tour in TOURS {
            assert!(message.contains(tour.name), "{message}");
        }
    }
}
