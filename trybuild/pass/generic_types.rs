//! Type parameters with bounds in both places, higher-ranked ones too.
#![deny(warnings)]

use std::fmt::{Debug, Display};

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "item:<id>")]
async fn inline<T: Display>(id: T) -> Result<T, Error> {
    Ok(id)
}

#[redis_lock(key = "item:<id>")]
async fn bounded<T, F>(id: &T, call: F) -> Result<usize, Error>
where
    T: Display + ?Sized,
    F: for<'x> Fn(&'x str) -> &'x str,
{
    Ok(call("a").len())
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

pub fn main() {
    let _ = (inline("a"), bounded("a", |text| text));
    drop(Store(1).put("a", 2));
}
