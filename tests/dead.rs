//! Guards against processes that die while many of their tasks stand in line or have been let in together: what they
//! have ends once, with its lease, and not once for each of them.

use std::time::{Duration, Instant};

use redis_lock::Guard;
use redis_lock_tests::{Program, Server, eventually};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::stage::{SOON, all_in_line, ask, lease_left, locker, nothing_is_left, soon};

/// What somebody has who was let in and has not been heard of since.
const CLAIM: Duration = Duration::from_secs(3);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1500);

/// A process with so many who wait, and one in this process behind them.
async fn crowd_and_one(
    server: &Server,
    tasks: usize,
    ttl: Duration,
    hold: Duration,
) -> (Guard, Program, JoinHandle<Guard>) {
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let (ttl, hold) = (ttl.as_millis().to_string(), hold.as_millis().to_string());
    let (url, tasks_text) = (server.url(), tasks.to_string());
    let arguments = [&*url, "x", &tasks_text, &ttl, &hold, "crowd"];
    let mut crowd = Program::start(env!("CARGO_BIN_EXE_crowd"), &arguments);
    assert_eq!(crowd.line().await, "ready");
    crowd.begin().await;
    all_in_line(server, tasks).await;
    let behind = locker(&server.url()).await.write("x");
    let behind = tokio::spawn(async { behind.await.unwrap() });
    all_in_line(server, tasks + 1).await;
    (holder, crowd, behind)
}

/// They are let in together, and nobody of them is there.
#[tokio::test]
async fn many_waiters_of_a_killed_process_hold_up_others_for_one_claim() {
    let server = Server::start().await;
    let minute = Duration::from_secs(60);
    let (holder, mut crowd, behind) = crowd_and_one(&server, 10, minute, minute).await;
    crowd.kill().await;
    let killed = Instant::now();
    holder.unlock().await.unwrap();
    let guard = soon(behind).await;
    let took = killed.elapsed();
    assert!(took < CLAIM + SLACK, "{took:?}");
    guard.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// They are let in while their process stands still, so it is not gone, and must not take up what is another's by then.
#[tokio::test]
async fn many_waiters_of_a_stopped_process_hold_up_others_for_one_claim() {
    let server = Server::start().await;
    let (minute, moment) = (Duration::from_secs(60), Duration::from_millis(10));
    let (holder, crowd, behind) = crowd_and_one(&server, 10, minute, moment).await;
    crowd.pause().await;
    let stopped = Instant::now();
    holder.unlock().await.unwrap();
    assert!(!behind.is_finished(), "those who stand still have it");
    let guard = soon(behind).await;
    let took = stopped.elapsed();
    assert!(took < CLAIM + SLACK, "{took:?}");
    crowd.resume();
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        let entries: u64 = ask(&server, &["LLEN", "x:entries"]).await;
        assert_eq!(entries, 0, "they hold it beside another");
        assert!(!guard.is_lost());
        sleep(Duration::from_millis(20)).await;
    }
    let last = guard.token();
    guard.unlock().await.unwrap();
    eventually(SOON, "they get in", async || {
        ask::<u64>(&server, &["LLEN", "x:entries"]).await > 10
    })
    .await;
    let first: String = ask(&server, &["LINDEX", "x:entries", "0"]).await;
    let token = first.rsplit(' ').next().unwrap();
    assert!(token.parse::<u64>().unwrap() > last, "{first}");
    let most: u64 = ask(&server, &["GET", "x:most"]).await;
    assert_eq!(most, 1);
}

/// As long as the lease lasts, which is that of the one who held; and no longer, for those who were to hold after it.
#[tokio::test]
async fn a_process_that_is_killed_in_the_middle_of_a_run_frees_the_lock_with_its_lease() {
    let server = Server::start().await;
    let (ttl, hold) = (Duration::from_secs(1), Duration::from_millis(150));
    let (holder, mut crowd, behind) = crowd_and_one(&server, 20, ttl, hold).await;
    holder.unlock().await.unwrap();
    let mut last = 0;
    // The lease has been renewed by then: a third of the ttl has passed.
    for _ in 0..12 {
        let line = crowd.line().await;
        last = line.rsplit(' ').next().unwrap().parse().unwrap();
    }
    crowd.kill().await;
    let killed = Instant::now();
    let left = lease_left(&server, "x").await;
    // Those behind the holder may have been promised a claim beside its lease.
    assert!(left > Duration::ZERO && left <= ttl + CLAIM, "{left:?}");
    assert!(!behind.is_finished());
    let guard = soon(behind).await;
    let took = killed.elapsed();
    // Both clocks are this machine's.
    assert!(
        took + Duration::from_millis(20) > left,
        "{took:?}, not {left:?}"
    );
    assert!(took < left + SLACK, "{took:?}, not {left:?}");
    assert!(guard.token() > last);
    guard.unlock().await.unwrap();
}

/// It goes on when another holds the lock, and finds that it does not: neither who held, nor those who were to hold next.
#[tokio::test]
async fn a_process_that_is_stopped_in_the_middle_of_a_run_does_not_go_on_with_it() {
    let server = Server::start().await;
    let (ttl, hold) = (Duration::from_secs(1), Duration::from_secs(1));
    let (holder, mut crowd, behind) = crowd_and_one(&server, 10, ttl, hold).await;
    holder.unlock().await.unwrap();
    // The second holds by what the first has passed on; its turn has just begun.
    let mut lines = Vec::new();
    while lines.len() < 3 {
        lines.push(crowd.line().await);
    }
    assert!(lines[2].starts_with("enter"), "{lines:?}");
    crowd.pause().await;
    let left = lease_left(&server, "x").await;
    assert!(left > Duration::ZERO && left <= ttl + CLAIM, "{left:?}");
    let guard = soon(behind).await;
    let entries: u64 = ask(&server, &["LLEN", "x:entries"]).await;
    assert_eq!(entries, 2);
    crowd.resume();
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        let entries: u64 = ask(&server, &["LLEN", "x:entries"]).await;
        assert_eq!(entries, 2, "they hold it beside another");
        assert!(!guard.is_lost());
        sleep(Duration::from_millis(20)).await;
    }
    let last = guard.token();
    guard.unlock().await.unwrap();
    eventually(SOON, "they get in", async || {
        ask::<u64>(&server, &["LLEN", "x:entries"]).await > 2
    })
    .await;
    let next: String = ask(&server, &["LINDEX", "x:entries", "2"]).await;
    let token = next.rsplit(' ').next().unwrap();
    assert!(token.parse::<u64>().unwrap() > last, "{next}");
    let most: u64 = ask(&server, &["GET", "x:most"]).await;
    assert_eq!(most, 1);
}
