//! The connection to Redis, whatever kind it is. With `opened.rs` the only file that matches on what redis-rs returns.
//!
//! 1. A [`Link`] hides the connection's type, so that nothing above is generic over it.
//! 2. Every command has a time limit of ours: some connections of redis-rs have none. A link that lets one
//!    pass is distrusted.
//! 3. A command that failed here may still have been executed.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::Poll,
    time::Duration,
};

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisResult, RetryMethod, ServerErrorKind, Value,
    aio::ConnectionLike,
};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::front::Front;

/// A reply on its way. Owned, so that it can be handed on to be awaited by somebody else.
pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = RedisResult<T>> + Send>>;

/// At most this many releases in the background of one connection are under way at a time, so that a thousand of them
/// do not get in front of a user's command all at once, and a dead server does not stop another's.
const AT_A_TIME: usize = 100;

/// One connection, shared by all Lockers that were made from one another.
pub(crate) struct Link {
    connection: Box<dyn Connection>,
    pub(crate) releases: Arc<Semaphore>,
    /// A release has been answered, so the server knows the script, if it has not been replaced since.
    pub(crate) has_released: AtomicBool,
}

impl Link {
    /// Over a connection of the user's, with the wake-ups that come in on it.
    pub(crate) fn new(
        connection: impl ConnectionLike + Clone + Send + Sync + 'static,
        front: Arc<Front>,
    ) -> Self {
        Self::over(Given { connection, front })
    }

    pub(crate) fn over(connection: impl Connection + 'static) -> Self {
        Link {
            connection: Box::new(connection),
            releases: Arc::new(Semaphore::new(AT_A_TIME)),
            has_released: AtomicBool::new(false),
        }
    }

    /// Host and port, or the path of the socket; what can be said of a connection of the user's is nothing.
    pub(crate) fn server(&self) -> Option<Arc<str>> {
        self.connection.server()
    }

    pub(crate) fn send(&self, command: Cmd) -> Reply<Value> {
        self.connection.send(command)
    }

    /// One after the other, in one go; an answer for each.
    pub(crate) fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        self.connection.send_all(commands)
    }

    /// Whether a connection of ours is up in that runtime, which the next commands from there will take as well.
    pub(crate) fn is_in(&self, runtime: &Handle) -> bool {
        self.connection.is_in(runtime)
    }

    /// Where those hear of their turn who wait here.
    pub(crate) fn front(&self) -> Arc<Front> {
        self.connection.front()
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

pub(crate) trait Connection: Send + Sync {
    fn server(&self) -> Option<Arc<str>>;

    fn send(&self, command: Cmd) -> Reply<Value>;

    fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>>;

    fn is_in(&self, runtime: &Handle) -> bool;

    fn front(&self) -> Arc<Front>;

    /// It may be stuck. Whoever made it may make a new one.
    fn replace(&self) {}
}

/// A connection that the user made and looks after.
struct Given<C> {
    connection: C,
    front: Arc<Front>,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connection for Given<C> {
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
        // What is the user's may need timers, have to reconnect, or hold a mutex just now.
        false
    }

    fn front(&self) -> Arc<Front> {
        Arc::clone(&self.front)
    }
}

/// Of a reply that is waited for elsewhere than where its command was sent: a connection of the user's may have set a
/// timer there, and to poll one whose runtime has ended is a panic.
pub(crate) fn handed_on<T: 'static>(mut reply: Reply<T>) -> Reply<T> {
    Box::pin(poll_fn(move |context| {
        let poll = catch_unwind(AssertUnwindSafe(|| reply.as_mut().poll(context)));
        poll.unwrap_or_else(|_| Poll::Ready(Err(no_reply())))
    }))
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

/// Whether commands that were to go out together concern different slots of a cluster. Nothing was sent.
pub(crate) fn is_cross_slot(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot)
}
