//! A place in a string that is not itself the key is text: all orders would share one lock.

use redis_lock::{redis_lock, Error};

#[redis_lock(key = format!("order:<id>"))]
async fn formatted(id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[redis_lock(key = if id > 9 { "big:<id>" } else { "small" })]
async fn chosen(id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[redis_lock(key = ["<id>", w("order:<id>".to_owned())], namespace = format!("shop:<id>"))]
async fn in_a_list(id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[redis_lock(key = (concat!("order:", "<id>"), ("<id>")).1)]
async fn beside_what_is_meant(id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[redis_lock(key = concat!("order:", "<id>"))]
async fn meant(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
