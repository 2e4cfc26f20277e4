//! Guards against a lock that does not work in a Redis Cluster: its names in more than one slot, or a cluster's
//! connection that the library cannot use.

use std::collections::BTreeSet;

use redis_lock::Locker;
use redis_lock_tests::{Cluster, eventually};
use tokio::time::timeout;

use crate::stage::{LONG, SOON, soon};

/// Braces that are a hash tag, that are none, and none at all.
const KEYS: [&str; 12] = [
    "a",
    "b",
    "c",
    "{a}",
    "{user:7}:cart",
    "{}a",
    "a{}",
    "}{",
    "{{a}}",
    "a}b{c",
    "{a",
    "}a{b}c",
];

#[tokio::test]
async fn a_lock_in_a_cluster_is_a_lock_like_any_other() {
    let cluster = Cluster::start().await;
    let locker = Locker::new(cluster.connection().await).ttl(LONG).wait(LONG);
    for key in KEYS {
        let holder = locker.write(key).await.unwrap();
        assert!(locker.try_read(key).await.unwrap().is_none(), "{key}");
        let writer = tokio::spawn(locker.write(key));
        in_line(&cluster, 1).await;
        let reader = tokio::spawn(locker.read(key));
        in_line(&cluster, 2).await;

        let mut slots = BTreeSet::new();
        let names = cluster.keys().await;
        for name in &names {
            slots.insert(cluster.slot_of(name).await);
        }
        assert_eq!(slots.len(), 1, "{key}: {names:?}");
        assert!(names.len() > 1, "{key}: {names:?}");

        let first = holder.token();
        holder.unlock().await.unwrap();
        let writer = soon(writer).await.unwrap();
        assert!(writer.token() > first);
        drop(writer);
        soon(reader).await.unwrap().unlock().await.unwrap();
        eventually(SOON, "no key is left", async || {
            cluster.keys().await.is_empty()
        })
        .await;
    }
}

/// Where a name without braces lies, a lock's names lie: scripts of the user's may use both together.
#[tokio::test]
async fn a_lock_lies_where_its_key_does() {
    let cluster = Cluster::start().await;
    let locker = Locker::new(cluster.connection().await);
    for key in ["a", "order:42", "{user:7}:cart"] {
        let lock = timeout(SOON, locker.write(key)).await.unwrap().unwrap();
        for name in cluster.keys().await {
            assert_eq!(cluster.slot_of(&name).await, cluster.slot_of(key).await);
        }
        lock.unlock().await.unwrap();
        eventually(SOON, "no key is left", async || {
            cluster.keys().await.is_empty()
        })
        .await;
    }
}

async fn in_line(cluster: &Cluster, count: usize) {
    eventually(SOON, "the newcomer stands in line", async || {
        let mut waiting = 0;
        for node in cluster.nodes() {
            waiting += crate::stage::waiters(node).await;
        }
        waiting >= count
    })
    .await;
}
