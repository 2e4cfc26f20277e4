//! What a server may refuse: more memory, writes to a replica, a channel. Nothing may be half done then.

use redis::{Client, RedisError};
use redis_lock_tests::{Server, eventually};

use super::{Acquired, Found, LONG, Lock, R, SOON, TRY, W, WAIT, assert_nearly};

/// From now on every write that may need memory is refused.
async fn fill_the_memory(lock: &Lock) {
    let () = lock.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut set = redis::cmd("SET");
    set.arg("filler").arg(1);
    let refused = set.query_async::<()>(&mut lock.con.clone()).await;
    assert_refused(refused, "OOM");
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, RedisError>, code: &str) {
    let error = result.expect_err("not refused");
    let text = error.to_string();
    assert!(
        error.code() == Some(code) || text.contains(code),
        "{error}, not {code}"
    );
}

#[tokio::test]
async fn a_full_memory_refuses_newcomers_without_a_trace() {
    let server = Server::start().await;
    let [free, sole, shared] = [
        Lock::on(&server).await,
        Lock::on(&server).await,
        Lock::on(&server).await,
    ];
    sole.take("a1", W).await;
    shared.take("a1", R).await;
    shared.wait("b1", W).await;
    fill_the_memory(&free).await;
    let keys = server.keys().await;
    for lock in [&free, &sole, &shared] {
        let before = lock.dump().await;
        for mode in [R, W] {
            assert_refused(lock.try_acquire("c1", mode, LONG, WAIT).await, "OOM");
        }
        assert_eq!(lock.dump().await, before);
    }
    for mode in [R, W] {
        assert_refused(free.try_acquire("c1", mode, LONG, TRY).await, "OOM");
        // That needs no memory to be known.
        sole.acquire("c1", mode, LONG, TRY).await.busy();
        shared.acquire("c1", mode, LONG, TRY).await.busy();
    }
    assert_eq!(server.keys().await, keys);
}

#[tokio::test]
async fn a_full_memory_does_not_hurt_those_who_are_in() {
    let server = Server::start().await;
    let sole = Lock::on(&server).await;
    let token = sole.take("a1", W).await;
    let lock = Lock::on(&server).await;
    lock.take("a1", W).await;
    lock.acquire("b1", W, LONG, 20_000).await.place();
    lock.acquire("b2", R, LONG, WAIT).await.place();
    lock.acquire("b3", R, LONG, WAIT).await.place();
    lock.acquire("b4", W, LONG, WAIT).await.place();
    fill_the_memory(&lock).await;
    // A sole writer.
    assert!(sole.renew("a1", LONG).await);
    assert_eq!(
        sole.acquire("a1", W, LONG, WAIT).await,
        Acquired::Held { token }
    );
    assert_eq!(sole.release("a1").await, (Found::Hold, vec![]));
    sole.release("a1").await;
    // Heartbeats of those who wait.
    assert_eq!(lock.wait("b1", W).await, 0);
    assert_nearly(lock.lease(3, "b1").await.unwrap(), WAIT);
    assert_eq!(lock.wait("b2", R).await, 1);
    // Renewal, hand-over, and both ways to lift a claim.
    assert!(lock.renew("a1", LONG).await);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    lock.take("b1", W).await;
    assert_nearly(lock.lease(1, "b1").await.unwrap(), LONG);
    assert_eq!(lock.hand_over("b1").await, ["b2", "b3"]);
    assert!(lock.renew("b2", LONG).await);
    lock.take("b3", R).await;
    assert_nearly(lock.lease(1, "b2").await.unwrap(), LONG);
    // One who waits gives up: by release or by a try.
    lock.acquire("b4", W, LONG, TRY).await.busy();
    assert_eq!(lock.hand_over("b2").await, [""; 0]);
    assert_eq!(lock.hand_over("b3").await, [""; 0]);
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_full_memory_does_not_hurt_those_whose_token_is_of_the_future() {
    let server = Server::start().await;
    let future = Lock::on(&server).await.now().await + 30_000_000;
    let lock = Lock::on(&server).await;
    let sole = format!("W a1 {future} {LONG}");
    let () = lock.ask(&["SET", lock.gate(), &sole, "PX", "90000"]).await;
    fill_the_memory(&lock).await;
    assert!(lock.renew("a1", LONG).await);
    lock.hand_over("a1").await;
    assert!(lock.ttl(0).await > 10_000);
}

#[tokio::test]
async fn without_rights_to_the_channel_the_lock_still_goes_on() {
    let server = Server::start().await;
    let mut lock = Lock::on(&server).await;
    let rights = [
        "ACL",
        "SETUSER",
        "poor",
        "on",
        ">pw",
        "~*",
        "+@all",
        "resetchannels",
    ];
    let () = lock.ask(&rights).await;
    let url = server.url().replace("redis://", "redis://poor:pw@");
    let client = Client::open(url).unwrap();
    lock.con = client.get_multiplexed_async_connection().await.unwrap();
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("wake").arg("");
    assert_refused(
        publish.query_async::<()>(&mut lock.con.clone()).await,
        "NOPERM",
    );
    "wake".clone_into(&mut lock.channel);
    lock.take("a1", W).await;
    lock.wait("b1", R).await;
    lock.wait("b2", R).await;
    lock.wait("b3", W).await;
    assert_eq!(lock.hand_over("a1").await, ["b1", "b2"]);
    lock.hand_over("b1").await;
    assert_eq!(lock.hand_over("b2").await, ["b3"]);
    lock.hand_over("b3").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_replica_refuses_and_stays_as_it_is() {
    let (master, replica) = Server::with_replica().await;
    let sole = Lock::on(&master).await;
    sole.take("a1", W).await;
    let shared = Lock::on(&master).await;
    shared.take("a1", R).await;
    shared.wait("b1", W).await;
    let free = Lock::on(&master).await;
    let keys = master.keys().await;
    eventually(SOON, "the keys arrive", async || {
        replica.keys().await == keys
    })
    .await;
    let con = replica.connection().await;
    for mut lock in [sole, shared, free.clone()] {
        lock.con = con.clone();
        let before = lock.dump().await;
        assert_refused(lock.try_acquire("c1", R, LONG, WAIT).await, "READONLY");
        assert_refused(lock.try_acquire("c1", W, LONG, WAIT).await, "READONLY");
        assert_refused(lock.try_acquire("c1", W, LONG, TRY).await, "READONLY");
        if lock.names != free.names {
            assert_refused(lock.try_renew("a1", LONG).await, "READONLY");
            assert_refused(lock.try_release("a1").await, "READONLY");
        }
        assert_eq!(lock.dump().await, before);
    }
    assert_eq!(replica.keys().await, keys);
}

#[tokio::test]
async fn a_full_memory_does_not_hurt_when_the_clock_steps_back_as_well() {
    let server = Server::with_own_clock().await;
    let [one, two] = [Lock::on(&server).await, Lock::on(&server).await];
    for lock in [&one, &two] {
        lock.take("a1", R).await;
        lock.wait("b1", W).await;
    }
    server.set_clock(-3_600_000);
    fill_the_memory(&one).await;
    assert!(one.renew("a1", LONG).await);
    assert_eq!(one.wait("b1", W).await, 0);
    assert_eq!(one.hand_over("a1").await, ["b1"]);
    assert_eq!(two.wait("b1", W).await, 0);
    assert_eq!(two.hand_over("a1").await, ["b1"]);
}
