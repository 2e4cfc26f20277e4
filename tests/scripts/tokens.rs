//! Tokens rise, whatever happens to the keys.

use redis_lock_tests::Server;

use super::{LONG, Lock, R, TRY, W, WAIT};

#[tokio::test]
async fn tokens_rise_over_release_loss_of_the_data_and_restart() {
    let mut server = Server::start().await;
    let lock = Lock::on(&server).await;
    let mut last = 0;
    let mut rises = |token, after: &str| {
        assert!(token > last, "{token} {after} {last}");
        last = token;
    };
    for mode in [W, R, R, W] {
        rises(lock.take("a1", mode).await, "after a release from");
        lock.hand_over("a1").await;
    }
    rises(lock.take("a1", W).await, "after a release from");
    server.flush().await;
    rises(lock.take("a1", W).await, "after FLUSHALL from");
    let _: u64 = lock.ask(&["DEL", lock.gate()]).await;
    rises(lock.take("a2", R).await, "without gate after");
    let _: u64 = lock.ask(&["DEL", lock.gate()]).await;
    rises(lock.take("a3", W).await, "without gate after");
    let _: u64 = lock.ask(&["PEXPIRE", lock.gate(), "1"]).await;
    loop {
        match lock.acquire("a4", R, LONG, TRY).await {
            super::Acquired::Held { token } => break rises(token, "after expiry from"),
            _ => tokio::task::yield_now().await,
        }
    }
    server.restart().await;
    let mut lock = lock;
    lock.con = server.connection().await;
    rises(lock.take("a5", W).await, "after a restart from");
}

/// As a clock that was set back leaves it behind: tokens of the future.
#[tokio::test]
async fn tokens_rise_from_one_of_the_future() {
    let server = Server::start().await;
    let future = Lock::on(&server).await.now().await + 30_000_000;
    let lock = async |gate: String| {
        let lock = Lock::on(&server).await;
        let () = lock.ask(&["SET", lock.gate(), &gate, "PX", "90000"]).await;
        lock
    };
    for mode in [R, W] {
        // A floor.
        let free = lock(format!("F {future}")).await;
        assert_eq!(free.take("a1", mode).await, future + 1);
        assert_eq!(free.take("a1", mode).await, future + 1);
        assert!(free.renew("a1", 1000).await);
        // The floor is not shortened with the lease.
        assert!(free.ttl(4).await > 20_000);
        free.hand_over("a1").await;
        assert!(free.ttl(0).await > 10_000);
        assert!(free.ttl(0).await <= 30_002);
        assert_eq!(free.take("a2", mode).await, future + 2);
        // A sole writer: its own renewal and its own acquire keep its token, and the floor beyond its lease.
        for renewal in [true, false] {
            let held = lock(format!("W a1 {future} {LONG}")).await;
            if renewal {
                assert!(held.renew("a1", 1000).await);
            } else {
                assert_eq!(held.acquire("a1", W, 1000, TRY).await.token(), future);
            }
            assert!(held.ttl(4).await > 20_000);
            assert_eq!(held.acquire("b1", mode, LONG, WAIT).await.place(), 0);
            assert_eq!(held.hand_over("a1").await, ["b1"]);
            assert_eq!(held.take("b1", mode).await, future + 1);
        }
        // Released at once.
        let held = lock(format!("W a1 {future} {LONG}")).await;
        held.hand_over("a1").await;
        assert_eq!(held.take("b1", mode).await, future + 1);
    }
}
