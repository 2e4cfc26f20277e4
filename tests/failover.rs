//! Failover: another server takes over, with all that the first one knew or without its last moments.
//!
//! Guards against connections that stay with a server which has become a replica, locks that are lost without a word,
//! and tokens that come twice. What no lock in Redis can do is shown as well: a lock that had not reached the replica
//! is gone, and somebody else may have it at once. Its holder is told.

use std::time::Duration;

use redis_lock::{Guard, Locker, Mode};
use redis_lock_tests::{Proxy, Server, eventually, unique_key};
use tokio::time::{sleep, timeout};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_server_that_becomes_a_replica_and_a_master_again() {
    let (server, other) = pair().await;
    let locker = connect(&server.url()).await;
    let writer = locker.write(unique_key()).await.unwrap();
    let reader = locker.read(unique_key()).await.unwrap();
    other.promote().await;
    server.follow(&other).await;
    for guard in [&writer, &reader] {
        let left = guard.valid_for();
        // A second more, for a busy machine.
        let told = timeout(left + Duration::from_secs(1), guard.lost()).await;
        told.expect("it is told at its deadline at the latest");
    }
    let impatient = locker.clone().wait(Duration::ZERO);
    let error = impatient.write(unique_key()).await.unwrap_err();
    assert!(format!("{error:?}").contains("read only"), "{error:?}");

    server.promote().await;
    let again = locker.write(writer.key()).await.unwrap();
    assert!(again.token() > writer.token());
    again.unlock().await.unwrap();
    assert!(writer.unlock().await.unwrap_err().is_lost());
}

/// The old master answers on, as a replica: nothing breaks the connections to it.
#[tokio::test]
async fn a_lock_outlives_a_failover_that_is_quicker_than_its_lease() {
    let (master, replica) = pair().await;
    let proxy = Proxy::start(master.port()).await;
    let locker = connect(&proxy.url()).await.ttl(2 * TTL);
    let writer = locker.write(unique_key()).await.unwrap();
    let reader = locker.read(unique_key()).await.unwrap();
    replicated(&master, &replica).await;
    replica.promote().await;
    proxy.lead_to(replica.port());
    master.follow(&replica).await;
    sleep(3 * TTL).await;
    assert!(!writer.is_lost() && !reader.is_lost());
    let rival = connect(&replica.url()).await;
    assert!(rival.try_read(writer.key()).await.unwrap().is_none());
    assert!(rival.try_write(reader.key()).await.unwrap().is_none());
    assert_later_is_greater(&locker, writer).await;
    assert_later_is_greater(&locker, reader).await;
}

/// The same where both servers know the scripts: then a replica refuses the renewals themselves.
#[tokio::test]
async fn renewals_do_not_stay_with_a_server_that_has_become_a_replica() {
    let (master, replica) = pair().await;
    renew_once(&master).await;
    let proxy = Proxy::start(master.port()).await;
    let locker = connect(&proxy.url()).await.ttl(4 * TTL);
    let writer = locker.write(unique_key()).await.unwrap();
    replicated(&master, &replica).await;
    replica.promote().await;
    proxy.lead_to(replica.port());
    master.follow(&replica).await;
    renew_once(&replica).await;
    sleep(5 * TTL).await;
    assert!(!writer.is_lost());
    writer.unlock().await.unwrap();
}

/// So that it knows that script.
async fn renew_once(server: &Server) {
    let brief = connect(&server.url()).await.ttl(TTL / 10);
    let guard = brief.write(unique_key()).await.unwrap();
    sleep(TTL / 5).await;
    guard.unlock().await.unwrap();
}

#[tokio::test]
async fn a_lock_outlives_its_server_if_it_was_replicated() {
    let (mut master, replica) = pair().await;
    let proxy = Proxy::start(master.port()).await;
    let locker = connect(&proxy.url()).await;
    let writer = locker.write(unique_key()).await.unwrap();
    let reader = locker.read(unique_key()).await.unwrap();
    replicated(&master, &replica).await;
    master.kill();
    replica.promote().await;
    proxy.lead_to(replica.port());
    sleep(TTL * 3 / 2).await;
    assert!(!writer.is_lost() && !reader.is_lost());
    // The new master had never heard of the scripts.
    assert!(replica.command_calls().await.contains_key("eval"));
    assert_later_is_greater(&locker, writer).await;
    assert_later_is_greater(&locker, reader).await;
}

