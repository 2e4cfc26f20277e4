//! Everything that can stand in a key: arguments, fields, const parameters, escapes, braces, expressions.
#![deny(warnings)]

use std::pin::{Pin, pin};

use redis_lock::{Error, Key, redis_lock};

struct Order {
    id: u64,
    route: (String, Stop),
    r#type: &'static str,
}

struct Stop {
    city: &'static str,
}

#[redis_lock(key = "{orders}:<order.id>:<order.route.0>:<order.route.1.city>:<order.type>:<<kept>>:{}")]
async fn fields(order: &Order) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "<r#type>:<type>:<größe>")]
async fn names(r#type: u8, größe: u8) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "shard:<N>:<B>")]
async fn const_parameters<const N: usize, const B: bool>() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = format!("order:{}", id + 1))]
async fn a_string(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = name)]
async fn a_str(name: &str) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = &name)]
async fn a_borrow(name: String) -> Result<String, Error> {
    Ok(name)
}

#[redis_lock(key = key_of(id)?)]
async fn fallible(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = { let id = id.as_mut().await; Key::from(id) })]
async fn awaited(mut id: Pin<&mut impl Future<Output = String>>) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = concat!("{", "id", "}"))]
async fn literal_braces(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn key_of(id: u64) -> Result<Key, Error> {
    Ok(Key::from(id.to_string()))
}

fn main() {
    let order = Order { id: 1, route: (String::new(), Stop { city: "a" }), r#type: "b" };
    let _ = fields(&order);
    let _ = names(1, 2);
    let _ = const_parameters::<3, true>();
    let _ = (a_string(1), a_str("a"), a_borrow(String::new()), fallible(1), literal_braces(1));
    drop(awaited(pin!(async { String::new() })));
}
