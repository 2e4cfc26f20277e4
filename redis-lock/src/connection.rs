//! The connection to Redis, whatever kind it is. The only file that matches on what redis-rs returns.
//!
//! 1. A [`Link`] hides the connection's type, so that nothing above is generic over it.
//! 2. Every command has a time limit of ours: some connections of redis-rs have none. A link that lets one
//!    pass is distrusted.
//! 3. A command that failed here may still have been executed.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, ErrorKind, RedisError, RedisResult, RetryMethod, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};
use tokio::{runtime::Handle, sync::Semaphore};

/// A reply on its way. Owned, so that it can be handed on to be awaited by somebody else.
pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = RedisResult<T>> + Send>>;

/// At most this many renewals of one connection are under way at a time, so that ten thousand leases do
/// not get in front of a user's command all at once, and a dead server does not stop another's renewals.
const AT_A_TIME: usize = 100;

/// One connection, shared by all Lockers that were made from one another.
pub(crate) struct Link {
    connection: Box<dyn Connection>,
    pub(crate) renewals: Semaphore,
    /// For releases in the background, for the same reasons.
    pub(crate) releases: Semaphore,
}

impl Link {
    pub(crate) fn new(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> Self {
        Self::over(Given(connection))
    }

    /// Connects. Must run where the connection's tasks may stay: they end with their runtime.
    pub(crate) async fn open(client: Client) -> RedisResult<Self> {
        Ok(Self::over(Opened::new(client).await?))
    }

    fn over(connection: impl Connection + 'static) -> Self {
        Link {
            connection: Box::new(connection),
            renewals: Semaphore::new(AT_A_TIME),
            releases: Semaphore::new(AT_A_TIME),
        }
    }

    pub(crate) fn send(&self, command: Cmd) -> Reply<Value> {
        self.connection.send(command)
    }

    /// Waits for a reply, but not for longer than `limit`. `None`: the link may be dead.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        reply: impl Future<Output = RedisResult<T>>,
    ) -> Option<RedisResult<T>> {
        let reply = tokio::time::timeout(limit, reply).await.ok();
        if reply.is_none() {
            self.connection.replace();
        }
        reply
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// The error for a command that was not answered in time.
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

/// Whether the command certainly did nothing: it never left this process, or the server said no. (The
/// scripts are refused as a whole, before they have written anything.)
pub(crate) fn did_nothing(error: &RedisError) -> bool {
    error.is_connection_refusal() || error.code().is_some()
}

/// Whether somebody else's value is at one of the lock's names. Our scripts say `FOREIGN`; Redis says
/// `WRONGTYPE`, before version 7 inside of a longer text.
pub(crate) fn is_foreign(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    matches!(error.code(), Some("WRONGTYPE" | "FOREIGN")) || detail.contains("WRONGTYPE")
}

/// Whether the server does not know the script (any more).
pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

trait Connection: Send + Sync {
    fn send(&self, command: Cmd) -> Reply<Value>;

    /// It may be stuck. Whoever made it may make a new one.
    fn replace(&self) {}
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
#[derive(Clone)]
struct Opened {
    client: Client,
    /// With the time when it was made.
    current: Arc<Mutex<(Instant, ConnectionManager)>>,
    /// Where the tasks of a new connection run.
    runtime: Handle,
}

impl Opened {
    async fn new(client: Client) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client.clone(), Self::config()).await?;
        Ok(Opened {
            client,
            current: Arc::new(Mutex::new((Instant::now(), manager))),
            runtime: Handle::current(),
        })
    }

    fn config() -> ConnectionManagerConfig {
        // Retries and time limits are ours: they know when it is too late.
        ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_response_timeout(None)
    }

    /// Polls a command as if in our runtime, wherever it is awaited: with the first command after a break,
    /// redis-rs spawns the task that drives the new connection, and in a user's runtime that task would
    /// stand still, or end, with it.
    fn here(
        &self,
        command: impl Future<Output = RedisResult<Value>> + Send + 'static,
    ) -> Reply<Value> {
        let runtime = self.runtime.clone();
        let mut command = Box::pin(command);
        Box::pin(poll_fn(move |context| {
            let _runtime = runtime.enter();
            command.as_mut().poll(context)
        }))
    }

    fn current(&self) -> MutexGuard<'_, (Instant, ConnectionManager)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection for Opened {
    fn send(&self, command: Cmd) -> Reply<Value> {
        let opened = self.clone();
        let mut manager = self.current().1.clone();
        self.here(async move {
            let reply = command.query_async(&mut manager).await;
            if let Err(error) = &reply
                && error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            {
                opened.replace();
            }
            reply
        })
    }

    fn replace(&self) {
        /// Many commands fail at once, and a new connection needs a moment to show what it is worth.
        const TRIAL: Duration = Duration::from_secs(1);

        let mut current = self.current();
        if current.0.elapsed() < TRIAL {
            return;
        }
        let _runtime = self.runtime.enter();
        if let Ok(manager) =
            ConnectionManager::new_lazy_with_config(self.client.clone(), Self::config())
        {
            *current = (Instant::now(), manager);
        }
    }
}
