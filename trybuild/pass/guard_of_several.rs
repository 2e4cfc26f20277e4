//! The handle of several locks, which finds each by its key.
#![deny(warnings)]

use redis_lock::{Error, HeldAll, redis_lock};

#[redis_lock(key = ["account:<from>", "account:<to>"], guard = locks)]
async fn transfer(from: u64, to: u64) -> Result<(u64, u64), Error> {
    let all: HeldAll = locks.clone();
    let token = |id: u64| {
        all.get(&format!("account:{id}"))
            .map_or(0, |lock| lock.token())
    };
    assert!(!locks.is_lost() && locks.iter().count() == 2);
    tokio::spawn(async move { locks.lost().await });
    Ok((token(from), token(to)))
}

fn assert_send(_: impl Send) {}

pub fn main() {
    assert_send(transfer(1, 2));
}
