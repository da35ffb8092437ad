//! Attributes and the `select!` macro of throng. Use them through the `throng` crate, which re-exports them: what they expand to names `::throng`.

mod attributes;
mod select;

use proc_macro::TokenStream;

/// Waits for one of several channel operations and does exactly one of them. Go's `select` statement.
///
/// ```text
/// select! {
///     recv(receiver) -> pattern => body,
///     send(sender, item) -> pattern => body,
///     join(handle) => body,
///     after(duration) -> pattern => body,
///     default => body,
/// }
/// ```
///
/// - `recv(receiver) -> pattern` receives: `pattern` is bound to a `Result<T, RecvError>`, an error only if the channel is closed and empty.
/// - `send(sender, item) -> pattern` sends: `pattern` is bound to a `Result<(), SendError<T>>`, an error, with the item, only if the channel is closed. The item
///   is dropped if another arm is chosen.
/// - `join(handle)` is ready when the task of the `JoinHandle` or `ScopedJoinHandle` has ended: joining it then does not park. A lazy task is started.
/// - `after(duration)` is ready when that time is over; ` -> pattern`, if given, is bound to the `Instant` it was over.
/// - `default` is chosen if no other arm is ready: then the select never waits. "No other is ready" is true of one moment, for all arms at once.
/// - `default(duration)` is `after(duration)` under the name it has in crossbeam.
///
/// All operands are evaluated once, in the order they are written, before anything is tried. If several arms are ready, each has the same chance.
/// An arm whose channel is closed is ready. An arm is switched off with [`never()`](../throng/channel/fn.never.html).
/// A pattern must match every value; a body runs after the choice, in the place of the `select!`: it may `return`, `break`, `continue` and use `?`.
/// The comma after a body in braces may be left out.
///
/// # Value
/// With `default`, the value of the chosen body. Without, the select may wait, and so may be cancelled: its value is a `Result<V, Cancelled>`, `V`
/// being the type of the bodies, so that `select! { .. }?` is the usual form. No operation was done if it is an error. As everywhere, a select that need
/// not wait succeeds even in a cancelled task.
///
/// ```
/// use std::time::Duration;
/// use throng::channel::bounded;
/// use throng::select;
///
/// let (orders, kitchen) = bounded::<&str>(1);
/// let (stop, stopped) = bounded::<()>(0);
/// orders.send("soup").unwrap();
///
/// let answer = select! {
///     recv(kitchen) -> order => format!("one {}", order.unwrap()),
///     recv(stopped) -> _ => "closing".to_string(),
///     after(Duration::from_secs(60)) => "nobody came".to_string(),
/// }?;
/// assert_eq!(answer, "one soup");
///
/// let sent = select! {
///     send(orders, "stew") -> sent => sent.is_ok(),
///     default => false,
/// };
/// assert!(sent);
/// # drop(stop);
/// # Ok::<(), throng::Cancelled>(())
/// ```
#[proc_macro]
pub fn select(input: TokenStream) -> TokenStream {
    select::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Runs the function as the first goroutine of a runtime: `throng::run(|| body)`.
///
/// With arguments, of a runtime with these properties: `#[throng::main(workers = 2, stack_size = 128 * 1024)]`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attributes::expand(attributes::Kind::Main, arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// A `#[test]` that runs as the first goroutine of a runtime of its own. Takes the same arguments as [`macro@main`].
///
/// Other attributes (`#[ignore]`, `#[should_panic]`) and result types work as they do with `#[test]`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attributes::expand(attributes::Kind::Test, arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
