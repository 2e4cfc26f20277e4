//! What a pool lends: `ConnectionLike`, but one task's alone.

use redis_lock::Locker;
use redis_lock::redis::aio::ConnectionLike;
use redis_lock::redis::{Cmd, Pipeline, RedisFuture, Value};

struct Lent;

impl ConnectionLike for Lent {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        unimplemented!()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        unimplemented!()
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn main() {
    let _ = Locker::new(Lent);
}
