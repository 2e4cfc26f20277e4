//! Methods that borrow their `self`.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[derive(Default)]
struct Shop {
    name: String,
    sold: u64,
}

impl Shop {
    #[redis_lock(key = "shop:<self.name>", mode = "r")]
    async fn shared(&self) -> Result<&str, Error> {
        Ok(&self.name)
    }

    #[redis_lock(key = "shop:<self.name>:<self.sold>")]
    async fn exclusive(&mut self, more: u64) -> Result<&mut u64, Error> {
        self.sold += more;
        Ok(&mut self.sold)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn typed(self: &Self) -> Result<usize, Error> {
        Ok(self.name.len())
    }

    #[redis_lock(key = self.key())]
    async fn key_of_a_method<'a>(&'a self, other: &str) -> Result<&'a str, Error> {
        Ok(&self.name[..other.len()])
    }

    fn key(&self) -> &str {
        &self.name
    }
}

pub fn main() {
    let mut shop = Shop::default();
    drop((shop.shared(), shop.typed(), shop.key_of_a_method("")));
    drop(shop.exclusive(1));
}
