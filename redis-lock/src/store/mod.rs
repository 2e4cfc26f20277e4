//! The protocol, as scripts in Redis.

pub(crate) mod redis;
