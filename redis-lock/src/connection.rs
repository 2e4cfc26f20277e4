//! The connection to Redis, whatever kind it is. The only file that matches on what redis-rs returns.
//!
//! 1. A [`Link`] hides the connection's type, so that nothing above is generic over it.
//! 2. Every command has a time limit of ours: some connections of redis-rs have none.
//! 3. A command that failed here may still have been executed.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, RedisError, RedisResult, RetryMethod, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::Semaphore;

/// A reply on its way. Owned, so that it can be handed on to be awaited by somebody else.
pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = RedisResult<T>> + Send>>;

/// At most this many renewals of one connection are under way at a time, so that ten thousand leases do
/// not get in front of a user's command all at once, and a dead server does not stop another's renewals.
const RENEWALS_AT_A_TIME: usize = 100;

/// One connection, shared by all Lockers that were made from one another.
pub(crate) struct Link {
    connection: Box<dyn Connection>,
    pub(crate) renewals: Semaphore,
}

impl Link {
    pub(crate) fn new(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> Self {
        Self::over(Given(connection))
    }

    /// Connects. Must run where the connection's tasks may stay: they end with their runtime.
    pub(crate) async fn open(url: &str) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await?;
        Ok(Self::over(Opened {
            client,
            current: Arc::new(Mutex::new((0, manager))),
            runtime: tokio::runtime::Handle::current(),
        }))
    }

    fn over(connection: impl Connection + 'static) -> Self {
        Link {
            connection: Box::new(connection),
            renewals: Semaphore::new(RENEWALS_AT_A_TIME),
        }
    }

    pub(crate) fn send(&self, command: Cmd) -> Reply<Value> {
        self.connection.send(command)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Gives a command at most `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    reply: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let reply = tokio::time::timeout(limit, reply).await;
    reply.unwrap_or_else(|_| Err(no_reply()))
}

pub(crate) fn no_reply() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no reply in time").into()
}

/// Whether the same command may succeed in a moment: the link broke, the server starts or fails over.
pub(crate) fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::Parse => false,
        _ if error.code() == Some("BUSY") => true,
        _ => error.is_io_error() || !matches!(error.retry_method(), RetryMethod::NoRetry),
    }
}

/// Whether the server does not know the script (any more).
pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

trait Connection: Send + Sync {
    fn send(&self, command: Cmd) -> Reply<Value>;
}

/// A connection that the user made and looks after.
struct Given<C>(C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connection for Given<C> {
    fn send(&self, command: Cmd) -> Reply<Value> {
        let mut connection = self.0.clone();
        Box::pin(async move { command.query_async(&mut connection).await })
    }
}

/// A connection of our own. A `ConnectionManager` reconnects when the link breaks, but keeps a link that
/// hangs or that leads to a server which has become a replica; such a manager is replaced.
struct Opened {
    client: Client,
    /// With its number, so that of many commands that fail at once one replaces it.
    current: Arc<Mutex<(u64, ConnectionManager)>>,
    /// Where the tasks of new connections run.
    runtime: tokio::runtime::Handle,
}

impl Connection for Opened {
    fn send(&self, command: Cmd) -> Reply<Value> {
        let current = Arc::clone(&self.current);
        let client = self.client.clone();
        let runtime = self.runtime.clone();
        let (number, mut manager) = lock(&current).clone();
        Box::pin(async move {
            let reply = command.query_async(&mut manager).await;
            if let Err(error) = &reply
                && is_stuck(error)
            {
                let mut current = lock(&current);
                if current.0 == number {
                    let _runtime = runtime.enter();
                    if let Ok(fresh) = ConnectionManager::new_lazy_with_config(client, config()) {
                        *current = (number + 1, fresh);
                    }
                }
            }
            reply
        })
    }
}

fn config() -> ConnectionManagerConfig {
    // Retries are ours: they know when it is too late. The manager's own would hide a dead server.
    ConnectionManagerConfig::new().set_number_of_retries(1)
}

fn is_stuck(error: &RedisError) -> bool {
    error.is_timeout() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
