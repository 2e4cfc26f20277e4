//! The Locker: options, and the calls that take locks.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use once_cell::sync::OnceCell;
use redis::ProtocolVersion;
use tokio::task::JoinHandle;
use tracing::Level;

use crate::{
    api::{
        acquire::acquire,
        address::{Address, Target},
        check::{Check, check},
        enter::{Entered, acquire_all, enter},
        error::Error,
        exec::{LockExec, LockScope},
        guard::Guard,
        guards::Guards,
        held::{Held, HeldAll},
        in_process::InProcess,
        options::{Options, Wait},
        request::LockRequest,
        shutdown::Shutdown,
        survey::{cut_short, speaking, survey, unusable},
        wakeup::{Wakeups, listener},
    },
    engine::{
        ending::{flush, let_go},
        session::look_at_clock,
    },
    link::{
        Link,
        front::Front,
        given::{Given, RedisConnection},
        own::OwnConnections,
    },
    threads::{report::report, runtime::engine},
    values::{key::Key, mode::Mode, session::Pushes},
};

/// Takes locks. Cheap to clone; all clones, and all Lockers that the options return, share one connection.
///
/// # What a lock is
///
/// Per key there is one writer or any number of readers, as [`tokio::sync::RwLock`] has it, but
/// for all processes that use the same Redis and [`namespace`](Locker::namespace). Requests are served in the order of arrival,
/// with neighbouring readers let in together: a queued writer stops later readers, and a stream of writers cannot starve a
/// reader. `try_*` never overtakes a waiter.
///
/// A guard is not re-entrant: a task that asks for a lock that it holds already waits for itself, and gets
/// [`Error::Contended`]. Futures under [`lock_exec`](Locker::lock_exec) and functions under the attribute are re-entrant.
///
/// # Options
///
/// Each option takes the Locker by value and returns a Locker with that option set. Options are checked when a lock is asked for,
/// before anything is sent: [`Error::InvalidOptions`].
///
/// | option | default | because |
/// | --- | --- | --- |
/// | [`mode`](Locker::mode) | [`Mode::Write`] | exclusive is the safe choice |
/// | [`ttl`](Locker::ttl) | 10 s | a dead holder blocks the lock this long; a holder survives shorter outages and pauses |
/// | [`wait`](Locker::wait) | 1 s | a request should rather fail than hang |
/// | [`command_timeout`](Locker::command_timeout) | 1 s | far above a round trip, and below what a caller would wait for |
/// | [`auto_extend`](Locker::auto_extend) | true | work may take longer than the ttl |
/// | [`max_hold`](Locker::max_hold) | none | only you know how long is too long |
/// | [`min_hold`](Locker::min_hold) | none | only for a job that runs once a tick |
/// | [`namespace`](Locker::namespace) | `"lock"` | the prefix of every name in Redis |
///
/// ```no_run
/// use std::time::Duration;
/// use redis_lock::{Locker, Mode};
///
/// # async fn f() -> Result<(), redis_lock::Error> {
/// let locker = Locker::connect("redis://127.0.0.1:6379").await?.wait(Duration::from_secs(5));
///
/// let guard = locker.write("order:42").await?;
/// // ... the order is ours ...
/// guard.unlock().await?;
///
/// let report = locker.clone().mode(Mode::R).ttl(Duration::from_secs(30));
/// let guard = report.lock("order:42").await?;
/// # guard.await }
/// ```
#[derive(Clone)]
pub struct Locker {
    link: Arc<Link>,
    options: Options,
}

