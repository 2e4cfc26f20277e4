//! Connections of our own, as `Locker::connect` makes: a connection for the engine, and a connection for each runtime that uses
//! the Locker. The wake-ups of a runtime's waiters come in on the runtime's connection.
//!
//! 1. A connection's tasks live in the runtime that uses the connection, so no command changes threads. The connection ends
//!    with its runtime.
//! 2. The engine's connection stays. Renewals go over it, and so do releases that a user's runtime has abandoned.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use redis::{
    Client, Cmd, IntoConnectionInfo, Pipeline, RedisResult, Value,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tokio::runtime::{Handle, Id};

use crate::{
    link::{
        Connection, Reply,
        front::{Front, MakeListener},
        kept::{Kept, Made, keep_up},
    },
    threads::runtime::Engine,
    values::session::Pushes,
};

#[derive(Clone)]
pub(crate) struct OwnConnections(Arc<Shared>);

struct Shared {
    client: Client,
    /// For error texts: host and port, never a password.
    server: Arc<str>,
    /// Whether the client speaks RESP3, in which Redis can push.
    pushes: bool,
    listener: MakeListener,
    engine: &'static Engine,
    /// How many connections have been made.
    made: Made,
    of_engine: Arc<Kept>,
    of_runtimes: Mutex<HashMap<Id, Arc<Kept>>>,
}

impl OwnConnections {
    /// Begins to connect the engine.
    pub(crate) fn new(
        client: &Client,
        engine: &'static Engine,
        listener: MakeListener,
    ) -> RedisResult<Self> {
        let client = with_tcp_settings(client)?;
        let info = client.get_connection_info();
        let of_engine = Arc::new(Kept::new(Arc::new(Front::new(Pushes::None, listener))));
        let made = Made::default();
        engine.spawn(keep_up(
            Arc::clone(&of_engine),
            client.clone(),
            engine,
            Arc::clone(&made),
        ));
        Ok(OwnConnections(Arc::new(Shared {
            server: info.addr().to_string().into(),
            pushes: info.redis_settings().protocol().supports_resp3(),
            listener,
            engine,
            made,
            of_engine,
            of_runtimes: Mutex::default(),
            client,
        })))
    }

    /// Waits for the engine's connection, and for the connection of the current runtime, if there is a runtime. Returns when
    /// wake-ups come in, or cannot.
    pub(crate) async fn settle(&self) -> RedisResult<()> {
        self.0.of_engine.settle().await?;
        self.0.here().settle().await
    }
}

impl Connection for OwnConnections {
    fn server(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.0.server))
    }

    fn send(&self, command: Cmd) -> Reply<Value> {
        let kept = self.0.here();
        Box::pin(async move {
            let mut channel = kept.channel().await?;
            let reply = command.query_async(&mut channel.connection).await;
            kept.judge(&channel, reply.as_ref().err());
            reply
        })
    }

    fn send_all(&self, commands: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        let kept = self.0.here();
        Box::pin(async move {
            let mut channel = kept.channel().await?;
            let replies: RedisResult<Vec<RedisResult<Value>>> =
                commands.query_async(&mut channel.connection).await;
            let first = replies
                .iter()
                .flatten()
                .find_map(|reply| reply.as_ref().err());
            kept.judge(&channel, replies.as_ref().err().or(first));
            replies
        })
    }

    fn is_in(&self, runtime: &Handle) -> bool {
        let of_runtimes = self.0.of_runtimes();
        let kept = of_runtimes.get(&runtime.id());
        kept.is_some_and(|kept| kept.is_up())
    }

    fn front(&self) -> Arc<Front> {
        Arc::clone(&self.0.here().front)
    }

    fn made(&self) -> u64 {
        *self.0.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn replace(&self) {
        self.0.here().replace();
    }
}

impl Shared {
    fn of_runtimes(&self) -> MutexGuard<'_, HashMap<Id, Arc<Kept>>> {
        self.of_runtimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of the current runtime; outside of runtimes the engine's.
    fn here(self: &Arc<Self>) -> Arc<Kept> {
        let Ok(runtime) = Handle::try_current() else {
            return Arc::clone(&self.of_engine);
        };
        if runtime.id() == self.engine.id() {
            return Arc::clone(&self.of_engine);
        }
        if let Some(kept) = self.of_runtimes().get(&runtime.id()) {
            return Arc::clone(kept);
        }
        // Before `of_runtimes` is locked: `can_connect` may panic, and a panic hook is code of the user.
        let own = can_connect().then(|| {
            // On a single server `PUBLISH` counts who has heard.
            let pushes = if self.pushes {
                Pushes::Counted
            } else {
                Pushes::None
            };
            Arc::new(Kept::new(Arc::new(Front::new(pushes, self.listener))))
        });
        let mut of_runtimes = self.of_runtimes();
        if let Some(kept) = of_runtimes.get(&runtime.id()) {
            return Arc::clone(kept);
        }
        let kept = Arc::clone(own.as_ref().unwrap_or(&self.of_engine));
        of_runtimes.insert(runtime.id(), Arc::clone(&kept));
        // A runtime that shuts down drops a new task at once, and that takes the entry away again.
        drop(of_runtimes);
        let ends = Ends {
            shared: Arc::downgrade(self),
            id: runtime.id(),
            own: own.clone(),
        };
        let keep_up = own.map(|own| {
            keep_up(
                own,
                self.client.clone(),
                self.engine,
                Arc::clone(&self.made),
            )
        });
        let of_engine = Arc::clone(&self.of_engine);
        runtime.spawn(async move {
            let _ends = ends;
            match keep_up {
                Some(keep_up) => keep_up.await,
                None => of_engine.closed().await,
            }
        });
        kept
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.of_engine.close();
        for kept in self.of_runtimes().values() {
            kept.close();
        }
    }
}

