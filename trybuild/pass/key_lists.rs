//! Several keys: templates and expressions side by side, with and without arguments.
#![deny(warnings)]

use redis_lock::{Error, Key, redis_lock};

#[redis_lock(key = ["account:<from>", "account:<to>"])]
async fn transfer(from: u64, to: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = ["a:<id:04>", format!("b:{id}"), "c", Key::from("d"), CONSTANT, name, &other,], mode = "r")]
async fn mixed(id: u64, name: &str, other: String) -> Result<String, Error> {
    Ok(other)
}

#[redis_lock(key = ["only"])]
async fn only_one() -> Result<(), Error> {
    Ok(())
}

const CONSTANT: &str = "e";

pub fn main() {
    let _ = (transfer(1, 2), mixed(1, "a", String::new()), only_one());
}
