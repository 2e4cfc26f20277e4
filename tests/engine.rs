//! What reads the log events of this crate is code of the user: it may panic, and it may block. Locks go on.

use std::{fmt, thread, time::Duration};

use redis_lock::{Error, Locker};
use redis_lock_tests::{Proxy, Server, eventually, unique_key};
use tokio::time::timeout;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::reader::Reader;

const SOON: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_millis(600);
/// For a busy machine.
const LONG_TTL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_reader_of_logs_that_panics_stops_nobody() {
    let server = Server::start().await;
    let locker = Locker::connect(server.url()).await.unwrap().ttl(TTL);
    let key = unique_key();
    // Another test of this process may have been first, under `cargo test`.
    let _ = tracing::subscriber::set_global_default(Panics(key.clone()));

    let renewed = locker.write(unique_key()).await.unwrap();
    let ends = locker.clone().auto_extend(false);
    let victim = ends.write(&key).await.unwrap();
    timeout(SOON, victim.lost())
        .await
        .expect("told, before it is logged");

    let next = ends.write(unique_key()).await.unwrap();
    timeout(SOON, next.lost()).await.expect("others are told");
    assert!(!renewed.is_lost(), "others are renewed");
    renewed.unlock().await.unwrap();
    drop(locker.write(&key).await.unwrap());
    let patient = locker.wait(SOON);
    patient
        .write(&key)
        .await
        .expect("others are released")
        .await
        .unwrap();
    Locker::connect(server.url())
        .await
        .expect("new connections");
}

/// What reads logs writes to a pipe that is full. That delays what it reads, and nothing else.
#[tokio::test]
async fn a_reader_of_logs_that_blocks_delays_nothing_but_logs() {
    let Some(log) = Reader::start() else {
        return; // Another test of this process reads, under `cargo test`.
    };
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = Locker::connect(server.url()).await.unwrap().ttl(LONG_TTL);
    let behind = Locker::connect(proxy.url()).await.unwrap().ttl(TTL);
    log.block();
    let first = locker.clone().auto_extend(false).ttl(TTL);
    let first = first.write(unique_key()).await.unwrap();
    timeout(SOON, first.lost()).await.expect("told");
    eventually(SOON, "the reader blocks", async || log.stuck() > 0).await;

    let renewed = locker.write(unique_key()).await.unwrap();
    let victim = behind.write(unique_key()).await.unwrap();
    let body = behind.lock_exec(unique_key(), async {
        proxy.hang();
        Ok::<(), Error>(())
    });
    // Its release fails, which is logged in this thread.
    timeout(SOON, body).await.expect("it ends").unwrap();
    let told = timeout(SOON, victim.lost());
    told.await.expect("told while nothing is logged");
    let result = timeout(SOON, behind.try_lock(unique_key())).await;
    assert!(result.expect("it ends").is_err(), "the link hangs");
    drop(victim);
    let dropped = unique_key();
    drop(locker.write(&dropped).await.unwrap());
    let patient = locker.clone().wait(SOON);
    let next = patient.write(&dropped).await.expect("others are released");
    next.unlock().await.unwrap();
    let before = renewed.valid_for();
    eventually(SOON, "others are renewed", async || {
        renewed.valid_for() > before
    })
    .await;
    renewed.unlock().await.unwrap();
    assert!(
        log.with(&[]).is_empty() && log.stuck() == 1,
        "it has blocked all the time"
    );

    log.unblock();
    eventually(SOON, "what was told is logged", async || {
        log.with(&["lock lost"]).len() == 2 && log.with(&["not given back"]).len() == 1
    })
    .await;
    let lines = log.with(&["lock lost"]);
    assert!(
        lines[0].contains(first.key().as_str()),
        "in order: {lines:?}"
    );
}

/// Nothing waits for room, and memory has a bound.
#[tokio::test]
async fn what_is_too_much_for_a_reader_of_logs_is_dropped_and_counted() {
    const MANY: usize = 1200;
    let Some(log) = Reader::start() else {
        return; // Another test of this process reads, under `cargo test`.
    };
    let server = Server::start().await;
    let locker = Locker::connect(server.url()).await.unwrap().ttl(2 * TTL);
    let locker = locker.auto_extend(false);
    log.block();
    let first = locker.write(unique_key()).await.unwrap();
    timeout(SOON, first.lost()).await.expect("told");
    eventually(SOON, "the reader blocks", async || log.stuck() > 0).await;
    let all = locker
        .ttl(LONG_TTL)
        .lock_all((0..MANY).map(|i| format!("{i}")));
    let all = all.await.unwrap();
    for guard in all.iter() {
        timeout(SOON, guard.lost()).await.expect("told");
    }
    log.unblock();
    // The holder is told before the log, so some may be reported when there is room again.
    let dropped = || -> usize {
        let lines = log.with(&["were dropped"]);
        let counts = lines.iter().filter_map(|line| {
            let (_, count) = line.split_once("dropped=")?;
            count.split(' ').next()?.parse::<usize>().ok()
        });
        counts.sum()
    };
    eventually(SOON, "each is logged or counted", async || {
        log.with(&["lock lost"]).len() + dropped() == 1 + MANY
    })
    .await;
    assert!(dropped() > 0, "all of them had room");
}

/// Panics on the log's thread when it reads of that key.
struct Panics(String);

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        thread::current().name() == Some("redis-lock-log")
    }

    fn event(&self, event: &Event<'_>) {
        struct Finds<'a>(&'a str, bool);

        impl Visit for Finds<'_> {
            fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
                self.1 |= format!("{value:?}").contains(self.0);
            }
        }

        let mut finds = Finds(&self.0, false);
        event.record(&mut finds);
        assert!(!finds.1, "as planned: {}", Error::NotInitialized);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
