//! A distributed read-write lock for async Rust, kept in Redis.

#[doc(hidden)]
#[path = "macro_support.rs"]
pub mod __private;
mod acquire;
mod connection;
mod error;
mod exec;
mod guard;
mod hold;
mod key;
mod lease;
mod locker;
mod mode;
mod options;
mod owner;
mod release;
mod renewal;
mod script;
mod wakeup;

pub use redis;

pub use error::Error;
pub use guard::{Guard, Unlock};
pub use key::Key;
pub use locker::{Locker, init, locker, with_locker};
pub use mode::Mode;
pub use options::Wait;
