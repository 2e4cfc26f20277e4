//! The support itself: what the other tests stand on must do what it says.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_lock_tests::{Cluster, History, Program, Proxy, Server, eventually, unique_key};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that something that would happen at once does not happen.
const A_WHILE: Duration = Duration::from_millis(300);

type Reply = redis::RedisResult<Option<String>>;

#[tokio::test]
async fn a_server_is_empty_answers_and_goes_with_its_folder() {
    let server = Server::start().await;
    let folder = server.folder().to_owned();
    let pid = server.pid();
    assert_eq!(server.keys().await, Vec::<String>::new());
    let () = server.manager().await.set("b", 1).await.unwrap();
    let () = server.connection().await.set("a", 1).await.unwrap();
    assert_eq!(server.keys().await, ["a", "b"]);
    server.flush().await;
    assert_eq!(server.keys().await, Vec::<String>::new());
    assert!(server.log_tail().contains("Ready to accept connections"));
    assert!(folder.exists() && is_running(pid));
    drop(server);
    assert!(!folder.exists() && !is_running(pid));
}

#[tokio::test]
async fn a_server_takes_options() {
    let server = Server::start_with(&["--maxmemory", "1mb"]).await;
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("maxmemory");
    let answer: (String, u64) = command
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    assert_eq!(answer.1, 1024 * 1024);
}

#[tokio::test]
#[should_panic(expected = "redis-server has ended")]
async fn a_server_that_cannot_start_is_not_waited_for() {
    let _ = Server::start_with(&["--no-such-option", "1"]).await;
}

#[tokio::test]
async fn commands_are_counted_and_the_counting_is_not() {
    let server = Server::start().await;
    server.reset_stats().await;
    assert!(server.command_calls().await.is_empty());
    let mut connection = server.connection().await;
    let () = connection.set("a", 1).await.unwrap();
    let script =
        redis::Script::new("redis.call('GET', KEYS[1]); return redis.call('GET', KEYS[1])");
    let _: String = script.key("a").invoke_async(&mut connection).await.unwrap();
    let calls = server.command_calls().await;
    assert_eq!((calls["set"], calls["get"], calls["evalsha"]), (1, 2, 2));
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_resumes() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    server.pause().await;
    let mut ping = tokio::spawn(async move { connection.ping::<String>().await });
    assert!(
        timeout(A_WHILE, &mut ping).await.is_err(),
        "it answered while paused"
    );
    server.resume();
    assert_eq!(timeout(SOON, ping).await.unwrap().unwrap().unwrap(), "PONG");
}

