//! Wake-ups over connections that users make themselves, set up as the documentation of `Wakeups` says.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis_lock::{Locker, Wakeups};
use redis_lock_tests::{Cluster, Server, eventually};
use tokio::time::{sleep, timeout};

use crate::stage::{
    LONG, SOON, all_in_line, ask, calls, locker, nothing_is_left, queued, soon, waiters,
};

/// Without wake-ups a waiter that is next asks at least so often.
const POLLS: u64 = 10;
/// What it takes to hear of a grant without wake-ups; and with them, on a machine that is busy.
const HEARTBEATS: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_connection_manager_of_the_users_has_wake_ups() {
    let server = Server::start().await;
    let wakeups = Wakeups::new();
    let config = ConnectionManagerConfig::new()
        .set_push_sender(wakeups.clone())
        .set_automatic_resubscription();
    let client = redis::Client::open(format!("{}/?protocol=resp3", server.url())).unwrap();
    let connection = ConnectionManager::new_with_config(client, config).await;
    let mut connection = connection.unwrap();
    connection.subscribe(wakeups.channel()).await.unwrap();
    let waiting = Locker::with_wakeups(connection, &wakeups);
    let waiting = waiting.ttl(LONG).wait(LONG);
    let other = locker(&server.url()).await;
    for cut in [false, true] {
        let holder = other.write("x").await.unwrap();
        let mut line = Vec::new();
        for _ in 0..3 {
            line.push(tokio::spawn(waiting.write("x")));
        }
        all_in_line(&server, 3).await;
        if cut {
            // The connection manager subscribes again, and says nothing of it: the next message shows that it has.
            let killed: usize = ask(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            assert_eq!(killed, 2);
            eventually(SOON, "it is subscribed again", async || {
                let channel = ["PUBSUB", "NUMSUB", wakeups.channel()];
                let (_, count): (String, u64) = ask(&server, &channel).await;
                count == 1
            })
            .await;
        } else {
            // Time is the subject: how often is asked for those who wait.
            server.reset_stats().await;
            sleep(Duration::from_secs(1)).await;
            let commands = calls(&server).await;
            assert!(commands < POLLS / 2, "{commands} commands in a second");
        }
        holder.unlock().await.unwrap();
        assert_eq!(queued(&server).await, 0, "all are let in together");
        let mut last = 0;
        for waiter in line {
            let guard = timeout(HEARTBEATS, waiter).await.expect("it hears of it");
            let guard = guard.unwrap().unwrap();
            assert!(guard.token() > last);
            last = guard.token();
            guard.unlock().await.unwrap();
        }
        nothing_is_left(&server).await;
    }
}

/// Whoever forgets to subscribe, or may not, has to ask.
#[tokio::test]
async fn a_connection_that_is_not_subscribed_polls() {
    let server = Server::start().await;
    let waiting = Locker::with_wakeups(server.manager().await, &Wakeups::new());
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let waiter = tokio::spawn(waiting.wait(LONG).write("x"));
    all_in_line(&server, 1).await;
    server.reset_stats().await;
    eventually(HEARTBEATS, "it polls", async || {
        calls(&server).await > POLLS
    })
    .await;
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// In a cluster each node passes on what is published on another one.
#[tokio::test]
async fn a_cluster_connection_of_the_users_has_wake_ups() {
    let cluster = Cluster::start().await;
    let wakeups = Wakeups::new();
    let client = ClusterClientBuilder::new(cluster.urls())
        .use_protocol(redis::ProtocolVersion::RESP3)
        .push_sender(wakeups.clone())
        .build()
        .unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    connection.subscribe(wakeups.channel()).await.unwrap();
    let waiting = Locker::with_wakeups(connection, &wakeups);
    let waiting = waiting.ttl(LONG).wait(LONG);
    let other = Locker::new(cluster.connection().await).ttl(LONG);
    // On different nodes.
    for key in ["a", "b", "c"] {
        let holder = other.write(key).await.unwrap();
        let waiter = tokio::spawn(waiting.write(key));
        eventually(SOON, "it stands in line", async || {
            let mut count = 0;
            for node in cluster.nodes() {
                count += waiters(node).await;
            }
            count == 1
        })
        .await;
        for node in cluster.nodes() {
            node.reset_stats().await;
        }
        // Time is the subject: how often is asked for one who waits.
        sleep(Duration::from_secs(1)).await;
        let mut commands = 0;
        for node in cluster.nodes() {
            commands += calls(node).await;
        }
        assert!(commands < POLLS / 2, "{commands} commands in a second");
        holder.unlock().await.unwrap();
        let guard = timeout(HEARTBEATS, waiter).await.expect("it hears of it");
        guard.unwrap().unwrap().unlock().await.unwrap();
    }
    eventually(SOON, "no key is left", async || {
        cluster.keys().await.is_empty()
    })
    .await;
}
