//! Connections of our own, as `Locker::connect` makes them: one for the engine, and one for each runtime that uses the
//! Locker, on which its wake-ups come in as well.
//!
//! 1. A connection's tasks live in the runtime that uses it, so no command changes threads; it ends with its runtime, and
//!    the next one has another.
//! 2. The engine's connection stays: what must go on without a user's runtime goes over it.
//! 3. A `ConnectionManager` reconnects when the link breaks, but keeps a link that hangs or that leads to a server which
//!    has become a replica; such a manager is replaced.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisResult,
    ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

use crate::{
    connection::{Connection, Reply, is_transient},
    front::{Front, OnPush},
};

/// How long to wait before asking again for a subscription that was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// The same for one that failed because the link is broken.
const BROKEN_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct Opened(Arc<Shared>);

struct Shared {
    client: Client,
    /// Whether the server speaks RESP3, in which it can push.
    pushes: bool,
    on_push: OnPush,
    engine: Handle,
    homes: Mutex<HashMap<Id, Home>>,
}

/// The connection of one runtime.
#[derive(Clone)]
struct Home {
    manager: ConnectionManager,
    made: Instant,
    front: Arc<Front>,
    /// The connection is not what it was: subscribe again.
    changed: Arc<Notify>,
    /// The first subscription has been tried.
    tried: Arc<Notify>,
}

impl Opened {
    /// Connects the engine, whose runtime this must be called in.
    pub(crate) async fn new(client: Client, on_push: OnPush) -> RedisResult<Self> {
        let modern = speaking(&client, ProtocolVersion::RESP3)?;
        let (client, pushes, manager) = match connect(&modern).await {
            Ok(manager) => (modern, true, manager),
            // An old server, or one that does not permit it.
            Err(error) if error.kind() == ErrorKind::RESP3NotSupported || is_refused(&error) => {
                tracing::warn!(%error, "no RESP3, so no wake-ups: who waits for a lock will poll");
                let manager = connect(&client).await?;
                (client, false, manager)
            }
            Err(error) => return Err(error),
        };
        let engine = Handle::current();
        let home = Home {
            manager,
            made: Instant::now(),
            front: Arc::new(Front::silent()),
            changed: Arc::default(),
            tried: Arc::default(),
        };
        let homes = HashMap::from([(engine.id(), home)]);
        Ok(Opened(Arc::new(Shared {
            client,
            pushes,
            on_push,
            engine,
            homes: Mutex::new(homes),
        })))
    }

    /// Connects the runtime that this is awaited in, if it is in one; returns when wake-ups come in, or cannot.
    pub(crate) async fn settle(&self) {
        let home = self.0.home();
        if !home.front.channel().is_empty() {
            home.tried.notified().await;
        }
    }

    /// Polls a command as if in the engine's runtime if it is awaited outside of any: with the first command after a
    /// break, redis-rs spawns the task that drives the new connection.
    fn in_a_runtime<T: 'static>(
        &self,
        command: impl Future<Output = RedisResult<T>> + Send + 'static,
    ) -> Reply<T> {
        let mut command = Box::pin(command);
        if Handle::try_current().is_ok() {
            return command;
        }
        let runtime = self.0.engine.clone();
        Box::pin(poll_fn(move |context| {
            let _runtime = runtime.enter();
            command.as_mut().poll(context)
        }))
    }
}

impl Connection for Opened {
    fn send(&self, command: Cmd) -> Reply<Value> {
        let opened = self.clone();
        let mut manager = self.0.home().manager;
        self.in_a_runtime(async move {
            let reply = command.query_async(&mut manager).await;
            if let Err(error) = &reply
                && error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            {
                opened.replace();
            }
            reply
        })
    }

    fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        let mut manager = self.0.home().manager;
        self.in_a_runtime(async move { commands.query_async(&mut manager).await })
    }

    fn front(&self) -> Arc<Front> {
        self.0.home().front
    }

    fn replace(&self) {
        /// Many commands fail at once, and a new connection needs a moment to show what it is worth.
        const TRIAL: Duration = Duration::from_secs(1);

        let shared = &self.0;
        let runtime = shared.runtime();
        let mut homes = shared.homes();
        let Some(home) = homes.get_mut(&runtime.id()) else {
            return;
        };
        if home.made.elapsed() < TRIAL {
            return;
        }
        if let Ok(manager) = shared.manager(&runtime, &home.front, &home.changed) {
            home.manager = manager;
            home.made = Instant::now();
            home.changed.notify_one();
        }
    }
}

