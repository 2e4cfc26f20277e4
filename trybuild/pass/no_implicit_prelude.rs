//! No name of the prelude is there.
#![deny(warnings)]
#![no_implicit_prelude]

struct Shop(u64);

impl Shop {
    #[::redis_lock::redis_lock(key = "shop:<self.0>:<id>", mode = "r", wait = "1s", ttl = "1s")]
    async fn sell(&self, id: u64) -> ::core::result::Result<u64, ::redis_lock::Error> {
        ::core::result::Result::Ok(id)
    }

    #[::redis_lock::redis_lock(key = "shop", wait = "forever")]
    async fn open(&self) -> ::core::result::Result<(), ::redis_lock::Error> {
        ::core::result::Result::Ok(())
    }

    #[::redis_lock::redis_lock(
        key = ["<self.0:04>", "b"],
        guard = locks,
        on_contended = ::core::result::Result::Ok(0),
        map_err = |error| error,
        auto_extend = false,
        max_hold = "1s",
        locker = ::redis_lock::locker()?
    )]
    async fn count(&self) -> ::core::result::Result<usize, ::redis_lock::Error> {
        ::core::result::Result::Ok(::core::iter::Iterator::count(locks.iter()))
    }

    #[::redis_lock::redis_lock(key = name)]
    async fn close(name: &str) -> ::core::result::Result<(), ::redis_lock::Error> {
        ::core::result::Result::Ok(())
    }
}

pub fn main() {
    ::core::mem::drop(Shop(1).sell(1));
    ::core::mem::drop(Shop(1).open());
    ::core::mem::drop(Shop(1).count());
    ::core::mem::drop(Shop::close("a"));
}
