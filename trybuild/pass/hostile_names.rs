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
struct u64;
struct str;
struct bool;
macro_rules! format {
    ($($any:tt)*) => {
        compile_error!("the user's")
    };
}

type Output<T> = ::core::result::Result<T, ::redis_lock::Error>;

#[locked(key = "<key>:<options>:<error>:<returned>", mode = "r", wait = "1s", ttl = limit)]
async fn ours(
    key: ::core::primitive::u64,
    options: ::core::primitive::u64,
    error: &::core::primitive::str,
    returned: ::core::primitive::u64,
    run: ::core::primitive::u64,
    limit: ::core::time::Duration,
) -> Output<::core::primitive::u64> {
    Output::Ok(key + options + returned + run)
}

#[locked(key = key, wait = options)]
async fn expressions(key: &::core::primitive::str, options: ::core::time::Duration) -> Output<()> {
    Output::Ok(())
}

fn main() {
    let limit = ::core::time::Duration::ZERO;
    let _ = ours(1, 2, "a", 3, 4, limit);
    let _ = expressions("a", limit);
}
