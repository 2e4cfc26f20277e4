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

    #[::redis_lock::redis_lock(key = name)]
    async fn close(name: &str) -> ::core::result::Result<(), ::redis_lock::Error> {
        ::core::result::Result::Ok(())
    }
}

fn main() {
    ::core::mem::drop(Shop(1).sell(1));
    ::core::mem::drop(Shop(1).open());
    ::core::mem::drop(Shop::close("a"));
}
