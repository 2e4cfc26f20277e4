//! `min_hold`: a job that every instance starts at the same tick is run by one of them.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use redis_lock::{Error, Locker, redis_lock, with_locker};
use redis_lock_tests::Server;
use tokio::time::{sleep, timeout};

use crate::stage::{SOON, enqueue, locker, nothing_is_left, soon};

const MIN_HOLD: Duration = Duration::from_secs(2);
/// What a busy machine takes.
const SLACK: Duration = Duration::from_millis(1500);

static RUNS: AtomicU32 = AtomicU32::new(0);

#[redis_lock(key = "newsletter", wait = "0s", min_hold = "2s", on_contended = Ok(()))]
async fn newsletter() -> Result<(), Error> {
    sleep(Duration::from_millis(20)).await;
    RUNS.fetch_add(1, SeqCst);
    Ok(())
}

#[tokio::test]
async fn two_instances_a_little_apart_run_a_job_once() {
    let server = Server::start().await;
    let instances = [locker(&server.url()).await, locker(&server.url()).await];
    for tick in 1..=2 {
        for instance in &instances {
            with_locker(instance.clone(), newsletter()).await.unwrap();
            sleep(Duration::from_millis(300)).await;
        }
        assert_eq!(RUNS.load(SeqCst), tick);
        sleep(MIN_HOLD).await;
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn whoever_waits_is_let_in_when_it_is_over() {
    let server = Server::start().await;
    let (job, other) = (locker(&server.url()).await, locker(&server.url()).await);
    for dropped in [false, true] {
        let begun = Instant::now();
        let guard = job.clone().min_hold(MIN_HOLD).write("x").await.unwrap();
        // Of another process, and of the same one.
        let elsewhere = enqueue(&server, other.write("x")).await;
        if dropped {
            drop(guard);
        } else {
            let unlocked = timeout(MIN_HOLD / 2, guard.unlock()).await;
            unlocked.expect("at once").unwrap();
        }
        let here = tokio::spawn(job.write("x"));
        let first = soon(elsewhere).await.unwrap();
        let took = begun.elapsed();
        assert!((MIN_HOLD..MIN_HOLD + SLACK).contains(&took), "{took:?}");
        first.unlock().await.unwrap();
        soon(here).await.unwrap().unlock().await.unwrap();
    }
    nothing_is_left(&server).await;
}

/// Those of the same process that have been granted the lock together with the job wait as well.
#[tokio::test]
async fn those_behind_it_in_its_process_wait() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let begun = Instant::now();
    let guard = locker.clone().min_hold(MIN_HOLD).write("x").await.unwrap();
    let behind = enqueue(&server, locker.write("x")).await;
    guard.unlock().await.unwrap();
    soon(behind).await.unwrap().unlock().await.unwrap();
    assert!(begun.elapsed() >= MIN_HOLD);
    nothing_is_left(&server).await;
}

/// The lease is as long from the beginning.
#[tokio::test]
async fn it_outlasts_a_short_ttl() {
    let server = Server::start().await;
    let job = locker(&server.url()).await.ttl(Duration::from_millis(200));
    let job = job.auto_extend(false).min_hold(MIN_HOLD);
    let begun = Instant::now();
    let guard = job.write("x").await.unwrap();
    timeout(SOON, guard.lost()).await.expect("the ttl ends");
    assert!(begun.elapsed() < MIN_HOLD);
    let other = locker(&server.url()).await;
    let next = other.write("x").await.unwrap();
    assert!(begun.elapsed() >= MIN_HOLD, "{:?}", begun.elapsed());
    next.unlock().await.unwrap();
}

#[tokio::test]
async fn more_than_a_year_is_refused() {
    let server = Server::start().await;
    let locker: Locker = locker(&server.url()).await;
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    let error = locker.min_hold(year).write("x").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("min_hold") && text.contains("at most a year"),
        "{text}"
    );
}

/// The guard is dropped outside of the runtime, so that its release and the next acquisition go over different connections.
#[tokio::test]
async fn an_acquisition_that_overtakes_the_release_does_not_cut_it_short() {
    let server = Server::start().await;
    for round in 0..8 {
        let locker = locker(&server.url())
            .await
            .min_hold(Duration::from_secs(2))
            .wait(Duration::from_millis(300));
        let key = format!("job {round}");
        let guard = locker.write(&key).await.unwrap();
        std::thread::spawn(move || drop(guard)).join().unwrap();
        let next = locker.write(&key).await;
        assert!(matches!(next, Err(Error::Contended { .. })), "{next:?}");
    }
}
