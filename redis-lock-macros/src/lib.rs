//! The attribute `#[redis_lock]`; an implementation detail of the `redis_lock` crate, which exports it.

mod args;
mod check;
mod duration;
mod expand;
mod function;
mod mistakes;
mod returns;
mod template;
mod values;

use proc_macro2::TokenStream;
use quote::quote;

use crate::args::Args;
use crate::mistakes::Mistakes;

/// Runs an `async fn`, free or a method, under a lock in Redis.
///
/// ```
/// use redis_lock::{Error, redis_lock};
///
/// #[redis_lock(key = "order:<id>")]
/// async fn ship(id: u64) -> Result<(), Error> {
///     // Nobody else ships this order meanwhile, in whatever process.
///     Ok(())
/// }
///
/// #[redis_lock(key = "order:<id>", mode = "r", wait = "5s")]
/// async fn track(id: u64) -> Result<String, Error> {
///     // Any number of these at a time, but none while the order is shipped.
///     Ok(format!("order {id} is on its way"))
/// }
/// ```
///
/// When the function is called, nothing happens yet; when its future is polled, it makes the key, waits for the lock,
/// runs the body, gives the lock back and returns what the body returned. The lock is taken with the locker in scope:
/// that of `redis_lock::with_locker`, else that of `redis_lock::init`.
///
/// # Options
///
/// | option | value | if not given |
/// | --- | --- | --- |
/// | `key` | what is locked: a string with places for arguments, or an expression that is `Into<Key>` | must be given |
/// | `mode` | `"r"` or `"read"`: together with other readers; `"w"` or `"write"`: alone | `"w"`, as exclusive is always safe |
/// | `wait` | how long to queue: a length of time, `"forever"`, or an expression that is `Into<Wait>`; `"0s"` is one try | the locker's |
/// | `ttl` | the lease, which is how long others are blocked if this process dies: a length of time, or an expression of type `Duration` | the locker's |
///
/// A length of time is a string of whole numbers with units, the longer unit first: `"500ms"`, `"30s"`, `"1m30s"`, `"1h"`.
///
/// Expressions may use the arguments; they are evaluated once, in the order `key`, `wait`, `ttl`, before the wait. The
/// body gets every argument, so they have to borrow or clone what is not `Copy`.
///
/// ## Keys
///
/// | in a key | stands for |
/// | --- | --- |
/// | `<id>` | the argument `id`, or a const parameter, as [`Display`](std::fmt::Display) shows it |
/// | `<order.id>`, `<pair.0>`, `<self.name>` | a field, as deep as need be |
/// | `<<` and `>>` | the characters `<` and `>` |
/// | everything else | itself; braces too, which mark the hash tag of a Redis Cluster: `"{<customer>}:order:<id>"` |
///
/// Any name that an argument's pattern binds will do. Two sets of arguments that give the same text give the same lock:
/// with strings in a key, `"<a>:<b>"` is the same for `("x:y", "z")` and `("x", "y:z")`.
///
/// ```
/// # use redis_lock::{Error, redis_lock};
/// # use std::time::Duration;
/// # struct Shop { name: String, limit: Duration }
/// # struct Order { id: u64, lines: Vec<(u32, u64)> }
/// # mod names { pub fn of_month(day: u32) -> String { day.to_string() } }
/// impl Shop {
///     #[redis_lock(key = "shop:<self.name>:<order.id>", wait = self.limit, ttl = "30s")]
///     async fn ship(&self, order: &mut Order) -> Result<(), Error> {
///         order.lines.clear();
///         Ok(())
///     }
/// }
///
/// // What no template can say is said by an expression.
/// #[redis_lock(key = format!("report:{}", names::of_month(day)), mode = "r")]
/// async fn report(day: u32) -> Result<u32, Error> {
///     Ok(day + 1)
/// }
/// ```
///
/// # Errors
///
/// The function returns a `Result`, by whatever alias, and its error type is `From<redis_lock::Error>`: that is how it
/// says that the lock was not had in time, that Redis could not be reached, or that the lock was lost. When it is lost
/// the body is stopped at its next await. What the body itself returns is passed on as it is.
///
/// ```no_run
/// use redis_lock::redis_lock;
///
/// #[redis_lock(key = "report", wait = "0s")]
/// async fn report() -> Result<(), Box<dyn std::error::Error>> {
///     std::fs::write("report.txt", "all is well")?;
///     Ok(())
/// }
///
/// # async fn example() {
/// match report().await {
///     Ok(()) => println!("written"),
///     Err(error) if error.is::<redis_lock::Error>() => println!("somebody else is at it: {error}"),
///     Err(error) => println!("failed: {error}"),
/// }
/// # }
/// ```
///
/// A function without a `Result` has no way to say so:
///
/// ```compile_fail
/// # use redis_lock::redis_lock;
/// #[redis_lock(key = "order:<id>")]
/// async fn ship(id: u64) {}
/// ```
///
/// Nor can a key name what is not there; the message lists what is:
///
/// ```compile_fail
/// # use redis_lock::{Error, redis_lock};
/// #[redis_lock(key = "order:<order_id>")]
/// async fn ship(id: u64) -> Result<(), Error> {
///     Ok(())
/// }
/// ```
///
/// # Cancel safety
///
/// The future may be dropped at any await. While it waits for the lock, it then leaves the queue; while the body runs,
/// the body is dropped and the lock given back in the background. The same holds for a panic in the body.
///
/// # Expands to
///
/// About this; everything outside of the braces stays as it was written:
///
/// ```text
/// async fn ship(id: u64) -> Result<(), Error> {
///     let key = Key::from(format!("order:{}", id));
///     let options = the mode, wait and ttl;
///     run(options, key, async move {
///         let _ = &id;                    // the arguments, the last one first
///         { the body }
///     }, |error| Err(From::from(error)))
///     .await
/// }
/// ```
///
/// - `return` and `?` in the body leave the body; the lock is given back after them.
/// - The arguments move into the block and are dropped there, as in any `async fn` the last one first, and before the
///   lock is given back: a transaction passed by value ends inside its lock. Only what no name is bound to outlives it:
///   an argument `_`, and one of which `ref` takes a part.
/// - The future is `Send` if it would be without the attribute.
///
/// # Other attributes
///
/// - `#[tokio::main]`, `#[tokio::test]` and the like turn an `async fn` into a plain one: put `#[redis_lock]` above them.
/// - `#[tracing::instrument]` may stand above, and its span includes the wait; or below, and it is the body's alone.
/// - `#[redis_lock]` itself may stand there more than once: the upper lock is taken first and given back last.
/// - On a trait's method it needs a body; otherwise it goes on the implementations.
#[proc_macro_attribute]
pub fn redis_lock(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    lock(args.into(), &item.into()).into()
}

/// Parse, check, expand. With a mistake in it the function is left as it is, below the mistakes: if it were gone,
/// everything that calls it would be reported as well.
fn lock(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let args = Args::parse(args, &mut mistakes);
    let function = mistakes.ok(syn::parse2(item.clone()));
    // An argument that only a wrong key or option names is no second mistake.
    let lints = function
        .is_some()
        .then(|| quote!(#[allow(unused_variables)]));
    let locked = function.and_then(|function| check::check(args, function, &mut mistakes));
    match mistakes.into_result() {
        Ok(()) => locked.map(expand::expand).unwrap_or_default(),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #lints #item)
        }
    }
}
