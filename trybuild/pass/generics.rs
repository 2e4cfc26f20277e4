//! Type, const and lifetime parameters, bounds in both places, higher-ranked ones too.
#![deny(warnings)]

use std::fmt::{Debug, Display};

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "item:<id>")]
async fn generic<T: Display, const N: usize>(id: T, items: [u8; N]) -> Result<[u8; N], Error> {
    Ok(items)
}

#[redis_lock(key = "item:<id>")]
async fn bounded<'a, 'b: 'a, T, F>(id: &'a T, call: F, text: &'b str) -> Result<&'a str, Error>
where
    T: Display + ?Sized,
    F: for<'x> Fn(&'x str) -> &'x str,
{
    Ok(call(text))
}

#[redis_lock(key = "item")]
async fn anonymous(text: &str, other: &'_ mut Vec<u8>) -> Result<usize, Error> {
    other.push(1);
    Ok(text.len() + other.len())
}

struct Store<T>(T);

impl<T: Debug + Display> Store<T> {
    #[redis_lock(key = "store:<self.0>:<id>")]
    async fn put<U>(&mut self, id: U, value: T) -> Result<T, Error>
    where
        U: Display,
    {
        Ok(std::mem::replace(&mut self.0, value))
    }
}

fn main() {
    let _ = generic("a", [1]);
    let _ = bounded("a", |text| text, "b");
    drop(anonymous("a", &mut Vec::new()));
    drop(Store(1).put("a", 2));
}
