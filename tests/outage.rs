//! Outages that pass: a connection is good again within a second of the server being good, whatever the reason was, a lock
//! whose ttl outlasts the outage survives it, and "not now" is not "no".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis_lock::{Guard, Locker, Mode};
use redis_lock_tests::{Cluster, Proxy, Server, eventually};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{LONG, SOON, ask, enqueue, locker, nothing_is_left, soon};

/// How long an outage lasts: several pauses between attempts to connect, and longer than a command may take.
const OUTAGE: Duration = Duration::from_millis(1500);
/// Outlasts it, and is renewed in it.
const TTL: Duration = Duration::from_secs(4);
/// How soon everything goes on behind an outage: a second, and what a busy machine takes.
const AGAIN: Duration = Duration::from_secs(3);

/// A user with all rights, to be taken away.
async fn with_user(server: &Server) -> String {
    allow(server).await;
    server.url().replace("redis://", "redis://ada:secret@")
}

async fn allow(server: &Server) {
    let words = [
        "ACL", "SETUSER", "ada", "on", ">secret", "~*", "&*", "+@all",
    ];
    ask::<()>(server, &words).await;
}

#[tokio::test]
async fn a_login_that_is_refused_for_a_moment_ends_no_connection_for_good() {
    let server = Server::start().await;
    let url = with_user(&server).await;
    let scene = Scene::begin(&server, &url).await;
    // That closes the user's connections as well.
    let gone: usize = ask(&server, &["ACL", "DELUSER", "ada"]).await;
    assert_eq!(gone, 1);
    let refused = scene.locker.clone().wait(Duration::ZERO).write("new").await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("WRONGPASS"), "{text}");
    sleep(OUTAGE).await;
    allow(&server).await;
    scene.goes_on(&server).await;
}

#[tokio::test]
async fn a_server_that_comes_back_and_refuses_the_login_is_tried_again() {
    let mut server = Server::start().await;
    let url = with_user(&server).await;
    let idle = Locker::connect(&url).await.unwrap();
    idle.write("x").await.unwrap().unlock().await.unwrap();
    // Without its users.
    server.restart().await;
    sleep(OUTAGE).await;
    allow(&server).await;
    let again = timeout(AGAIN, idle.wait(AGAIN).write("x")).await;
    again.expect("in time").unwrap().unlock().await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_answers_with_errors_for_a_moment_ends_no_connection_for_good() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let scene = Scene::begin(&server, &proxy.url()).await;
    proxy.refuse("-ERR no healthy upstream\r\n").await;
    sleep(OUTAGE).await;
    proxy.pass().await;
    scene.goes_on(&server).await;
}

#[tokio::test]
async fn a_link_that_hangs_for_a_moment_ends_no_connection_for_good() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let scene = Scene::begin(&server, &proxy.url()).await;
    proxy.hang();
    sleep(OUTAGE).await;
    proxy.pass().await;
    scene.goes_on(&server).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_for_by_few_connections() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = locker(&proxy.url()).await;
    proxy.refuse("-ERR no healthy upstream\r\n").await;
    let before = proxy.accepted();
    let waiters: Vec<_> = (0..50)
        .map(|key| tokio::spawn(locker.clone().wait(SOON).write(format!("x{key}"))))
        .collect();
    sleep(OUTAGE).await;
    let connections = proxy.accepted() - before;
    // Of this runtime and of the engine: pauses of 20 ms at first, of half a second in the end.
    assert!(connections <= 40, "{connections} connections in {OUTAGE:?}");
    proxy.pass().await;
    for waiter in waiters {
        soon(waiter).await.unwrap().unlock().await.unwrap();
    }
}

/// What an outage must not harm: locks that are held, dropped, waited for, asked for.
struct Scene {
    locker: Locker,
    other: Locker,
    writer: Guard,
    reader: Guard,
    holder: Guard,
    waiter: JoinHandle<Result<Guard, redis_lock::Error>>,
}

impl Scene {
    async fn begin(server: &Server, url: &str) -> Self {
        let locker = locker(url).await.ttl(TTL);
        let other = crate::stage::locker(&server.url()).await;
        let holder = other.write("waited").await.unwrap();
        let waiter = enqueue(server, locker.write("waited")).await;
        Scene {
            writer: locker.write("written").await.unwrap(),
            reader: locker.read("read").await.unwrap(),
            locker,
            other,
            holder,
            waiter,
        }
    }

