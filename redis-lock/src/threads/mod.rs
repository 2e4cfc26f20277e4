//! The two threads of this crate: one with a runtime, for what goes on without the user's, and one that emits log events.
//!
//! Below the link, since a command's time limit is kept by that runtime, and a connection has things to log.

pub(crate) mod report;
pub(crate) mod runtime;
