//! A look at locks that somebody else holds for us: what the body of an annotated function is given.

use std::{fmt, future::Future, ops::Index, sync::Arc, time::Duration};

use crate::{
    engine::hold::{Hold, any_lost},
    values::{key::Key, loss::Loss, mode::Mode},
};

/// The lock that an annotated function runs under, which `guard = name` binds, or the closure of a
/// [`scope`](crate::Locker::scope).
///
/// Cheap to clone, and independent of the function: it can be given to tasks and kept. It does not keep the lock.
///
/// ```no_run
/// use redis_lock::{Error, redis_lock};
///
/// #[redis_lock(key = "order:<id>", guard = lock)]
/// async fn ship(id: u64) -> Result<u64, Error> {
///     Ok(lock.token()) // to be stored with what is written
/// }
/// ```
#[derive(Clone)]
pub struct Held(Arc<Hold>);

impl Held {
    pub(crate) fn new(hold: &Arc<Hold>) -> Self {
        Held(Arc::clone(hold))
    }

    /// As [`Guard::key`](crate::Guard::key).
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0.owner.key
    }

    /// As [`Guard::mode`](crate::Guard::mode). Inside of another hold of the lock it is that hold's.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.owner.mode
    }

    /// As [`Guard::token`](crate::Guard::token).
    #[must_use]
    pub fn token(&self) -> u64 {
        self.0.token()
    }

    /// As [`Guard::is_lost`](crate::Guard::is_lost).
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    /// As [`Guard::loss`](crate::Guard::loss).
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.0.loss()
    }

    /// As [`Guard::valid_for`](crate::Guard::valid_for); zero also when the lock has been given back.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        self.0.valid_for()
    }

    /// As [`Guard::lost`](crate::Guard::lost).
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.0.lost()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("key", self.key())
            .field("mode", &self.mode())
            .field("token", &self.token())
            .field("valid_for", &self.valid_for())
            .finish_non_exhaustive()
    }
}

/// The locks that an annotated function with several keys runs under, which `guard = name` binds then, or the closure
/// of a [`scope_all`](crate::Locker::scope_all).
///
/// Each is found by its position among the keys, as these were written, or by its key. A key that was written twice is
/// one lock, at both positions.
///
/// ```no_run
/// use redis_lock::{Error, redis_lock};
///
/// #[redis_lock(key = ["account:<from>", "account:<to>"], guard = locks)]
/// async fn transfer(from: u64, to: u64) -> Result<[u64; 2], Error> {
///     Ok([locks[0].token(), locks[1].token()])
/// }
/// ```
#[derive(Clone)]
pub struct HeldAll {
    /// At the positions of their keys.
    written: Arc<[Held]>,
    /// Where the keys, in their order and each once, are written first.
    sorted: Arc<[usize]>,
}

impl HeldAll {
    pub(crate) fn new(written: impl Iterator<Item = Held>) -> Self {
        let written: Arc<[Held]> = written.collect();
        let mut sorted: Vec<_> = (0..written.len()).collect();
        sorted.sort_by_key(|place| written[*place].key());
        sorted.dedup_by_key(|place| written[*place].key());
        HeldAll {
            sorted: sorted.into(),
            written,
        }
    }

    /// The lock with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Held> {
        self.written.iter().find(|held| *held.key() == *key)
    }

    /// All of them, each once, in the order of their keys, which is that in which they were taken.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.sorted.iter().map(|place| &self.written[*place])
    }

    /// Whether one of them has been lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.iter().any(Held::is_lost)
    }

    /// The lock that has been lost, and why, if one has; of several the first in the order of their keys.
    ///
    /// ```no_run
    /// # fn f(locks: &redis_lock::HeldAll) {
    /// if let Some((key, why)) = locks.loss() {
    ///     eprintln!("lock {key} was lost: {why}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn loss(&self) -> Option<(&Key, Loss)> {
        self.iter()
            .find_map(|held| Some((held.key(), held.loss()?)))
    }

    /// How long all of them are good without another renewal.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        let shortest = self.iter().map(Held::valid_for).min();
        shortest.unwrap_or_default()
    }

    /// Done when one of them has been lost; never, if they are given back first.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let holds: Vec<_> = self.iter().map(|held| Arc::clone(&held.0)).collect();
        any_lost(&holds)
    }
}

/// The lock whose key was written at that position, counted from 0.
///
/// # Panics
///
/// Where there are fewer keys.
impl Index<usize> for HeldAll {
    type Output = Held;

    fn index(&self, position: usize) -> &Held {
        &self.written[position]
    }
}

impl fmt::Debug for HeldAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldAll").field(&self.written).finish()
    }
}
