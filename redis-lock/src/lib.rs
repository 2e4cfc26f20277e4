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
//! | skip the work if another instance does the work | [`Locker::try_lock`] |
//! | learn that the lock has been lost | [`Guard::lost`], [`Guard::is_lost`] |
//! | end a program and leave no lock behind | [`Locker::shutdown`], [`shutdown`], [`Locker::flush`] |
//! | know at start-up that everything works | [`Locker::check`] |
//! | keep a late write out of your data | [`Guard::token`] |
//! | test code with locks without Redis, by a paused clock | [`InProcess`] and [`with_locker`] |
//! | try locks without a server | [`Locker::in_process`] |
//! | use another Redis in a test, or per tenant | [`with_locker`], [`Locker::namespace`] |
//! | keep the same Locker in a spawned task | [`spawn`], [`with_current_locker`] |
//!
//! # Guarantees
//!
//! 1. *Exclusion*: per key, one writer or any number of readers, as Redis sees it.
//! 2. *Fencing*: every grant carries a [token](Guard::token) greater than all tokens of earlier grants of the key.
//! 3. *Loss is told in time*: at a deadline on a monotonic clock, counted from before the command was sent, less a margin.
//! 4. *Fairness*: strict order of arrival, with neighbouring readers let in together.
//! 5. *Liveness*: a dead holder blocks the lock for at most its ttl, dead waiters for at most three seconds in all.
//! 6. *No litter*: every key in Redis has a TTL; nothing is left once a lock is idle.
//!
//! # Not guaranteed
//!
//! A process that is paused for longer than the ttl may run on for an instant when a second process already holds the lock. No
//! lock with leases can prevent that; a fencing token can. If the whole machine sleeps, the monotonic clock sleeps too, and the
//! process learns of the loss at the next renewal. A failover of Redis may forget a lock that was just taken, since replication
//! is asynchronous; the holder is told at the next renewal.
//!
//! # Logs
//!
//! Events that no caller waits for are told to [`tracing`]: a lost lock and a failed release as warnings, single failures of
//! renewals, releases and heartbeats as debug events. A thread of this crate emits the events, with the subscriber and in the
//! span of the code that reported them. So a subscriber that blocks delays log lines and nothing else. If the subscriber falls
//! behind by 1,000 events, further events are dropped, and a warning says how many. A process that ends may lose the last lines.
//! Keys and texts of servers are escaped.
//!
//! # Features
//!
//! - `macros` (default): the attribute.
//!
//! - `tls-rustls`: `rediss://` with rustls, its `ring` provider, and the certificate authorities of the system.
//! - `tls-native-tls`: `rediss://` with the TLS library of the system, OpenSSL on Linux.
//!
//! For your own authority or client certificates, pass [`Locker::connect`] a [`redis::Client`] made by
//! `redis::Client::build_with_tls`. If both features are on, rustls is used.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(hidden)]
#[path = "macro_support.rs"]
pub mod __private;

// The layers, from top to bottom: api, engine, store, link, threads, core, values. Each layer imports only from itself and from
// layers below; a test reads the `use` lines.
mod api;
mod core;
mod engine;
mod link;
mod store;
mod threads;
mod values;

/// The redis-rs that this crate was built with, so that the version need not be guessed.
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
