//! What goes on without the user's runtime: leases are renewed in here, and locks given back that nobody waits for any more.

pub(crate) mod ending;
pub(crate) mod hold;
pub(crate) mod owner;
pub(crate) mod schedule;
pub(crate) mod session;
pub(crate) mod shell;