/// Owned by a task of a user's runtime. The runtime drops the task when the runtime ends; this then removes the runtime's
/// entry, and closes its connection.
struct Ends {
    shared: Weak<Shared>,
    id: Id,
    /// `None`: the runtime uses the engine's connection.
    own: Option<Arc<Kept>>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.close();
            own.front.set_listening(false);
        }
        if let Some(shared) = self.shared.upgrade() {
            let kept = shared.of_runtimes().remove(&self.id);
            drop(kept);
        }
    }
}

/// Sets what redis-rs leaves off, where the user has not set it.
fn with_tcp_settings(client: &Client) -> RedisResult<Client> {
    /// An idle connection notices within 25 s that its peer is gone. The probes also keep alive the state of load balancers
    /// and firewalls, which often drop an idle connection after a minute.
    const IDLE: Duration = Duration::from_secs(10);
    const PROBE: Duration = Duration::from_secs(5);
    const PROBES: u32 = 3;

    let info = client.get_connection_info().clone();
    let given = info.tcp_settings().clone();
    let keepalive = given.keepalive().cloned().unwrap_or_else(|| {
        TcpKeepalive::new()
            .with_time(IDLE)
            .with_interval(PROBE)
            .with_retries(PROBES)
    });
    // A command is small, and its sender waits for the answer: Nagle's algorithm would only delay the command.
    let settings = given.clone().set_nodelay(true).set_keepalive(keepalive);
    let info = info.set_tcp_settings(with_user_timeout(settings, &given));
    Client::open(info.into_connection_info()?)
}

/// How long bytes may stay unacknowledged before the system closes the socket. Commands have shorter time limits.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
fn with_user_timeout(settings: TcpSettings, given: &TcpSettings) -> TcpSettings {
    const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

    settings.set_user_timeout(given.user_timeout().unwrap_or(UNACKNOWLEDGED))
}

#[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
fn with_user_timeout(settings: TcpSettings, _: &TcpSettings) -> TcpSettings {
    settings
}

/// Whether the current runtime has been built with I/O. tokio has no way to ask, and panics on the first attempt to connect.
/// Where a panic aborts the program, nothing is tried: all runtimes use the engine's connection, on the engine's thread.
/// Elsewhere the panic of a runtime without I/O is caught, once for each such runtime.
#[cfg(panic = "abort")]
fn can_connect() -> bool {
    false
}

#[cfg(not(panic = "abort"))]
fn can_connect() -> bool {
    use std::{net::UdpSocket, panic::catch_unwind};

    let Ok(socket) = UdpSocket::bind(("127.0.0.1", 0)) else {
        return true;
    };
    let asked = catch_unwind(|| {
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket).map(drop)
    });
    asked.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl crate::link::front::Listener for Deaf {
        fn hears(&self, _: crate::link::front::Message<'_>) {}
    }

    fn listener() -> Arc<dyn crate::link::front::Listener> {
        Arc::new(Deaf)
    }

    fn settings_of(client: &Client) -> TcpSettings {
        let client = with_tcp_settings(client).expect("the address is as good as before");
        client.get_connection_info().tcp_settings().clone()
    }

    #[test]
    fn what_redis_rs_leaves_off_is_set() {
        let client = Client::open("redis://127.0.0.1:1").expect("a URL");
        let settings = settings_of(&client);
        assert!(settings.nodelay());
        assert!(settings.keepalive().is_some());
        #[cfg(target_os = "linux")]
        assert_eq!(settings.user_timeout(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn no_runtime_is_remembered_after_its_end() {
        let client = Client::open("redis://127.0.0.1:1").expect("a URL");
        let engine = crate::threads::runtime::engine().expect("it starts");
        let connections = OwnConnections::new(&client, engine, listener).expect("an address");
        for with_io in [true, false] {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            if with_io {
                builder.enable_io();
            }
            let runtime = builder.build().expect("a runtime");
            runtime.block_on(async { connections.front() });
            assert_eq!(connections.0.of_runtimes().len(), 1);
            drop(runtime);
            assert_eq!(connections.0.of_runtimes().len(), 0, "with I/O: {with_io}");
        }
    }

    #[test]
    fn what_the_user_has_set_stays() {
        let info = "redis://127.0.0.1:1".into_connection_info().expect("a URL");
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(77));
        let given = TcpSettings::default().set_keepalive(keepalive.clone());
        #[cfg(target_os = "linux")]
        let given = given.set_user_timeout(Duration::from_secs(78));
        let client = Client::open(info.set_tcp_settings(given)).expect("an address");
        let settings = settings_of(&client);
        assert_eq!(
            format!("{:?}", settings.keepalive()),
            format!("{:?}", Some(keepalive))
        );
        #[cfg(target_os = "linux")]
        assert_eq!(settings.user_timeout(), Some(Duration::from_secs(78)));
    }
}