    /// The server is good again.
    async fn goes_on(self, server: &Server) {
        let good = Instant::now();
        let new = self.locker.clone().wait(AGAIN).write("new").await.unwrap();
        assert!(good.elapsed() < AGAIN, "{:?}", good.elapsed());
        // Over the engine's connection.
        drop(new);
        let freed = self.other.clone().wait(AGAIN).write("new").await;
        freed
            .expect("a dropped lock is given back")
            .unlock()
            .await
            .unwrap();
        eventually(AGAIN, "what is held is renewed", async || {
            self.writer.valid_for().min(self.reader.valid_for()) > TTL * 3 / 4
        })
        .await;
        assert!(!self.writer.is_lost() && !self.reader.is_lost());
        // Wake-ups come in again, or the heartbeat finds the grant.
        self.holder.unlock().await.unwrap();
        let waited = timeout(AGAIN, self.waiter).await;
        waited
            .expect("in time")
            .unwrap()
            .unwrap()
            .unlock()
            .await
            .unwrap();
        self.writer.unlock().await.unwrap();
        self.reader.unlock().await.unwrap();
        let listens = async || {
            let channels: Vec<String> = ask(server, &["PUBSUB", "CHANNELS", "redis-lock:*"]).await;
            channels.len() == 2
        };
        eventually(AGAIN, "both listen", listens).await;
        nothing_is_left(server).await;
    }
}

#[tokio::test]
async fn too_few_replicas_are_not_now() {
    let server = Server::start().await;
    let set = async |replicas| {
        ask::<()>(
            &server,
            &["CONFIG", "SET", "min-replicas-to-write", replicas],
        )
        .await;
    };
    not_now(&server, async || set("1").await, async || set("0").await).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_to_is_not_now() {
    let server = Server::start_with(&["--dbfilename", "dump.folder"]).await;
    let begin = async || {
        // A save to a name that is a folder fails; then Redis refuses writes.
        std::fs::create_dir_all(server.folder().join("dump.folder/x")).unwrap();
        ask::<()>(&server, &["CONFIG", "SET", "save", "3600 1"]).await;
        let _: redis::RedisResult<String> = redis::cmd("BGSAVE")
            .query_async(&mut server.connection().await)
            .await;
        eventually(SOON, "the save has failed", async || {
            let info: String = ask(&server, &["INFO", "persistence"]).await;
            info.contains("rdb_last_bgsave_status:err")
        })
        .await;
    };
    let end = async || {
        ask::<()>(
            &server,
            &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"],
        )
        .await;
    };
    not_now(&server, begin, end).await;
}

#[tokio::test]
async fn a_script_of_another_client_that_runs_for_long_is_not_now() {
    let server = Server::start_with(&["--busy-reply-threshold", "50"]).await;
    let busy: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);
    let begin = async || {
        let mut connection = server.connection().await;
        let task = tokio::spawn(async move {
            let _: redis::RedisResult<()> = redis::cmd("EVAL")
                .arg("while true do end")
                .arg(0)
                .query_async(&mut connection)
                .await;
        });
        *busy.lock().unwrap() = Some(task);
        let mut connection = server.connection().await;
        eventually(SOON, "the server is busy", async || {
            let reply: redis::RedisResult<()> =
                redis::cmd("PING").query_async(&mut connection).await;
            reply.is_err()
        })
        .await;
    };
    let end = async || {
        let mut connection = server.connection().await;
        eventually(SOON, "the script is killed", async || {
            let killed: redis::RedisResult<()> = redis::cmd("SCRIPT")
                .arg("KILL")
                .query_async(&mut connection)
                .await;
            killed.is_ok()
        })
        .await;
    };
    not_now(&server, begin, end).await;
}

