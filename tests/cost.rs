//! Guards against what a free lock may cost: one command and one round trip to take it, one to give it back.

use redis_lock::Mode;
use redis_lock_tests::{Proxy, Server};
use std::time::Duration;

use crate::stage::{locker, nothing_is_left};

#[tokio::test]
async fn a_free_lock_costs_one_command_and_giving_it_back_another() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = locker(&proxy.url()).await;
    for mode in [Mode::Read, Mode::Write] {
        let locker = locker.clone().mode(mode);
        locker.lock("x").await.unwrap().unlock().await.unwrap();
        nothing_is_left(&server).await;
        let before = proxy.forwarded().len();
        let sent = || proxy.forwarded().split_off(before);
        server.reset_stats().await;
        // So late that a second command that does not wait for this answer would be seen.
        proxy.delay_replies(Duration::from_millis(200));
        let guard = locker.lock("x").await.unwrap();
        assert_eq!(sent(), ["EVALSHA"], "{mode}");
        guard.unlock().await.unwrap();
        assert_eq!(sent(), ["EVALSHA", "EVALSHA"], "{mode}");
        proxy.delay_replies(Duration::ZERO);
        assert_eq!(server.command_calls().await["evalsha"], 2);
    }
    assert!(locker.try_lock("x").await.unwrap().is_some());
}

/// What the scripts do inside the server counts as well: one writer alone touches one of the lock's five keys.
#[tokio::test]
async fn a_sole_writer_needs_no_book() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    locker.write("x").await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
    server.reset_stats().await;
    let guard = locker.write("x").await.unwrap();
    assert_eq!(server.keys().await.len(), 1);
    guard.unlock().await.unwrap();
    let mut calls = server.command_calls().await;
    assert_eq!(calls.remove("keys"), Some(1), "that was this test's");
    assert_eq!(calls.remove("evalsha"), Some(2));
    let commands: Vec<_> = calls.keys().map(String::as_str).collect();
    assert_eq!(commands, ["get", "set", "time"]);
}
