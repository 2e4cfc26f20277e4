//! The protocol, twice: as scripts in Redis, and in memory.

pub(crate) mod memory;