/// Setting up.
impl Locker {
    /// Uses a connection of yours: any connection of redis-rs that is async and can be cloned, such as a
    /// [`ConnectionManager`](redis::aio::ConnectionManager), a
    /// [`MultiplexedConnection`](redis::aio::MultiplexedConnection) or a cluster connection.
    ///
    /// The connection should reconnect by itself, which a `MultiplexedConnection` does not. The connection must lead to the master:
    /// replicas cannot lock.
    ///
    /// ```no_run
    /// use redis_lock::{Locker, redis};
    ///
    /// # async fn f() -> redis::RedisResult<()> {
    /// let client = redis::Client::open("redis://127.0.0.1:6379")?;
    /// let locker = Locker::new(client.get_connection_manager().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(connection: impl RedisConnection) -> Self {
        let front = Arc::new(Front::new(Pushes::None, listener));
        Self::over(Link::over(Given { connection, front }))
    }

    /// As [`new`](Locker::new), with wake-ups that come in on this connection. [`Wakeups`] shows how to set the connection up.
    ///
    /// ```no_run
    /// use redis_lock::{Locker, Wakeups};
    ///
    /// # async fn f(subscribed: redis_lock::redis::aio::ConnectionManager, wakeups: Wakeups) {
    /// let locker = Locker::with_wakeups(subscribed, &wakeups);
    /// # }
    /// ```
    #[must_use]
    pub fn with_wakeups(connection: impl RedisConnection, wakeups: &Wakeups) -> Self {
        let front = Arc::clone(&wakeups.0);
        Self::over(Link::over(Given { connection, front }))
    }

    /// Connects to one Redis server: by a URL as for [`redis::Client::open`], or by a different [`Address`].
    ///
    /// When this returns, the server is connected, and was asked whether it can keep locks. See
    /// [`connect_lazy`](Locker::connect_lazy) for a server that comes up later, and [`check`](Locker::check) for permissions.
    ///
    /// Every runtime that uses the Locker has a connection, on which the runtime's waiters hear of their turn. A thread of this
    /// crate has a further connection, and renews leases and releases dropped locks, also when your runtime is blocked or has
    /// ended. All connections reconnect, and are replaced when a connection hangs or the server has become a replica.
    ///
    /// Wake-ups need RESP3 (Redis 6; asked for unless the URL has a `protocol`) and the right to subscribe to channels that begin
    /// with `redis-lock:`. Without wake-ups waiters ask again and again, which is logged once to [`tracing`].
    ///
    /// # Errors
    ///
    /// [`Error::Unusable`] says what is wrong and what to do: the text is no URL, nothing answers, the login is refused, the
    /// server is a replica, a sentinel or one node of a cluster, the port speaks TLS or does not.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), redis_lock::Error> {
    /// let locker = redis_lock::Locker::connect("redis://127.0.0.1:6379").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(address: impl Address) -> Result<Self, Error> {
        let Target { client, as_is } = address.client()?;
        let engine = engine().map_err(Error::Engine)?;
        let surveyed = engine.spawn(survey(engine, client.clone(), as_is)).await;
        let client = surveyed.map_err(|stopped| cut_short(&client, stopped))??;
        let connections = OwnConnections::new(&client, engine, listener);
        let connections = connections.map_err(|cause| unusable(&client, cause))?;
        let settled = connections.settle().await;
        settled.map_err(|cause| unusable(&client, cause))?;
        let link = Link::over(connections);
        look_at_clock(engine, &link)
            .await
            .map_err(|cause| unusable(&client, cause))?;
        Ok(Self::over(link))
    }

    /// As [`connect`](Locker::connect), for a Redis that may come up later than this service: returns at once, and connects in the
    /// background, again and again until the server is there.
    ///
    /// A request for a lock while the server is away waits within [`wait`](Locker::wait), and fails with [`Error::Redis`] and the
    /// reason. The server is not examined as by [`connect`](Locker::connect): call [`check`](Locker::check) once the server is
    /// there. RESP3 is asked for unless a URL has a `protocol`; for a server older than Redis 6 write `?protocol=resp2`.
    ///
    /// # Errors
    ///
    /// [`Error::Unusable`] if the address is not valid.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn f() -> Result<(), redis_lock::Error> {
    /// let locker = redis_lock::Locker::connect_lazy("redis://127.0.0.1:6379")?;
    /// let guard = locker.wait(Duration::from_secs(30)).lock("order:42").await?;
    /// # guard.await }
    /// ```
    pub fn connect_lazy(address: impl Address) -> Result<Self, Error> {
        let Target { client, as_is } = address.client()?;
        let failed = |cause| unusable(&client, cause);
        let chosen = if as_is {
            client.clone()
        } else {
            speaking(&client, ProtocolVersion::RESP3).map_err(failed)?
        };
        let connections = OwnConnections::new(&chosen, engine().map_err(Error::Engine)?, listener)
            .map_err(failed)?;
        Ok(Self::over(Link::over(connections)))
    }

    /// Ends this Locker, its clones and all Lockers made by options, before the program ends, so that no lock is left behind.
    ///
    /// 1. From now on every call that takes a lock fails with [`Error::ShutDown`]. Calls that wait for a lock fail at once.
    /// 2. Holders have `grace` to give their locks back. A body inside a lock may still call functions under the same lock.
    /// 3. Then the remaining holds are lost, with [`Loss::ShutDown`](crate::Loss::ShutDown): `lost()` fires, `lock_exec` and
    ///    annotated functions stop their bodies. The locks of forgotten guards are given back too.
    /// 4. The call waits for all releases in the background.
    ///
    /// The call ends within `grace` and one [`command_timeout`](Locker::command_timeout), also if Redis is gone, and earlier when
    /// no lock is held any more. Several calls, also at the same time, are allowed; each call has its own `grace`.
    ///
    /// In Kubernetes: call `shutdown` when SIGTERM has come and the server takes no more requests, with a `grace` that is shorter
    /// than `terminationGracePeriodSeconds`. `examples/graceful.rs` is such a service.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the Locker stays shut down: no new locks. Holders then keep their locks until the next call.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn f(locker: redis_lock::Locker) {
    /// println!("{}", locker.shutdown(Duration::from_secs(10)).await); // everything was given back
    /// # }
    /// ```
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        let link = Arc::clone(&self.link);
        link.ending.begin();
        let limit = self.options.command_timeout;
        // Without an engine no lock was ever taken.
        Shutdown {
            interrupted: let_go(&link, grace).await.unwrap_or_default(),
            left: flush(&link, limit).await.unwrap_or_default(),
        }
    }

    /// Waits until all locks that were dropped so far over this Locker's connection have been given back, but not for longer than
    /// one [`command_timeout`](Locker::command_timeout). True: all locks have been given back, or their time was over.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// drop(locker.lock("order:42").await?);
    /// assert!(locker.flush().await, "nothing is left behind");
    /// # Ok(()) }
    /// ```
    pub async fn flush(&self) -> bool {
        let left = flush(&self.link, self.options.command_timeout).await;
        // Without an engine no lock was ever taken.
        left.map_or(true, |left| left.is_empty())
    }

    /// Runs a whole cycle on a probe key of this namespace: take, wait, hand over, renew, share, give back. For start-up, and for
    /// readiness probes: the cycle finds at once what otherwise shows only when two processes meet, such as a missing permission.
    ///
    /// The cycle sends about forty commands, and waits for each reply for one [`command_timeout`](Locker::command_timeout) at
    /// most.
    ///
    /// # Errors
    ///
    /// [`Error::Unusable`] names the permissions that the user lacks. Otherwise the errors of [`lock`](Locker::lock).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the probe key is given back in the background.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), redis_lock::Error> {
    /// let locker = redis_lock::Locker::connect("redis://127.0.0.1:6379").await?;
    /// println!("{}", locker.check().await?); // locks work, with a round trip of 0.2 ms
    /// # Ok(()) }
    /// ```
    pub fn check(&self) -> impl Future<Output = Result<Check, Error>> + Send + 'static + use<> {
        check(Arc::clone(&self.link), self.options.clone())
    }

    /// Locks in this process alone: no server, nothing to install, the same API. For tests, for a first try, and for a service
    /// with a single instance.
    ///
    /// Each call makes a new store. [`InProcess`](crate::InProcess) has several Lockers over one store, and can bring
    /// about losses and outages.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), redis_lock::Error> {
    /// let locker = redis_lock::Locker::in_process();
    /// let guard = locker.write("order:42").await?;
    /// guard.unlock().await
    /// # }
    /// ```
    #[must_use]
    pub fn in_process() -> Self {
        InProcess::new().locker()
    }

    pub(crate) fn over(link: Link) -> Self {
        Locker {
            link: Arc::new(link),
            options: Options::default(),
        }
    }

    /// How [`lock`](Locker::lock), [`try_lock`](Locker::try_lock) and [`lock_exec`](Locker::lock_exec) hold the lock.
    /// Default: [`Mode::Write`].
    ///
    /// ```no_run
    /// # use redis_lock::{Locker, Mode};
    /// # async fn f(locker: Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.mode(Mode::R).lock("config").await?;
    /// # guard.await }
    /// ```
    #[must_use]
    pub fn mode(mut self, mode: impl Into<Mode>) -> Self {
        self.options.mode = mode.into();
        self
    }

    /// The lease: how long a holder that died blocks the lock, and how long Redis may be out of reach before a lock is lost.
    /// Default 10 s; from 100 ms to a year.
    ///
    /// The lease is renewed after a third of the ttl, so a lock may be held for much longer. A longer ttl means fewer renewals and
    /// more tolerance, but a longer wait after a crash. A round trip must be quicker than half of the ttl.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.ttl(Duration::from_secs(60)).lock("import").await?;
    /// # guard.await }
    /// ```
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// How long to stand in line before [`Error::Contended`]: a [`Duration`] or [`Wait::Forever`]. Default 1 s.
    /// [`Duration::ZERO`] is one try.
    ///
    /// While Redis does not answer, one [`command_timeout`](Locker::command_timeout) comes on top.
    ///
    /// ```no_run
    /// # use redis_lock::Wait;
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.wait(Wait::Forever).lock("import").await?;
    /// # guard.await }
    /// ```
    #[must_use]
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.options.wait = wait.into();
        self
    }

    /// How long one command may take, from sending to the reply. Default 1 s; from 10 ms to a minute.
    ///
    /// Whatever happens to Redis or the link, a call that takes a lock ends within [`wait`](Locker::wait) and this time, and a call
    /// that gives a lock back within this time; the rest goes on in the background. So the timeout must be longer than the slowest
    /// round trip that is to work. A command that takes or renews a lock is waited for no longer than half of the
    /// [`ttl`](Locker::ttl), so that it can be sent again before the lease has ended.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// // At most 700 ms, also while Redis stands still.
    /// let patient = locker.wait(Duration::from_millis(500)).command_timeout(Duration::from_millis(200));
    /// let guard = patient.lock("order:42").await?;
    /// # guard.await }
    /// ```
    #[must_use]
    pub fn command_timeout(mut self, command_timeout: Duration) -> Self {
        self.options.command_timeout = command_timeout;
        self
    }

    /// Whether the lease is renewed as long as the guard lives. Default true. If false, the lock ends after its ttl, also if the
    /// holder still works.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.auto_extend(false).lock("once-per-ten-seconds").await?;
    /// std::mem::forget(guard);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn auto_extend(mut self, auto_extend: bool) -> Self {
        self.options.auto_extend = auto_extend;
        self
    }

    /// An upper bound on how long a lock is held, renewals included, so that a stuck body does not keep the lock for ever. The lock
    /// is lost then. Default none; from 100 ms to a year.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.max_hold(Duration::from_secs(300)).lock("import").await?;
    /// # guard.await }
    /// ```
    #[must_use]
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.options.max_hold = Some(max_hold);
        self
    }

    /// Other tasks are kept out for this long from when the lock was taken, also if the lock is given back earlier, and if the
    /// process ends. Default none; at most a year.
    ///
    /// For a job that every instance starts at the same tick of the clock and a single instance is to run. The clocks of the
    /// instances differ, and a short job would be over before the next instance starts the same job: choose a `min_hold` longer
    /// than the clocks may differ, and shorter than the time between two ticks. The call that gives the lock back returns at once.
    ///
    /// If the [`ttl`](Locker::ttl) is shorter than `min_hold`, the lease in Redis is as long as `min_hold` from the beginning.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn send_newsletter() {}
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// // On all instances, every minute:
    /// let job = locker.min_hold(Duration::from_secs(30));
    /// if let Some(guard) = job.try_lock("newsletter").await? {
    ///     send_newsletter().await;
    ///     guard.unlock().await?;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn min_hold(mut self, min_hold: Duration) -> Self {
        self.options.min_hold = Some(min_hold);
        self
    }

    /// The prefix of every name in Redis: Lockers with different namespaces never meet. Default `"lock"`; 1 to 128 bytes without
    /// `{`, `}` and `#`.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.namespace("shop:staging").lock("import").await?;
    /// # guard.await }
    /// ```
    #[must_use]
    pub fn namespace(mut self, namespace: impl AsRef<str>) -> Self {
        self.options.namespace = namespace.as_ref().into();
        self
    }
}

