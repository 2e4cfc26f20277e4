//! Functions inside of functions, modules and `impl` blocks inside of both.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

fn outer() {
    #[redis_lock(key = "inner")]
    async fn inner() -> Result<(), Error> {
        Ok(())
    }

    struct Shop;

    impl Shop {
        #[redis_lock(key = "inner")]
        async fn ship(&self) -> Result<(), Error> {
            Ok(())
        }
    }

    let _ = inner();
    drop(Shop.ship());
}

mod private {
    pub(super) mod deeper {
        #[redis_lock::redis_lock(key = "deep:<id>", guard = lock)]
        pub(in super::super) async fn ship(id: u64) -> Result<u64, redis_lock::Error> {
            Ok(lock.token())
        }
    }
}

pub fn main() {
    outer();
    drop(private::deeper::ship(1));
}
