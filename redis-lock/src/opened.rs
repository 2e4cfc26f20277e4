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
    net::UdpSocket,
    panic::catch_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError, RedisResult,
    ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
    time::timeout,
};
use tracing::Level;

use crate::{
    cause::Cause,
    connection::{Connection, Reply, is_transient, no_reply},
    front::{Front, OnPush},
    report::report,
};

/// How long a subscription may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before asking again for a subscription that was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// The same for one that failed because the link is broken.
const BROKEN_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct Opened(Arc<Shared>);

struct Shared {
    client: Client,
    /// As people are told: host and port, never a password.
    server: Arc<str>,
    /// Whether the server speaks RESP3, in which it can push.
    pushes: bool,
    on_push: OnPush,
    engine: Handle,
    homes: Mutex<HashMap<Id, Home>>,
}

/// The connection of one runtime.
#[derive(Clone)]
struct Home {
    runtime: Handle,
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
    /// `as_is`: in the protocol that the client asks for.
    pub(crate) async fn new(client: Client, as_is: bool, on_push: OnPush) -> RedisResult<Self> {
        let asked_for = client.get_connection_info().redis_settings().protocol();
        let protocol = if as_is {
            asked_for
        } else {
            ProtocolVersion::RESP3
        };
        let modern = speaking(&client, protocol)?;
        let (client, pushes, manager) = match connect(&modern).await {
            Ok(manager) => (modern, protocol.supports_resp3(), manager),
            // An old server, or one that does not permit it.
            Err(error) if error.kind() == ErrorKind::RESP3NotSupported || is_refused(&error) => {
                let error = Cause::of(&error);
                report(Level::WARN, move || {
                    tracing::warn!(%error, "no RESP3, so no wake-ups: who waits for a lock will poll");
                });
                let manager = connect(&client).await?;
                (client, false, manager)
            }
            Err(error) => return Err(error),
        };
        let engine = Handle::current();
        let home = Home {
            runtime: engine.clone(),
            manager,
            made: Instant::now(),
            front: Arc::new(Front::silent()),
            changed: Arc::default(),
            tried: Arc::default(),
        };
        let homes = HashMap::from([(engine.id(), home)]);
        let server = client.get_connection_info().addr().to_string();
        Ok(Opened(Arc::new(Shared {
            server: server.into(),
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

    fn leave_replica(&self, error: Option<&RedisError>) {
        let kind = error.map(RedisError::kind);
        if kind == Some(ErrorKind::Server(ServerErrorKind::ReadOnly)) {
            self.replace();
        }
    }

    /// Polls a command as if in the runtime of its connection, if it is not that one's already: with the first command
    /// after a break, redis-rs spawns the task that drives the new connection.
    fn in_runtime<T: 'static>(
        runtime: Handle,
        command: impl Future<Output = RedisResult<T>> + Send + 'static,
    ) -> Reply<T> {
        let mut command = Box::pin(command);
        if Handle::try_current().is_ok_and(|current| current.id() == runtime.id()) {
            return command;
        }
        Box::pin(poll_fn(move |context| {
            let _runtime = runtime.enter();
            command.as_mut().poll(context)
        }))
    }
}

impl Connection for Opened {
    fn server(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.0.server))
    }

    fn send(&self, command: Cmd) -> Reply<Value> {
        let opened = self.clone();
        let home = self.0.home();
        let mut manager = home.manager;
        Self::in_runtime(home.runtime, async move {
            let reply = command.query_async(&mut manager).await;
            opened.leave_replica(reply.as_ref().err());
            reply
        })
    }

    fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        let opened = self.clone();
        let home = self.0.home();
        let mut manager = home.manager;
        Self::in_runtime(home.runtime, async move {
            let replies: RedisResult<Vec<RedisResult<Value>>> =
                commands.query_async(&mut manager).await;
            let first = replies
                .iter()
                .flatten()
                .find_map(|reply| reply.as_ref().err());
            opened.leave_replica(replies.as_ref().err().or(first));
            replies
        })
    }

    fn is_in(&self, runtime: &Handle) -> bool {
        // One that has to connect first would be overtaken, and wakes others with its mutex locked.
        let homes = self.0.homes();
        let home = homes.get(&runtime.id());
        home.is_some_and(|home| home.front.is_listening())
    }

    fn front(&self) -> Arc<Front> {
        self.0.home().front
    }

    fn replace(&self) {
        /// Many commands fail at once, and a new connection needs a moment to show what it is worth.
        const TRIAL: Duration = Duration::from_secs(1);

        let shared = &self.0;
        let current = shared.runtime().id();
        let mut homes = shared.homes();
        let Some(home) = homes.get_mut(&current) else {
            return;
        };
        if home.made.elapsed() < TRIAL {
            return;
        }
        let runtime = home.runtime.clone();
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
        if let Some(home) = self.homes().get(&runtime.id()) {
            return home.clone();
        }
        // Not while they are locked: a panic hook is code of others.
        let can_connect = can_connect();
        let mut homes = self.homes();
        if let Some(home) = homes.get(&runtime.id()) {
            return home.clone();
        }
        if !can_connect {
            let home = homes[&self.engine.id()].clone();
            homes.insert(runtime.id(), home.clone());
            return home;
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
            runtime: runtime.clone(),
            manager,
            made: Instant::now(),
            front,
            changed,
            tried: Arc::default(),
        };
        homes.insert(runtime.id(), home.clone());
        // A runtime that shuts down drops a new task at once, and that takes the home away again.
        drop(homes);
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
            if let Some(home) = home {
                home.tried.notify_one();
            }
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
        let subscribed = timeout(PATIENCE, manager.subscribe(front.channel())).await;
        let subscribed = subscribed.unwrap_or_else(|_| Err(no_reply()));
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
                    let (error, front) = (Cause::of(&error), Arc::clone(&front));
                    report(Level::WARN, move || {
                        tracing::warn!(%error, channel = front.channel(), "no wake-ups: who waits for a lock polls");
                    });
                }
                tried.notify_one();
                let pause = if transient {
                    BROKEN_PAUSE
                } else {
                    REFUSED_PAUSE
                };
                let _ = timeout(pause, changed.notified()).await;
            }
        }
    }
}

/// Whether the runtime that this is called in has been built with I/O. There is no other way to ask, and the panic that
/// says no is printed; but it may well be that only timers are enabled.
fn can_connect() -> bool {
    let Ok(socket) = UdpSocket::bind(("127.0.0.1", 0)) else {
        return true;
    };
    let asked = catch_unwind(|| {
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket).map(drop)
    });
    asked.is_ok()
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
fn is_refused(error: &RedisError) -> bool {
    error.code().is_some()
        && error.kind() != ErrorKind::AuthenticationFailed
        && !is_transient(error)
}
