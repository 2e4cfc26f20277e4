//! Work that goes on without the user's runtime: renewals, and releases that no task waits for.

pub(crate) mod ending;
pub(crate) mod hold;
pub(crate) mod owner;
pub(crate) mod schedule;
pub(crate) mod session;
pub(crate) mod shell;
