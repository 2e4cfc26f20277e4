//! Asking for all who wait in one process with one call.

use redis_lock_tests::Server;

use super::{Found, LONG, Lock, R, W, WAIT, assert_nearly};

#[tokio::test]
async fn newcomers_join_in_order_and_others_keep_their_places() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", W).await;
    let (place, left, granted) = lock.ask_for(&[("b1", W), ("b2", R)]).await;
    assert_eq!((place, granted), (0, vec![]));
    assert_nearly(left, LONG);
    lock.wait("c1", W).await;
    // In an order that is not theirs.
    let (place, _, _) = lock.ask_for(&[("b3", W), ("b2", R), ("b1", W)]).await;
    assert_eq!(place, 1, "that of the first that had one");
    for (id, place) in [("b1", 0), ("b2", 1), ("c1", 2), ("b3", 3)] {
        assert_eq!(lock.wait(id, if id == "b2" { R } else { W }).await, place);
    }
    for turn in [["aa", "b1"], ["b1", "b2"], ["b2", "c1"], ["c1", "b3"]] {
        assert_eq!(lock.hand_over(turn[0]).await, [turn[1]]);
    }
    lock.hand_over("b3").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn waiter_leases_are_renewed() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    lock.acquire("aa", W, 3 * LONG, WAIT).await.token();
    lock.ask_for(&[("b1", W), ("b2", W)]).await;
    server.set_clock(30_000);
    let (place, _, _) = lock.ask_for(&[("b2", W)]).await;
    assert_eq!(place, 1);
    assert_nearly(lock.lease(3, "b2").await.unwrap(), WAIT);
    assert_nearly(lock.ttl(3).await.unsigned_abs(), 150_000);
    server.set_clock(41_000);
    let (place, _, _) = lock.ask_for(&[("b2", W), ("b1", W)]).await;
    assert_eq!(place, 0, "b1 was dead, and is last now");
    assert_eq!(lock.hand_over("aa").await, ["b2"]);
    assert_eq!(lock.hand_over("b2").await, ["b1"]);
}

#[tokio::test]
async fn those_who_have_been_let_in_are_told_and_have_a_claim() {
    let server = Server::with_own_clock().await;
    let mut lock = Lock::on(&server).await;
    "one".clone_into(&mut lock.channel);
    lock.take("aa", W).await;
    let line = [("b1", W), ("b2", W), ("b3", R)];
    lock.ask_for(&line).await;
    server.set_clock(20_000);
    lock.hand_over("aa").await;
    assert_nearly(lock.lease(1, "b1").await.unwrap(), WAIT - 20_000);
    let (place, _, granted) = lock.ask_for(&line).await;
    assert_eq!(place, 0);
    let ids: Vec<_> = granted.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["b1", "b2"]);
    assert!(granted[0].1 < granted[1].1);
    assert_nearly(lock.lease(1, "b1").await.unwrap(), WAIT);
    assert_nearly(lock.lease(1, "b2").await.unwrap(), WAIT);
    // A longer lease is left as it is.
    assert!(lock.renew("b1", LONG).await);
    lock.ask_for(&line).await;
    assert_nearly(lock.lease(1, "b1").await.unwrap(), LONG);
    assert_eq!(lock.retire(&["b1", "b2"]).await.1, ["b3"]);
}

#[tokio::test]
async fn who_finds_the_lock_free_has_it() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let (place, left, granted) = lock.ask_for(&[("b1", R), ("b2", R), ("b3", W)]).await;
    assert_eq!(place, 0);
    assert_nearly(left, WAIT);
    let ids: Vec<_> = granted.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["b1", "b2"]);
    for (id, token) in granted {
        assert_eq!(lock.take(&id, R).await, token);
        lock.release(&id).await;
    }
    let (place, _, granted) = lock.ask_for(&[("b3", W)]).await;
    assert_eq!((place, granted.len()), (-1, 1));
    assert_eq!(lock.release("b3").await, (Found::Hold, vec![]));
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_full_memory_refuses_newcomers_and_not_who_waits() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", W).await;
    lock.ask_for(&[("b1", W)]).await;
    let () = lock.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = lock.dump().await;
    let error = lock.try_ask(WAIT, &[("b2", W)]).await.unwrap_err();
    assert!(error.to_string().contains("OOM"), "{error}");
    assert_eq!(lock.dump().await, before);
    assert_eq!(lock.ask_for(&[("b1", W)]).await.0, 0);
    lock.hand_over("aa").await;
    assert_eq!(lock.ask_for(&[("b1", W)]).await.2.len(), 1);
}

#[tokio::test]
async fn a_foreign_value_is_left_alone() {
    let server = Server::start().await;
    for role in 0..5 {
        let lock = Lock::on(&server).await;
        let () = lock
            .ask(&["SET", &lock.names[role], "theirs", "PX", "90000"])
            .await;
        let before = lock.dump().await;
        let error = lock
            .try_ask(WAIT, &[("b1", W)])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("WRONGTYPE") || error.contains("FOREIGN"),
            "{error}"
        );
        assert_eq!(lock.dump().await, before);
    }
}

#[tokio::test]
async fn a_heartbeat_creates_nothing_for_a_waiter_that_a_reply_has_told_of() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    // Nothing is there, a free lock, a lock at the gate, an open book.
    assert_eq!(lock.beat(&["b1", "b2"]).await, (-1, ids(["b1", "b2"])));
    lock.assert_idle().await;
    lock.take("aa", W).await;
    assert_eq!(lock.beat(&["b1"]).await, (-1, ids(["b1"])));
    assert!(
        lock.ask::<String>(&["GET", lock.gate()])
            .await
            .starts_with("W aa "),
        "no book was opened"
    );
    lock.wait("c1", W).await;
    assert_eq!(lock.beat(&["b1"]).await, (-1, ids(["b1"])));
    // Beside one that is queued, and one that holds.
    assert_eq!(lock.beat(&["b1", "c1", "aa"]).await, (0, ids(["b1"])));
    assert_eq!(lock.hand_over("aa").await, ["c1"]);
    lock.hand_over("c1").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_heartbeat_that_is_executed_after_the_release_leaves_the_lock_free() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", W).await;
    lock.wait("b1", W).await;
    assert_eq!(lock.hand_over("aa").await, ["b1"]);
    lock.hand_over("b1").await;
    lock.beat(&["b1"]).await;
    assert!(
        !lock.renew("b1", LONG).await,
        "nor does a renewal behind it"
    );
    lock.take("cc", W).await;
    lock.beat(&["b1"]).await;
    assert_eq!(lock.release("cc").await, (Found::Hold, vec![]));
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_heartbeat_that_finds_the_last_of_the_book_dead_closes_it() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", R).await;
    lock.acquire("b1", R, 1000, WAIT).await.token();
    // The book lives as long as the longest lease; its last holder is dead before.
    lock.release("aa").await;
    server.set_clock(2_000);
    assert_eq!(lock.beat(&["c1"]).await, (-1, ids(["c1"])));
    lock.assert_idle().await;
}

fn ids<const N: usize>(ids: [&str; N]) -> Vec<String> {
    ids.map(str::to_owned).into()
}
