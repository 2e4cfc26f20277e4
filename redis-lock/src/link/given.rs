//! A connection of the user. One trait has all bounds on its type, so that the compiler needs one message.

use std::sync::Arc;

use redis::{Cmd, Pipeline, RedisResult, Value, aio::ConnectionLike};
use tokio::runtime::Handle;

use crate::link::{Connection, Reply, front::Front};

/// A connection for [`Locker::new`](crate::Locker::new): any connection of redis-rs that is async and can be cloned, such as
/// a [`ConnectionManager`](redis::aio::ConnectionManager), a
/// [`MultiplexedConnection`](redis::aio::MultiplexedConnection) or a cluster connection.
///
/// There is nothing to implement: every type has this trait that is [`ConnectionLike`], `Clone`, `Send`, `Sync` and `'static`.
///
/// ```
/// use redis_lock::{Locker, RedisConnection};
///
/// fn locker_of_shop(connection: impl RedisConnection) -> Locker {
///     Locker::new(connection).namespace("shop")
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a `Locker` cannot use `{Self}` as its connection to Redis",
    label = "not `redis::aio::ConnectionLike + Clone + Send + Sync + 'static`",
    note = "all tasks that use a `Locker` share one connection, such as a `ConnectionManager`, a `MultiplexedConnection` or a `ClusterConnection` of redis-rs",
    note = "a pool is not needed and cannot be used: write `Locker::connect(\"redis://host:port\").await?`, or `Locker::new(client.get_connection_manager().await?)` with the `redis::Client` that the pool was made of",
    note = "a connection of another version of redis-rs is of another type: the version is that of `redis_lock::redis`"
)]
pub trait RedisConnection: ConnectionLike + Clone + Send + Sync + 'static {}

// The compiler is to report this trait, not a missing bound.
#[diagnostic::do_not_recommend]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisConnection for C {}

/// A connection that the user made and looks after.
pub(crate) struct Given<C> {
    pub(crate) connection: C,
    /// The front for wake-ups that come in on the connection.
    pub(crate) front: Arc<Front>,
}

impl<C: RedisConnection> Connection for Given<C> {
    fn server(&self) -> Option<Arc<str>> {
        None
    }

    fn send(&self, command: Cmd) -> Reply<Value> {
        let mut connection = self.connection.clone();
        Box::pin(async move { command.query_async(&mut connection).await })
    }

    fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        let mut connection = self.connection.clone();
        Box::pin(async move { commands.query_async(&mut connection).await })
    }

    fn is_in(&self, _: &Handle) -> bool {
        // The user's connection may need timers, have to reconnect, or hold a mutex just now.
        false
    }

    fn front(&self) -> Arc<Front> {
        Arc::clone(&self.front)
    }
}