#[tokio::test]
async fn a_lock_that_was_not_replicated_is_lost_and_told() {
    let (mut master, replica) = pair().await;
    let proxy = Proxy::start(master.port()).await;
    let locker = connect(&proxy.url()).await;
    // From here on it hears nothing.
    replica.promote().await;
    let writer = locker.write(unique_key()).await.unwrap();
    let reader = locker.read(unique_key()).await.unwrap();
    master.kill();
    proxy.lead_to(replica.port());
    let rival = connect(&replica.url()).await;
    let taken = rival.write(writer.key()).await.unwrap();
    assert!(taken.token() > writer.token());
    for guard in [&writer, &reader] {
        let left = guard.valid_for();
        let told = timeout(left + Duration::from_secs(1), guard.lost()).await;
        told.expect("it is told at its deadline at the latest");
    }
    assert!(writer.unlock().await.unwrap_err().is_lost());
    assert!(reader.unlock().await.unwrap_err().is_lost());
    taken.unlock().await.unwrap();
}

#[tokio::test]
async fn tokens_rise_whatever_happens() {
    let (mut master, replica) = pair().await;
    let proxy = Proxy::start(master.port()).await;
    let locker = connect(&proxy.url()).await.wait(SOON);
    let key = unique_key();
    let mut last = 0;
    let mut rises = |what: &str, token: u64| {
        assert!(token > last, "after {what}: {token}, and {last} before");
        assert!(token < 1 << 53);
        last = token;
    };
    for mode in [Mode::W, Mode::R, Mode::R, Mode::W, Mode::W] {
        let guard = locker.clone().mode(mode).lock(&key).await.unwrap();
        rises("a release", guard.token());
        guard.unlock().await.unwrap();
    }
    let brief = locker.clone().ttl(Duration::from_millis(100));
    for mode in [Mode::W, Mode::R, Mode::W] {
        let brief = brief.clone().auto_extend(false).mode(mode);
        let guard = brief.lock(&key).await.unwrap();
        rises("the end of a lease", guard.token());
        timeout(SOON, guard.lost()).await.expect("it ends");
    }
    let waiting = locker.write(&key).await.unwrap();
    rises("the end of a lease", waiting.token());
    for mode in [Mode::R, Mode::W] {
        master.flush().await;
        let guard = locker.clone().mode(mode).lock(&key).await.unwrap();
        rises("FLUSHALL", guard.token());
    }
    master.restart().await;
    let guard = locker.write(&key).await.unwrap();
    rises("a restart", guard.token());
    guard.unlock().await.unwrap();
    replica.promote().await;
    for _ in 0..3 {
        let guard = locker.read(&key).await.unwrap();
        rises("a release", guard.token());
    }
    master.kill();
    proxy.lead_to(replica.port());
    let guard = locker.write(&key).await.unwrap();
    rises("a failover to a replica that lags behind", guard.token());
    guard.unlock().await.unwrap();
}

/// A master and its replica that may change roles without waiting for further replicas.
async fn pair() -> (Server, Server) {
    let (master, replica) = Server::with_replica().await;
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg("repl-diskless-sync-delay").arg(0);
    let () = command
        .query_async(&mut replica.connection().await)
        .await
        .unwrap();
    (master, replica)
}

async fn replicated(master: &Server, replica: &Server) {
    eventually(SOON, "the replica has it", async || {
        replica.keys().await == master.keys().await
    })
    .await;
}

/// Gives back what is held, which is still good, and takes it once more.
async fn assert_later_is_greater(locker: &Locker, guard: Guard) {
    let (key, token) = (guard.key().clone(), guard.token());
    guard.unlock().await.unwrap();
    let later = locker.write(key).await.unwrap();
    assert!(later.token() > token);
    later.unlock().await.unwrap();
}

async fn connect(url: &str) -> Locker {
    Locker::connect(url).await.unwrap().ttl(TTL)
}
