//! The protocol, as scripts in Redis.
//!
//! `memory.rs` has the same rules over maps. The simulator and the conformance test compile it; the library does not.

pub(crate) mod redis;
