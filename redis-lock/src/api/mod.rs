//! What people hold in hand.

pub(crate) mod acquire;
pub(crate) mod address;
pub(crate) mod bounds;
pub(crate) mod check;
pub(crate) mod enter;
pub(crate) mod error;
pub(crate) mod exec;
pub(crate) mod guard;
pub(crate) mod guards;
pub(crate) mod held;
pub(crate) mod in_process;
pub(crate) mod locker;
pub(crate) mod nesting;
pub(crate) mod options;
pub(crate) mod request;
pub(crate) mod shutdown;
pub(crate) mod survey;
pub(crate) mod wakeup;
