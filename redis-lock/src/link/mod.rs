//! The connection to Redis, whatever kind it is. It knows no locks.
//!
//! 1. A [`Link`] hides the connection's type, so that nothing above is generic over it.
//! 2. Every command has a time limit of ours: some connections of redis-rs have none. A link that lets one
//!    pass is distrusted.
//! 3. A command that failed here may still have been executed.

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

/// A reply on its way. Owned, so that it can be handed on to be awaited by somebody else.
pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = RedisResult<T>> + Send>>;

/// At most this many releases in the background of one connection are under way at a time, so that a thousand of them
/// do not get in front of a user's command all at once, and a dead server does not stop another's.
const AT_A_TIME: usize = 100;

/// One connection, shared by all Lockers that were made from one another.
pub(crate) struct Link {
    connection: Box<dyn Connection>,
    pub(crate) releases: Arc<Semaphore>,
    pub(crate) ending: Arc<Ending>,
    known: Mutex<Known>,
    /// It has been said that its waiters poll.
    is_said: Mutex<bool>,
    /// What is known of the server's clock.
    clock: Mutex<Option<Estimate>>,
}

/// The scripts that the server knows, by their hashes, since calls of them have been answered.
#[derive(Default)]
struct Known {
    /// How often connections had been made then: another one may lead to another server, or to one that was restarted.
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

    /// Host and port, or the path of the socket; what can be said of a connection of the user's is nothing.
    pub(crate) fn server(&self) -> Option<Arc<str>> {
        self.connection.server()
    }

    /// Says, once, that the waiters over a user's connection without wake-ups poll.
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

    /// Whether the server knows the script with this hash, as far as can be told from here.
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

    /// What is known of the server's clock.
    pub(crate) fn clock(&self) -> Option<Estimate> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tells_time(&self, clock: Estimate) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
    }

    /// Whether its replies may be awaited anywhere.
    pub(crate) fn is_ours(&self) -> bool {
        self.connection.is_ours()
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

    /// What a layer above has put here in place of a connection.
    pub(crate) fn above<T: Any>(&self) -> Option<&T> {
        self.connection.above()?.downcast_ref()
    }

    /// Waits for a reply, but not for longer than `limit`. `None`: the link may be dead.
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

    /// How often it has connected so far, if it is known.
    fn made(&self) -> u64 {
        0
    }

    /// Whether its replies may be awaited anywhere.
    fn is_ours(&self) -> bool {
        false
    }

    /// It may be stuck. Whoever made it may make a new one.
    fn replace(&self) {}

    /// What a layer above has put here in place of a connection.
    fn above(&self) -> Option<&dyn Any> {
        None
    }
}
