//! Who gets the lock, in which order, and what is left of it.

use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind};
use redis_lock_tests::Server;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Acquired, Found, LONG, Lock, R, SOON, TRY, W, WAIT, assert_nearly};

#[tokio::test]
async fn a_free_write_is_the_gate_and_nothing_else() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let token = lock.take("a1", W).await;
    assert_eq!(server.keys().await, [lock.gate()]);
    let gate: String = lock.ask(&["GET", lock.gate()]).await;
    assert_eq!(gate, format!("W a1 {token} {LONG}"));
    assert_nearly(lock.ttl(0).await.unsigned_abs(), LONG);
    assert_eq!(lock.release("a1").await, (Found::Hold, vec![]));
    lock.assert_idle().await;
}

#[tokio::test]
async fn readers_share_and_leave_nothing() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let first = lock.take("a1", R).await;
    let second = lock.take("a2", R).await;
    assert!(second > first);
    assert_nearly(lock.acquire("b1", W, LONG, TRY).await.busy(), LONG);
    assert!(lock.hand_over("a1").await.is_empty());
    assert_nearly(lock.acquire("b1", W, LONG, TRY).await.busy(), LONG);
    assert!(lock.hand_over("a2").await.is_empty());
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_holder_that_asks_again_has_its_token_and_its_full_ttl() {
    let server = Server::start().await;
    for mode in [W, R] {
        let lock = Lock::on(&server).await;
        let token = lock.acquire("a1", mode, 30_000, WAIT).await.token();
        for lease in [WAIT, TRY] {
            let again = lock.acquire("a1", mode, LONG, lease).await;
            assert_eq!(again, Acquired::Held { token });
        }
        assert_nearly(lock.ttl(0).await.unsigned_abs(), LONG);
        if mode == R {
            assert_nearly(lock.lease(1, "a1").await.unwrap(), LONG);
        }
        // It has it once: one release frees it.
        assert!(lock.hand_over("a1").await.is_empty());
        lock.assert_idle().await;
    }
}

#[tokio::test]
async fn a_waiter_that_asks_again_keeps_its_place_and_has_its_lease_renewed() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("a1", W).await;
    assert_eq!(lock.acquire("b1", W, LONG, 20_000).await.place(), 0);
    assert_eq!(lock.wait("b2", W).await, 1);
    assert_nearly(lock.lease(3, "b1").await.unwrap(), 20_000);
    let Acquired::Queued { place: 0, left } = lock.acquire("b1", W, LONG, WAIT).await else {
        panic!("b1 lost its place")
    };
    assert_nearly(left, LONG);
    assert_nearly(lock.lease(3, "b1").await.unwrap(), WAIT);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    assert_eq!(lock.hand_over("b1").await, ["b2"]);
    lock.hand_over("b2").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn the_lock_goes_on_in_order_with_neighbouring_readers_together() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let mut last = lock.take("aa", W).await;
    let line = [
        ("b1", R),
        ("b2", R),
        ("c1", W),
        ("d1", R),
        ("c2", W),
        ("c3", W),
    ];
    for (place, (id, mode)) in line.into_iter().enumerate() {
        assert_eq!(lock.wait(id, mode).await, place as u64);
    }
    let turns: [(&[&str], &[&str]); 7] = [
        (&["aa"], &["b1", "b2"]),
        (&["b2", "b1"], &["c1"]),
        (&["c1"], &["d1"]),
        (&["d1"], &["c2"]),
        (&["c2"], &["c3"]),
        (&["c3"], &[]),
        (&[], &[]),
    ];
    for (leave, enter) in turns {
        let mut granted = Vec::new();
        for id in leave {
            assert!(granted.is_empty(), "in before all are out");
            granted = lock.hand_over(id).await;
        }
        assert_eq!(granted, enter);
        for id in granted {
            let token = lock
                .take(&id, line.iter().find(|it| it.0 == id).unwrap().1)
                .await;
            assert!(token > last, "{id}: {token} after {last}");
            last = token;
        }
    }
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_reader_behind_a_queued_writer_waits() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("a1", R).await;
    assert_eq!(lock.wait("b1", W).await, 0);
    assert_eq!(lock.wait("a2", R).await, 1);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    // The writer gives up: the reader behind it is let in by that.
    lock.take("b1", W).await;
    assert_eq!(lock.wait("b2", W).await, 1);
    assert_eq!(lock.wait("a3", R).await, 2);
    assert_eq!(lock.hand_over("b1").await, ["a2"]);
    assert_eq!(
        lock.release("b2").await,
        (Found::Place, vec!["a3".to_owned()])
    );
    lock.hand_over("a2").await;
    lock.hand_over("a3").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_try_never_queues_and_never_jumps() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("a1", R).await;
    lock.acquire("c1", W, LONG, TRY).await.busy();
    assert_eq!(lock.wait("b1", W).await, 0);
    let before = lock.dump().await;
    // It would fit beside the reader, but somebody is in line.
    assert_nearly(lock.acquire("c2", R, LONG, TRY).await.busy(), LONG);
    assert_eq!(lock.dump().await, before);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    lock.hand_over("b1").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_busy_try_leaves_no_trace() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("a1", W).await;
    let before = lock.dump().await;
    for mode in [R, W] {
        assert_nearly(lock.acquire("c1", mode, LONG, TRY).await.busy(), LONG);
    }
    assert_eq!(lock.dump().await, before);
    assert_eq!(server.keys().await, [lock.gate()]);
}

