//! Methods whose `self` is in a `Box`, `Arc`, `Rc` or `Pin`.
#![deny(warnings)]

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use redis_lock::{Error, redis_lock};

#[derive(Default)]
struct Shop {
    name: String,
    sold: u64,
}

impl Shop {
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
        self.sold = 1;
        Ok(())
    }
}

pub fn main() {
    drop(Pin::new(&mut Shop::default()).by_pin());
    let _ = Box::<Shop>::default().by_box();
    let _ = Arc::<Shop>::default().by_arc();
    let _ = Arc::<Shop>::default().by_arc_ref();
    let _ = Rc::<Shop>::default().by_rc();
}
