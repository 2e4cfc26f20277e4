//! Locks without a server, for tests, for a quick start, and for a service of one instance.

use std::sync::Arc;

use redis::RedisError;

use crate::{
    api::{locker::Locker, wakeup::listener},
    core::io::Input,
    engine::session::Session,
    link::Link,
    store::local::{Local, Shared},
    values::{key::Key, loss::Loss},
};

/// A store of locks in this process, in place of a Redis server: each [`locker`](InProcess::locker) is like a further instance of
/// a service. A test can make a lock [lost](InProcess::lose), or make the store [fail](InProcess::fail) like a server that is out
/// of reach.
///
/// Everything is as with Redis: guards, errors, order, tokens, ttl, `min_hold`, several keys, annotated functions. But the locks
/// end with the process, and exclude no other process.
///
/// In a runtime whose clock is [paused](https://docs.rs/tokio/latest/tokio/time/fn.pause.html) when the store is first used
/// there, all goes by that clock, so that a test of an hour takes no time. A clock that is paused later changes nothing. Each
/// such test needs a store of its own: the clocks of two runtimes show different times.
///
/// ```
/// use std::time::Duration;
/// use redis_lock::InProcess;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), redis_lock::Error> {
/// let store = InProcess::new();
/// let (ours, theirs) = (store.locker(), store.locker());
///
/// let guard = ours.write("order:42").await?;
/// assert!(theirs.try_write("order:42").await?.is_none(), "another instance has it");
///
/// store.lose("order:42"); // as when Redis has lost its memory
/// guard.lost().await;
/// assert!(theirs.try_write("order:42").await?.is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct InProcess(Arc<Shared>);

impl InProcess {
    /// A store without any lock.
    ///
    /// ```
    /// let store = redis_lock::InProcess::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A further Locker of this store, like a further instance of a service: with its own places in queues.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), redis_lock::Error> {
    /// let store = redis_lock::InProcess::new();
    /// let reader = store.locker().read("report").await?;
    /// let other = store.locker().read("report").await?;
    /// # reader.await?;
    /// # other.await }
    /// ```
    #[must_use]
    pub fn locker(&self) -> Locker {
        Locker::over(Link::over(Local::new(&self.0, listener)))
    }

    /// Takes a lock from its holders, in every namespace, like a server that has lost its memory. When the call
    /// returns the holders have been told; another thread may take the lock an instant before. They are told with
    /// [`Loss::Forgotten`]; waiters queue again within a second.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), redis_lock::Error> {
    /// let store = redis_lock::InProcess::new();
    /// let guard = store.locker().write("order:42").await?;
    /// store.lose("order:42");
    /// assert!(guard.is_lost());
    /// # Ok(()) }
    /// ```
    pub fn lose(&self, key: impl Into<Key>) {
        for names in self.0.forget(&key.into()) {
            for front in self.0.fronts() {
                let Some(entry) = Session::of(&front).known(names.word()) else {
                    continue;
                };
                for hold in entry.holds() {
                    if let Some((_, waiter)) = hold.place() {
                        let (waiter, why) = (*waiter, Loss::Forgotten);
                        entry.tell(Input::Interrupted { waiter, why });
                    }
                }
            }
        }
    }

    /// From now on all commands fail with this error, as if the server was out of reach, or full, or a replica.
    ///
    /// ```
    /// use std::{io, time::Duration};
    /// use redis_lock::{Error, InProcess};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), redis_lock::Error> {
    /// let store = InProcess::new();
    /// let locker = store.locker();
    /// store.fail(io::Error::from(io::ErrorKind::ConnectionRefused));
    /// assert!(matches!(locker.write("order:42").await, Err(Error::Redis { .. })));
    ///
    /// store.recover();
    /// locker.write("order:42").await?.await
    /// # }
    /// ```
    pub fn fail(&self, error: impl Into<RedisError>) {
        self.0.fail(Some(error.into()));
    }

    /// Commands succeed again. Locks whose leases have not ended meanwhile are still held.
    ///
    /// ```
    /// let store = redis_lock::InProcess::new();
    /// store.recover(); // nothing was wrong
    /// ```
    pub fn recover(&self) {
        self.0.fail(None);
    }
}
