//! Why a lock was lost: each reason is the right one, and the same wherever it is told.

use std::future::pending;
use std::time::Duration;

use redis_lock::{Error, Guard, Guards, Held, Locker, Loss, redis_lock, with_locker};
use redis_lock_tests::{Program, Proxy, Server, eventually, unique_key};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::reader::Reader;
use crate::stage::{SOON, ask, soon};

/// Renewed after one second, so there are two for a busy machine to find out.
const TTL: Duration = Duration::from_secs(3);
/// Waited out.
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn out_of_reach_since_the_link_hangs() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let holders = Holders::of(&connect(&proxy.url()).await.ttl(TTL)).await;
    proxy.hang();
    holders.all_say(Loss::Unreachable).await;
}

#[tokio::test]
async fn out_of_reach_since_the_server_has_stopped() {
    let mut server = Server::start().await;
    let holders = Holders::of(&connect(&server.url()).await.ttl(TTL)).await;
    server.kill();
    holders.all_say(Loss::Unreachable).await;
}

#[tokio::test]
async fn out_of_reach_since_renewals_are_refused() {
    let server = Server::start().await;
    let holders = Holders::of(&connect(&server.url()).await.ttl(TTL)).await;
    let () = ask(&server, &["ACL", "SETUSER", "default", "-evalsha", "-eval"]).await;
    holders.all_say(Loss::Unreachable).await;
}

#[tokio::test]
async fn forgotten_since_the_names_were_deleted() {
    let server = Server::start().await;
    let holders = Holders::of(&connect(&server.url()).await.ttl(TTL)).await;
    for name in server.keys().await {
        let _: usize = ask(&server, &["DEL", &name]).await;
    }
    holders.all_say(Loss::Forgotten).await;
}

#[tokio::test]
async fn forgotten_since_the_server_was_flushed() {
    let server = Server::start().await;
    let holders = Holders::of(&connect(&server.url()).await.ttl(TTL)).await;
    server.flush().await;
    holders.all_say(Loss::Forgotten).await;
}

#[tokio::test]
async fn forgotten_since_the_server_came_back_empty() {
    let mut server = Server::start().await;
    let holders = Holders::of(&connect(&server.url()).await.ttl(2 * TTL)).await;
    server.restart().await;
    holders.all_say(Loss::Forgotten).await;
}

#[tokio::test]
async fn forgotten_also_when_nobody_noticed_before_the_unlock() {
    let server = Server::start().await;
    let guard = connect(&server.url()).await.write("x").await.unwrap();
    server.flush().await;
    let error = guard.unlock().await.unwrap_err();
    assert_says(&error, Loss::Forgotten);
}

#[tokio::test]
async fn replaced_by_a_value_that_is_not_a_locks() {
    let server = Server::start().await;
    let holders = Holders::of(&connect(&server.url()).await.ttl(TTL)).await;
    for name in server.keys().await {
        let () = ask(&server, &["SET", &name, "something else"]).await;
    }
    holders.all_say(Loss::Replaced).await;
}

#[tokio::test]
async fn held_for_as_long_as_is_allowed() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(TTL).max_hold(SHORT);
    Holders::of(&locker).await.all_say(Loss::MaxHold).await;
}

#[tokio::test]
async fn its_ttl_is_over() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(SHORT).auto_extend(false);
    Holders::of(&locker).await.all_say(Loss::TtlEnded).await;
}

#[tokio::test]
async fn this_process_stood_still() {
    let server = Server::start().await;
    let key = unique_key();
    let mut holder = hold(&server.url(), &key, SHORT).await;
    holder.pause().await;
    is_told_after_it_stood_still(&mut holder, &server, &key).await;
}

