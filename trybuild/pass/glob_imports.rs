//! Items with lower-case names, as a schema of diesel has one for each column, and constants and statics.
#![deny(warnings)]

#[allow(non_camel_case_types, non_upper_case_globals)]
mod dsl {
    pub struct keys;
    pub struct options;
    pub struct error;
    pub struct run;
    pub const of: u8 = 1;
    pub const ours: u8 = 1;
    pub static returned: u8 = 1;

    pub fn sum() -> u8 {
        let _ = (keys, options, error, run);
        of + ours + returned
    }
}

#[allow(unused_imports)]
use dsl::*;
use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", on_contended = Ok(sum()))]
async fn one(id: u8) -> Result<u8, Error> {
    Ok(id)
}

#[redis_lock(key = ["a", "b"], guard = locks, map_err = |failed| failed)]
async fn several() -> Result<u64, Error> {
    Ok(locks[0].token())
}

pub fn main() {
    drop((one(1), several()));
}
