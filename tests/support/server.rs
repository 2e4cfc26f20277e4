//! A real `redis-server` of one's own: on a free port, in a folder of its own, gone with the test.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisConnectionInfo};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::eventually;
use crate::guarded::Guarded;

/// How long a server may take to start, on a busy machine with two cores.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Whoever took our port may accept and then say nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// An answer to the test itself may take this long; a lock's own connection is less patient.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `redis-server`. Dropping it kills it and removes its folder; a panic shows the end of its log.
#[derive(Debug)]
pub struct Server {
    port: u16,
    kind: Kind,
    options: Vec<String>,
    own_clock: bool,
    /// Above `folder`: the process ends before its folder goes.
    process: Option<Guarded>,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Alone,
    /// A cluster's node has a second port, to talk to the others.
    ClusterNode {
        bus_port: u16,
    },
}

/// Somebody was faster: between the search for a free port and the server's start it was taken.
struct PortTaken;

impl Server {
    /// An empty server that saves nothing.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or it does not start.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`start`](Self::start), with options of `redis-server` such as `["--maxmemory", "1mb"]`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_on_free_port(options, || Kind::Alone, false).await
    }

    /// A server whose wall clock [`set_clock`](Self::set_clock) can move. Needs Debian's `libfaketime`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn with_own_clock() -> Self {
        Self::start_on_free_port(&[], || Kind::Alone, true).await
    }

    /// A server and a replica of it, with the link between them up.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn with_replica() -> (Self, Self) {
        // Without the delay the master would wait five seconds for further replicas.
        let (master, replica) = tokio::join!(
            Self::start_with(&["--repl-diskless-sync-delay", "0"]),
            Self::start()
        );
        replica.follow(&master).await;
        (master, replica)
    }

    /// One node of a cluster, without slots yet.
    pub(crate) async fn start_cluster_node() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let kind = || Kind::ClusterNode {
            bus_port: free_port(),
        };
        Self::start_on_free_port(&options, kind, false).await
    }

    async fn start_on_free_port(
        options: &[&str],
        kind: impl Fn() -> Kind,
        own_clock: bool,
    ) -> Self {
        loop {
            let mut server = Self {
                port: free_port(),
                kind: kind(),
                options: options.iter().map(ToString::to_string).collect(),
                own_clock,
                process: None,
                folder: tempfile::Builder::new()
                    .prefix("redis-lock-")
                    .tempdir()
                    .expect("a folder for the server"),
            };
            if own_clock {
                server.set_clock(0);
            }
            if let Ok(()) = server.launch().await {
                return server;
            }
        }
    }

    /// Where clients find it, as `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port, on the loopback address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on which a cluster's nodes talk to each other.
    pub(crate) fn bus_port(&self) -> Option<u16> {
        match self.kind {
            Kind::Alone => None,
            Kind::ClusterNode { bus_port } => Some(bus_port),
        }
    }

    /// The process id of the server.
    ///
    /// # Panics
    ///
    /// If it was killed.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Where its data and its log are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection for the test's own looks at the server: patient, and it sends nothing unasked.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.connect().await.expect("the server answers")
    }

    /// A connection as users have it, with redis-rs' defaults: it reconnects, and waits 500 ms for an answer.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn manager(&self) -> ConnectionManager {
        let client = Client::open(self.url()).expect("the url is valid");
        ConnectionManager::new(client)
            .await
            .expect("the server answers")
    }

    /// Stops the process with SIGSTOP; connections stay open and nothing is answered.
    ///
    /// # Panics
    ///
    /// If it was killed.
    pub async fn pause(&self) {
        self.process().pause().await;
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Panics
    ///
    /// If it was killed.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// SIGKILL: connections break, the port refuses. A second call does nothing.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_and_keep_folder();
        }
    }

    /// Starts it again on the same port, after killing it if need be: empty, or with its data if it was started
    /// with `["--appendonly", "yes"]`.
    ///
    /// # Panics
    ///
    /// If somebody took the port meanwhile, or it does not start.
    pub async fn restart(&mut self) {
        self.kill();
        let launched = self.launch().await;
        assert!(
            launched.is_ok(),
            "port {} was taken while the server was down",
            self.port
        );
    }

    /// Makes this server a replica of `master`, and returns when it has that one's data.
    ///
    /// # Panics
    ///
    /// If the link does not come up.
    pub async fn follow(&self, master: &Self) {
        let mut connection = self.connection().await;
        let mut command = redis::cmd("REPLICAOF");
        command.arg("127.0.0.1").arg(master.port);
        let () = command
            .query_async(&mut connection)
            .await
            .expect("REPLICAOF");
        eventually(PATIENCE, "the replica's link is up", async || {
            info(&mut connection.clone(), "replication")
                .await
                .contains("master_link_status:up")
        })
        .await;
    }

    /// Makes a replica a master, as a failover does.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn promote(&self) {
        let mut command = redis::cmd("REPLICAOF");
        command.arg("NO").arg("ONE");
        let () = command
            .query_async(&mut self.connection().await)
            .await
            .expect("REPLICAOF NO ONE");
    }

    /// Lets the server's wall clock be `ahead` milliseconds ahead of the true one (behind, if negative), from now on.
    ///
    /// # Panics
    ///
    /// If it was not started [with a clock of its own](Self::with_own_clock).
    pub fn set_clock(&self, ahead: i64) {
        assert!(self.own_clock, "this server has the machine's clock");
        let sign = if ahead < 0 { '-' } else { '+' };
        let (seconds, millis) = (ahead.unsigned_abs() / 1000, ahead.unsigned_abs() % 1000);
        // By renaming: the server must not read half of it.
        let new = self.folder.path().join("clock.new");
        fs::write(&new, format!("{sign}{seconds}.{millis:03}\n")).expect("the folder is ours");
        fs::rename(new, self.folder.path().join("clock")).expect("the folder is ours");
    }

    /// Stops the server's wall clock at this second since 1970, until it is set or stopped again.
    ///
    /// # Panics
    ///
    /// If it was not started [with a clock of its own](Self::with_own_clock).
    pub fn stop_clock(&self, second: u64) {
        assert!(self.own_clock, "this server has the machine's clock");
        let new = self.folder.path().join("clock.new");
        fs::write(&new, format!("{second}\n")).expect("the folder is ours");
        fs::rename(new, self.folder.path().join("clock")).expect("the folder is ours");
    }

    /// Deletes everything.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn flush(&self) {
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut self.connection().await)
            .await
            .expect("FLUSHALL");
    }

    /// The names of all keys, sorted.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn keys(&self) -> Vec<String> {
        let mut command = redis::cmd("KEYS");
        command.arg("*");
        let mut keys: Vec<String> = command
            .query_async(&mut self.connection().await)
            .await
            .expect("KEYS");
        keys.sort();
        keys
    }

    /// How often each command was called since the last [`reset_stats`](Self::reset_stats), also from scripts;
    /// names in lower case (`evalsha`, `config|set`). The two commands that these methods send are left out.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn command_calls(&self) -> BTreeMap<String, u64> {
        info(&mut self.connection().await, "commandstats")
            .await
            .lines()
            .filter_map(|line| {
                let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
                let calls = numbers.split(',').next()?.parse().ok()?;
                Some((name.to_owned(), calls))
            })
            .filter(|(name, _)| name != "info" && name != "config|resetstat")
            .collect()
    }

    /// Starts counting commands anew.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn reset_stats(&self) {
        let mut command = redis::cmd("CONFIG");
        command.arg("RESETSTAT");
        let () = command
            .query_async(&mut self.connection().await)
            .await
            .expect("CONFIG RESETSTAT");
    }

    /// The end of what the server has printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Starts the process and waits until it, and nobody else on that port, answers.
    async fn launch(&mut self) -> Result<(), PortTaken> {
        let (program, mut arguments) = ("redis-server", self.arguments());
        let process = if self.own_clock {
            arguments.insert(0, program.to_owned());
            arguments.splice(0..0, self.clock_settings());
            // `env` becomes the server, so the process id is the server's.
            Guarded::spawn("env", &arguments, self.folder.path())
        } else {
            Guarded::spawn(program, &arguments, self.folder.path())
        };
        let pid = process.pid();
        self.process = Some(process);
        let deadline = Instant::now() + START_LIMIT;
        while !timeout(ANSWER_LIMIT, self.answers_as(pid))
            .await
            .unwrap_or(false)
        {
            if self.process().has_ended() {
                if self.log_tail().contains("Address already in use") {
                    self.kill();
                    return Err(PortTaken);
                }
                panic!("redis-server has ended");
            }
            assert!(
                Instant::now() < deadline,
                "redis-server does not answer after {START_LIMIT:?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What makes the server read its wall clock's offset from a file, each time it looks at the clock.
    fn clock_settings(&self) -> [String; 5] {
        let library = format!(
            "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
            std::env::consts::ARCH
        );
        assert!(
            Path::new(&library).exists(),
            "{library}: install libfaketime"
        );
        let file = self.folder.path().join("clock");
        [
            // libc before jemalloc: that one looks at the clock while it allocates, and libfaketime allocates while
            // it looks at the file, and so on without end.
            format!("LD_PRELOAD={library} libc.so.6"),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            // Of times that are not relative to the true one.
            "FAKETIME_FMT=%s".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }

    fn arguments(&self) -> Vec<String> {
        let port = self.port.to_string();
        let folder = self
            .folder
            .path()
            .to_str()
            .expect("the folder's name is text");
        let common = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let bus = self
            .bus_port()
            .map(|port| ["--cluster-port".to_owned(), port.to_string()]);
        let common = common.iter().map(ToString::to_string);
        common
            .chain(bus.into_iter().flatten())
            .chain(self.options.iter().cloned())
            .collect()
    }

    /// Whether the server on our port is the process that we started, and has loaded its data.
    async fn answers_as(&self, pid: u32) -> bool {
        let Ok(mut connection) = self.connect().await else {
            return false;
        };
        let answer: Result<String, _> = redis::cmd("INFO").query_async(&mut connection).await;
        answer.is_ok_and(|info| {
            let has = |wanted: &str| info.lines().any(|line| line == wanted);
            has(&format!("process_id:{pid}")) && has("loading:0")
        })
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        // The name of the library would be one more command in the statistics.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let client = Client::open(
            self.url()
                .into_connection_info()?
                .set_redis_settings(settings),
        )?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    fn process(&self) -> &Guarded {
        self.process.as_ref().expect("the server was not killed")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the end of the log of the redis-server on port {}:\n{}",
                self.port,
                self.log_tail()
            );
        }
    }
}

/// One section of `INFO`.
async fn info(connection: &mut MultiplexedConnection, section: &str) -> String {
    redis::cmd("INFO")
        .arg(section)
        .query_async(connection)
        .await
        .expect("INFO")
}

/// A port that nobody listens on.
///
/// Below the range from which the kernel takes the ports of outgoing connections: there, while a server is down for
/// a restart, somebody's connection may sit on its port, and a client that tries to reconnect may even reach itself.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().hash_one(()) % 20_000;
        let port = 11_000 + u16::try_from(random).expect("less than 20,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