/// Taking a lock.
///
/// # Errors
///
/// For all calls: [`Error::Contended`] if the time to wait is over (never for `try_*`); [`Error::InvalidKey`] and
/// [`Error::InvalidOptions`] before anything is sent; [`Error::Foreign`] if a foreign value is at one of the lock's names;
/// [`Error::Redis`] if Redis cannot be reached, or refuses.
///
/// # Cancel safety
///
/// All futures may be dropped at any time: nothing stays locked or queued for longer than a round trip, or than the
/// ttl if Redis is out of reach.
impl Locker {
    /// Takes the lock in the configured [`mode`](Locker::mode).
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.lock("order:42").await?;
    /// # guard.await }
    /// ```
    pub fn lock<K: Into<Key>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Guard, Error>> + Send + 'static + use<K> {
        self.acquire(key.into(), self.options.mode)
    }

    /// Takes the lock as one of any number of readers.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.read("order:42").await?;
    /// # guard.await }
    /// ```
    pub fn read<K: Into<Key>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Guard, Error>> + Send + 'static + use<K> {
        self.acquire(key.into(), Mode::Read)
    }

    /// Takes the lock as its only holder.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guard = locker.write("order:42").await?;
    /// # guard.await }
    /// ```
    pub fn write<K: Into<Key>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Guard, Error>> + Send + 'static + use<K> {
        self.acquire(key.into(), Mode::Write)
    }

    /// Takes the lock in the configured [`mode`](Locker::mode) if the lock is free now and has no waiters.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let Some(guard) = locker.try_lock("nightly-report").await? else {
    ///     return Ok(()); // another instance makes the report
    /// };
    /// # guard.await }
    /// ```
    pub fn try_lock<K: Into<Key>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Option<Guard>, Error>> + Send + 'static + use<K> {
        self.try_acquire(key.into(), self.options.mode)
    }

    /// Takes the lock as a reader if no writer holds the lock or waits.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// if let Some(guard) = locker.try_read("order:42").await? {
    ///     guard.unlock().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn try_read<K: Into<Key>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Option<Guard>, Error>> + Send + 'static + use<K> {
        self.try_acquire(key.into(), Mode::Read)
    }

    /// Takes the lock as its only holder if the lock is free now and has no waiters.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// if let Some(guard) = locker.try_write("order:42").await? {
    ///     guard.unlock().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn try_write<K: Into<Key>>(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Option<Guard>, Error>> + Send + 'static + use<K> {
        self.try_acquire(key.into(), Mode::Write)
    }

    /// Runs a future under the lock, in the configured [`mode`](Locker::mode), and gives the lock back.
    ///
    /// The future runs only while the lease is good. When the lock is lost, the future is dropped at its next await and the
    /// call returns [`Error::Lost`]. A result that the future has produced is returned also if the unlock fails
    /// (that failure goes to [`tracing`]). The future need not be `'static`. A panic in the future releases the lock.
    ///
    /// The errors of the future and of the lock come out as one type. Where the future does not name the type, as
    /// `async { Ok(7) }` does not, the compiler asks for the type (E0282 or E0283): write `Ok::<_, redis_lock::Error>(7)`, or use
    /// [`scope`](Locker::scope), whose closure may return any type.
    ///
    /// # Errors
    ///
    /// The future's own error, and the errors of [`lock`](Locker::lock), [`Error::Lost`] and
    /// [`Error::WriteInsideRead`], converted.
    ///
    /// # Nesting
    ///
    /// Inside of a future that runs under the lock, a further `lock_exec` or annotated function of the same Locker, or
    /// a clone, with the same key does not wait for itself. Inside of a write hold the inner call runs within that hold; siblings
    /// that run side by side in one task still exclude each other as their modes say. A write inside of a read fails at once.
    /// Spawned tasks inherit nothing. An inner call that is moved out of the outer future before it is done is stopped, with
    /// [`Error::Lost`].
    ///
    /// # Cancel safety
    ///
    /// A drop also drops the future that runs under the lock, and then releases the lock in the background.
    ///
    /// ```no_run
    /// # async fn ship(id: u64) -> std::io::Result<()> { Ok(()) }
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = 42;
    /// locker.lock_exec(format!("order:{id}"), async {
    ///     ship(id).await?;
    ///     Ok(())
    /// }).await
    /// # }
    /// ```
    pub fn lock_exec<F, T, E>(&self, key: impl Into<Key>, future: F) -> LockExec<F>
    where
        F: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let enter = self.enter(vec![key.into().into()]);
        LockExec::new(enter, future, |error| Err(E::from(error)))
    }

    /// Runs a closure under the lock, in the configured [`mode`](Locker::mode), and gives the lock back.
    ///
    /// The closure is an `async` closure, or a closure that returns a future. It gets a [`Held`], which knows the fencing token and
    /// tells of a loss. The closure is called when the lock is there, and its future runs as by [`lock_exec`](Locker::lock_exec):
    /// while the lease is good, with the same nesting, and then the lock is given back. If the lock is lost, the future is dropped
    /// at its next await. Nothing of the closure need be `'static`.
    ///
    /// The result of the closure's future may be of any type, and is not mixed with the errors of the lock: a `Result` comes
    /// inside of a `Result`.
    ///
    /// The future of `scope` is `Send` if the closure, the closure's future and its result are `Send`.
    ///
    /// # Errors
    ///
    /// The errors of [`lock`](Locker::lock), [`Error::Lost`] and [`Error::WriteInsideRead`].
    ///
    /// # Cancel safety
    ///
    /// As [`lock_exec`](Locker::lock_exec).
    ///
    /// ```no_run
    /// # async fn ship(id: u64, token: u64) -> std::io::Result<u32> { Ok(1) }
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = 42;
    /// let parcels = locker.scope(format!("order:{id}"), async |lock| ship(id, lock.token()).await).await??;
    /// # Ok(()) }
    /// ```
    pub fn scope<C, F>(&self, key: impl Into<Key>, closure: C) -> LockScope<C, F, Held>
    where
        C: FnOnce(Held) -> F,
        F: Future,
    {
        LockScope::new(self.enter(vec![key.into().into()]), closure)
    }

    /// Runs a closure under several locks: as [`scope`](Locker::scope), with locks that are taken as by
    /// [`lock_all`](Locker::lock_all).
    ///
    /// The closure gets a [`HeldAll`], which finds each lock by the position of its key or by the key.
    ///
    /// ```no_run
    /// # async fn book(account: u64, amount: i64, token: u64) {}
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// locker.scope_all(["account:7", "account:3"], async |locks| {
    ///     book(7, -100, locks[0].token()).await;
    ///     book(3, 100, locks[1].token()).await;
    /// }).await
    /// # }
    /// ```
    pub fn scope_all<C, F>(
        &self,
        keys: impl IntoIterator<Item: Into<LockRequest>>,
        closure: C,
    ) -> LockScope<C, F, HeldAll>
    where
        C: FnOnce(HeldAll) -> F,
        F: Future,
    {
        let requests = keys.into_iter().map(Into::into).collect();
        LockScope::new(self.enter(requests), closure)
    }

    /// Takes several locks: all, or none.
    ///
    /// Each lock is held in the configured [`mode`](Locker::mode), or in a mode of its own: `[("rates", Mode::R), ("account:7",
    /// Mode::W)]`. The locks are taken in the order of keys, whatever the order given, so that no two callers wait for each
    /// other. A key that is given twice is taken once, for writing if either asks for that. [`wait`](Locker::wait) is for all
    /// locks together. A task that takes further locks while it holds these must see to the order itself. As with all guards, a
    /// task that asks for a lock that it holds already waits for itself.
    ///
    /// ```no_run
    /// # async fn f(locker: redis_lock::Locker) -> Result<(), redis_lock::Error> {
    /// let guards = locker.lock_all(["account:7", "account:3"]).await?;
    /// guards.unlock().await?;
    /// # Ok(()) }
    /// ```
    pub fn lock_all<I>(
        &self,
        keys: I,
    ) -> impl Future<Output = Result<Guards, Error>> + Send + 'static + use<I>
    where
        I: IntoIterator<Item: Into<LockRequest>>,
    {
        let keys = keys.into_iter().map(Into::into).collect();
        acquire_all(Arc::clone(&self.link), self.options.clone(), keys)
    }

    /// Takes the locks for a future.
    pub(crate) fn enter(
        &self,
        requests: Vec<LockRequest>,
    ) -> impl Future<Output = Result<Entered, Error>> + Send + 'static + use<> {
        enter(Arc::clone(&self.link), self.options.clone(), requests)
    }

    fn acquire(
        &self,
        key: Key,
        mode: Mode,
    ) -> impl Future<Output = Result<Guard, Error>> + Send + 'static + use<> {
        let mut options = self.options.clone();
        options.mode = mode;
        acquire(Arc::clone(&self.link), options, key)
    }

    fn try_acquire(
        &self,
        key: Key,
        mode: Mode,
    ) -> impl Future<Output = Result<Option<Guard>, Error>> + Send + 'static + use<> {
        let mut options = self.options.clone();
        options.mode = mode;
        options.wait = Wait::For(Duration::ZERO);
        let acquired = acquire(Arc::clone(&self.link), options, key);
        async move {
            match acquired.await {
                Ok(guard) => Ok(Some(guard)),
                Err(error) if error.is_contended() => Ok(None),
                Err(error) => Err(error),
            }
        }
    }
}

