//! Functions under locks that call each other, nearly as deep as the compiler follows to find that a task may be
//! spawned.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

macro_rules! nested {
    ($name:ident $inner:ident $($rest:ident)*) => {
        #[redis_lock(key = "order:<id>")]
        async fn $name(id: u64) -> Result<u64, Error> {
            $inner(id + 1).await
        }

        nested!($inner $($rest)*);
    };
    ($last:ident) => {
        #[redis_lock(key = "order:<id>")]
        async fn $last(id: u64) -> Result<u64, Error> {
            Ok(id)
        }
    };
}

nested!(f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19);

fn spawn(_: impl std::future::Future + Send + 'static) {}

pub fn main() {
    spawn(f1(1));
}
