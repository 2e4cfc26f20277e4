//! Leases of holders and of waiters: who is dead, when, and who gets what they had. The server's clock is moved, so
//! that nothing is waited for.

use redis_lock_tests::Server;

use super::{Acquired, Found, LONG, Lock, R, TRY, W, WAIT, assert_nearly};

/// As the clock is set to it: later than every lease of `LONG` that was given at zero.
const AFTER: i64 = 61_000;

async fn clocked() -> (Server, Lock) {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    (server, lock)
}

#[tokio::test]
async fn a_claim_is_what_was_left_of_the_waiter_lease_and_is_lifted() {
    for lift_by_renewal in [true, false] {
        let (server, lock) = clocked().await;
        lock.take("a1", W).await;
        lock.acquire("b1", R, LONG, 40_000).await.place();
        lock.acquire("b2", R, LONG, 50_000).await.place();
        server.set_clock(20_000);
        assert_eq!(lock.hand_over("a1").await, ["b1", "b2"]);
        assert_nearly(lock.lease(1, "b1").await.unwrap(), 20_000);
        assert_nearly(lock.lease(1, "b2").await.unwrap(), 30_000);
        if lift_by_renewal {
            assert!(lock.renew("b1", LONG).await);
        } else {
            lock.take("b1", R).await;
        }
        assert_nearly(lock.lease(1, "b1").await.unwrap(), LONG);
        server.set_clock(51_000);
        assert!(!lock.renew("b2", LONG).await, "a claim that nobody lifted");
        assert!(lock.renew("b1", LONG).await);
        lock.hand_over("b1").await;
        lock.assert_idle().await;
    }
}

