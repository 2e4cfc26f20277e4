//! A view of locks that the caller holds: for the body of an annotated function, or for a closure.

use std::{fmt, future::Future, ops::Index, sync::Arc, time::Duration};

use crate::{
    engine::hold::{Hold, any_lost},
    values::{key::Key, loss::Loss, mode::Mode},
};

/// The lock that an annotated function runs under, which `guard = name` binds, or the closure of a
/// [`scope`](crate::Locker::scope).
///
/// Cheap to clone, and independent of the function: a `Held` can be given to tasks and kept. A `Held` does not keep the lock.
///
/// ```no_run
/// use redis_lock::{Error, redis_lock};
///
/// #[redis_lock(key = "order:<id>", guard = lock)]
/// async fn ship(id: u64) -> Result<u64, Error> {
///     Ok(lock.token()) // to be stored with the order
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

    /// As [`Guard::mode`](crate::Guard::mode). Inside of an outer hold of the lock, the outer hold's mode.
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
/// `locks[0]` is the lock of the first key that is written; [`get`](HeldAll::get) finds a lock by its key. A key that is written
/// twice is one lock, at both positions.
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
    /// In the order in which the keys are written.
    written: Arc<[Held]>,
    /// Indices in `written`: each key once, in the order of keys.
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

    /// All locks, each once, in the order of keys, which is the order in which the locks were taken.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.sorted.iter().map(|place| &self.written[*place])
    }

    /// Whether a lock has been lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.iter().any(Held::is_lost)
    }

    /// The first lost lock in the order of keys, and why it was lost. `None`: no lock has been lost.
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

    /// How long all locks are good without a further renewal.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        let shortest = self.iter().map(Held::valid_for).min();
        shortest.unwrap_or_default()
    }

    /// Done when a lock has been lost; never, if all locks are given back first.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let holds: Vec<_> = self.iter().map(|held| Arc::clone(&held.0)).collect();
        any_lost(&holds)
    }
}

/// The lock of the key that is written at this position, counted from 0.
///
/// # Panics
///
/// If there are fewer keys.
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
