//! The attribute `#[redis_lock]`; see the `redis_lock` crate.