#[tokio::test]
async fn dead_waiters_are_dropped_all_together() {
    let (server, lock) = clocked().await;
    lock.take("a1", R).await;
    let line = ["d1", "d2", "b1", "d3", "d4", "b2", "d5"];
    for (id, place) in line.iter().zip(0..) {
        assert_eq!(lock.wait(id, W).await, place);
    }
    server.set_clock(39_000);
    for id in ["b1", "b2"] {
        lock.wait(id, W).await;
    }
    lock.renew("a1", LONG).await;
    server.set_clock(41_000);
    assert_eq!(lock.wait("b2", W).await, 1);
    for (name, left) in [(2, 2), (3, 2)] {
        let count: u64 = lock.ask(&["ZCARD", &lock.names[name]]).await;
        assert_eq!(count, left);
    }
    // a1, b1, b2 and last, held, span.
    assert_eq!(lock.ask::<u64>(&["HLEN", &lock.names[4]]).await, 6);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    assert_eq!(lock.hand_over("b1").await, ["b2"]);
    lock.hand_over("b2").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_waiter_that_comes_back_too_late_is_last() {
    let (server, lock) = clocked().await;
    lock.take("a1", W).await;
    lock.wait("b1", W).await;
    server.set_clock(39_000);
    lock.renew("a1", LONG).await;
    lock.wait("b2", W).await;
    server.set_clock(41_000);
    assert_eq!(lock.wait("b1", W).await, 1);
    assert_eq!(lock.hand_over("a1").await, ["b2"]);
}

#[tokio::test]
async fn what_a_dead_holder_had_goes_to_the_next_in_line_whoever_comes() {
    for toucher in ["newcomer", "try", "renew", "release", "itself"] {
        for mode in [R, W] {
            let (server, lock) = clocked().await;
            lock.take("a1", mode).await;
            lock.acquire("b1", W, LONG, 2 * LONG).await.place();
            lock.acquire("b2", R, LONG, 2 * LONG).await.place();
            server.set_clock(AFTER);
            match toucher {
                "newcomer" => assert_eq!(lock.wait("c1", R).await, 1),
                "try" => assert!(lock.acquire("c1", R, LONG, TRY).await.busy() > WAIT),
                "renew" => assert!(!lock.renew("a1", LONG).await),
                "release" => assert_eq!(
                    lock.release("a1").await,
                    (Found::Nothing, vec!["b1".to_owned()])
                ),
                _ => drop(lock.take("b1", W).await),
            }
            let holders: Vec<String> = lock.ask(&["ZRANGE", &lock.names[1], "0", "-1"]).await;
            assert_eq!(holders, ["b1"], "{toucher}");
        }
    }
}

#[tokio::test]
async fn a_dead_sole_writer_is_nobody() {
    let (server, lock) = clocked().await;
    let token = lock.take("a1", W).await;
    server.set_clock(AFTER);
    assert!(!lock.renew("a1", LONG).await);
    assert_eq!(lock.release("a1").await, (Found::Nothing, vec![]));
    assert_eq!(server.keys().await, [""; 0]);
    assert!(lock.take("a2", W).await > token);
}

#[tokio::test]
async fn every_reader_has_its_own_deadline() {
    let (server, lock) = clocked().await;
    lock.take("a1", R).await;
    lock.take("a2", R).await;
    server.set_clock(50_000);
    assert!(lock.renew("a1", LONG).await);
    server.set_clock(AFTER);
    // A renewed reader does not keep the dead one alive ...
    assert!(!lock.renew("a2", LONG).await);
    assert_eq!(lock.score(1, "a2").await, None);
    let Acquired::Queued { left, .. } = lock.acquire("b1", W, LONG, WAIT).await else {
        panic!("beside a reader that lives")
    };
    assert_nearly(left, LONG - 10_000);
    // ... nor does a newcomer.
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
    lock.hand_over("b1").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_lease_is_set_and_never_added_to() {
    let server = Server::start().await;
    for mode in [W, R] {
        let lock = Lock::on(&server).await;
        lock.take("a1", mode).await;
        for _ in 0..5 {
            assert!(lock.renew("a1", LONG).await);
        }
        lock.take("a1", mode).await;
        assert_nearly(lock.ttl(0).await.unsigned_abs(), LONG);
        // Down as well as up.
        assert!(lock.renew("a1", 20_000).await);
        let Acquired::Busy { left } = lock.acquire("c1", W, LONG, TRY).await else {
            panic!("not busy")
        };
        assert_nearly(left, 20_000);
    }
}

#[tokio::test]
async fn a_renewal_creates_nothing_and_wakes_no_dead() {
    let (server, lock) = clocked().await;
    assert!(!lock.renew("a1", LONG).await);
    assert_eq!(server.keys().await, [""; 0]);
    // Nor does it make a holder of one who waits.
    lock.take("a1", R).await;
    lock.wait("b1", W).await;
    assert!(!lock.renew("b1", LONG).await);
    assert_eq!(lock.wait("b1", W).await, 0);
    lock.hand_over("a1").await;
    assert!(!lock.renew("a1", LONG).await);
    // Nor of one that is dead, while others keep the book open.
    server.set_clock(30_000);
    lock.release("b1").await;
    lock.take("a2", R).await;
    lock.acquire("a3", R, 10_000, WAIT).await.token();
    server.set_clock(41_000);
    assert!(!lock.renew("a3", LONG).await);
    assert!(!lock.renew("a3", LONG).await);
    lock.hand_over("a2").await;
    lock.assert_idle().await;
}

#[tokio::test]
async fn all_that_dead_ones_leave_ends_by_itself() {
    let (server, lock) = clocked().await;
    lock.take("a1", R).await;
    lock.take("a2", R).await;
    lock.wait("b1", W).await;
    lock.wait("a3", R).await;
    assert_eq!(server.keys().await.len(), 5);
    server.set_clock(AFTER);
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_longer_lease_than_the_first_is_not_cut_when_others_come() {
    for by_renewal in [true, false] {
        let (server, lock) = clocked().await;
        let token = lock.acquire("a1", W, 10_000, WAIT).await.token();
        if by_renewal {
            assert!(lock.renew("a1", LONG).await);
        } else {
            assert_eq!(lock.take("a1", W).await, token);
        }
        lock.wait("b1", W).await;
        server.set_clock(39_000);
        assert_eq!(lock.wait("b1", W).await, 0);
        assert!(lock.renew("a1", LONG).await);
        assert_eq!(lock.take("a1", W).await, token);
    }
}

#[tokio::test]
async fn a_sole_writer_has_what_was_left_when_others_come() {
    let (server, lock) = clocked().await;
    lock.take("a1", W).await;
    server.set_clock(30_000);
    lock.wait("b1", W).await;
    assert_nearly(lock.lease(1, "a1").await.unwrap(), LONG - 30_000);
    server.set_clock(AFTER);
    lock.take("b1", W).await;
}
