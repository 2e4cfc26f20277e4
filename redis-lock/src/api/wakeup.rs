//! Wake-ups: pushes over a user's own connection.
//!
//! A wake-up is a hint and may be lost; the guarantee is the heartbeat.

use std::sync::Arc;

use redis::{PushInfo, aio::SendError};

use crate::{
    engine::session::Session,
    link::front::{Front, Listener},
    values::session::Pushes,
};

/// Makes the listener of a front.
pub(crate) fn listener() -> Arc<dyn Listener> {
    Arc::new(Session::default())
}

/// Wake-ups for a connection of your own, so that waiters hear of their turn at once instead of asking again and again.
/// [`Locker::connect`](crate::Locker::connect) has wake-ups by itself.
///
/// The connection must speak RESP3, have this `Wakeups` as the push sender, and be subscribed to [`channel`](Wakeups::channel).
/// Any such connection of redis-rs will do: standalone, sentinel or cluster. Each connection has one `Wakeups`, for all Lockers
/// over the connection. If the subscription is lost, waiters ask again and again.
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
    /// Wake-ups with a random channel.
    ///
    /// ```
    /// use redis_lock::Wakeups;
    ///
    /// assert_ne!(Wakeups::new().channel(), Wakeups::new().channel());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        // The connection may lead to a cluster.
        Wakeups(Arc::new(Front::new(Pushes::Uncounted, listener)))
    }

    /// The channel to subscribe to. The name begins with `redis-lock:`, so an ACL can allow `&redis-lock:*`.
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

/// Takes in pushes, and ignores messages for others. If the pushes of a connection are wanted elsewhere as well, set a closure as
/// the push sender that passes each push to both.
impl redis::aio::AsyncPushSender for Wakeups {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        self.0.pushed(&push);
        Ok(())
    }
}
