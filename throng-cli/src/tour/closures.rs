//! Example: what a goroutine may take along, and what the compiler refuses.

use super::{Outcome, Output};
use throng::{Cancelled, Mutex, bounded, go, scope};

/// Runs the example.
pub fn run(out: &Output) -> Outcome {
    throng::run(|| {
        moves(out)?;
        borrows(out)?;
        shares_under_a_lock(out)?;
        shares_by_communicating(out)
    })
}

/// A goroutine that `go` starts may outlive its caller, so it owns what it uses.
///
/// To borrow instead is refused, since the borrow could escape:
///
/// ```compile_fail,E0373
/// let greeting = String::from("hello");
/// throng::go(|| println!("{greeting}")); // closure may outlive the current function
/// ```
///
/// ```
/// # throng::run(|| {
/// let greeting = String::from("hello");
/// throng::go(move || println!("{greeting}"));
/// # });
/// ```
pub fn moves(out: &Output) -> Outcome {
    let greeting = String::from("hello");
    let shouted = go(move || greeting.to_uppercase());
    let shouted = shouted.join().map_err(|error| error.to_string())?;
    out.line(format_args!("moved: {shouted}"));
    Ok(())
}

/// A scope does not end before its children, so they may borrow from the stack it stands on; each
/// may even change a part of its own.
///
/// That two of them change the same thing is refused, since that would be a data race:
///
/// ```compile_fail,E0499
/// # use throng::{Cancelled, scope};
/// # throng::run(|| {
/// let mut count = 0;
/// scope(|s| {
///     s.go(|| { count += 1; });
///     s.go(|| { count += 1; }); // cannot borrow `count` as mutable more than once
///     Ok::<_, Cancelled>(())
/// })
/// # }).unwrap();
/// ```
///
/// ```
/// # use throng::{Cancelled, scope};
/// # throng::run(|| {
/// let mut count = 0;
/// scope(|s| {
///     s.go(|| { count += 1; });
///     Ok::<_, Cancelled>(())
/// })
/// # }).unwrap();
/// ```
pub fn borrows(out: &Output) -> Outcome {
    let mut words = ["hello".to_owned(), "greetings".to_owned()];
    scope(|s| {
        for word in &mut words {
            s.go(move || word.push('!'));
        }
        Ok::<_, Cancelled>(())
    })?;
    out.line(format_args!("borrowed: {}", words.join(" ")));
    Ok(())
}

/// What several of them change stands in a [`Mutex`], which parks a goroutine and not its thread.
pub fn shares_under_a_lock(out: &Output) -> Outcome {
    let count = Mutex::new(0);
    scope(|s| {
        for _ in 0..1000 {
            s.go(|| {
                *count.lock()? += 1;
                Ok(())
            });
        }
        Ok::<_, Cancelled>(())
    })?;
    out.line(format_args!("locked: {}", count.into_inner()));
    Ok(())
}

/// Or one goroutine alone has it, and the others send it what they know.
pub fn shares_by_communicating(out: &Output) -> Outcome {
    let sum = scope(|s| {
        let (numbers, received) = bounded(8);
        for number in 1..=1000_u64 {
            let numbers = numbers.clone();
            s.go(move || {
                let _ = numbers.send(number);
            });
        }
        drop(numbers);
        Ok::<_, Cancelled>(received.iter().sum::<u64>())
    })?;
    out.line(format_args!("communicated: {sum}"));
    Ok(())
}