impl<C: RedisConnection> From<C> for Locker {
    fn from(connection: C) -> Self {
        Locker::new(connection)
    }
}

/// An argument of [`init`] and [`with_locker`]: a [`Locker`], or a [connection](RedisConnection) for a new Locker.
///
/// There is nothing to implement: every type that is `Into<Locker>` has this trait.
///
/// ```
/// use redis_lock::{Error, IntoLocker};
///
/// fn start(locker: impl IntoLocker) -> Result<(), Error> {
///     redis_lock::init(locker)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a `Locker` nor a connection to Redis that one can use",
    label = "not `Into<Locker>`, nor `redis::aio::ConnectionLike + Clone + Send + Sync + 'static`",
    note = "a pool is not needed and cannot be used: write `Locker::connect(\"redis://host:port\").await?`, or `Locker::new(client.get_connection_manager().await?)` with the `redis::Client` that the pool was made of",
    note = "a connection of another version of redis-rs is of another type: the version is that of `redis_lock::redis`"
)]
pub trait IntoLocker: Into<Locker> {}

// The compiler is to report this trait, not `Into`.
#[diagnostic::do_not_recommend]
impl<T: Into<Locker>> IntoLocker for T {}

impl fmt::Debug for Locker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locker")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

static DEFAULT: OnceCell<Locker> = OnceCell::new();

