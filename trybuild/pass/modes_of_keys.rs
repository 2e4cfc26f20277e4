//! A mode for each key of a list, and functions of the user's that have the names of modes.
#![deny(warnings)]

use redis_lock::{Error, Key, Mode, redis_lock};

#[redis_lock(key = [r("account:<from>"), w("account:<to>"), "log"], mode = "r", guard = locks)]
async fn marked(from: u64, to: u64) -> Result<[Mode; 3], Error> {
    Ok([locks[0].mode(), locks[1].mode(), locks[2].mode()])
}

#[redis_lock(key = [read(format!("account:{from}")), write(Key::from(to)), read("a:<to.len()>")])]
async fn in_words(from: u64, to: &str) -> Result<(), Error> {
    Ok(())
}

fn r(id: u64) -> String {
    id.to_string()
}

#[redis_lock(key = r(id))]
async fn a_function_called_r(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = [self::r(id), r(r(id))])]
async fn a_function_called_r_in_a_list(id: u64) -> Result<(), Error> {
    Ok(())
}

macro_rules! locked {
    ($name:ident, $key:expr) => {
        #[redis_lock(key = [$key, w($key)])]
        async fn $name() -> Result<(), Error> {
            Ok(())
        }
    };
}

locked!(by_macro, "a");

pub fn main() {
    drop((marked(1, 2), in_words(1, "a"), by_macro()));
    drop((a_function_called_r(1), a_function_called_r_in_a_list(1)));
}
