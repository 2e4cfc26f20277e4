//! The guard of a lock.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    api::{
        acquire::{give_back, unlock},
        error::Error,
    },
    engine::hold::Hold,
    values::{key::Key, loss::Loss, mode::Mode},
};

/// A lock that is held, until it is [given back](Guard::unlock) or dropped.
///
/// The lease is renewed in the background as long as the guard lives (see
/// [`auto_extend`](crate::Locker::auto_extend)). The lease ends all the same if Redis is out of reach for longer than the
/// ttl, if Redis loses its data, or if this process stands still. Then the guard is *lost*: see
/// [`lost`](Guard::lost), and [`token`](Guard::token) for keeping a late write out of your data.
///
/// # Dropping
///
/// Dropping the guard releases the lock in the background. The drop neither blocks nor panics, also in a panic, outside of a
/// runtime, and after the runtime has ended. With [`Locker::connect`](crate::Locker::connect), in a runtime that uses the
/// Locker and is connected, the release is sent right away, so that a new request of the same task finds the lock free. Errors
/// go to [`tracing`]. A process that ends right after the drop may be quicker than the release; the lock then ends with its ttl.
/// So prefer [`unlock`](Guard::unlock) at the end of a program.
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let guard = locker.write("order:42").await?;
/// // ... the order is ours ...
/// guard.unlock().await?; // or: guard.await?
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released as soon as the guard is dropped; bind it to a name, not to `_`"]
pub struct Guard {
    /// `None` once `unlock` has taken the hold.
    hold: Option<Arc<Hold>>,
}

impl Guard {
    pub(crate) fn new(hold: Arc<Hold>) -> Self {
        Guard { hold: Some(hold) }
    }

    /// The lock's key.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// assert_eq!(guard.key(), "order:42");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.hold().owner.key
    }

    /// How the lock is held.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.read("order:42").await?;
    /// assert_eq!(guard.mode(), redis_lock::Mode::Read);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.hold().owner.mode
    }

    /// The fencing token: greater than all tokens of earlier grants of this key, to readers and writers alike.
    ///
    /// Store the token with each write, and refuse writes with a smaller token than the stored token. Then a holder that was
    /// paused until its lease had ended, and does not know yet, cannot overwrite the data of its successor.
    ///
    /// A token belongs to a hold, not to a write: all writes of one hold carry the same token, so the comparison is
    /// `<=`. A function under the attribute that runs within an outer hold has the token of that hold. Readers that hold
    /// a lock at the same time have different tokens, so let only writers write.
    ///
    /// A token is below 2<sup>53</sup>, and so fits a `BIGINT`, a double and JSON.
    ///
    /// ```no_run
    /// # async fn execute(sql: &str, params: &[&u64]) -> u64 { 1 }
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.write("order:42").await?;
    /// let token = guard.token();
    /// for sql in [
    ///     "UPDATE orders SET state = 'packed', token = $1 WHERE id = 42 AND token <= $1",
    ///     "UPDATE orders SET state = 'shipped', token = $1 WHERE id = 42 AND token <= $1",
    /// ] {
    ///     let rows = execute(sql, &[&token]).await;
    ///     assert_eq!(rows, 1, "a later holder has written: this hold was lost");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.hold().token()
    }

    /// Whether the lock has been lost, as far as this process can know now. Once true, it stays true.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// assert!(!guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.hold().is_lost()
    }

    /// Why the lock has been lost, or `None` if it has not.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// if let Some(why) = guard.loss() {
    ///     eprintln!("stop: {why}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.hold().loss()
    }

    /// How long the lease is good without a further renewal: counted from before the command was sent, on a monotonic clock, less
    /// a margin. Zero when lost. Time that the whole machine sleeps is not counted.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// if guard.valid_for() < Duration::from_secs(1) {
    ///     // not enough for what comes next
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        self.hold().valid_for()
    }

    /// Done when the lock has been lost; never, if the lock is given back first.
    ///
    /// The future fires at the [deadline](Guard::valid_for) at the latest, also while a renewal hangs, and at once when Redis
    /// says that the lease is gone. The future is independent of the guard and of the guard's lifetime.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a later call gives a new future.
    ///
    /// ```no_run
    /// # async fn work() {}
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// tokio::select! {
    ///     () = work() => guard.unlock().await,
    ///     () = guard.lost() => guard.unlock().await, // `Error::Lost`, which says why
    /// }
    /// # }
    /// ```
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.hold().lost()
    }

    /// Gives the lock back and waits for Redis to confirm it. `guard.await` does the same.
    ///
    /// If Redis has granted the lock to several tasks of this process together, the lock is passed to the next of these tasks at
    /// once, without Redis.
    ///
    /// The call waits for Redis for one [`command_timeout`](crate::Locker::command_timeout) at most; the release then goes on in
    /// the background, until Redis has confirmed it or the ttl is over.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the lock was lost before: the lock of a later holder was not touched.
    /// [`Error::Redis`] if Redis does not answer or refuses.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, also before its first poll, the lock is released in the background.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// guard.unlock().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unlock(self) -> Unlock {
        Unlock(Box::pin(async move {
            let mut guard = self;
            match guard.hold.take() {
                Some(hold) => unlock(hold).await,
                None => Ok(()),
            }
        }))
    }

    pub(crate) fn hold(&self) -> &Arc<Hold> {
        // Only `unlock` and `drop` take the hold, and both consume the guard.
        self.hold.as_ref().expect("a guard in use has its hold")
    }
}

impl IntoFuture for Guard {
    type Output = Result<(), Error>;
    type IntoFuture = Unlock;

    fn into_future(self) -> Unlock {
        self.unlock()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            give_back(&hold);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("key", self.key())
            .field("mode", &self.mode())
            .field("token", &self.token())
            .field("valid_for", &self.valid_for())
            .finish_non_exhaustive()
    }
}

/// The future of [`Guard::unlock`].
///
/// ```no_run
/// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// let unlock: redis_lock::Unlock = locker.lock("order:42").await?.unlock();
/// unlock.await
/// # }
/// ```
#[must_use = "futures do nothing unless polled; dropping this one releases the lock in the background"]
pub struct Unlock(Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>);

impl Future for Unlock {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlock").finish_non_exhaustive()
    }
}
