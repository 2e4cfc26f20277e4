//! A pool lends connections; a Locker shares one.

use redis_lock::Locker;

/// As those of bb8 and deadpool: neither is `ConnectionLike`, and some are not `Clone`.
struct Pool;

async fn new(pool: Pool) {
    let _ = Locker::new(pool);
}

async fn from(pool: Pool) {
    let _ = Locker::from(pool);
}

async fn into(pool: Pool) {
    let _: Locker = pool.into();
}

async fn init(pool: Pool) {
    let _ = redis_lock::init(pool);
}

fn main() {}
