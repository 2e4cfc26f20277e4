//! Plain values that the core and the stores speak of.

pub(crate) mod loss;
pub(crate) mod session;
pub(crate) mod ticket;
pub(crate) mod time;
