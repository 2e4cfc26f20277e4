//! Lifetimes: named, bounded, elided, anonymous.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "item:<id>")]
async fn named<'a, 'b: 'a>(id: u64, first: &'a str, second: &'b str) -> Result<&'a str, Error> {
    Ok(if id == 0 { first } else { second })
}

#[redis_lock(key = "item")]
async fn anonymous(text: &str, other: &'_ mut Vec<u8>) -> Result<usize, Error> {
    other.push(1);
    Ok(text.len() + other.len())
}

#[redis_lock(key = "<text>")]
async fn elided(text: &mut String) -> Result<&str, Error> {
    text.push('a');
    Ok(text)
}

pub fn main() {
    drop((named(1, "a", "b"), anonymous("a", &mut Vec::new())));
    drop(elided(&mut String::new()));
}
