//! Plain values that all layers use.

pub(crate) mod key;
pub(crate) mod loss;
pub(crate) mod mode;
pub(crate) mod session;
pub(crate) mod text;
pub(crate) mod ticket;
pub(crate) mod time;
