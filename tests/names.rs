//! Guards against names that clash, or that break something on their way: odd keys, namespaces, and options that make
//! no sense, of which nothing may reach Redis.

use std::time::Duration;

use redis_lock::{Error, Guard, Locker, Wait};
use redis_lock_tests::Server;

use crate::stage::{locker, nothing_is_left};

/// Keys that look alike, contain what Redis or our names are made of, or are simply odd.
const ODD_KEYS: [&str; 32] = [
    "a",
    "{a}",
    "{a",
    "a}",
    "}a",
    "{}a",
    "a{}",
    "{{a}}",
    "{a}{b}",
    "{a}:queue",
    "{",
    "}",
    "{}",
    "}{",
    "{}{a}",
    ".a",
    ".}",
    "{.}",
    "#g:{a}",
    "lock:#g:{a}",
    "g:{a}",
    "t:{a}",
    " ",
    " a ",
    "a b",
    "\n",
    "a\r\nb",
    "\0",
    "a\0b",
    "Größe",
    "鍵",
    "🔒",
];

#[tokio::test]
async fn keys_that_look_alike_are_different_locks() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let mut guards: Vec<Guard> = Vec::new();
    for key in ODD_KEYS {
        let guard = locker.try_write(key).await.unwrap();
        let guard = guard.unwrap_or_else(|| panic!("{key:?} is another's lock"));
        assert_eq!(guard.key(), key);
        guards.push(guard);
    }
    for key in ODD_KEYS {
        assert!(
            locker.try_read(key).await.unwrap().is_none(),
            "{key:?} is free"
        );
    }
    for guard in guards {
        guard.unlock().await.unwrap();
    }
    nothing_is_left(&server).await;
}

/// With more names in Redis than a lock has that is held by one writer alone.
#[tokio::test]
async fn keys_that_look_alike_are_different_locks_when_they_are_shared() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let mut guards: Vec<Guard> = Vec::new();
    let mut names = 0;
    for key in ODD_KEYS {
        guards.push(locker.read(key).await.unwrap());
        guards.push(locker.read(key).await.unwrap());
        let names_now = server.keys().await.len();
        assert!(names_now > names, "{key:?} has no name of its own");
        names = names_now;
    }
    for (index, key) in ODD_KEYS.iter().enumerate() {
        assert!(locker.try_write(*key).await.unwrap().is_none());
        let of_this_key = guards.drain(..2).collect::<Vec<_>>();
        for guard in of_this_key {
            assert!(guard.key() == *key);
            guard.unlock().await.unwrap();
        }
        let writer = locker.try_write(*key).await.unwrap();
        assert!(
            writer.is_some(),
            "{key:?} (number {index}) is another's lock"
        );
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn namespaces_are_apart() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let namespaces = ["lock", "lock:", "a", "a:b", "Größe", " ", "a\nb"];
    let mut guards: Vec<Guard> = Vec::new();
    for namespace in namespaces {
        let locker = locker.clone().namespace(namespace);
        for key in ["x", "a:x", "b:x"] {
            let guard = locker.try_write(key).await.unwrap();
            guards.push(guard.unwrap_or_else(|| panic!("{key:?} in {namespace:?} is another's")));
        }
    }
    let default = locker.namespace("lock");
    assert!(
        default.try_write("x").await.unwrap().is_none(),
        "the default"
    );
    for name in server.keys().await {
        assert!(namespaces.iter().any(|ns| name.starts_with(ns)), "{name}");
    }
    drop(guards);
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused_before_anything_is_sent() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    server.reset_stats().await;
    let too_long = "a".repeat(1 << 20);
    let shortened = "a".repeat(64);
    let just_too_long = "🔒".repeat(257);
    for (key, message) in [
        ("", "invalid key \"\": a key must not be empty".to_owned()),
        (
            &too_long,
            format!("invalid key \"{shortened}…\": a key has at most 1024 bytes; hash long ones"),
        ),
        (
            &just_too_long,
            format!(
                "invalid key \"{}…\": a key has at most 1024 bytes; hash long ones",
                "🔒".repeat(64)
            ),
        ),
    ] {
        let errors = [
            locker.lock(key).await.unwrap_err(),
            locker.read(key).await.unwrap_err(),
            locker.try_write(key).await.unwrap_err(),
            locker
                .lock_exec(key, async { Ok::<(), Error>(()) })
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::InvalidKey { .. }), "{error:?}");
            assert_eq!(error.to_string(), message);
        }
    }
    assert!(
        server.command_calls().await.is_empty(),
        "something was sent"
    );
    let longest = "a".repeat(1024);
    assert!(locker.try_lock(longest).await.unwrap().is_some());
}

