//! The lock's error as the function's: by a path, a closure, a function, without `From`.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[derive(Debug)]
enum Failed {
    Lock(Error),
    Text(String),
}

#[redis_lock(key = "a", map_err = Failed::Lock)]
async fn variant() -> Result<(), Failed> {
    Err(Failed::Text(String::new()))
}

#[redis_lock(key = "a:<id>", map_err = |error| Failed::Text(format!("{id}: {}", error.to_string())))]
async fn closure(id: u64) -> Result<(), Failed> {
    Ok(())
}

#[redis_lock(key = "a", map_err = failed)]
async fn function() -> Result<(), Failed> {
    Ok(())
}

#[redis_lock(key = "a", map_err = |_| ())]
async fn unit() -> Result<u8, ()> {
    Ok(1)
}

#[redis_lock(key = "a", map_err = |error| Box::new(error))]
async fn coerced() -> Result<u8, Box<dyn std::error::Error + Send>> {
    Ok(1)
}

#[redis_lock(key = "a", map_err = |error| if error.is_lost() { 1 } else { 2 }, on_contended = Err(0))]
async fn code() -> Result<u8, u8> {
    Ok(1)
}

struct Shop(u8);

impl Shop {
    #[redis_lock(key = "a", map_err = |error| self.failed(error))]
    async fn method(&self) -> Result<u8, Failed> {
        Ok(self.0)
    }

    fn failed(&self, error: Error) -> Failed {
        failed(error)
    }
}

fn failed(error: Error) -> Failed {
    Failed::Lock(error)
}

pub fn main() {
    let _ = (variant(), closure(1), function(), unit(), coerced(), code());
    drop(Shop(1).method());
    let _ = |failed| match failed {
        Failed::Lock(error) => error.to_string(),
        Failed::Text(text) => text,
    };
}