/// The answer is there when the process goes on, too late.
#[tokio::test]
async fn this_process_stood_still_while_a_renewal_was_under_way() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let key = unique_key();
    let mut holder = hold(&proxy.url(), &key, TTL).await;
    let before = proxy.forwarded().len();
    proxy.delay_replies(SHORT);
    eventually(SOON, "a renewal goes out", async || {
        proxy.forwarded().len() > before
    })
    .await;
    holder.pause().await;
    is_told_after_it_stood_still(&mut holder, &server, &key).await;
}

async fn is_told_after_it_stood_still(holder: &mut Program, server: &Server, key: &str) {
    let rival = connect(&server.url()).await.wait(SOON);
    let guard = rival.write(key).await.unwrap();
    holder.resume();
    assert_eq!(holder.line().await, "lost");
    assert_eq!(holder.line().await, format!("why: {}", Loss::Paused));
    guard.unlock().await.unwrap();
}

async fn hold(url: &str, key: &str, ttl: Duration) -> Program {
    let ttl = ttl.as_millis().to_string();
    let holder = env!("CARGO_BIN_EXE_holder");
    let mut holder = Program::start(holder, &[url, key, "w", &ttl]);
    assert!(holder.line().await.starts_with("held "));
    holder
}

/// Somebody for each way to be told.
struct Holders {
    guard: Guard,
    guards: Guards,
    held: Held,
    annotated: JoinHandle<Result<(), Error>>,
    body: JoinHandle<Result<(), Error>>,
    log: Option<Reader>,
}

#[redis_lock(key = "<key>", guard = lock)]
async fn hand_out(key: String, to: oneshot::Sender<Held>) -> Result<(), Error> {
    let _ = to.send(lock.clone());
    pending().await
}

impl Holders {
    async fn of(locker: &Locker) -> Self {
        let log = Reader::start();
        let (to, held) = oneshot::channel();
        let annotated = with_locker(locker.clone(), hand_out(unique_key(), to));
        let annotated = tokio::spawn(annotated);
        let (begun, begins) = oneshot::channel();
        let body = locker.lock_exec(unique_key(), async move {
            let _ = begun.send(());
            pending().await
        });
        let body = tokio::spawn(body);
        begins.await.unwrap();
        Self {
            held: held.await.unwrap(),
            annotated,
            body,
            guard: locker.write(unique_key()).await.unwrap(),
            guards: locker.lock_all([unique_key()]).await.unwrap(),
            log,
        }
    }

    async fn all_say(self, why: Loss) {
        let Self {
            guard,
            guards,
            held,
            annotated,
            body,
            log,
        } = self;
        timeout(SOON, guard.lost()).await.expect("it is told");
        assert_eq!(guard.loss(), Some(why));
        timeout(SOON, guards.lost()).await.expect("it is told");
        assert_eq!(guards.loss().map(|(_, why)| why), Some(why));
        timeout(SOON, held.lost()).await.expect("it is told");
        assert_eq!(held.loss(), Some(why));
        assert_says(&soon(annotated).await.unwrap_err(), why);
        assert_says(&soon(body).await.unwrap_err(), why);
        assert_eq!(held.loss(), Some(why), "given back since then");
        if let Some(log) = log {
            let line = format!("lock lost: {why}");
            for key in [guard.key(), held.key()] {
                let texts = [key.as_str(), "lock lost"];
                eventually(SOON, "it is logged", async || !log.with(&texts).is_empty()).await;
                let lines = log.with(&texts);
                assert!(lines.len() == 1 && lines[0].contains(&line), "{lines:?}");
            }
        }
        assert_says(&soon(tokio::spawn(guard.unlock())).await.unwrap_err(), why);
        assert_says(&soon(tokio::spawn(guards.unlock())).await.unwrap_err(), why);
    }
}

#[track_caller]
fn assert_says(error: &Error, expected: Loss) {
    assert!(
        matches!(error, Error::Lost { why, .. } if *why == expected),
        "{error}"
    );
    assert!(error.to_string().contains(&expected.to_string()), "{error}");
}

async fn connect(url: &str) -> Locker {
    Locker::connect(url).await.unwrap()
}
