//! Guards against a wait that is not honoured: given up too early, far too late, or with a place in line left behind.

use std::time::{Duration, Instant};

use redis_lock::{Error, Locker, Mode, Wait};
use redis_lock_tests::{Proxy, Server};
use tokio::time::{sleep, timeout};

use crate::stage::{LONG, SOON, calls, enqueue, locker, nothing_is_left, soon};

const WAIT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn who_waits_in_vain_is_told_so_after_that_time() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let impatient = locker.clone().wait(WAIT);
    for asked_for in [Mode::Read, Mode::Write] {
        let start = Instant::now();
        let error = impatient
            .clone()
            .mode(asked_for)
            .lock("x")
            .await
            .unwrap_err();
        let took = start.elapsed();
        assert!((WAIT..SOON).contains(&took), "took {took:?}");
        assert!(error.is_contended());
        assert_eq!(error.key(), Some(&"x".into()));
        let text = error.to_string();
        assert!(text.starts_with(&format!("lock \"x\": no {asked_for} lock within ")));
        let Error::Contended { key, mode, waited } = error else {
            panic!("{error}");
        };
        assert_eq!((key, mode), ("x".into(), asked_for));
        assert!((WAIT..=took).contains(&waited), "waited {waited:?}");
    }
    holder.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn no_wait_is_one_try_and_one_command() {
    let server = Server::start().await;
    let holder = locker(&server.url()).await.read("x").await.unwrap();
    let locker = locker(&server.url()).await;
    server.reset_stats().await;
    let error = locker
        .clone()
        .wait(Duration::ZERO)
        .write("x")
        .await
        .unwrap_err();
    assert!(error.is_contended(), "{error}");
    assert_eq!(calls(&server).await, 1);

    assert!(locker.try_write("x").await.unwrap().is_none());
    assert!(locker.try_lock("x").await.unwrap().is_none());
    assert_eq!(calls(&server).await, 3);
    let beside = locker.try_read("x").await.unwrap().expect("readers share");
    // What this process holds itself it need not ask for.
    server.reset_stats().await;
    assert!(locker.try_write("x").await.unwrap().is_none());
    assert_eq!(calls(&server).await, 0);
    drop((holder, beside));
}

/// A second is what a Locker waits by itself.
#[tokio::test]
async fn who_waits_for_ever_outlasts_the_default() {
    let server = Server::start().await;
    let default = Locker::connect(&server.url()).await.unwrap();
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let forever = default.clone().wait(Wait::Forever);
    let forever = enqueue(&server, forever.write("x")).await;
    let start = Instant::now();
    let error = default.write("x").await.unwrap_err();
    assert!(error.is_contended(), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(1));
    holder.unlock().await.unwrap();
    soon(forever).await.unwrap().unlock().await.unwrap();
}

#[tokio::test]
async fn a_wait_that_is_over_does_not_hold_up_those_behind() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.read("x").await.unwrap();
    let writer = enqueue(&server, locker.clone().wait(WAIT).write("x")).await;
    let reader = enqueue(&server, locker.read("x")).await;
    assert!(soon(writer).await.unwrap_err().is_contended());
    // Let in by the writer's leaving, not by the holder's.
    soon(reader).await.unwrap().unlock().await.unwrap();
    holder.unlock().await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for_for_long() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let own = locker(&proxy.url()).await.wait(WAIT);
    let given = Locker::new(patient_connection(&proxy).await)
        .ttl(LONG)
        .wait(WAIT);
    let at = proxy.url().replace("redis://", " at ");
    for (locker, at) in [(own, at.as_str()), (given, "")] {
        locker.write("x").await.unwrap().unlock().await.unwrap();
        proxy.hang();
        let outcome = timeout(WAIT + SOON, locker.write("x")).await;
        let error = outcome.expect("it gives up").unwrap_err();
        assert!(error.is_redis(), "{error}");
        let text = format!("cannot reach Redis{at} for lock \"x\": no reply in time");
        assert_eq!(error.to_string(), text);
        proxy.pass().await;
        nothing_is_left(&server).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_while_one_waits_is_not_waited_for_for_long() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let waiting = locker(&proxy.url()).await.wait(2 * WAIT).write("x");
    let waiting = enqueue(&server, waiting).await;
    proxy.hang();
    let error = soon(waiting).await.unwrap_err();
    assert!(error.is_redis(), "{error}");
    proxy.pass().await;
    holder.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_short_hang_is_outlasted() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = locker(&proxy.url()).await;
    proxy.hang();
    let acquisition = tokio::spawn(locker.write("x"));
    // Longer than a connection of redis-rs waits for an answer.
    sleep(Duration::from_millis(800)).await;
    assert!(!acquisition.is_finished());
    proxy.pass().await;
    soon(acquisition).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// A connection that would wait for an answer as long as it takes, as a cluster's does.
async fn patient_connection(proxy: &Proxy) -> redis::aio::MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(proxy.url()).unwrap();
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.unwrap()
}
