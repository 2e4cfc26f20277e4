//! A body that moves what the key names.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = ["tx:<id>", format!("{}", id.len())], wait = std::time::Duration::from_secs(id.len() as u64))]
async fn moved(id: String, mut also: Vec<String>) -> Result<Vec<String>, Error> {
    let task = async move {
        also.push(id);
        also
    };
    Ok(task.await)
}

pub fn main() {
    drop(moved(String::new(), Vec::new()));
}
