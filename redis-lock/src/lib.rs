//! A distributed read-write lock in Redis.
