//! Every name that the expansion could mean is something else here; arguments are named like its own variables.
#![deny(warnings)]
#![allow(non_camel_case_types, dead_code, unused_macros)]

use ::redis_lock::redis_lock as locked;

mod std {}
mod core {}
mod alloc {}
mod redis_lock {}
mod __private {}
struct Ok;
struct Err;
struct Some;
struct None;
struct Result;
struct String;
struct Option;
struct Duration;
struct Key;
struct Mode;
struct Opts;
struct Error;
trait Into {}
trait From {}
trait Future {}
struct Locker;
struct Held;
struct HeldAll;
struct Box;
struct Pin;
struct Vec;
trait Borrow {}
trait FnOnce {}
struct u64;
struct str;
struct bool;
macro_rules! format {
    ($($any:tt)*) => {
        compile_error!("the user's")
    };
}

type Output<T> = ::core::result::Result<T, ::redis_lock::Error>;

#[locked(key = "<key>:<keys>:<options>:<error>:<returned>", mode = "r", wait = "1s", ttl = limit)]
async fn ours(
    key: ::core::primitive::u64,
    keys: ::core::primitive::u64,
    options: ::core::primitive::u64,
    error: &::core::primitive::str,
    returned: ::core::primitive::u64,
    run: ::core::primitive::u64,
    limit: ::core::time::Duration,
) -> Output<::core::primitive::u64> {
    Output::Ok(key + keys + options + returned + run)
}

#[locked(key = keys, wait = options)]
async fn expressions(keys: &::core::primitive::str, options: ::core::time::Duration) -> Output<()> {
    Output::Ok(())
}

#[locked(
    key = ["a", key, "<keys>", keys],
    max_hold = "1m",
    auto_extend = false,
    guard = held,
    locker = options,
    on_contended = Output::Ok(returned + error),
    map_err = |keys| keys
)]
async fn every_option(
    key: &::core::primitive::str,
    keys: &::core::primitive::str,
    options: ::redis_lock::Locker,
    returned: ::core::primitive::usize,
    error: ::core::primitive::usize,
) -> Output<::core::primitive::usize> {
    Output::Ok(held.iter().count())
}

#[locked(key = "<error>", guard = keys, map_err = |options| options)]
fn future(
    error: &::core::primitive::str,
) -> ::core::pin::Pin<
    ::std::boxed::Box<dyn ::core::future::Future<Output = Output<::core::primitive::u64>> + '_>,
> {
    ::std::boxed::Box::pin(async move { Output::Ok(keys.token()) })
}

pub fn main() {
    let limit = ::core::time::Duration::ZERO;
    let _ = ours(1, 2, 3, "a", 3, 4, limit);
    let _ = expressions("a", limit);
    let _ = |locker| ::core::mem::drop(every_option("a", "b", locker, 1, 2));
    let _ = future("a");
}