#[tokio::test]
async fn an_option_that_makes_no_sense_is_refused_before_anything_is_sent() {
    const YEARS: Duration = Duration::from_secs(400 * 24 * 60 * 60);
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    server.reset_stats().await;
    let refused: Vec<(Locker, &str)> = vec![
        (
            locker.clone().ttl(Duration::ZERO),
            "invalid option ttl = 0ns for lock \"x\": at least 100 ms, since a renewal must fit in",
        ),
        (
            locker.clone().ttl(Duration::from_micros(99_999)),
            "invalid option ttl = 99.999ms for lock \"x\": at least 100 ms, since a renewal must fit in",
        ),
        (
            locker.clone().ttl(YEARS),
            "invalid option ttl = 34560000s for lock \"x\": at most a year: it is how long a dead holder blocks others",
        ),
        (
            locker.clone().wait(YEARS),
            "invalid option wait = 34560000s for lock \"x\": at most a year; use `Wait::Forever`",
        ),
        (
            locker.clone().max_hold(Duration::ZERO),
            "invalid option max_hold = 0ns for lock \"x\": from 100 ms to a year",
        ),
        (
            locker.clone().max_hold(YEARS),
            "invalid option max_hold = 34560000s for lock \"x\": from 100 ms to a year",
        ),
        (
            locker.clone().namespace(""),
            "invalid option namespace = \"\" for lock \"x\": 1 to 128 bytes",
        ),
        (
            locker.clone().namespace("a{b"),
            "invalid option namespace = \"a{b\" for lock \"x\": it must not contain `{`, `}` or `#`",
        ),
        (
            locker.clone().namespace("}"),
            "invalid option namespace = \"}\" for lock \"x\": it must not contain `{`, `}` or `#`",
        ),
        (
            locker.clone().namespace("a#"),
            "invalid option namespace = \"a#\" for lock \"x\": it must not contain `{`, `}` or `#`",
        ),
    ];
    for (locker, message) in refused {
        let errors = [
            locker.lock("x").await.unwrap_err(),
            locker
                .lock_exec("x", async { Ok::<(), Error>(()) })
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::InvalidOptions { .. }), "{error:?}");
            assert_eq!(error.to_string(), message);
            assert_eq!(error.key(), Some(&"x".into()));
        }
    }
    let error = locker
        .clone()
        .namespace("a".repeat(129))
        .try_lock("x")
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        Error::InvalidOptions {
            option: "namespace",
            ..
        }
    ));
    for absurd in [Duration::MAX, Duration::from_secs(u64::MAX)] {
        let lockers = [
            locker.clone().ttl(absurd),
            locker.clone().wait(absurd),
            locker.clone().max_hold(absurd),
        ];
        for locker in lockers {
            let error = locker.write("x").await.unwrap_err();
            assert!(matches!(error, Error::InvalidOptions { .. }), "{error:?}");
        }
    }
    assert!(
        server.command_calls().await.is_empty(),
        "something was sent"
    );

    let extreme = locker
        .ttl(Duration::from_millis(100))
        .wait(Wait::Forever)
        .max_hold(Duration::from_secs(365 * 24 * 60 * 60))
        .namespace("a".repeat(128));
    assert!(extreme.try_lock("x").await.unwrap().is_some());
}
