//! The two threads of this crate: a thread with a runtime that does not depend on the user's runtimes, and a thread that emits
//! log events.
//!
//! Below the link, since this runtime keeps the time limits of commands, and since connections log.

pub(crate) mod report;
pub(crate) mod runtime;
