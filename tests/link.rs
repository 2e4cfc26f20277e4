//! The link: a command whose answer is lost or late may have been executed, and may not.
//!
//! Guards against a second hold from a second try, a release that is reported as a loss, a guard that has run out when
//! it is handed over, and connections that are never replaced.

use std::error::Error as _;
use std::time::{Duration, Instant};

use redis_lock::{Error, Guard, Locker, Mode};
use redis_lock_tests::{Proxy, Server, eventually, unique_key};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);
/// What is left behind is not gone by itself while a test runs.
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_acquisition_whose_reply_is_lost_gets_one_hold() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await.ttl(MINUTE);
    for mode in [Mode::Write, Mode::Read] {
        let key = unique_key();
        proxy.drop_next_reply("EVAL");
        let guard = locker.clone().mode(mode).lock(&key).await.unwrap();
        assert_eq!(proxy.traps_left(), 0);
        assert!(!guard.is_lost());
        // Had the second try another id, the first one's hold would be left.
        guard.unlock().await.unwrap();
        let guard = locker.try_write(&key).await.unwrap();
        guard.expect("it is free").unlock().await.unwrap();
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_place_in_line_whose_reply_is_lost_is_one_place() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await.ttl(MINUTE).wait(SOON);
    let key = unique_key();
    let direct = Locker::connect(&server.url()).await.unwrap();
    let guard = direct.write(&key).await.unwrap();
    proxy.drop_next_reply("EVAL");
    let waiter = tokio::spawn(locker.write(&key));
    eventually(SOON, "it is in line", async || {
        proxy.traps_left() == 0 && server.keys().await.iter().any(|name| name.contains("#q"))
    })
    .await;
    guard.unlock().await.unwrap();
    waiter.await.unwrap().unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn an_acquisition_that_nobody_waits_for_any_more_is_withdrawn() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await.ttl(MINUTE);
    for lost in [false, true] {
        if lost {
            proxy.drop_next_reply("EVAL");
        }
        proxy.delay_replies(Duration::from_millis(200));
        let abandoned = tokio::spawn(locker.write(unique_key()));
        eventually(SOON, "it is executed", async || {
            !server.keys().await.is_empty()
        })
        .await;
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        proxy.delay_replies(Duration::ZERO);
        nothing_is_left(&server).await;
    }
}

#[tokio::test]
async fn a_release_whose_reply_is_lost_is_a_success() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await.ttl(MINUTE);
    let key = unique_key();
    let other = Locker::connect(&server.url()).await.unwrap().ttl(MINUTE);
    let (reader, other) = (locker.read(&key).await, other.read(&key).await);
    let writer = locker.write(unique_key()).await.unwrap();
    for guard in [writer, reader.unwrap()] {
        proxy.drop_next_reply("EVAL");
        guard.unlock().await.unwrap();
        assert_eq!(proxy.traps_left(), 0);
    }
    other.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_release_that_is_dropped_goes_on() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await.ttl(MINUTE);
    let key = unique_key();
    drop(locker.read(&key).await.unwrap());
    nothing_is_left(&server).await;
    drop(locker.write(&key).await.unwrap().unlock());
    nothing_is_left(&server).await;
    for pause in [0, 100] {
        let guard = locker.write(&key).await.unwrap();
        proxy.delay_next_request("EVAL", Duration::from_millis(200));
        let unlock = timeout(Duration::from_millis(pause), guard.unlock()).await;
        assert!(unlock.is_err(), "it is dropped before it is done");
        nothing_is_left(&server).await;
        assert_eq!(proxy.traps_left(), 0);
    }
    for pause in [0, 100] {
        let guard = locker.write(&key).await.unwrap();
        proxy.cut().await;
        let unlock = timeout(Duration::from_millis(pause), guard.unlock()).await;
        assert!(unlock.is_err(), "it is dropped between two tries");
        proxy.pass().await;
        nothing_is_left(&server).await;
    }
}

