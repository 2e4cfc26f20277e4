//! Functions made by `macro_rules!`: keys, options and types of the macro or of its caller.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

macro_rules! all_ours {
    ($name:ident) => {
        #[redis_lock(key = "order:<id>", wait = "1s", guard = lock)]
        async fn $name(id: u64) -> Result<u64, Error> {
            Ok(id + lock.token())
        }
    };
}

macro_rules! key_of_the_caller {
    ($name:ident, $key:literal, $mode:literal, $wait:expr) => {
        #[redis_lock(key = $key, mode = $mode, wait = $wait)]
        async fn $name(id: u64) -> Result<u64, Error> {
            Ok(id)
        }
    };
}

macro_rules! nested {
    ($($key:tt)*) => { key_of_the_caller!(through_two_macros, $($key)*); };
}

macro_rules! everything {
    ($key:expr, $other:expr, $guard:ident, $extend:literal, $instead:expr, $map:expr, $krate:path,
     $arg:ident: $ty:ty, $output:ty, $body:block) => {
        #[redis_lock(
            key = [$key, $other], guard = $guard, auto_extend = $extend, on_contended = $instead, map_err = $map,
            crate = $krate
        )]
        async fn everything($arg: $ty) -> $output $body
    };
}

macro_rules! boxed {
    ($output:ty) => {
        #[redis_lock(key = "a:<id>")]
        fn boxed(id: u64) -> $output {
            Box::pin(async move { Ok(id) })
        }
    };
}

all_ours!(ours);
key_of_the_caller!(caller, "order:<id>", "r", "5s");
nested!("order:<id>", "w", "forever");
everything!(
    format!("order:{id}"), "order:<id>", lock, false, Ok(1), |error| error, ::redis_lock,
    id: u64, Result<usize, Error>, { Ok(lock.iter().count()) }
);
boxed!(std::pin::Pin<Box<dyn std::future::Future<Output = Result<u64, Error>>>>);

pub fn main() {
    let _ = (
        ours(1),
        caller(1),
        through_two_macros(1),
        everything(1),
        boxed(1),
    );
}
