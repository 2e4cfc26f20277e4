//! The errors. Each message says which lock is concerned and what to do.

use std::{borrow::Cow, fmt, io, sync::Arc, time::Duration};

use redis::RedisError;

use crate::{
    link::{
        Link,
        cause::{Cause, at, broken, failed, foreign},
        code::is_foreign,
    },
    values::{key::Key, loss::Loss, mode::Mode, text::Quoted},
};

/// An error of this crate.
///
/// Match on the variants that you can do something about, and use the predicates for the rest: more
/// variants may come.
///
/// The message names the lock, the server, the cause and what to do. The cause is in the message, so
/// [`source`](std::error::Error::source) is always `None`: no chain of errors tells the cause twice. `{:?}` is the message as
/// well, since `unwrap`, and a `main` that returns this error, print `{:?}`. Foreign text in the message (keys, answers of
/// servers) is escaped, and a password is never in the message.
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// match locker.lock("nightly-report").await {
///     Ok(guard) => guard.unlock().await,
///     Err(error) if error.is_contended() => Ok(()), // another instance makes the report
///     Err(error) => Err(error),
/// }
/// # }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lock was held, or earlier waiters were in line, for the whole time that we were ready to wait.
    #[error(
        "lock {}: no {mode} lock within {waited:?}: others hold it or wait for it; try again later, or raise `wait`",
        Quoted(key)
    )]
    Contended {
        /// The lock.
        key: Key,
        /// The mode that was asked for.
        mode: Mode,
        /// How long we waited.
        waited: Duration,
    },

    /// The lock was held and has been lost: the lease ended before a renewal succeeded, or Redis says that the lease is gone.
    ///
    /// From then on, work under the lock may have run beside a second holder. A
    /// [fencing token](crate::Guard::token) keeps such work out of your data.
    #[error(
        "lock {}: lost: {why}; what ran under it may have overlapped with another holder",
        Quoted(key)
    )]
    Lost {
        /// The lock.
        key: Key,
        /// What ended the hold.
        why: Loss,
    },

    /// The Locker has been shut down: the Locker takes no new locks, and waiters get this error.
    #[error(
        "lock {}: not taken, since this locker has been shut down",
        Quoted(key)
    )]
    ShutDown {
        /// The lock.
        key: Key,
    },

    /// In one task, a function under a read lock has called a function under a write lock of the same key: the inner function
    /// would wait for its own caller. Take the write lock outside.
    #[error(
        "lock {}: write inside of read: the same task reads under this lock, and would wait for itself; take the write lock outside",
        Quoted(key)
    )]
    WriteInsideRead {
        /// The lock.
        key: Key,
    },

    /// There is no Locker for the attribute or for [`locker()`](crate::locker()) to use.
    ///
    /// A task that is spawned inside of [`with_locker`](crate::with_locker) does not inherit the Locker: spawn the task with
    /// [`redis_lock::spawn`](crate::spawn()), or wrap the task's future in
    /// [`with_current_locker`](crate::with_current_locker).
    #[error(
        "no locker: call `redis_lock::init(..)` once at start-up, or run inside `redis_lock::with_locker(..)`, \
         which a spawned task inherits only through `redis_lock::spawn(..)`"
    )]
    NotInitialized,

    /// [`init`](crate::init) was called a second time.
    #[error(
        "`redis_lock::init` was called twice: a process has one default locker; use `redis_lock::with_locker` to override it for a task"
    )]
    AlreadyInitialized,

    /// The key cannot name a lock.
    #[error("invalid key {}: {reason}", Quoted(key))]
    InvalidKey {
        /// The key, or its beginning if it is long.
        key: Key,
        /// What is wrong with the key.
        reason: &'static str,
    },

    /// An option of the [`Locker`](crate::Locker) makes no sense.
    #[error("invalid option {option} = {value} for lock {}: {reason}", Quoted(key))]
    InvalidOptions {
        /// The lock that was asked for.
        key: Key,
        /// The option's name.
        option: &'static str,
        /// The value that was set.
        value: String,
        /// Which values are allowed.
        reason: &'static str,
    },

    /// A name that this lock uses in Redis holds something that this crate did not write. Nothing was changed.
    #[error("{}", foreign(key, cause))]
    Foreign {
        /// The lock.
        key: Key,
        /// The error of redis-rs, with the raw text of the server.
        cause: RedisError,
    },

    /// The server of [`Locker::connect`](crate::Locker::connect) or [`Locker::check`](crate::Locker::check) cannot keep locks: the
    /// text is no URL, the server cannot be reached, refuses the login or is of the wrong kind, or the user lacks a permission.
    #[error("cannot use Redis{}: {problem}{}", at(server.as_deref()), because(cause.as_ref()))]
    Unusable {
        /// Host and port of the server, or the path of the socket; `None` if the URL does not say.
        server: Option<Arc<str>>,
        /// What is wrong, and what to do.
        problem: Cow<'static, str>,
        /// The error of redis-rs, with raw text, if it says more than the problem.
        cause: Option<RedisError>,
    },

    /// Redis could not be reached, or has refused.
    ///
    /// Whether the command was executed is not known. Nothing needs to be undone by hand: a lock that may have been taken is given
    /// back in the background, and ends with its ttl at the latest.
    #[error("{}", failed(key.as_ref(), server.as_deref(), cause))]
    Redis {
        /// The lock. `None` while connecting.
        key: Option<Key>,
        /// Host and port of the server, or the path of the socket. `None` for a connection of your own, which does not say.
        server: Option<Arc<str>>,
        /// The error of redis-rs, with the raw text of the server.
        cause: RedisError,
    },

    /// The background thread that renews and releases locks could not be started.
    #[error(
        "cannot start the background thread of redis-lock: {}; check the limits of this process for threads and open files",
        broken(.0)
    )]
    Engine(io::Error),
}

