//! The smallest user that the README documents is enough for two processes that contend, and each permission of it is
//! missed by name.

use std::time::Duration;

use redis_lock::{Locker, Mode};
use redis_lock_tests::Server;

use crate::reader::Reader;
use crate::stage::{SOON, ask, enqueue, nothing_is_left, soon};

const README: &str = include_str!("../README.md");

/// The rules of the documented user, behind its name.
fn documented() -> Vec<&'static str> {
    let mut lines = README
        .lines()
        .skip_while(|line| !line.starts_with("ACL SETUSER locks "));
    let mut words = Vec::new();
    loop {
        let line = lines.next().expect("the README has the user's ACL");
        let (line, goes_on) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        words.extend(line.split_ascii_whitespace());
        if !goes_on {
            break;
        }
    }
    words.split_off(3)
}

/// A user with these rules, and another rule behind them.
async fn user(server: &Server, name: &str, last: Option<&str>) -> String {
    let mut words = vec!["ACL", "SETUSER", name, "reset"];
    words.extend(documented());
    words.extend(last);
    let () = ask(server, &words).await;
    server
        .url()
        .replace("redis://", &format!("redis://{name}:PASSWORD@"))
}

#[tokio::test]
async fn the_documented_user_is_enough_for_two_that_contend() {
    let log = Reader::start();
    let server = Server::start().await;
    let url = user(&server, "locks", None).await;
    let ttl = Duration::from_millis(900);
    let one = Locker::connect(&url).await.unwrap().ttl(ttl).wait(SOON);
    let two = Locker::connect(&url).await.unwrap().ttl(ttl).wait(SOON);
    let check = one.check().await.unwrap();
    assert!(check.wake_ups, "{check}");
    nothing_is_left(&server).await;
    let () = ask(&server, &["ACL", "LOG", "RESET"]).await;
    for mode in [Mode::Write, Mode::Read] {
        let holder = one.write("x").await.unwrap();
        let waiter = enqueue(&server, two.clone().mode(mode).lock("x")).await;
        let abandoned = enqueue(&server, one.clone().mode(mode).lock("x")).await;
        abandoned.abort();
        // Longer than the heartbeat and a renewal.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        holder.unlock().await.unwrap();
        soon(waiter).await.unwrap().unlock().await.unwrap();
        drop(two.lock_all(["x", "y"]).await.unwrap());
        nothing_is_left(&server).await;
    }
    let refused: Vec<redis::Value> = ask(&server, &["ACL", "LOG"]).await;
    assert!(refused.is_empty(), "{refused:?}");
    let lines = log.map(|log| log.with(&["refused"]));
    assert_eq!(lines.unwrap_or_default(), [""; 0]);
}

#[tokio::test]
async fn each_permission_that_is_taken_away_is_named() {
    let server = Server::start().await;
    // Without these a lock works, but waiters poll, or less is known of the server.
    let of_connecting = ["+subscribe", "+publish", "+info"];
    let mut named = 0;
    for rule in documented() {
        let Some(name) = rule.strip_prefix('+') else {
            continue;
        };
        let url = user(&server, "lacking", Some(&format!("-{name}"))).await;
        let outcome = match Locker::connect(&url).await {
            Ok(locker) => locker.check().await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(check) => {
                let is_said = of_connecting.contains(&rule);
                assert!(is_said, "{rule} is not needed: {check}");
                if rule != "+info" {
                    assert!(!check.wake_ups, "{rule}");
                    assert!(check.to_string().contains("no wake-ups"), "{check}");
                }
            }
            Err(error) => {
                let text = error.to_string();
                let names_it = text.contains(rule) || (rule == "+time" && text.contains("TIME"));
                assert!(names_it, "{rule}: {text}");
                named += 1;
            }
        }
    }
    assert!(named >= 18, "only {named}");
}

#[tokio::test]
async fn keys_and_channels_that_may_not_be_used_are_named() {
    let server = Server::start().await;
    let url = user(&server, "elsewhere", None).await;
    let locker = Locker::connect(&url).await.unwrap();
    let other = locker.clone().namespace("shop");
    let text = other.check().await.unwrap_err().to_string();
    assert!(text.contains("~shop:*"), "{text}");
    let url = user(&server, "deaf", Some("resetchannels")).await;
    let check = Locker::connect(&url).await.unwrap().check().await.unwrap();
    assert!(
        !check.wake_ups && check.to_string().contains("redis-lock:*"),
        "{check}"
    );
}

#[tokio::test]
async fn all_that_is_missing_is_named_once() {
    let server = Server::start().await;
    let mut words = vec!["ACL", "SETUSER", "reader"];
    words.extend(["on", ">pw", "~lock:*", "&redis-lock:*", "+@all", "-@write"]);
    ask::<()>(&server, &words).await;
    let url = server.url().replace("redis://", "redis://reader:pw@");
    let locker = Locker::connect(url).await.unwrap();
    let text = locker.check().await.unwrap_err().to_string();
    for permission in [
        "+set", "+del", "+zadd", "+zrem", "+hset", "+hdel", "+pexpire",
    ] {
        assert_eq!(
            text.matches(&format!("{permission},")).count()
                + text.matches(&format!("{permission};")).count(),
            1,
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_evicting_policy_is_said() {
    let server = Server::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let log = Reader::start();
    let locker = Locker::connect(server.url()).await.unwrap();
    let check = locker.check().await.unwrap();
    assert_eq!(check.maxmemory_policy.as_deref(), Some("allkeys-lru"));
    assert!(check.to_string().contains("noeviction"), "{check}");
    if let Some(log) = log {
        let said = ["maxmemory-policy", "allkeys-lru"];
        redis_lock_tests::eventually(SOON, "it is said", async || !log.with(&said).is_empty())
            .await;
    }
}

#[tokio::test]
async fn a_check_that_is_dropped_leaves_nothing() {
    let server = Server::start().await;
    let locker = Locker::connect(server.url()).await.unwrap();
    for times in 1.. {
        let checked = crate::stage::poll_times(times, locker.check()).await;
        nothing_is_left(&server).await;
        if checked.is_some() {
            break;
        }
    }
}
