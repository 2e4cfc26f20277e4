//! A distributed read-write lock for async Rust, kept in Redis: fair, fenced, crash-safe.
//!
//! ```no_run
//! use redis_lock::{Locker, redis_lock};
//!
//! #[redis_lock(key = "order:<id>", mode = "w")]
//! async fn ship(id: u64) -> Result<(), redis_lock::Error> {
//!     // no other process ships this order now
//!     Ok(())
//! }
//!
//! # async fn f() -> Result<(), redis_lock::Error> {
//! let locker = Locker::connect("redis://127.0.0.1:6379").await?;
//! redis_lock::init(locker.clone())?;
//! ship(42).await?;
//!
//! let guard = locker.read("order:42").await?;
//! guard.unlock().await?;
//! # Ok(()) }
//! ```
//!
//! | to … | use |
//! | --- | --- |
//! | run an async fn under a lock | [`#[redis_lock]`](macro@redis_lock) and [`init`] |
//! | run a closure under a lock | [`Locker::scope`] |
//! | run a future that may fail under a lock | [`Locker::lock_exec`] |
//! | hold a lock as long as you like | [`Locker::lock`], [`read`](Locker::read), [`write`](Locker::write) and the [`Guard`] |
//! | hold several locks, without deadlock | [`Locker::lock_all`], [`Locker::scope_all`] |
//! | skip the work if another instance is at it | [`Locker::try_lock`] |
//! | learn that the lock has been lost | [`Guard::lost`], [`Guard::is_lost`] |
//! | end a program and leave no lock behind | [`Locker::shutdown`], [`shutdown`], [`Locker::flush`] |
//! | know at start-up that all of it works | [`Locker::check`] |
//! | keep a late write out of your data | [`Guard::token`] |
//! | test code with locks without Redis, by a paused clock | [`InProcess`] and [`with_locker`] |
//! | try locks without a server | [`Locker::in_process`] |
//! | use another Redis in a test, or per tenant | [`with_locker`], [`Locker::namespace`] |
//! | keep that in a task of its own | [`spawn`], [`with_current_locker`] |
//!
//! # Guarantees
//!
//! 1. *Exclusion*: per key, one writer or any number of readers, as Redis sees it.
//! 2. *Fencing*: every grant carries a [token](Guard::token) greater than that of every earlier grant of the key.
//! 3. *Loss is told in time*: by a deadline that is counted from before the command was sent, on a monotonic clock,
//!    less a margin.
//! 4. *Fairness*: strict order of arrival, with neighbouring readers let in together.
//! 5. *Liveness*: a dead holder blocks others for at most its ttl, dead waiters for at most three seconds, all of them
//!    together.
//! 6. *No litter*: every key in Redis has a TTL; nothing is left once a lock is idle.
//!
//! # Not guaranteed
//!
//! A process that is paused for longer than the ttl may run on for an instant when another already
//! holds the lock; no lock with leases can prevent that, a fencing token can. If its whole machine sleeps, its monotonic
//! clock sleeps too, and it learns of the loss only at its next renewal. A failover of Redis may forget a lock that
//! was just taken, since replication is asynchronous; its holder is told at its next renewal.
//!
//! # Logs
//!
//! What belongs to no caller is told to [`tracing`]: a lost lock and a failed release as warnings, single failures of
//! renewals, releases and heartbeats as debug events. A thread of this crate emits these events, with the subscriber and in
//! the span of the code that they come from. So a subscriber that blocks delays log lines and nothing else. If it falls
//! behind by 1,000 events, more are dropped, and a warning says how many. A process that ends may lose the last lines. Keys
//! and texts of servers are escaped.
//!
//! # Features
//!
//! - `macros` (default): the attribute.
//!
//! - `tls-rustls`: `rediss://` with rustls, its `ring` provider, and the certificate authorities of the system.
//! - `tls-native-tls`: `rediss://` with the TLS library of the system, OpenSSL on Linux.
//!
//! An authority of your own and certificates of the client come with a [`redis::Client`], made by
//! `redis::Client::build_with_tls`, which [`Locker::connect`] takes. If both features are on, rustls is used.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(hidden)]
#[path = "macro_support.rs"]
pub mod __private;

// The layers, from top to bottom: api, engine, store, link, threads, core, values. Each imports only from itself and from those
// below; a test reads the `use` lines.
mod api;
mod core;
mod engine;
mod link;
mod store;
mod threads;
mod values;

/// The redis-rs that this crate was built with, so that its version need not be guessed.
pub use redis;

pub use api::{
    address::Address,
    check::Check,
    error::Error,
    exec::{LockExec, LockScope},
    guard::{Guard, Unlock},
    guards::{Guards, UnlockAll},
    held::{Held, HeldAll},
    in_process::InProcess,
    locker::{IntoLocker, Locker, init, locker, shutdown, spawn, with_current_locker, with_locker},
    options::Wait,
    request::LockRequest,
    shutdown::Shutdown,
    wakeup::Wakeups,
};
pub use link::given::RedisConnection;
#[cfg(feature = "macros")]
pub use redis_lock_macros::redis_lock;
pub use values::{key::Key, loss::Loss, mode::Mode};
