//! The attribute `#[redis_lock]`; an implementation detail of the `redis_lock` crate, which exports it.

mod args;
mod bounds;
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

/// Runs an `async fn`, free or a method, under a lock in Redis, or under several.
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
/// runs the body, gives the lock back and returns what the body returned. The lock is taken with `locker`, else with the
/// one in scope: that of `redis_lock::with_locker`, which a spawned task inherits only through `redis_lock::spawn`, else that
/// of `redis_lock::init`.
///
/// # Options
///
/// | option | value | if not given |
/// | --- | --- | --- |
/// | `key` | what is locked: a string with [places](#keys) for arguments, an expression that is `Into<Key>`, or a [list](#several-keys) of these | must be given |
/// | `mode` | `"r"` or `"read"`: together with other readers; `"w"` or `"write"`: alone; or an expression that is `Into<Mode>` | `"w"`, as exclusive is always safe |
/// | `wait` | how long to queue: a length of time, `"forever"`, or an expression that is `Into<Wait>`; `"0s"` is one try | the locker's |
/// | `ttl` | the lease, which is how long others are blocked if this process dies: a length of time, or an expression of type `Duration` | the locker's |
/// | `max_hold` | how long the lock is held at most, after which the body is stopped: as `ttl` | the locker's |
/// | `min_hold` | others are kept out for this long from when the lock was taken, also if the function ends earlier: as `ttl` | the locker's |
/// | `auto_extend` | `true`: the lease is extended for as long as the body runs; `false`: it ends after `ttl` | the locker's |
/// | `command_timeout` | how long a command may take before Redis counts as out of reach: as `ttl` | the locker's |
/// | `namespace` | the prefix of every name in Redis: a string, or an expression that is `AsRef<str>` | the locker's |
/// | `on_contended` | an expression, evaluated *instead of the body* when the lock was not had in time | an [error](#errors) |
/// | `map_err` | what makes the function's error of the lock's: a function, a variant, a closure | `From<redis_lock::Error>` |
/// | `guard` | a name, by which the [body knows its lock](#the-lock-in-the-body) | |
/// | `locker` | an expression that is a `Locker`, or a reference to one | the one in scope |
/// | `crate` | the path of this crate, where it is not `::redis_lock` | `::redis_lock` |
///
/// A length of time is a string of whole numbers with units, the longer unit first: `"500ms"`, `"30s"`, `"1m30s"`, `"1h"`.
///
/// What the library would refuse when the function is called is refused when it is compiled, where it is written as text: a `ttl`
/// or a `max_hold` below 100 ms or above a year, a `wait` or a `min_hold` above a year, a `command_timeout` below 10 ms or above a minute, a `namespace` that is empty, longer than 128 bytes, or
/// has one of `{`, `}` and `#` in it.
///
/// Expressions may use the arguments; those of `key`, `mode`, `wait`, `ttl`, `max_hold`, `min_hold`, `command_timeout`, `namespace` and `locker` are
/// evaluated once, in this order, before the wait. The body gets every argument, so they have to borrow or clone what is not `Copy`. What
/// `on_contended` and `map_err` use of them has to be `Copy`, as the body owns the rest; and they cannot `.await`.
///
/// ## Keys
///
/// | in a key | stands for |
/// | --- | --- |
/// | `<id>` | the argument `id`, or a const parameter, as [`Display`](std::fmt::Display) shows it |
/// | `<order.id>`, `<pair.0>`, `<self.name>` | a field, as deep as need be |
/// | `<order.customer().id>`, `<name.len()>` | what a method without arguments returns |
/// | `<id:04>`, `<id:?>` | the same as [`format!`] shows it with `{:04}` and `{:?}` |
/// | `<<` and `>>` | the characters `<` and `>` |
/// | everything else | itself; braces too, which mark the hash tag of a Redis Cluster: `"{<customer>}:order:<id>"` |
///
/// Any name that an argument's pattern binds will do. Two sets of arguments that give the same text give the same lock:
/// with strings in a key, `"<a>:<b>"` is the same for `("x:y", "z")` and `("x", "y:z")`; `<a:?>` puts them in quotes.
///
/// ```
/// # use redis_lock::{Error, Locker, redis_lock};
/// # use std::time::Duration;
/// # struct Shop { name: String, limit: Duration, locker: Locker }
/// # struct Order { id: u64, lines: Vec<(u32, u64)> }
/// # mod names { pub fn of_month(day: u32) -> String { day.to_string() } }
/// impl Shop {
///     #[redis_lock(key = "shop:<self.name>:<order.id:08>", wait = self.limit, ttl = "30s", locker = self.locker)]
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
/// ## Several keys
///
/// A list of keys locks them all; the body runs when the last one is had. They are taken in an order of
/// their own, whatever the order they are written in, so that functions that name the same keys do not wait for each
/// other for ever. A key that is there twice is taken once. `wait` is for all of them together.
///
/// All are held in the one `mode`, but those that are marked, which have a mode of their own: `r("rates")` or
/// `read("rates")`, `w("account:<id>")` or `write("account:<id>")`. A key that is there twice in different modes is held for writing. A
/// function of yours that has one of these names is called as `self::read(id)`.
///
/// ```
/// # use redis_lock::{Error, redis_lock};
/// # async fn book(account: u64, amount: i64, token: u64) {}
/// #[redis_lock(key = [w("account:<from>"), w("account:<to>"), r("rates")], guard = locks)]
/// async fn transfer(from: u64, to: u64, amount: i64) -> Result<(), Error> {
///     book(from, -amount, locks[0].token()).await;
///     book(to, amount, locks[1].token()).await;
///     Ok(())
/// }
/// ```
///
/// ## The lock in the body
///
/// `guard = lock` binds a handle to that name: a `redis_lock::Held` with the lock's `key()`, `mode()` and fencing
/// `token()`, and with `is_lost()`, `valid_for()` and `lost()`; for a list of keys a `redis_lock::HeldAll`, which finds
/// each by its position in the list, `locks[0]`, or by its key, `locks.get("account:7")`. It is owned and cheap to clone, and can be sent to other tasks; it does not keep the lock.
///
/// ```
/// # use redis_lock::{Error, redis_lock};
/// # async fn execute(sql: &str, params: &[&u64]) {}
/// #[redis_lock(key = "order:<id>", guard = lock)]
/// async fn ship(id: u64) -> Result<(), Error> {
///     // A holder that was paused until its lease had ended cannot overwrite what its successor wrote. All writes of
///     // one hold carry the same token, hence `<=`.
///     execute("UPDATE orders SET packed = true, token = $1 WHERE id = $2 AND token <= $1", &[&lock.token(), &id]).await;
///     execute("UPDATE orders SET shipped = true, token = $1 WHERE id = $2 AND token <= $1", &[&lock.token(), &id]).await;
///     Ok(())
/// }
/// ```
///
/// # Nesting
///
/// A function under a lock may call another one under the same lock: it does not wait for itself.
///
/// | outside | inside | |
/// | --- | --- | --- |
/// | write | read or write | runs within the outer hold, without asking Redis |
/// | read | read | the same |
/// | read | write | `Error::WriteInsideRead` at once: it would wait for its own caller |
///
/// "The same lock" is the same key, of the same `Locker` or one that was made of it, with the same namespace. "Inside" is
/// what the body itself polls: a task that it spawns inherits nothing, and a call that is carried out of the body before
/// it is done is stopped (`Error::Lost`). Calls that run side by side in one body (`join!`) exclude each other as their
/// modes say. A guard taken by hand (`Locker::lock`, `lock_all`) does not nest: inside of a body under the same lock it
/// waits for that very body.
///
/// ```
/// # use redis_lock::{Error, redis_lock};
/// #[redis_lock(key = "stock:<sku>")]
/// async fn reserve(sku: u64) -> Result<u64, Error> {
///     Ok(available(sku).await? - 1)
/// }
///
/// #[redis_lock(key = "stock:<sku>", mode = "r")]
/// async fn available(sku: u64) -> Result<u64, Error> {
///     Ok(7)
/// }
/// ```
///
/// # Errors
///
/// The function returns a `Result`, by whatever alias, and its error type is `From<redis_lock::Error>`, or `map_err` makes
/// it: that is how it says that the lock was not had in time, that Redis could not be reached, or that the lock was lost.
/// When it is lost the body is stopped at its next await. What the body itself returns is passed on as it is.
///
/// Where the error type is one that you cannot give an `impl From<redis_lock::Error>`, as it is of another crate, `map_err` is the way.
///
/// ```no_run
/// use redis_lock::redis_lock;
///
/// #[redis_lock(key = "report", wait = "0s")]
/// async fn report() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
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
/// With `on_contended`, a lock that others have is no error; everything else still is:
///
/// ```
/// use redis_lock::{Error, redis_lock};
///
/// // Started by every instance at the same time; the first one does it.
/// #[redis_lock(key = "job:report", wait = "0s", on_contended = Ok(()))]
/// async fn report() -> Result<(), Error> {
///     Ok(())
/// }
///
/// #[derive(Debug)]
/// enum JobError {
///     Busy,
///     Lock(Error),
/// }
///
/// #[redis_lock(key = "job:import", on_contended = Err(JobError::Busy), map_err = JobError::Lock)]
/// async fn import() -> Result<(), JobError> {
///     Ok(())
/// }
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
/// the body is dropped and the lock given back in the background. The same holds for a panic in the body. Of several
/// locks, those that it had already are given back as well.
///
/// # Expands to
///
/// About this; everything outside of the braces stays as it was written:
///
/// ```text
/// async fn ship(id: u64) -> Result<(), Error> {
///     let keys = [Key::from(format!("order:{}", id))];
///     let options = the mode, wait, ttl, max_hold, min_hold, auto_extend, namespace and locker;
///     let outcome = run(options, keys, async move {
///         let _ = &id;                    // the arguments, the last one first
///         let lock = held();              // guard = lock
///         { the body }
///     })
///     .await;
///     outcome.unwrap_or_else(|error| {
///         if error.is_contended() { on_contended } else { Err(map_err(error)) }
///     })
/// }
/// ```
///
/// - `return` and `?` in the body leave the body; the lock is given back after them.
/// - The arguments move into the block and are dropped there, as in any `async fn` the last one first, and before the
///   lock is given back: a transaction passed by value ends inside its lock. Only what no name is bound to outlives it:
///   an argument `_`, and one of which `ref` takes a part.
/// - The future is `Send` if it would be without the attribute and what it returns is `Send`: it keeps that while the
///   lock is given back.
/// - A function that returns a future may have the attribute if one `async` block is all that its body is:
///   `-> impl Future<Output = R> { async move { … } }`, `-> Pin<Box<dyn Future<Output = R>>> { Box::pin(async move { … }) }`,
///   or the same with a type whose name ends in `Future`: `BoxFuture<'_, R>`, `Self::Future`. The lock then is around what
///   stands in the block, and the key is made there, at the first poll. A `tower::Service::call` that has more to do, such as to clone
///   `self`, calls an `async fn` that has the attribute.
/// - The body is in a box, so that functions with the attribute may call each other about 20 deep before the compiler
///   asks for a higher `recursion_limit`.
///
/// # Other attributes
///
/// Attributes are expanded from the top down, and each one wraps what those above it have made.
///
/// - `#[tokio::main]`, `#[tokio::test]` and the like turn an `async fn` into a plain one: put `#[redis_lock]` above them.
/// - `#[tracing::instrument]` may stand above, and its span is the body's alone; or below, and it includes the wait.
/// - `#[redis_lock]` itself may stand there more than once: the lowest lock is taken first and given back last. To take
///   several without a thought for their order, write a list of keys.
/// - `#[async_trait]` goes on the trait and on the `impl`, `#[redis_lock]` on methods inside. Arguments that are patterns
///   have no names there that a key could use.
/// - An argument that only the key names is used: it is not warned of, and needs no underscore.
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
