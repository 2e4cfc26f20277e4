//! Wake-ups: how a user's own connection can have pushes.
//!
//! A wake-up is a hint and may be lost; the guarantee is the heartbeat.

use std::sync::Arc;

use redis::{PushInfo, aio::SendError};

use crate::{
    engine::session::Session,
    link::front::{Front, Listener},
    values::session::Pushes,
};

/// What takes in the pushes of a front.
pub(crate) fn listener() -> Arc<dyn Listener> {
    Arc::new(Session::default())
}

/// Wake-ups for a connection of your own, so that whoever waits for a lock over it hears of its turn at once instead of
/// asking again and again. [`Locker::connect`](crate::Locker::connect) has them by itself.
///
/// The connection must speak RESP3, have this as its push sender, and be subscribed to
/// [`channel`](Wakeups::channel): any of redis-rs that can, standalone, sentinel or cluster. One connection, one
/// `Wakeups`; all Lockers over it are given the same. If the subscription is lost, waiting goes on by asking.
///
/// ```no_run
/// use redis_lock::{Locker, Wakeups, redis};
/// use redis::aio::{ConnectionManager, ConnectionManagerConfig};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let wakeups = Wakeups::new();
/// let config = ConnectionManagerConfig::new()
///     .set_push_sender(wakeups.clone())
///     .set_automatic_resubscription();
/// let client = redis::Client::open("redis://127.0.0.1:6379/?protocol=resp3")?;
/// let mut connection = ConnectionManager::new_with_config(client, config).await?;
/// connection.subscribe(wakeups.channel()).await?;
///
/// let locker = Locker::with_wakeups(connection, &wakeups);
/// let guard = locker.lock("order:42").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Wakeups(pub(crate) Arc<Front>);

impl Wakeups {
    /// With a channel that nobody else has.
    ///
    /// ```
    /// use redis_lock::Wakeups;
    ///
    /// assert_ne!(Wakeups::new().channel(), Wakeups::new().channel());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        // It may be that of a cluster.
        Wakeups(Arc::new(Front::new(Pushes::Uncounted, listener)))
    }

    /// The channel to subscribe to. It begins with `redis-lock:`, so an ACL can allow `&redis-lock:*`.
    ///
    /// ```
    /// assert!(redis_lock::Wakeups::new().channel().starts_with("redis-lock:"));
    /// ```
    #[must_use]
    pub fn channel(&self) -> &str {
        self.0.channel()
    }
}

impl Default for Wakeups {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes pushes in; other messages than our own are left alone. For a connection whose pushes are wanted elsewhere as
/// well, give it a closure that passes them to both.
impl redis::aio::AsyncPushSender for Wakeups {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        self.0.pushed(&push);
        Ok(())
    }
}
