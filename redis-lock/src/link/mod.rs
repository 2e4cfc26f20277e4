//! The connection to Redis, of any kind. This layer knows no locks.
//!
//! 1. A [`Link`] hides the connection's type, so that the layers above are not generic.
//! 2. Every command has a time limit, since some connections of redis-rs have none. A link that lets a limit pass is
//!    distrusted.
//! 3. A command that failed may still have been executed.

pub(crate) mod cause;
pub(crate) mod code;
pub(crate) mod ending;
pub(crate) mod front;
pub(crate) mod given;
pub(crate) mod kept;
pub(crate) mod own;
pub(crate) mod pause;

use std::{
    any::Any,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::{runtime::Handle, sync::Semaphore};
use tracing::Level;

use crate::{
    core::lock::Estimate,
    link::{ending::Ending, front::Front},
    threads::{report::report, runtime::engine},
};

/// A reply on its way. Owned, so that a second task can take over the wait.
pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = RedisResult<T>> + Send>>;

/// At most this many background releases of one connection are under way at a time. So a thousand releases do not delay a user's
/// command, and a dead server does not stop the releases for a second server.
const AT_A_TIME: usize = 100;

/// A connection, shared by a Locker and all Lockers made from it.
pub(crate) struct Link {
    connection: Box<dyn Connection>,
    pub(crate) releases: Arc<Semaphore>,
    pub(crate) ending: Arc<Ending>,
    known: Mutex<Known>,
    /// A log event has said that the waiters of this link poll.
    is_said: Mutex<bool>,
    /// The latest reading of the server's clock.
    clock: Mutex<Option<Estimate>>,
}

/// The scripts that the server knows, since calls of them have been answered.
#[derive(Default)]
struct Known {
    /// How many connections had been made at that time: a newer connection may lead to a new or restarted server.
    connections: u64,
    scripts: Vec<&'static str>,
}

impl Link {
    pub(crate) fn over(connection: impl Connection + 'static) -> Self {
        Link {
            connection: Box::new(connection),
            releases: Arc::new(Semaphore::new(AT_A_TIME)),
            ending: Arc::default(),
            known: Mutex::default(),
            is_said: Mutex::default(),
            clock: Mutex::default(),
        }
    }

    /// Host and port, or the path of the socket. `None`: the connection is the user's.
    pub(crate) fn server(&self) -> Option<Arc<str>> {
        self.connection.server()
    }

    /// Logs, once, that waiters over a user's connection without wake-ups poll.
    pub(crate) fn waits(&self) {
        if self.connection.is_ours() || !self.connection.front().channel().is_empty() {
            return;
        }
        let mut is_said = self.is_said.lock().unwrap_or_else(PoisonError::into_inner);
        if !mem::replace(&mut is_said, true) {
            report(Level::WARN, || {
                tracing::warn!(
                    "no wake-ups over a connection given to `Locker::new`: waiters of a lock poll; \
                     `Locker::connect` and `Locker::with_wakeups` have them"
                );
            });
        }
    }

    /// Whether the server knows the script with this hash, as far as this link knows.
    pub(crate) fn knows(&self, script: &'static str) -> bool {
        self.known().scripts.contains(&script)
    }

    /// A call of the script has been answered.
    pub(crate) fn learns(&self, script: &'static str) {
        let mut known = self.known();
        if !known.scripts.contains(&script) {
            known.scripts.push(script);
        }
    }

    /// The server does not know the script any more.
    pub(crate) fn forgets(&self, script: &'static str) {
        self.known().scripts.retain(|known| *known != script);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let connections = self.connection.made();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.connections != connections {
            known.connections = connections;
            known.scripts.clear();
        }
        known
    }

    /// The latest reading of the server's clock.
    pub(crate) fn clock(&self) -> Option<Estimate> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tells_time(&self, clock: Estimate) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
    }

    /// Whether replies may be awaited in any runtime.
    pub(crate) fn is_ours(&self) -> bool {
        self.connection.is_ours()
    }

    pub(crate) fn send(&self, command: Cmd) -> Reply<Value> {
        self.connection.send(command)
    }

    /// Sends a pipeline. Each command has its own answer.
    pub(crate) fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        self.connection.send_all(commands)
    }

    /// Whether a connection of ours is up in `runtime`, so that all next commands from there go over the same connection.
    pub(crate) fn is_in(&self, runtime: &Handle) -> bool {
        self.connection.is_in(runtime)
    }

    /// The front of the current runtime: wake-ups for its waiters come in there.
    pub(crate) fn front(&self) -> Arc<Front> {
        self.connection.front()
    }

    /// The value that a layer above uses in place of a connection, if so.
    pub(crate) fn above<T: Any>(&self) -> Option<&T> {
        self.connection.above()?.downcast_ref()
    }

    /// Waits for a reply, but not for longer than `limit`. `None`: no reply, and the link may be dead.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        reply: impl Future<Output = RedisResult<T>>,
    ) -> Option<RedisResult<T>> {
        let reply = match engine() {
            Ok(engine) => engine.timeout(limit, reply).await,
            Err(_) => None,
        };
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

    /// How many connections have been made so far; 0 if that is not known.
    fn made(&self) -> u64 {
        0
    }

    /// Whether replies may be awaited in any runtime.
    fn is_ours(&self) -> bool {
        false
    }

    /// The connection may be stuck. Makes a new connection if it is ours.
    fn replace(&self) {}

    /// The value that a layer above uses in place of a connection, if so.
    fn above(&self) -> Option<&dyn Any> {
        None
    }
}