/// The message: see [`Error`].
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// The error for a failed command of a lock.
    pub(crate) fn failed(link: &Link, key: &Key, cause: RedisError) -> Self {
        let key = key.clone();
        if is_foreign(&cause) {
            Error::Foreign { key, cause }
        } else {
            Error::Redis {
                key: Some(key),
                server: link.server(),
                cause,
            }
        }
    }

    /// Whether the lock was held, or earlier waiters were in line, for too long.
    ///
    /// ```
    /// assert!(!redis_lock::Error::NotInitialized.is_contended());
    /// ```
    #[must_use]
    pub fn is_contended(&self) -> bool {
        matches!(self, Error::Contended { .. })
    }

    /// Whether a lock that was held has been lost.
    ///
    /// ```
    /// assert!(!redis_lock::Error::NotInitialized.is_lost());
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Lost { .. })
    }

    /// Whether Redis could not be reached, or refused.
    ///
    /// ```
    /// assert!(!redis_lock::Error::NotInitialized.is_redis());
    /// ```
    #[must_use]
    pub fn is_redis(&self) -> bool {
        matches!(self, Error::Redis { .. } | Error::Unusable { .. })
    }

    /// Whether the Locker has been shut down, and so takes no new locks.
    ///
    /// ```
    /// assert!(!redis_lock::Error::NotInitialized.is_shut_down());
    /// ```
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Error::ShutDown { .. })
    }

    /// The key of the lock, if the error is about a lock.
    ///
    /// ```
    /// assert!(redis_lock::Error::NotInitialized.key().is_none());
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Error::Contended { key, .. }
            | Error::Lost { key, .. }
            | Error::ShutDown { key }
            | Error::WriteInsideRead { key }
            | Error::InvalidKey { key, .. }
            | Error::InvalidOptions { key, .. }
            | Error::Foreign { key, .. } => Some(key),
            Error::Redis { key, .. } => key.as_ref(),
            Error::NotInitialized
            | Error::AlreadyInitialized
            | Error::Unusable { .. }
            | Error::Engine(_) => None,
        }
    }
}

fn because(cause: Option<&RedisError>) -> String {
    cause
        .map(|cause| format!(" ({})", Cause::of(cause)))
        .unwrap_or_default()
}
