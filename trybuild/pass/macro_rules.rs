//! Functions made by `macro_rules!`: names, `self`, keys and types from the macro or from its caller.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

macro_rules! all_ours {
    ($name:ident) => {
        #[redis_lock(key = "order:<id>", wait = "1s")]
        async fn $name(id: u64) -> Result<u64, Error> {
            Ok(id)
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

macro_rules! expression {
    ($key:expr, $arg:ident: $ty:ty, $output:ty, $body:block) => {
        #[redis_lock(key = $key)]
        async fn expression($arg: $ty) -> $output $body
    };
}

macro_rules! method {
    ($($self:ident)?; $key:literal) => {
        impl Shop {
            #[redis_lock(key = $key)]
            async fn ours(&self, id: u64) -> Result<u64, Error> {
                Ok(self.id + id)
            }

            #[redis_lock(key = "shop:<self.id>")]
            async fn theirs(&$($self)?, other: u64) -> Result<u64, Error> {
                Ok($($self)?.id + other)
            }
        }
    };
}

struct Shop {
    id: u64,
}

all_ours!(ours);
key_of_the_caller!(caller, "order:<id>", "r", "5s");
nested!("order:<id>", "w", "forever");
expression!(format!("order:{id}"), id: u64, Result<u64, Error>, { Ok(id) });
method!(self; "shop:<self.id>:<id>");

fn main() {
    let _ = (ours(1), caller(1), through_two_macros(1), expression(1));
    drop(Shop { id: 1 }.ours(1));
    drop(Shop { id: 1 }.theirs(1));
}
