//! What the body holds across an await counts, as without the attribute.

use std::rc::Rc;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<(), Error> {
    let held = Rc::new(id);
    std::future::ready(()).await;
    drop(held);
    Ok(())
}

fn assert_send(_: impl Send) {}

fn main() {
    assert_send(ship(1));
}
