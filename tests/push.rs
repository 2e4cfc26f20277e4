//! Guards against relying on wake-ups: they may be lost, refused, or never come. And against not using them: whoever is
//! let in hears of it with its grant, and needs no command for it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use redis::aio::{AsyncPushSender, ConnectionManager, ConnectionManagerConfig};
use redis::{PushInfo, PushKind};
use redis_lock::{Guard, Locker, Mode, Wakeups};
use redis_lock_tests::{History, Proxy, Server, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::stage::{
    LONG, SOON, all_in_line, ask, calls, chance, enqueue, lease_left, locker, nothing_is_left, soon,
};

/// Without wake-ups a waiter asks once a second; the rest is for a busy machine.
const HEARTBEATS: Duration = Duration::from_secs(5);

/// Commands go over the same connections, so they break as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_that_are_cut_off_again_and_again_delay_nobody_for_long() {
    let server = Server::start().await;
    let lockers = [locker(&server.url()).await, locker(&server.url()).await];
    let (history, mut chance) = (History::new(), chance());
    let end = Instant::now() + Duration::from_secs(4);
    let mut tasks = JoinSet::new();
    for index in 0..12 {
        let (locker, history) = (lockers[index % 2].clone(), history.clone());
        let mut chance = SmallRng::seed_from_u64(chance.random());
        // Eight for one lock, and one for each of four others.
        let key = format!("x{}", index.saturating_sub(7));
        tasks.spawn(async move {
            while Instant::now() < end {
                let waited = timeout(HEARTBEATS, locker.write(&key)).await;
                let guard = waited.expect("nobody waits for long").unwrap();
                let stay = history.write(&key, guard.token());
                sleep(Duration::from_micros(chance.random_range(0..3000))).await;
                drop(stay);
                guard.unlock().await.unwrap();
            }
        });
    }
    let mut killed = 0;
    while Instant::now() < end {
        sleep(Duration::from_millis(chance.random_range(2..40))).await;
        killed += if chance.random() {
            ask::<usize>(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]).await
        } else {
            // One alone: the other process releases while this one does not listen.
            let list: String = ask(&server, &["CLIENT", "LIST", "TYPE", "pubsub"]).await;
            let ids: Vec<&str> = list
                .lines()
                .filter_map(|line| line.strip_prefix("id=")?.split(' ').next())
                .collect();
            match ids.choose(&mut chance) {
                Some(id) => ask(&server, &["CLIENT", "KILL", "ID", id]).await,
                None => 0,
            }
        };
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(killed > 40, "only {killed} connections were cut off");
    assert!(history.len() > 100, "only {} turns", history.len());
    history.check();
    nothing_is_left(&server).await;
}

