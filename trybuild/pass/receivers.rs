//! Methods with every receiver, and associated functions.
#![deny(warnings)]

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use redis_lock::{Error, redis_lock};

#[derive(Default)]
struct Shop {
    name: String,
    sold: (u64, u64),
}

impl Shop {
    #[redis_lock(key = "shop:<self.name>", mode = "r")]
    async fn by_ref(&self) -> Result<&str, Error> {
        Ok(&self.name)
    }

    #[redis_lock(key = "shop:<self.name>:<self.sold.0>")]
    async fn by_mut(&mut self, more: u64) -> Result<&mut u64, Error> {
        self.sold.0 += more;
        Ok(&mut self.sold.0)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_value(mut self) -> Result<Self, Error> {
        self.sold.1 = 1;
        Ok(self)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_box(self: Box<Self>) -> Result<String, Error> {
        Ok(self.name)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_arc(self: Arc<Self>) -> Result<usize, Error> {
        Ok(Arc::strong_count(&self))
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_arc_ref(self: &Arc<Self>) -> Result<Arc<Self>, Error> {
        Ok(Arc::clone(self))
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_rc(self: Rc<Self>) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn by_pin(mut self: Pin<&mut Self>) -> Result<(), Error> {
        self.sold.0 = 1;
        Ok(())
    }

    #[redis_lock(key = self.key())]
    async fn key_of_a_method(&self) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "shops")]
    async fn associated() -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn key(&self) -> &str {
        &self.name
    }
}

fn main() {
    let mut shop = Shop::default();
    drop(shop.by_ref());
    drop(shop.by_mut(1));
    drop(shop.key_of_a_method());
    drop(Pin::new(&mut shop).by_pin());
    let _ = shop.by_value();
    let _ = Box::<Shop>::default().by_box();
    let _ = Arc::<Shop>::default().by_arc();
    let _ = Arc::<Shop>::default().by_arc_ref();
    let _ = Rc::<Shop>::default().by_rc();
    let _ = Shop::associated();
}
