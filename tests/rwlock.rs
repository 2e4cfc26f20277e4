//! Guards against two holders where the modes exclude each other, and against readers that do not share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use redis_lock::{Locker, Mode};
use redis_lock_tests::{History, Server, unique_key};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::stage::{LONG, chance, enqueue, locker, nothing_is_left, soon};

#[tokio::test]
async fn a_writer_excludes_everybody() {
    let server = Server::start().await;
    let (a, b) = (locker(&server.url()).await, locker(&server.url()).await);
    let guard = a.write("x").await.unwrap();
    assert_eq!((guard.key(), guard.mode()), (&"x".into(), Mode::Write));
    for rival in [&a, &b] {
        assert!(rival.try_write("x").await.unwrap().is_none());
        assert!(rival.try_read("x").await.unwrap().is_none());
    }
    let other = b.try_write("y").await.unwrap();
    assert!(other.is_some(), "another key is another lock");
    guard.unlock().await.unwrap();
    let next = b.try_write("x").await.unwrap();
    assert!(next.is_some(), "what was given back is free");
}

#[tokio::test]
async fn readers_share_and_exclude_writers_to_the_last_one() {
    let server = Server::start().await;
    let (a, b) = (locker(&server.url()).await, locker(&server.url()).await);
    let first = a.read("x").await.unwrap();
    let second = b.try_read("x").await.unwrap().expect("readers share");
    let third = b.read("x").await.unwrap();
    assert_eq!(third.mode(), Mode::Read);
    assert!(first.token() < second.token() && second.token() < third.token());
    let last_token = third.token();
    for reader in [second, first, third] {
        assert!(a.try_write("x").await.unwrap().is_none());
        assert!(b.try_write("x").await.unwrap().is_none());
        reader.unlock().await.unwrap();
    }
    let writer = a.try_write("x").await.unwrap().expect("all readers left");
    assert!(writer.token() > last_token);
}

#[tokio::test]
async fn the_mode_is_write_unless_it_is_set() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let guard = locker.lock("x").await.unwrap();
    assert_eq!(guard.mode(), Mode::Write);
    guard.unlock().await.unwrap();

    let reader = locker.clone().mode(Mode::R);
    let first = reader.lock("x").await.unwrap();
    assert!(reader.try_lock("x").await.unwrap().is_some());
    assert_eq!(first.mode(), Mode::Read);
    assert!(reader.mode(Mode::W).try_lock("x").await.unwrap().is_none());
}

/// 16 tasks over two connections of different kinds, on two keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_in_mixed_modes_never_overlap() {
    const TASKS: usize = 16;
    const ROUNDS: usize = 40;
    let server = Server::start().await;
    let plain = Locker::new(server.manager().await).ttl(LONG).wait(LONG);
    let lockers = [locker(&server.url()).await, plain];
    let keys = [unique_key(), unique_key()];
    let history = History::new();
    let inside: Arc<[Mutex<Inside>; 2]> = Arc::default();
    let mut chance = chance();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let mut chance = SmallRng::seed_from_u64(chance.random());
        let (locker, keys) = (lockers[task % 2].clone(), keys.clone());
        let (history, inside) = (history.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                let which = chance.random_range(0..2);
                let (key, inside) = (&keys[which], &inside[which]);
                let mode = [Mode::Read, Mode::Write][chance.random_range(0..2)];
                let locker = locker.clone().mode(mode);
                let guard = if chance.random_bool(0.2) {
                    let Some(guard) = locker.try_lock(key).await.unwrap() else {
                        continue;
                    };
                    guard
                } else {
                    locker.lock(key).await.unwrap()
                };
                let stay = match mode {
                    Mode::Read => history.read(key, guard.token()),
                    Mode::Write => history.write(key, guard.token()),
                };
                inside.lock().unwrap().enter(mode);
                sleep(Duration::from_millis(chance.random_range(0..4))).await;
                inside.lock().unwrap().leave(mode);
                drop(stay);
                guard.unlock().await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    nothing_is_left(&server).await;
    history.check();
    for inside in &*inside {
        let inside = inside.lock().unwrap();
        // Half of the rounds are at one key, half of these in one mode, less the tries that were refused.
        let enough = TASKS * ROUNDS / 10;
        assert!(
            inside.reads > enough && inside.writes > enough,
            "{inside:?}"
        );
        assert!(inside.most_readers > 1, "readers never shared: {inside:?}");
    }
}

/// How many of each mode one key has had, and how many readers at the same time.
#[derive(Debug, Default)]
struct Inside {
    reads: usize,
    writes: usize,
    readers: usize,
    most_readers: usize,
}

impl Inside {
    fn enter(&mut self, mode: Mode) {
        match mode {
            Mode::Read => {
                self.reads += 1;
                self.readers += 1;
                self.most_readers = self.most_readers.max(self.readers);
            }
            Mode::Write => self.writes += 1,
        }
    }

    fn leave(&mut self, mode: Mode) {
        if mode == Mode::Read {
            self.readers -= 1;
        }
    }
}

/// Whoever asks by hand for a lock that it holds waits for itself: for as long as it said, and not for ever. Nor do two
/// readers who both want to write.
#[tokio::test]
async fn a_guard_is_not_reentrant() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let hasty = locker.clone().wait(Duration::from_millis(100));
    let writer = locker.write("x").await.unwrap();
    assert!(hasty.write("x").await.unwrap_err().is_contended());
    assert!(hasty.read("x").await.unwrap_err().is_contended());
    writer.unlock().await.unwrap();

    let readers = [
        locker.read("x").await.unwrap(),
        locker.read("x").await.unwrap(),
    ];
    let (one, other) = tokio::join!(hasty.write("x"), hasty.write("x"));
    assert!(one.unwrap_err().is_contended() && other.unwrap_err().is_contended());

    // Behind a writer in line, a reader waits for another read, too.
    let queued = enqueue(&server, locker.write("x")).await;
    assert!(hasty.read("x").await.unwrap_err().is_contended());
    for reader in readers {
        reader.unlock().await.unwrap();
    }
    soon(queued).await.unwrap().unlock().await.unwrap();
}