/// Waiters stay in their order, newcomers wait, what is dropped is given back, and what is held is kept.
async fn not_now(server: &Server, begin: impl AsyncFn(), end: impl AsyncFn()) {
    let locker = locker(&server.url()).await.ttl(TTL);
    let other = crate::stage::locker(&server.url()).await;
    let kept = locker.write("kept").await.unwrap();
    let unlocked = locker.write("unlocked").await.unwrap();
    let dropped = locker.write("dropped").await.unwrap();
    let holder = other.write("x").await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for (number, mode) in [(0, Mode::Write), (1, Mode::Read), (2, Mode::Write)] {
        let (locker, order) = (locker.clone().mode(mode), Arc::clone(&order));
        let waiter = async move {
            let guard = locker.lock("x").await.unwrap();
            order.lock().unwrap().push(number);
            guard.unlock().await.unwrap();
        };
        waiters.push(enqueue(server, waiter).await);
    }

    begin().await;
    drop(dropped);
    let newcomer = tokio::spawn(locker.clone().wait(SOON).write("new"));
    let short = locker.clone().wait(Duration::from_millis(100));
    let started = Instant::now();
    // Side by side: an outage that outlasts the leases of the waiters may cost them their order.
    let (short, outcome, ()) = tokio::join!(short.write("short"), unlocked.unlock(), sleep(OUTAGE));
    let error = short.unwrap_err();
    assert!(error.is_redis(), "not now is not contention: {error}");
    assert!(started.elapsed() < AGAIN, "{:?}", started.elapsed());
    assert!(outcome.is_err_and(|error| error.is_redis()));
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    end().await;

    for key in ["dropped", "unlocked"] {
        let freed = timeout(AGAIN, other.write(key)).await;
        freed
            .expect("it is given back")
            .unwrap()
            .unlock()
            .await
            .unwrap();
    }
    soon(newcomer).await.unwrap().unlock().await.unwrap();
    holder.unlock().await.unwrap();
    for waiter in waiters {
        soon(waiter).await;
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    assert!(!kept.is_lost());
    kept.unlock().await.unwrap();
    nothing_is_left(server).await;
}

/// Takes "x" over a connection of the user's to a server that refuses it with `code` until `end` is done.
async fn waits_through(
    code: &str,
    connection: MultiplexedConnection,
    mut asks: MultiplexedConnection,
    end: impl AsyncFnOnce(),
) {
    let locker = Locker::new(connection).ttl(TTL).wait(SOON);
    let refused = locker.clone().wait(Duration::ZERO).write("x").await;
    let text = refused.expect_err("it is refused").to_string();
    assert!(text.contains(code), "{text}");
    let waiter = tokio::spawn(async move { locker.write("x").await });
    let before = refusals(&mut asks, code).await;
    eventually(SOON, "it tries again", async || {
        refusals(&mut asks, code).await >= before + 2
    })
    .await;
    assert!(!waiter.is_finished());
    end().await;
    soon(waiter).await.unwrap().unlock().await.unwrap();
}

/// How often the server has said it.
async fn refusals(connection: &mut MultiplexedConnection, code: &str) -> u64 {
    let mut command = redis::cmd("INFO");
    let info: String = command
        .arg("errorstats")
        .query_async(connection)
        .await
        .unwrap();
    let name = format!("errorstat_{code}:count=");
    let count = info.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_cluster_that_is_not_complete_is_not_now() {
    let server = Server::start_with(&["--cluster-enabled", "yes"]).await;
    let (connection, asks) = (server.connection().await, server.connection().await);
    waits_through("CLUSTERDOWN", connection, asks, async || {
        ask::<()>(&server, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_is_being_moved_is_not_now() {
    let cluster = Cluster::start().await;
    let slot = cluster.slot_of("lock:#g:{x}").await;
    // Each of the three has a third of the slots.
    let nodes = cluster.nodes();
    let place = usize::from(slot) * nodes.len() / 16384;
    let (from, to) = (&nodes[place], &nodes[(place + 1) % nodes.len()]);
    let to: String = ask(to, &["CLUSTER", "MYID"]).await;
    let slot = slot.to_string();
    // Of the names of one lock some are there and some are not.
    ask::<()>(from, &["SET", "lock:#g:{x}", "free 1", "PX", "60000"]).await;
    ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]).await;
    let (connection, asks) = (from.connection().await, from.connection().await);
    waits_through("TRYAGAIN", connection, asks, async || {
        ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "STABLE"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_has_lost_its_master_is_not_now() {
    let server = Server::start_with(&["--replica-serve-stale-data", "no"]).await;
    let (connection, asks) = (server.connection().await, server.connection().await);
    // Nothing listens there.
    ask::<()>(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    waits_through("MASTERDOWN", connection, asks, async || {
        ask::<()>(&server, &["REPLICAOF", "NO", "ONE"]).await;
    })
    .await;
}

/// A command of ours has too many arguments to be answered with NOAUTH.
#[tokio::test]
async fn a_connection_that_is_not_logged_in_is_not_now() {
    let server = Server::start().await;
    let mut admin = server.connection().await;
    let mut password = async |password: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg(&["SET", "requirepass", password]);
        let _: () = config.query_async(&mut admin).await.unwrap();
    };
    password("secret").await;
    // It logs in with nothing, and only finds out with its first command.
    let locker = Locker::new(server.manager().await).ttl(TTL);
    let waiter = tokio::spawn(locker.wait(SOON).write("x"));
    sleep(Duration::from_millis(500)).await;
    assert!(!waiter.is_finished());
    password("").await;
    soon(waiter).await.unwrap().unlock().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_away_is_asked_seldom() {
    let mut cluster = Cluster::start().await;
    let locker = Locker::new(cluster.connection().await).ttl(LONG);
    locker.write("x").await.unwrap().unlock().await.unwrap();
    let said = crate::reader::Reader::start();
    for node in cluster.nodes_mut() {
        node.kill();
    }
    let outcome = timeout(SOON, locker.wait(Duration::from_secs(3)).write("x")).await;
    let error = outcome.expect("it ends").unwrap_err();
    assert!(error.is_redis(), "{error}");
    if let Some(said) = said {
        let lines = said.with(&[]).len();
        assert!(lines < 40, "{lines} lines");
    }
}
