//! Many leases of one process at a time: they are renewed together, and must not suffer together.

use std::time::Duration;

use redis_lock::{Guard, Locker};
use redis_lock_tests::{Cluster, Server, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{SOON, ask, calls, locker};

const TTL: Duration = Duration::from_secs(1);
/// Time is the subject: each lease has to be renewed about twelve times.
const STAY: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_locks_are_kept_and_a_bad_one_spoils_no_other() {
    const LOCKS: u64 = 2000;
    let server = Server::start().await;
    let locker = locker(&server.url()).await.ttl(TTL);
    let mut guards = take(&locker, LOCKS).await;
    server.reset_stats().await;
    let start = Instant::now();
    let (foreign, deleted) = (guards.swap_remove(1500), guards.swap_remove(500));
    let gate = |guard: &Guard| format!("lock:#g:{{{}}}", guard.key());
    let () = ask(&server, &["SET", &gate(&foreign), "theirs"]).await;
    let gone: u64 = ask(&server, &["DEL", &gate(&deleted)]).await;
    assert_eq!(gone, 1);
    for bad in [foreign, deleted] {
        timeout(SOON, bad.lost()).await.expect("it is told");
        assert!(start.elapsed() < TTL + TTL / 2, "with its next renewal");
    }
    sleep(STAY.saturating_sub(start.elapsed())).await;
    let (renewals, held) = (calls(&server).await, start.elapsed());
    assert!(guards.iter().all(|guard| !guard.is_lost()));
    // After a third of the ttl, and at most a little later than that, so as to do it together.
    let most = u64::try_from(held.as_millis() * 3 / TTL.as_millis() + 1).unwrap() * LOCKS;
    assert!(renewals <= most, "{renewals} renewals, at most {most}");
    assert!(renewals >= most / 2, "{renewals} renewals of {most}");
    let mut unlocks = JoinSet::new();
    for guard in guards {
        unlocks.spawn(guard.unlock());
    }
    while let Some(unlocked) = unlocks.join_next().await {
        unlocked.unwrap().expect("it was kept");
    }
    eventually(SOON, "what is not ours stays alone", async || {
        server.keys().await.len() == 1
    })
    .await;
}

/// Their keys are on all nodes, so what falls due together cannot go out together.
#[tokio::test]
async fn locks_all_over_a_cluster_are_kept() {
    let cluster = Cluster::start().await;
    let locker = Locker::new(cluster.connection().await).ttl(TTL);
    let guards = take(&locker, 60).await;
    sleep(STAY).await;
    assert!(guards.iter().all(|guard| !guard.is_lost()));
    for guard in guards {
        guard.unlock().await.expect("it was kept");
    }
}

async fn take(locker: &Locker, count: u64) -> Vec<Guard> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(locker.write(format!("many-{number}")));
    }
    let mut guards = Vec::new();
    while let Some(guard) = tasks.join_next().await {
        guards.push(guard.unwrap().unwrap());
    }
    guards
}
