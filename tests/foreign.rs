//! Names that hold what this crate did not write: said clearly, and left alone.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis_lock::{Error, Guard, Locker};
use redis_lock_tests::{Server, eventually, unique_key};
use tokio::time::timeout;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_millis(600);

/// Commands that write a value, without their key, which is always the second word.
const VALUES: [&[&str]; 5] = [
    &["SET", "somebody else's"],
    &["RPUSH", "somebody else's"],
    &["SADD", "somebody else's"],
    &["HSET", "field", "somebody else's"],
    &["ZADD", "1", "somebody else's"],
];

#[tokio::test]
async fn foreign_values_are_reported_and_left_alone() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let locker = Locker::connect(&server.url()).await.unwrap();
    let other = Locker::connect(&server.url()).await.unwrap();
    for (role, own) in [
        ('g', None),
        ('h', Some("ZADD")),
        ('q', Some("ZADD")),
        ('w', Some("ZADD")),
        ('r', Some("HSET")),
    ] {
        for value in VALUES.iter().filter(|value| Some(value[0]) != own) {
            let key = unique_key();
            let name = format!("lock:#{role}:{{{key}}}");
            write(&mut connection, &name, value).await;
            let before = dump(&mut connection, &name).await;
            // Whoever is alone needs nothing but the word.
            let alone = if role == 'g' {
                None
            } else {
                Some(locker.read(&key).await.unwrap())
            };
            assert_foreign(other.read(&key).await, &key);
            assert_foreign(other.try_read(&key).await, &key);
            assert_foreign(other.write(&key).await, &key);
            assert_foreign(other.try_write(&key).await, &key);
            if let Some(alone) = alone {
                alone.unlock().await.unwrap();
            }
            assert_eq!(dump(&mut connection, &name).await, before, "{name}");
        }
    }
    // Nothing but what was there before.
    assert_eq!(server.keys().await.len(), 4 * VALUES.len() + 1);
}

/// Where the gate is free, the first writer gets the lock; who comes then needs the rest.
#[tokio::test]
async fn foreign_values_beside_a_lock_that_is_held() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let locker = Locker::connect(&server.url()).await.unwrap().ttl(TTL);
    let key = unique_key();
    let name = format!("lock:#q:{{{key}}}");
    write(&mut connection, &name, VALUES[0]).await;
    let before = dump(&mut connection, &name).await;
    let guard = locker.write(&key).await.unwrap();
    let other = Locker::connect(&server.url()).await.unwrap();
    assert_foreign(other.write(&key).await, &key);
    assert_foreign(other.try_read(&key).await, &key);
    tokio::time::sleep(2 * TTL).await;
    guard.unlock().await.unwrap();
    assert_eq!(dump(&mut connection, &name).await, before);
    eventually(SOON, "nothing else is left", async || {
        server.keys().await == [&*name]
    })
    .await;
}

/// Redis says so at the next renewal, long before the lease would have ended.
#[tokio::test]
async fn a_lock_that_is_overwritten_is_lost_at_once() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let locker = Locker::connect(&server.url()).await.unwrap().ttl(5 * TTL);
    let mut lost = Vec::new();
    for value in VALUES {
        let reader = locker.read(unique_key()).await.unwrap();
        lost.push(overwrite(&mut connection, 'g', reader, value).await);
        let writer = locker.write(unique_key()).await.unwrap();
        lost.push(overwrite(&mut connection, 'g', writer, value).await);
    }
    // Its own type cannot be told from what was there.
    let other = Locker::connect(&server.url()).await.unwrap();
    let mut beside = Vec::new();
    for value in &VALUES[..4] {
        let reader = locker.read(unique_key()).await.unwrap();
        beside.push(other.read(reader.key()).await.unwrap());
        lost.push(overwrite(&mut connection, 'h', reader, value).await);
    }
    let first = lost.iter().map(|(guard, ..)| guard.valid_for()).min();
    let deadline = Instant::now() + first.unwrap();
    for (guard, name, value) in lost {
        timeout(SOON, guard.lost()).await.expect("it is told");
        assert!(
            Instant::now() < deadline,
            "{name}: only when the lease had ended"
        );
        assert!(guard.is_lost() && guard.valid_for() == Duration::ZERO);
        assert!(guard.unlock().await.unwrap_err().is_lost());
        assert_eq!(dump(&mut connection, &name).await, value, "{name}");
    }
}

/// The same for somebody who gives it back before the loss is noticed.
#[tokio::test]
async fn a_lock_that_is_overwritten_cannot_be_given_back() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let locker = Locker::connect(&server.url()).await.unwrap();
    for value in VALUES {
        let key = unique_key();
        let guard = locker.write(&key).await.unwrap();
        let (guard, name, value) = overwrite(&mut connection, 'g', guard, value).await;
        assert_foreign(guard.unlock().await, &key);
        assert_eq!(dump(&mut connection, &name).await, value);
    }
}

async fn overwrite(
    connection: &mut MultiplexedConnection,
    role: char,
    guard: Guard,
    value: &[&str],
) -> (Guard, String, Vec<u8>) {
    let name = format!("lock:#{role}:{{{}}}", guard.key());
    let () = redis::cmd("DEL")
        .arg(&name)
        .query_async(connection)
        .await
        .unwrap();
    write(connection, &name, value).await;
    let value = dump(connection, &name).await;
    (guard, name, value)
}

async fn write(connection: &mut MultiplexedConnection, name: &str, value: &[&str]) {
    let (verb, rest) = value.split_first().unwrap();
    let mut command = redis::cmd(verb);
    command.arg(name).arg(rest);
    let () = command.query_async(connection).await.unwrap();
}

async fn dump(connection: &mut MultiplexedConnection, name: &str) -> Vec<u8> {
    let mut pipe = redis::pipe();
    pipe.cmd("DUMP").arg(name).cmd("PTTL").arg(name);
    let (value, ttl): (Vec<u8>, i64) = pipe.query_async(connection).await.unwrap();
    assert_eq!(ttl, -1, "it was never to expire");
    value
}

#[track_caller]
fn assert_foreign<T: std::fmt::Debug>(result: Result<T, Error>, key: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    assert!(error.to_string().contains(key), "{error}");
}