#[tokio::test]
async fn a_release_over_a_broken_link_goes_on() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await.ttl(MINUTE);
    let unlocked = locker.write(unique_key()).await.unwrap();
    let dropped = locker.read(unique_key()).await.unwrap();
    proxy.cut().await;
    drop(dropped);
    let start = Instant::now();
    let error = unlocked.unlock().await.unwrap_err();
    assert!(error.is_redis(), "{error}");
    assert!(start.elapsed() < SOON, "it ends, although Redis is away");
    proxy.pass().await;
    nothing_is_left(&server).await;
}

/// Whatever the delay, there is an error or a guard that is good for something.
#[tokio::test]
async fn a_late_answer_gives_no_guard_that_has_run_out() {
    const TTL: Duration = Duration::from_secs(1);
    let server = Server::start().await;
    let mut tasks = JoinSet::new();
    for delay in [100, 300, 450, 550, 900, 1050, 2000] {
        let proxy = Proxy::start(server.port()).await;
        let locker = warm(&proxy).await.ttl(TTL).wait(2 * TTL);
        tasks.spawn(async move {
            proxy.delay_replies(Duration::from_millis(delay));
            let result = timeout(SOON, locker.write(unique_key())).await;
            match result.expect("it ends") {
                Ok(guard) => {
                    assert!(guard.valid_for() > Duration::ZERO, "{delay} ms");
                    assert!(delay < 1000);
                    proxy.delay_replies(Duration::ZERO);
                    drop(guard);
                }
                Err(error) => {
                    assert!(error.is_redis(), "{delay} ms: {error}");
                    assert!(delay > 300);
                }
            }
            proxy
        });
    }
    let proxies = tasks.join_all().await;
    nothing_is_left(&server).await;
    drop(proxies);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await;
    proxy.cut().await;
    let key = unique_key();
    for result in [
        timeout(SOON, locker.write(&key)).await.map(drop_guard),
        timeout(SOON, locker.try_read(&key))
            .await
            .map(|tried| tried.map(drop)),
    ] {
        let error = result.expect("it ends").unwrap_err();
        assert!(error.is_redis());
        assert_eq!(error.key().unwrap(), &*key);
        let text = error.to_string();
        assert!(
            text.contains(&key) && text.contains(": connection "),
            "{text}"
        );
        assert!(error.source().is_none(), "the message has said why");
    }
    let result = timeout(SOON, Locker::connect(&proxy.url())).await;
    let error = result.expect("it ends").unwrap_err();
    assert!(error.is_redis() && error.key().is_none(), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = warm(&proxy).await;
    proxy.hang();
    let result = timeout(SOON, Locker::connect(&proxy.url())).await;
    assert!(result.expect("it ends").unwrap_err().is_redis());
    let result = timeout(SOON, locker.write(unique_key())).await;
    assert!(result.expect("it ends").unwrap_err().is_redis());
}

#[tokio::test]
async fn connections_come_back_after_a_restart() {
    let mut server = Server::start().await;
    let lockers = [
        Locker::connect(&server.url()).await.unwrap(),
        Locker::new(server.manager().await),
    ];
    for turn in 0..2 {
        for locker in &lockers {
            let locker = locker.clone().wait(SOON);
            locker.write(unique_key()).await.unwrap().await.unwrap();
            // The second time, somebody has noticed before.
            if turn == 1 {
                server.restart().await;
            }
        }
        server.restart().await;
    }
}

/// As behind a firewall that has forgotten a connection: it hangs for ever, and a new one would work.
#[tokio::test]
async fn a_connection_that_hangs_is_replaced() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    for ttl in [Duration::from_millis(200), MINUTE] {
        let locker = warm(&proxy).await.ttl(ttl).wait(SOON);
        proxy.delay_next_request("EVAL", MINUTE);
        let guard = locker.write(unique_key()).await.unwrap();
        guard.unlock().await.unwrap();
    }
}

/// A locker whose server knows the scripts, so that a command is one round trip.
async fn warm(proxy: &Proxy) -> Locker {
    let locker = Locker::connect(&proxy.url()).await.unwrap();
    locker.write(unique_key()).await.unwrap().await.unwrap();
    locker
}

async fn nothing_is_left(server: &Server) {
    eventually(SOON, "nothing is left", async || {
        server.keys().await.is_empty()
    })
    .await;
}

fn drop_guard(result: Result<Guard, Error>) -> Result<(), Error> {
    result.map(drop)
}