#[tokio::test]
async fn a_try_gives_up_the_place_that_its_id_has() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("a1", R).await;
    lock.wait("b1", W).await;
    lock.wait("a2", R).await;
    lock.acquire("b1", W, LONG, TRY).await.busy();
    // The reader behind it was let in by that very call.
    assert!(lock.renew("a2", LONG).await);
    assert_eq!(lock.release("b1").await.0, Found::Nothing);
    // One that asks for what it would get by waiting gets it.
    lock.wait("b2", W).await;
    assert_eq!(lock.wait("a3", R).await, 1);
    lock.release("b2").await;
    lock.acquire("a3", R, LONG, TRY).await.token();
    for id in ["a1", "a2", "a3"] {
        lock.hand_over(id).await;
    }
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_sole_writer_keeps_its_token_and_its_lease_when_others_come() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let token = lock.acquire("a1", W, 30_000, WAIT).await.token();
    let Acquired::Queued { left, .. } = lock.acquire("b1", R, LONG, WAIT).await else {
        panic!("beside a writer")
    };
    assert_nearly(left, 30_000);
    assert_nearly(lock.lease(1, "a1").await.unwrap(), 30_000);
    assert_nearly(lock.ttl(0).await.unsigned_abs(), WAIT);
    assert_eq!(lock.take("a1", W).await, token);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    lock.hand_over("b1").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn only_a_holder_can_release_and_only_once() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let nothing = (Found::Nothing, vec![]);
    assert_eq!(lock.release("a1").await, nothing);
    assert_eq!(server.keys().await, [""; 0]);
    // A sole writer, also from an id that its id begins with.
    lock.take("a1", W).await;
    for stranger in ["a", "a12", "b1"] {
        assert_eq!(lock.release(stranger).await, nothing);
        assert!(!lock.renew(stranger, LONG).await);
    }
    assert!(lock.renew("a1", LONG).await);
    assert_eq!(lock.hand_over("a1").await, [""; 0]);
    assert_eq!(lock.release("a1").await, nothing);
    // The book.
    lock.take("a1", R).await;
    lock.wait("b1", W).await;
    lock.wait("b2", W).await;
    assert_eq!(lock.release("cc").await, nothing);
    assert_eq!(lock.release("b2").await, (Found::Place, vec![]));
    assert_eq!(lock.release("b2").await, nothing);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    assert_eq!(lock.release("a1").await, nothing);
    assert!(lock.renew("b1", LONG).await);
    lock.hand_over("b1").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_grant_is_published_on_the_channel_of_the_one_who_waits() {
    let server = Server::start().await;
    let mut lock = Lock::on(&server).await;
    let (sender, mut pushes) = mpsc::unbounded_channel();
    let client = Client::open(format!("{}?protocol=resp3", server.url())).unwrap();
    let config = AsyncConnectionConfig::new().set_push_sender(sender);
    let mut subscriber = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    subscriber.subscribe(&["one", "two words"]).await.unwrap();
    let mut next = async || {
        loop {
            let push: PushInfo = timeout(SOON, pushes.recv()).await.unwrap().unwrap();
            if push.kind == PushKind::Message {
                let [channel, text] = &push.data[..] else {
                    panic!("{push:?}")
                };
                return (
                    redis::from_redis_value::<String>(channel.clone()).unwrap(),
                    redis::from_redis_value::<String>(text.clone()).unwrap(),
                );
            }
        }
    };
    lock.take("a1", W).await;
    "one".clone_into(&mut lock.channel);
    lock.wait("b1", W).await;
    "two words".clone_into(&mut lock.channel);
    lock.wait("b2", W).await;
    lock.channel.clear();
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    let token = lock.take("b1", W).await;
    assert_eq!(next().await, ("one".to_owned(), format!("b1 {token}")));
    assert_eq!(lock.hand_over("b1").await, ["b2"]);
    let token = lock.take("b2", W).await;
    assert_eq!(
        next().await,
        ("two words".to_owned(), format!("b2 {token}"))
    );
}
