//! The guards of several locks.

use std::{
    future::{Future, IntoFuture},
    ops::Index,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    api::{
        error::Error,
        guard::{Guard, Unlock},
    },
    engine::hold::any_lost,
    values::{key::Key, loss::Loss},
};

/// Several locks that were taken together, by [`Locker::lock_all`](crate::Locker::lock_all), until they are
/// [given back](Guards::unlock) or dropped.
///
/// `guards[0]` is the guard for the first key that was given; [`get`](Guards::get) finds a guard by its key. A key that was given
/// twice is one lock, at both positions.
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let guards = locker.lock_all(["account:7", "account:3"]).await?;
/// assert_eq!(guards[0].key(), "account:7");
/// let tokens: Vec<u64> = guards.iter().map(|guard| guard.token()).collect();
/// guards.unlock().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the locks are released as soon as the guards are dropped; bind them to a name, not to `_`"]
pub struct Guards {
    /// In the order of keys.
    guards: Vec<Guard>,
    /// For each key that was given, the index in `guards`.
    places: Vec<usize>,
}

impl Guards {
    pub(crate) fn new(guards: Vec<Guard>) -> Self {
        let places = Vec::new();
        Guards { guards, places }
    }

    pub(crate) fn at_places(self, places: Vec<usize>) -> Self {
        Guards { places, ..self }
    }

    /// The guard of the lock with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Guard> {
        self.iter().find(|guard| *guard.key() == *key)
    }

    /// All guards, each once, in the order of keys, which is the order in which the locks were taken.
    pub fn iter(&self) -> impl Iterator<Item = &Guard> {
        self.guards.iter()
    }

    /// Whether a lock has been lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.iter().any(Guard::is_lost)
    }

    /// The first lost lock in the order of keys, and why it was lost. `None`: no lock has been lost.
    ///
    /// ```no_run
    /// # fn f(guards: &redis_lock::Guards) {
    /// if let Some((key, why)) = guards.loss() {
    ///     eprintln!("lock {key} was lost: {why}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn loss(&self) -> Option<(&Key, Loss)> {
        self.iter()
            .find_map(|guard| Some((guard.key(), guard.loss()?)))
    }

    /// Done when a lock has been lost; never, if all locks are given back first. As [`Guard::lost`] otherwise.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let holds: Vec<_> = self.iter().map(|guard| Arc::clone(guard.hold())).collect();
        any_lost(&holds)
    }

    /// Gives all locks back, at the same time. `guards.await` does the same.
    ///
    /// # Errors
    ///
    /// As [`Guard::unlock`]; of several errors the first. All locks are given back in any case.
    ///
    /// # Cancel safety
    ///
    /// As [`Guard::unlock`].
    pub fn unlock(self) -> UnlockAll {
        UnlockAll {
            unlocks: self.guards.into_iter().map(Guard::unlock).collect(),
            outcome: Ok(()),
        }
    }
}

/// The guard for the key that was given at this position, counted from 0.
///
/// # Panics
///
/// If fewer keys were given.
impl Index<usize> for Guards {
    type Output = Guard;

    fn index(&self, position: usize) -> &Guard {
        &self.guards[self.places[position]]
    }
}

impl IntoFuture for Guards {
    type Output = Result<(), Error>;
    type IntoFuture = UnlockAll;

    fn into_future(self) -> UnlockAll {
        self.unlock()
    }
}

/// The future of [`Guards::unlock`].
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let unlock: redis_lock::UnlockAll = locker.lock_all(["a", "b"]).await?.unlock();
/// unlock.await
/// # }
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled; dropping this one releases the locks in the background"]
pub struct UnlockAll {
    unlocks: Vec<Unlock>,
    outcome: Result<(), Error>,
}

impl Future for UnlockAll {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let UnlockAll { unlocks, outcome } = self.get_mut();
        unlocks.retain_mut(|unlock| match Pin::new(unlock).poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                if outcome.is_ok() {
                    *outcome = Err(error);
                }
                false
            }
        });
        if unlocks.is_empty() {
            Poll::Ready(std::mem::replace(outcome, Ok(())))
        } else {
            Poll::Pending
        }
    }
}