/// Whoever releases may not publish, and nobody notices: the waiter still listens.
#[tokio::test]
async fn wake_ups_that_are_never_sent_delay_a_waiter_by_a_heartbeat() {
    let server = Server::start().await;
    let mute = user(&server, "mute", &["allcommands", "resetchannels"]).await;
    let holder = locker(&mute).await.write("x").await.unwrap();
    let waiting = locker(&server.url()).await;
    let waiter = enqueue(&server, waiting.write("x")).await;
    holder.unlock().await.unwrap();
    let guard = timeout(HEARTBEATS, waiter).await.expect("it asks again");
    guard.unwrap().unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn who_loses_the_right_to_listen_while_it_waits_polls() {
    let server = Server::start().await;
    let waiting = locker(&server.url()).await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let waiter = enqueue(&server, waiting.write("x")).await;
    eventually(SOON, "both listen", async || listeners(&server).await == 2).await;
    // This also closes the connections of those who listen.
    let () = ask(&server, &["ACL", "SETUSER", "default", "resetchannels"]).await;
    polls(&server).await;
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_refusal_to_listen_is_said_once_and_who_waits_polls() {
    let server = Server::start().await;
    let deaf = user(&server, "deaf", &["allcommands", "resetchannels"]).await;
    let said = Said::default();
    // Under `cargo test`, another test may have been the first to read there.
    let reads = usize::from(tracing::subscriber::set_global_default(said.clone()).is_ok());
    let waiting = locker(&deaf).await;
    eventually(SOON, "it is said", async || said.count() == 1).await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let waiter = enqueue(&server, waiting.write("x")).await;
    // With a new connection it tries again.
    server.reset_stats().await;
    let killed: usize = ask(&server, &["CLIENT", "KILL", "USER", "deaf"]).await;
    assert!(killed > 0);
    eventually(SOON, "it is refused once more", async || {
        refusals(&server).await > 0
    })
    .await;
    polls(&server).await;
    assert_eq!(said.count(), reads, "it is said again");
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// An old server, or one on which nobody may ask for the new protocol.
#[tokio::test]
async fn without_the_protocol_that_pushes_who_waits_polls_and_it_is_said_once() {
    // An ACL cannot forbid it.
    let server = Server::start_with(&["--rename-command", "HELLO", ""]).await;
    let holder = Locker::new(server.manager().await).ttl(LONG);
    let holder = holder.write("x").await.unwrap();
    let said = Said::default();
    // It is found out in the engine's thread. Under `cargo test`, another test may have been the first to read there.
    let reads = tracing::subscriber::set_global_default(said.clone()).is_ok();
    let waiting = locker(&server.url()).await;
    let waiter = enqueue(&server, waiting.write("x")).await;
    polls(&server).await;
    assert_eq!(listeners(&server).await, 0);
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap().unlock().await.unwrap();
    eventually(SOON, "it is said", async || {
        said.count() == usize::from(reads)
    })
    .await;
    nothing_is_left(&server).await;
}

/// What connects must not hang where the link does.
#[tokio::test]
async fn a_subscription_that_is_not_answered_holds_up_nobody() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    proxy.delay_next_request("SUBSCRIBE", LONG);
    let waiting = timeout(HEARTBEATS, Locker::connect(proxy.url())).await;
    let waiting = waiting.expect("it connects, or says that it cannot");
    assert_eq!(proxy.traps_left(), 0);
    let Ok(waiting) = waiting else { return };
    let other = locker(&server.url()).await;
    let holder = other.write("x").await.unwrap();
    // Once the link has been replaced.
    let waiting = waiting.wait(LONG);
    let waiter = enqueue(&server, waiting.write("x")).await;
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap().unlock().await.unwrap();
    // Once the link has been found to be dead there is another one, which is subscribed to.
    eventually(SOON, "both listen", async || listeners(&server).await == 2).await;
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_grant_is_heard_of_without_another_command_and_kept() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let waiting = locker(&proxy.url()).await;
    let other = locker(&server.url()).await;
    heard_of_without_another_command(&server, &proxy, &waiting, &other).await;
    // The same when the link was cut in between, once it is back.
    proxy.cut().await;
    eventually(SOON, "one listens", async || listeners(&server).await == 1).await;
    proxy.pass().await;
    eventually(SOON, "both listen", async || listeners(&server).await == 2).await;
    heard_of_without_another_command(&server, &proxy, &waiting, &other).await;
}

async fn heard_of_without_another_command(
    server: &Server,
    proxy: &Proxy,
    waiting: &Locker,
    other: &Locker,
) {
    let mut attempts = 0;
    let guard = loop {
        let holder = other.write("x").await.unwrap();
        let last = holder.token();
        let waiter = enqueue(server, waiting.write("x")).await;
        heartbeat(proxy).await;
        let (before, asked) = (scripts(proxy), Instant::now());
        holder.unlock().await.unwrap();
        let guard = soon(waiter).await.unwrap();
        assert!(guard.token() > last);
        let (sent, took) = (scripts(proxy) - before, asked.elapsed());
        if sent == 0 {
            break guard;
        }
        // On a machine that stood still in between, the next heartbeat was due. It does not do so each time.
        attempts += 1;
        let stood_still = took > Duration::from_millis(800);
        assert!(stood_still && attempts < 3, "{sent} commands in {took:?}");
        guard.unlock().await.unwrap();
        nothing_is_left(server).await;
    };
    assert!(guard.valid_for() > Duration::ZERO);
    assert!(lease_left(server, "x").await < LONG / 2, "it is a claim");
    eventually(HEARTBEATS, "it is renewed", async || {
        guard.valid_for() > LONG / 2
    })
    .await;
    assert!(lease_left(server, "x").await > LONG / 2);
    guard.unlock().await.unwrap();
    nothing_is_left(server).await;
}

/// What is granted is no more than a claim of three seconds.
#[tokio::test]
async fn a_lock_that_was_granted_lasts_for_what_its_holder_was_promised() {
    const TTL: Duration = Duration::from_secs(4);
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let other = locker(&server.url()).await;
    let waiting = locker(&proxy.url()).await;
    let once = waiting.clone().ttl(TTL).auto_extend(false);
    let bounded = waiting.clone().max_hold(TTL);
    let unlimited = waiting.ttl(TTL);
    let unlimited = granted(&server, &other, &unlimited, "unlimited").await;
    let once = granted(&server, &other, &once, "once").await;
    let once = (once, Instant::now());
    let bounded = granted(&server, &other, &bounded, "bounded").await;
    let bounded = (bounded, Instant::now());
    for (guard, start) in [once, bounded] {
        timeout(SOON, guard.lost()).await.expect("it ends");
        let took = start.elapsed();
        // Less a margin for clocks that drift, and counted from when it was granted, a little earlier.
        assert!(took > TTL * 9 / 10, "after {took:?}");
        assert!(took < TTL + Duration::from_secs(1), "after {took:?}");
        // For Redis, too.
        let next = timeout(SOON, other.write(guard.key())).await;
        next.expect("it is free").unwrap().unlock().await.unwrap();
        assert!(start.elapsed() < TTL + Duration::from_millis(1500));
    }
    assert!(!unlimited.is_lost());
    unlimited.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// It must be gone with its ttl, and not with the claim, which is much longer.
#[tokio::test]
async fn a_ttl_that_is_shorter_than_the_claim_counts() {
    const TTL: Duration = Duration::from_millis(300);
    let server = Server::start().await;
    let other = locker(&server.url()).await;
    let waiting = locker(&server.url()).await.ttl(TTL);
    // From here on the server knows the script that renews.
    let kept = granted(&server, &other, &waiting, "kept").await;
    sleep(TTL).await;
    let once = granted(&server, &other, &waiting.clone().auto_extend(false), "once").await;
    let start = Instant::now();
    assert!(once.valid_for() <= TTL);
    let next = timeout(SOON, other.write("once"))
        .await
        .expect("it is free");
    let took = start.elapsed();
    assert!(once.is_lost(), "its holder knows it before");
    assert!(took < 5 * TTL, "after {took:?}");
    next.unwrap().unlock().await.unwrap();
    kept.unlock().await.expect("it was renewed");
    let shortest = waiting.ttl(Duration::from_millis(100));
    let guard = granted(&server, &other, &shortest, "shortest").await;
    // A busy machine may need longer than that to renew it; but whoever comes next must get in.
    drop(guard);
    drop(timeout(SOON, other.write("shortest")).await.expect("freed"));
    nothing_is_left(&server).await;
}

/// Whoever was let in and has stood still has lost that by the time it asks again. If what it was sent then comes in after
/// the answer, over another connection or late, it must not be taken for news.
#[tokio::test]
async fn a_wake_up_that_comes_after_its_grant_has_ended_lets_nobody_in() {
    let server = Server::start().await;
    let other = locker(&server.url()).await;
    let wakeups = Wakeups::new();
    let (late, lets_through) = (Arc::new(Mutex::new(Vec::new())), wakeups.clone());
    let held_back = Arc::clone(&late);
    let config = ConnectionManagerConfig::new().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Message {
            held_back.lock().unwrap().push(push);
            return Ok(());
        }
        lets_through.send(push)
    });
    let client = redis::Client::open(format!("{}/?protocol=resp3", server.url())).unwrap();
    let connection = ConnectionManager::new_with_config(client, config).await;
    let mut connection = connection.unwrap();
    connection.subscribe(wakeups.channel()).await.unwrap();
    let waiting = Locker::with_wakeups(connection, &wakeups).wait(LONG);

    for mode in [Mode::Write, Mode::Read] {
        let holder = other.write("x").await.unwrap();
        let mut waiters: Vec<_> = (0..3)
            .map(|_| Box::pin(waiting.clone().mode(mode).lock("x")))
            .collect();
        let mut all = poll_fn(|context| {
            for waiter in &mut waiters {
                assert!(waiter.as_mut().poll(context).is_pending());
            }
            Poll::<()>::Pending
        });
        tokio::select! {
            () = &mut all => {}
            () = all_in_line(&server, 3) => {}
        }
        let behind = enqueue(&server, other.write("x")).await;
        // Nobody polls them, so after a second they are not asked for any more.
        sleep(Duration::from_millis(1500)).await;
        holder.unlock().await.unwrap();
        let guard = soon(behind).await.unwrap();
        tokio::select! {
            () = &mut all => {}
            () = all_in_line(&server, 3) => {}
        }
        let late: Vec<_> = late.lock().unwrap().drain(..).collect();
        assert!(!late.is_empty(), "they had been let in");
        // The answer that they are in line again may need a moment to get there.
        for _ in 0..10 {
            for push in &late {
                wakeups.send(push.clone()).unwrap();
            }
            let _ = timeout(Duration::from_millis(100), &mut all).await;
        }
        assert!(!guard.is_lost());
        drop(waiters);
        guard.unlock().await.unwrap();
        nothing_is_left(&server).await;
    }
}

/// A lock that was handed over to one who waited for it.
async fn granted(server: &Server, other: &Locker, waiting: &Locker, key: &str) -> Guard {
    let holder = other.write(key).await.unwrap();
    let waiter = enqueue(server, waiting.write(key)).await;
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap()
}

/// A user who may do so much, and the address with its name.
async fn user(server: &Server, name: &str, rights: &[&str]) -> String {
    let mut words = vec!["ACL", "SETUSER", name, "on", ">secret", "allkeys"];
    words.extend(rights);
    let () = ask(server, &words).await;
    let url = server.url();
    url.replace("redis://", &format!("redis://{name}:secret@"))
}

/// How many fronts hear what is published for them.
async fn listeners(server: &Server) -> usize {
    let channels: Vec<String> = ask(server, &["PUBSUB", "CHANNELS", "redis-lock:*"]).await;
    channels.len()
}

/// How often a subscription was refused since the statistics were reset.
async fn refusals(server: &Server) -> usize {
    let statistics: String = ask(server, &["INFO", "commandstats"]).await;
    let subscribe = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_subscribe:"));
    let rejected = subscribe.and_then(|line| line.split_once("rejected_calls="));
    let digits = rejected.and_then(|(_, rest)| rest.split(',').next());
    digits.map_or(0, |digits| digits.parse().expect("a number"))
}

/// Waits until so much was asked as only one who polls asks: with wake-ups it would be once a second.
async fn polls(server: &Server) {
    server.reset_stats().await;
    eventually(HEARTBEATS, "who waits polls", async || {
        calls(server).await > 15
    })
    .await;
}

fn scripts(proxy: &Proxy) -> usize {
    let forwarded = proxy.forwarded();
    forwarded
        .iter()
        .filter(|name| name.starts_with("EVAL"))
        .count()
}

/// Waits until those who wait have been asked for: the next time is in a second.
async fn heartbeat(proxy: &Proxy) {
    let before = scripts(proxy);
    eventually(SOON, "a heartbeat", async || scripts(proxy) > before).await;
    // For its answer: it is what a deadline is counted from.
    sleep(Duration::from_millis(50)).await;
}

/// Counts what is said of wake-ups.
#[derive(Clone, Default)]
struct Said(Arc<AtomicUsize>);

impl Said {
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Subscriber for Said {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        struct Finds(bool);

        impl Visit for Finds {
            fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
                self.0 |= format!("{value:?}").contains("no wake-ups");
            }
        }

        let mut finds = Finds(false);
        event.record(&mut finds);
        self.0.fetch_add(usize::from(finds.0), SeqCst);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
