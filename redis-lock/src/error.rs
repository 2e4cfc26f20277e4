//! What can go wrong, said so that the reader knows to which lock it happened and what to do.

use std::{io, time::Duration};

use crate::{key::Key, mode::Mode};

/// An error of this crate.
///
/// Match on the variants that you can do something about, and use the predicates for the rest: more
/// variants may come.
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// match locker.lock("nightly-report").await {
///     Ok(guard) => guard.unlock().await,
///     Err(error) if error.is_contended() => Ok(()), // another instance is at it
///     Err(error) => Err(error),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Others held the lock, or stood in line before us, for the whole time that we were ready to wait.
    #[error(
        "lock `{key}`: no {mode} lock within {waited:?}: others hold it or wait for it; try again later, or raise `wait`"
    )]
    Contended {
        /// The lock.
        key: Key,
        /// The mode that was asked for.
        mode: Mode,
        /// How long we waited.
        waited: Duration,
    },

    /// The lock was held and is no longer: its lease ended before it could be renewed, or Redis says that it is gone.
    ///
    /// Whatever ran under it may have run beside another holder from then on. A
    /// [fencing token](crate::Guard::token) keeps such work out of your data.
    #[error(
        "lock `{key}`: lost: its lease ended or was taken away while it was held; what ran under it may have overlapped with another holder"
    )]
    Lost {
        /// The lock.
        key: Key,
    },

    /// A function under a write lock was called inside one under a read lock of the same key, in one task: it would
    /// wait for its own caller. Take the write lock outside.
    #[error(
        "lock `{key}`: write inside of read: the same task reads under this lock, and would wait for itself; take the write lock outside"
    )]
    WriteInsideRead {
        /// The lock.
        key: Key,
    },

    /// There is no Locker for the attribute or for [`locker()`](crate::locker()) to use.
    #[error(
        "no locker: call `redis_lock::init(..)` once at start-up, or run inside `redis_lock::with_locker(..)`"
    )]
    NotInitialized,

    /// [`init`](crate::init) was called a second time.
    #[error(
        "`redis_lock::init` was called twice: a process has one default locker; use `redis_lock::with_locker` to override it for a task"
    )]
    AlreadyInitialized,

    /// The key cannot name a lock.
    #[error("invalid key `{key}`: {reason}")]
    InvalidKey {
        /// The key, or its beginning if it is long.
        key: Key,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// An option of the [`Locker`](crate::Locker) makes no sense.
    #[error("invalid option {option} = {value} for lock `{key}`: {reason}")]
    InvalidOptions {
        /// The lock that was asked for.
        key: Key,
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        reason: &'static str,
    },

    /// A name that this lock uses in Redis holds something that this crate did not write. Nothing was changed.
    #[error(
        "lock `{key}`: one of its names in Redis holds a value that is not a lock's; remove that value, or choose another `namespace`"
    )]
    Foreign {
        /// The lock.
        key: Key,
        /// What Redis said.
        source: redis::RedisError,
    },

    /// Redis could not be reached, or refused.
    ///
    /// Whether the command was executed is not known. Nothing needs to be undone by hand: what may have
    /// been taken is given back in the background, and ends with its ttl at the latest.
    #[error("redis failed{}", for_lock(key.as_ref()))]
    Redis {
        /// The lock, if it was about one (not while connecting).
        key: Option<Key>,
        /// The cause.
        source: redis::RedisError,
    },

    /// The background thread that renews and releases locks could not be started.
    #[error("cannot start the background thread of redis-lock")]
    Engine(#[source] io::Error),
}

impl Error {
    /// Whether the lock could not be had in time because of others.
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
        matches!(self, Error::Redis { .. })
    }

    /// The key of the lock that it happened to, if it is about one.
    ///
    /// ```
    /// assert!(redis_lock::Error::NotInitialized.key().is_none());
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Error::Contended { key, .. }
            | Error::Lost { key }
            | Error::WriteInsideRead { key }
            | Error::InvalidKey { key, .. }
            | Error::InvalidOptions { key, .. }
            | Error::Foreign { key, .. } => Some(key),
            Error::Redis { key, .. } => key.as_ref(),
            Error::NotInitialized | Error::AlreadyInitialized | Error::Engine(_) => None,
        }
    }
}

fn for_lock(key: Option<&Key>) -> String {
    key.map(|key| format!(" for lock `{key}`"))
        .unwrap_or_default()
}
