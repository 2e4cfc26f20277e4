//! One of several locks that are asked for together: key and mode.

use crate::values::{key::Key, mode::Mode};

/// One of several locks that are asked for together: a key alone, for the [`mode`](crate::Locker::mode) of the Locker, or a key
/// with a mode.
///
/// ```no_run
/// use redis_lock::Mode;
///
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let guards = locker.lock_all([("rates", Mode::R), ("account:7", Mode::W)]).await?;
/// # guards.await }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    pub(crate) key: Key,
    /// `None`: the Locker's mode.
    pub(crate) mode: Option<Mode>,
}

impl<K: Into<Key>> From<K> for LockRequest {
    fn from(key: K) -> Self {
        LockRequest {
            key: key.into(),
            mode: None,
        }
    }
}

impl<K: Into<Key>> From<(K, Mode)> for LockRequest {
    fn from((key, mode): (K, Mode)) -> Self {
        LockRequest {
            key: key.into(),
            mode: Some(mode),
        }
    }
}