/// Set once a Locker that is not the process's has been in scope.
static SCOPED: OnceCell<()> = OnceCell::new();

tokio::task_local! {
    /// `None`: the Locker of the process, as in a task where nothing is set.
    static OF_TASK: Option<Locker>;
}

fn of_task() -> Option<Locker> {
    OF_TASK.try_with(Option::clone).ok().flatten()
}

/// Sets the Locker of this process, which the attribute and [`locker()`] use. Once, at start-up.
///
/// # Errors
///
/// [`Error::AlreadyInitialized`] the second time.
///
/// ```no_run
/// # async fn f() -> Result<(), redis_lock::Error> {
/// redis_lock::init(redis_lock::Locker::connect("redis://127.0.0.1:6379").await?)?;
/// # Ok(()) }
/// ```
pub fn init(locker: impl IntoLocker) -> Result<(), Error> {
    DEFAULT
        .set(locker.into())
        .map_err(|_| Error::AlreadyInitialized)
}

/// [`Locker::shutdown`] of the Locker of [`init`]. Without a call of `init` there is nothing to do.
///
/// # Cancel safety
///
/// As [`Locker::shutdown`].
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn f() {
/// redis_lock::shutdown(Duration::from_secs(10)).await;
/// # }
/// ```
pub async fn shutdown(grace: Duration) -> Shutdown {
    match DEFAULT.get() {
        Some(locker) => locker.shutdown(grace).await,
        None => Shutdown::default(),
    }
}

/// The Locker in scope: the Locker of [`with_locker`], else the Locker of [`init`].
///
/// # Errors
///
/// [`Error::NotInitialized`] if there is neither.
///
/// ```
/// assert!(redis_lock::locker().is_err(), "nobody has called `init`");
/// ```
pub fn locker() -> Result<Locker, Error> {
    if let Some(locker) = of_task() {
        return Ok(locker);
    }
    let default = DEFAULT.get().ok_or(Error::NotInitialized)?;
    if SCOPED.get().is_some() {
        report(Level::DEBUG, || {
            tracing::debug!(
                "the locker of `init` is used: none of `with_locker` is in scope, which a spawned task does not inherit"
            );
        });
    }
    Ok(default.clone())
}

/// Runs a future with a different Locker in scope: for a test, or a tenant.
///
/// Tasks that the future spawns do not inherit the Locker: there the attribute silently uses the Locker of [`init`], or has none.
/// [`spawn`] takes the Locker along.
///
/// In a web service a middleware sets the Locker for each request. With axum:
///
/// ```text
/// async fn tenant(Extension(locker): Extension<Locker>, request: Request, next: Next) -> Response {
///     let locker = locker.namespace(namespace_of(&request));
///     redis_lock::with_locker(locker, next.run(request)).await
/// }
///
/// let app = router.layer(axum::middleware::from_fn(tenant)).layer(Extension(locker));
/// ```
///
/// # Cancel safety
///
/// As the future's.
///
/// ```no_run
/// # async fn ship(id: u64) -> Result<(), redis_lock::Error> { Ok(()) }
/// # async fn f(tenant: redis_lock::Locker) -> Result<(), redis_lock::Error> {
/// redis_lock::with_locker(tenant.namespace("tenant-7"), ship(42)).await
/// # }
/// ```
pub fn with_locker<F: Future>(
    locker: impl IntoLocker,
    future: F,
) -> impl Future<Output = F::Output> {
    let _ = SCOPED.set(());
    OF_TASK.scope(Some(locker.into()), future)
}

/// Runs a future in any task with the Locker that is in scope at this call: the Locker of [`with_locker`], else the Locker of
/// [`init`].
///
/// For a future that moves to a new task without [`spawn`]: by a `JoinSet`, a `LocalSet`, a channel. The locks that the calling
/// task holds are not taken along.
///
/// # Cancel safety
///
/// As the future's.
///
/// ```no_run
/// # async fn ship(id: u64) -> Result<(), redis_lock::Error> { Ok(()) }
/// # async fn f() {
/// let mut tasks = tokio::task::JoinSet::new();
/// for id in 0..10 {
///     tasks.spawn(redis_lock::with_current_locker(ship(id)));
/// }
/// tasks.join_all().await;
/// # }
/// ```
pub fn with_current_locker<F: Future>(future: F) -> impl Future<Output = F::Output> {
    OF_TASK.scope(of_task(), future)
}

/// Spawns a task, as [`tokio::spawn`] does, with the Locker that is in scope here. A task of `tokio::spawn` does not inherit the
/// Locker of [`with_locker`], and uses the Locker of [`init`].
///
/// The locks that the calling task holds are not taken along: if the new task asks for such a lock, it waits like all tasks.
///
/// # Panics
///
/// As [`tokio::spawn`]: outside of a Tokio runtime.
///
/// ```no_run
/// # async fn ship(id: u64) -> Result<(), redis_lock::Error> { Ok(()) }
/// # async fn f(tenant: redis_lock::Locker) {
/// redis_lock::with_locker(tenant, async {
///     let shipped = redis_lock::spawn(ship(42)); // under a lock of the tenant's
///     shipped.await
/// }).await;
/// # }
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(with_current_locker(future))
}