impl Shared {
    fn homes(&self) -> MutexGuard<'_, HashMap<Id, Home>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime that we are called in; the engine's, if in none.
    fn runtime(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.engine.clone())
    }

    fn home(self: &Arc<Self>) -> Home {
        let runtime = self.runtime();
        let mut homes = self.homes();
        if let Some(home) = homes.get(&runtime.id()) {
            return home.clone();
        }
        let front = if self.pushes {
            Front::new(self.on_push)
        } else {
            Front::silent()
        };
        let (front, changed) = (Arc::new(front), Arc::default());
        let Ok(manager) = self.manager(&runtime, &front, &changed) else {
            // It refuses nothing that the engine's did not refuse.
            return homes[&self.engine.id()].clone();
        };
        let home = Home {
            manager,
            made: Instant::now(),
            front,
            changed,
            tried: Arc::default(),
        };
        homes.insert(runtime.id(), home.clone());
        let gone = Gone {
            shared: Arc::downgrade(self),
            id: runtime.id(),
        };
        runtime.spawn(listen(
            gone,
            Arc::clone(&home.front),
            Arc::clone(&home.changed),
            Arc::clone(&home.tried),
        ));
        home
    }

    /// A manager that connects with its first command, in that runtime.
    fn manager(
        &self,
        runtime: &Handle,
        front: &Arc<Front>,
        changed: &Arc<Notify>,
    ) -> RedisResult<ConnectionManager> {
        let mut config = config();
        if !front.channel().is_empty() {
            let (front, changed) = (Arc::clone(front), Arc::clone(changed));
            config = config.set_push_sender(move |push: redis::PushInfo| {
                front.pushed(&push);
                if push.kind == redis::PushKind::Disconnection {
                    changed.notify_one();
                }
                Ok::<_, std::convert::Infallible>(())
            });
        }
        let _runtime = runtime.enter();
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for home in self.homes().values() {
            home.changed.notify_one();
        }
    }
}

/// Lives in the task that listens, and so as long as its runtime: then the connection goes as well.
struct Gone {
    shared: Weak<Shared>,
    id: Id,
}

impl Gone {
    /// `None`: no Locker is left.
    fn manager(&self) -> Option<ConnectionManager> {
        let shared = self.shared.upgrade()?;
        let manager = shared.homes().get(&self.id)?.manager.clone();
        Some(manager)
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let home = shared.homes().remove(&self.id);
            drop(home);
        }
    }
}

/// Subscribes, and again whenever the connection has changed. Where it cannot, those who wait poll.
async fn listen(gone: Gone, front: Arc<Front>, changed: Arc<Notify>, tried: Arc<Notify>) {
    let mut said = false;
    while let Some(mut manager) = gone.manager() {
        if front.channel().is_empty() {
            changed.notified().await;
            continue;
        }
        let subscribed = manager.subscribe(front.channel()).await;
        drop(manager);
        match subscribed {
            Ok(()) => {
                said = false;
                front.set_listening(true);
                tried.notify_one();
                changed.notified().await;
                front.set_listening(false);
            }
            Err(error) => {
                let transient = is_transient(&error);
                if !transient && !said {
                    said = true;
                    tracing::warn!(%error, channel = front.channel(), "no wake-ups: who waits for a lock polls");
                }
                tried.notify_one();
                let pause = if transient {
                    BROKEN_PAUSE
                } else {
                    REFUSED_PAUSE
                };
                let _ = tokio::time::timeout(pause, changed.notified()).await;
            }
        }
    }
}

async fn connect(client: &Client) -> RedisResult<ConnectionManager> {
    ConnectionManager::new_with_config(client.clone(), config()).await
}

fn config() -> ConnectionManagerConfig {
    // Retries and time limits are ours: they know when it is too late.
    ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_response_timeout(None)
}

fn speaking(client: &Client, protocol: ProtocolVersion) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.set_redis_settings(settings).into_connection_info()?)
}

/// Whether the server said no, other than to a password.
fn is_refused(error: &redis::RedisError) -> bool {
    error.code().is_some()
        && error.kind() != ErrorKind::AuthenticationFailed
        && !is_transient(error)
}
