//! What a connection of the user's has to be, in one trait: so that the compiler can say so in one message.

use redis::aio::ConnectionLike;

/// A connection that [`Locker::new`](crate::Locker::new) takes: any of redis-rs that is async and can be cloned, such as
/// a [`ConnectionManager`](redis::aio::ConnectionManager), a
/// [`MultiplexedConnection`](redis::aio::MultiplexedConnection) or a cluster connection.
///
/// There is nothing to implement: a type has it that is [`ConnectionLike`], `Clone`, `Send`, `Sync` and `'static`.
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

// The compiler is to report this trait, not the first one of these that is missing.
#[diagnostic::do_not_recommend]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisConnection for C {}