#[tokio::test]
async fn a_killed_server_refuses_and_comes_back_empty_on_its_port() {
    let mut server = Server::start().await;
    let url = server.url();
    let () = server.connection().await.set("a", 1).await.unwrap();
    server.kill();
    assert!(
        TcpStream::connect(("127.0.0.1", server.port()))
            .await
            .is_err()
    );
    server.restart().await;
    assert_eq!(server.url(), url);
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_with_a_log_of_writes_comes_back_with_its_data() {
    let mut server = Server::start_with(&["--appendonly", "yes"]).await;
    let () = server.connection().await.set("a", 1).await.unwrap();
    server.restart().await;
    assert_eq!(server.keys().await, ["a"]);
}

#[tokio::test]
async fn a_server_with_its_own_clock_can_be_moved_both_ways() {
    const HOUR: i64 = 3600;
    let server = Server::with_own_clock().await;
    let mut connection = server.connection().await;
    let mut clock = async || {
        let (seconds, _): (i64, i64) = redis::cmd("TIME")
            .query_async(&mut connection)
            .await
            .unwrap();
        seconds
    };
    let start = clock().await;
    server.set_clock(-HOUR * 1000);
    assert!((start - HOUR..start - HOUR / 2).contains(&clock().await));
    server.set_clock(HOUR * 1000);
    assert!((start + HOUR..start + 2 * HOUR).contains(&clock().await));
    let () = server
        .connection()
        .await
        .pset_ex("a", 1, 5000)
        .await
        .unwrap();
    server.set_clock(HOUR * 1000 + 6000);
    assert_eq!(server.connection().await.get("a").await, Ok(None::<i32>));
}

#[tokio::test]
async fn a_replica_follows_and_can_be_promoted() {
    let (master, replica) = Server::with_replica().await;
    let () = master.connection().await.set("a", 1).await.unwrap();
    eventually(SOON, "the key arrives", async || {
        replica.keys().await == ["a"]
    })
    .await;
    let refused: redis::RedisResult<()> = replica.connection().await.set("b", 1).await;
    assert_eq!(refused.unwrap_err().code(), Some("READONLY"));
    replica.promote().await;
    let () = replica.connection().await.set("b", 1).await.unwrap();
    assert_eq!(master.keys().await, ["a"]);
}

#[tokio::test]
async fn a_server_goes_when_the_test_that_has_it_is_killed() {
    let mut test = Program::start(env!("CARGO_BIN_EXE_server"), &[]);
    let line = test.line().await;
    let (pid, folder) = line.split_once(' ').unwrap();
    let (pid, folder) = (pid.parse().unwrap(), PathBuf::from(folder));
    assert!(is_running(pid) && folder.exists());
    test.kill().await;
    eventually(SOON, "the server and its folder are gone", async || {
        !is_running(pid) && !folder.exists()
    })
    .await;
}

#[tokio::test]
async fn a_cluster_serves_every_slot() {
    let cluster = Cluster::start().await;
    let mut connection = cluster.connection().await;
    // One key for each of the three nodes.
    for (key, slot) in [("b", 3300), ("c", 7365), ("a", 15_495)] {
        assert_eq!(cluster.slot_of(key).await, slot);
        let () = connection.set(key, 1).await.unwrap();
    }
    assert_eq!(cluster.keys().await, ["a", "b", "c"]);
    for node in cluster.nodes() {
        assert_eq!(node.keys().await.len(), 1);
    }
    assert_eq!(cluster.urls().len(), 3);
}

#[tokio::test]
async fn a_proxy_passes_requests_and_counts_them() {
    let (server, proxy, mut connection) = behind_proxy().await;
    let () = connection.set("a", 1).await.unwrap();
    assert_eq!(server.keys().await, ["a"]);
    assert!(proxy.forwarded().ends_with(&["SET".to_owned()]));
}

#[tokio::test]
async fn a_hanging_link_delivers_late() {
    let (server, proxy, mut connection) = behind_proxy().await;
    proxy.hang();
    let set = tokio::spawn(async move { connection.set::<_, _, ()>("a", 1).await });
    assert!(
        TcpStream::connect(("127.0.0.1", port_of(&proxy)))
            .await
            .is_ok()
    );
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((set.is_finished(), server.keys().await), (false, vec![]));
    proxy.pass().await;
    timeout(SOON, set).await.unwrap().unwrap().unwrap();
    assert_eq!(server.keys().await, ["a"]);
}

#[tokio::test]
async fn a_link_that_hangs_after_the_request_holds_the_reply_back() {
    let (server, proxy, mut connection) = behind_proxy().await;
    proxy.delay_replies(A_WHILE);
    let set = tokio::spawn(async move { connection.set::<_, _, ()>("a", 1).await });
    eventually(SOON, "the request arrives", async || {
        server.keys().await == ["a"]
    })
    .await;
    proxy.hang();
    tokio::time::sleep(2 * A_WHILE).await;
    assert!(!set.is_finished());
    proxy.pass().await;
    timeout(SOON, set).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_cut_link_breaks_connections_and_refuses_new_ones() {
    let (_server, proxy, mut connection) = behind_proxy().await;
    proxy.cut().await;
    let broken: Reply = timeout(SOON, connection.get("a")).await.unwrap();
    assert!(broken.is_err());
    assert!(
        TcpStream::connect(("127.0.0.1", port_of(&proxy)))
            .await
            .is_err()
    );
    proxy.pass().await;
    let mut connection = connect(&proxy).await;
    let _: Option<String> = connection.get("a").await.unwrap();
}

#[tokio::test]
async fn a_proxy_leads_new_connections_elsewhere() {
    let (server, proxy, mut connection) = behind_proxy().await;
    let other = Server::start().await;
    proxy.lead_to(other.port());
    let () = connection.set("a", 1).await.unwrap();
    let () = connect(&proxy).await.set("b", 1).await.unwrap();
    assert_eq!(server.keys().await, ["a"]);
    assert_eq!(other.keys().await, ["b"]);
}

#[tokio::test]
async fn delayed_replies_are_late_but_not_one_after_another() {
    const DELAY: Duration = Duration::from_secs(1);
    let (_server, proxy, mut connection) = behind_proxy().await;
    proxy.delay_replies(DELAY);
    let mut other = connection.clone();
    let start = Instant::now();
    let pair: (Reply, Reply) = tokio::join!(connection.get("a"), async {
        // So that the two replies do not come in one piece.
        tokio::time::sleep(DELAY / 10).await;
        other.get("a").await
    });
    assert!(pair.0.is_ok() && pair.1.is_ok());
    let took = start.elapsed();
    assert!(
        (DELAY * 11 / 10..DELAY * 2).contains(&took),
        "took {took:?}"
    );
}

#[tokio::test]
async fn a_dropped_reply_belongs_to_a_command_that_ran() {
    let (server, proxy, mut connection) = behind_proxy().await;
    proxy.drop_next_reply("set");
    let _: Option<String> = connection.get("a").await.unwrap();
    assert_eq!(proxy.traps_left(), 1);
    server.pause().await;
    let mut set = tokio::spawn(async move { connection.set::<_, _, ()>("a", 1).await });
    assert!(
        timeout(A_WHILE, &mut set).await.is_err(),
        "the break came before the command ran"
    );
    server.resume();
    assert!(timeout(SOON, set).await.unwrap().unwrap().is_err());
    // Once the client sees the break, the command has run: no need to wait for it.
    assert_eq!(server.keys().await, ["a"]);
    assert_eq!(proxy.traps_left(), 0);
    let () = connect(&proxy).await.set("a", 2).await.unwrap();
}

#[tokio::test]
async fn one_request_can_be_delayed() {
    let (_server, proxy, mut connection) = behind_proxy().await;
    proxy.delay_next_request("SET", A_WHILE);
    let start = Instant::now();
    let () = connection.set("a", 1).await.unwrap();
    assert!(start.elapsed() >= A_WHILE);
    assert_eq!(proxy.traps_left(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_is_gone_from_the_server() {
    let (server, proxy, connection) = behind_proxy().await;
    let clients = async || {
        let mut command = redis::cmd("CLIENT");
        command.arg("LIST");
        let list: String = command
            .query_async(&mut server.connection().await)
            .await
            .unwrap();
        list.lines().count()
    };
    let before = clients().await;
    drop(connection);
    eventually(SOON, "its connection is closed", async || {
        clients().await == before - 1
    })
    .await;
    drop(proxy);
}

#[test]
fn a_history_without_fault() {
    let history = History::new();
    let first = history.read("a", 1);
    let elsewhere = history.write("b", 1);
    // Two readers that came in together may note it in any order.
    let third = history.read("a", 3);
    let second = history.read("a", 2);
    drop((first, second, third, elsewhere));
    drop(history.write("a", 4));
    let _inside = history.write("a", 5);
    history.check();
    assert_eq!(history.len(), 6);
}

#[test]
fn a_history_finds_a_writer_beside_a_reader() {
    let history = History::new();
    let reader = history.read("a", 1);
    drop(history.read("a", 2));
    let writer = history.write("a", 3);
    drop((reader, writer));
    assert_fault(&history, "inside together");
}

#[test]
fn a_history_finds_a_reader_beside_a_writer_that_is_still_inside() {
    let history = History::new();
    let _writer = history.write("a", 1);
    drop(history.read("a", 2));
    assert_fault(&history, "inside together");
}

#[test]
fn a_history_finds_a_token_that_goes_back() {
    let history = History::new();
    drop(history.write("a", 5));
    // Two readers that came in together, of which one had left before the other noticed.
    drop(history.read("a", 9));
    drop(history.read("a", 8));
    assert_eq!(history.fault(), None);
    drop(history.write("a", 6));
    assert_fault(&history, "a token that does not rise");
}

#[test]
fn a_history_finds_a_reader_with_a_token_below_a_writers() {
    let history = History::new();
    drop(history.write("a", 7));
    drop(history.read("a", 6));
    assert_fault(&history, "a token that does not rise");
}

#[test]
fn a_history_finds_a_token_that_comes_twice() {
    let history = History::new();
    let first = history.read("a", 7);
    drop(history.read("a", 7));
    drop(first);
    assert_fault(&history, "a token that does not rise");
}

#[tokio::test]
#[should_panic(expected = "not within 10ms: pigs fly")]
async fn what_never_happens_is_not_waited_for_for_ever() {
    eventually(Duration::from_millis(10), "pigs fly", async || false).await;
}

#[test]
fn keys_are_unique() {
    assert_ne!(unique_key(), unique_key());
}

async fn behind_proxy() -> (Server, Proxy, redis::aio::MultiplexedConnection) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let connection = connect(&proxy).await;
    (server, proxy, connection)
}

/// A connection that waits for its answers as long as it takes.
async fn connect(proxy: &Proxy) -> redis::aio::MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(proxy.url()).unwrap();
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

fn port_of(proxy: &Proxy) -> u16 {
    proxy.url().rsplit(':').next().unwrap().parse().unwrap()
}

/// Whether there is such a process, also one that only waits to be collected.
fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn assert_fault(history: &History, expected: &str) {
    let fault = history.fault().expect("a fault");
    assert!(fault.starts_with(expected), "{fault}");
}
