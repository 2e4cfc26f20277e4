//! The server's clock is set back or forward while locks are in use.

use redis_lock_tests::Server;

use super::{Found, LONG, Lock, R, TRY, W, WAIT, assert_nearly};

const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn tokens_rise_while_the_clock_steps_back() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    let mut last = lock.take("a0", W).await;
    let mut before = "a0".to_owned();
    for (turn, mode) in [R, W, W, R, W, R].into_iter().enumerate() {
        server.set_clock(-HOUR * (i64::try_from(turn).unwrap() + 1));
        let id = format!("a{}", turn + 1);
        lock.wait(&id, mode).await;
        assert_eq!(lock.hand_over(&before).await, [id.as_str()]);
        let token = lock.take(&id, mode).await;
        assert!(token > last, "{token} after {last}");
        // Free for a moment.
        lock.hand_over(&id).await;
        let again = lock.take(&id, mode).await;
        assert!(again > token, "{again} after {token}");
        assert!(lock.renew(&id, LONG).await);
        assert_eq!(lock.take(&id, mode).await, again);
        (last, before) = (again, id);
    }
    lock.hand_over(&before).await;
    // The floor is there until the clock is where it was, and no longer.
    server.set_clock(-HOUR);
    assert_eq!(server.keys().await, [lock.gate()]);
    assert!(lock.ttl(0).await <= HOUR + 3);
    server.set_clock(60_000);
    lock.assert_idle().await;
}

#[tokio::test]
async fn a_dead_holder_does_not_live_on_when_the_clock_steps_back() {
    for back in [HOUR, 30_000] {
        for mode in [R, W] {
            for (lease, alive) in [(WAIT, true), (WAIT, false), (TRY, true), (TRY, false)] {
                let server = Server::with_own_clock().await;
                let lock = Lock::on(&server).await;
                let token = lock.take("a1", mode).await;
                // Renewed for a while, so that the step back may end before or after the token.
                server.set_clock(40_000);
                assert!(lock.renew("a1", LONG).await);
                server.set_clock(40_000 - back);
                let left = match lock.acquire("b1", W, LONG, lease).await {
                    super::Acquired::Busy { left } | super::Acquired::Queued { left, .. } => left,
                    held @ super::Acquired::Held { .. } => panic!("{held:?}"),
                };
                assert!(left <= LONG, "{left}");
                // The holder is alive, or has died at the step.
                assert!(!alive || lock.renew("a1", LONG).await);
                server.set_clock(40_000 - back + 30_000);
                lock.acquire("b1", W, LONG, lease).await;
                server.set_clock(40_000 - back + 62_000);
                let next = lock.acquire("b1", W, LONG, lease).await.token();
                assert!(next > token, "{back} {mode:?} {lease} {alive}");
            }
        }
    }
}

#[tokio::test]
async fn a_dead_waiter_does_not_live_on_when_the_clock_steps_back() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    lock.take("a1", W).await;
    lock.wait("d1", W).await;
    lock.wait("b1", W).await;
    server.set_clock(-HOUR);
    for step in 0..3 {
        // Holder and waiter live; the dead one is cut to one lease.
        server.set_clock(-HOUR + step * 30_000);
        assert!(lock.renew("a1", LONG).await);
        lock.wait("b1", W).await;
    }
    assert_eq!(lock.wait("b1", W).await, 0);
    assert_eq!(lock.hand_over("a1").await, ["b1"]);
}

#[tokio::test]
async fn a_step_forward_ends_leases_and_says_so() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    let first = lock.take("a1", W).await;
    server.set_clock(HOUR);
    assert!(!lock.renew("a1", LONG).await);
    let second = lock.take("b1", R).await;
    assert!(second > first);
    assert_eq!(lock.release("a1").await.0, Found::Nothing);
    // And back: the token of the future stays the floor.
    server.set_clock(0);
    let third = lock.take("b2", R).await;
    assert!(third > second);
    assert!(lock.renew("b1", LONG).await);
    assert_nearly(lock.lease(1, "b1").await.unwrap(), LONG);
    lock.hand_over("b1").await;
    lock.hand_over("b2").await;
    server.set_clock(HOUR + 60_000);
    lock.assert_idle().await;
}
