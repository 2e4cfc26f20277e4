//! Keys as expressions: texts, borrows, a `Key`, of arguments and of nothing.
#![deny(warnings)]

use redis_lock::{Error, Key, redis_lock};

const CONSTANT: &str = "orders";

#[redis_lock(key = format!("order:{}", id + 1))]
async fn string(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = name)]
async fn str(name: &str) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = &name)]
async fn borrow(name: String) -> Result<String, Error> {
    Ok(name)
}

#[redis_lock(key = Key::from("a"))]
async fn key() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = CONSTANT)]
async fn constant() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = if id == 0 { "none".to_owned() } else { id.to_string() })]
async fn branches(id: u64) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (
        string(1),
        str("a"),
        borrow(String::new()),
        key(),
        constant(),
        branches(1),
    );
}
