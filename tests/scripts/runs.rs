//! Writers of one process that stand behind one another are let in together, as one run.

use redis::FromRedisValue;
use redis_lock_tests::Server;

use super::{ACQUIRE, Found, LONG, Lock, R, TRY, W, assert_nearly};

/// The most that are let in together.
const RUN: usize = 64;

/// The lock as two processes see it.
async fn scene() -> (Server, Lock, Lock) {
    let server = Server::with_own_clock().await;
    let mut one = Lock::on(&server).await;
    let mut two = one.clone();
    "one".clone_into(&mut one.channel);
    "two".clone_into(&mut two.channel);
    (server, one, two)
}

async fn holders(lock: &Lock) -> Vec<String> {
    let mut names: Vec<String> = lock.ask(&["ZRANGE", &lock.names[1], "0", "-1"]).await;
    names.sort();
    names
}

async fn in_run(lock: &Lock, id: &str) -> u64 {
    let args = [id, "w", "60000", "1000", &lock.channel];
    let reply = lock.eval(ACQUIRE, &args).await.unwrap();
    let [2, token] = <Vec<u64>>::from_redis_value(reply).unwrap()[..] else {
        panic!("{id} is not in a run")
    };
    token
}

#[tokio::test]
async fn neighbouring_writers_of_one_process_are_let_in_together() {
    let (_server, one, two) = scene().await;
    let first = one.take("aa", W).await;
    for (lock, id, mode) in [
        (&one, "b1", W),
        (&one, "b2", W),
        (&one, "b3", W),
        (&two, "c1", W),
        (&one, "b4", W),
        (&one, "b5", R),
        (&one, "b6", W),
    ] {
        lock.wait(id, mode).await;
    }
    assert_eq!(one.hand_over("aa").await, ["b1"]);
    assert_eq!(holders(&one).await, ["b1", "b2", "b3"]);
    let mut last = first;
    for id in ["b1", "b2", "b3"] {
        let token = in_run(&one, id).await;
        assert!(token > last, "each has a token of its own, in order");
        last = token;
    }
    // It counts for all others as one writer.
    two.acquire("c2", R, LONG, TRY).await.busy();
    assert_eq!(two.wait("c1", W).await, 0);
    // Any of them may go first; only the last lets others in.
    assert_eq!(one.release("b2").await, (Found::Hold, vec![]));
    assert_eq!(
        one.retire(&["b1", "b2", "b3"]).await,
        (Found::Hold, vec!["c1".to_owned()])
    );
    assert!(two.take("c1", W).await > last);
    assert_eq!(two.hand_over("c1").await, ["b4"]);
    assert_eq!(holders(&one).await, ["b4"], "a reader ends a run");
    assert_eq!(one.hand_over("b4").await, ["b5"]);
    assert_eq!(one.hand_over("b5").await, ["b6"]);
    one.hand_over("b6").await;
    one.assert_idle().await;
}

#[tokio::test]
async fn without_a_channel_there_are_no_runs() {
    let (_server, mut one, _two) = scene().await;
    one.channel.clear();
    one.take("aa", W).await;
    one.wait("b1", W).await;
    one.wait("b2", W).await;
    assert_eq!(one.hand_over("aa").await, ["b1"]);
    assert_eq!(holders(&one).await, ["b1"]);
    one.take("b1", W).await;
}

#[tokio::test]
async fn a_run_is_bounded() {
    let (server, one, _two) = scene().await;
    one.take("aa", W).await;
    let line: Vec<_> = (0..150).map(|n| format!("b{n:03x}")).collect();
    for some in line.chunks(50) {
        let some: Vec<_> = some.iter().map(|id| (id.as_str(), W)).collect();
        one.ask_for(&some).await;
    }
    let mut before: Vec<&str> = vec!["aa"];
    for run in line.chunks(RUN) {
        server.reset_stats().await;
        assert_eq!(one.retire(&before).await.1, run[..1]);
        let calls: u64 = server.command_calls().await.values().sum();
        assert!(calls < 150, "{calls} commands");
        assert_eq!(holders(&one).await, run);
        before = run.iter().map(String::as_str).collect();
    }
    one.retire(&before).await;
    one.assert_idle().await;
}

#[tokio::test]
async fn a_run_lives_and_dies_as_one() {
    let (server, one, two) = scene().await;
    one.take("aa", W).await;
    one.acquire("b1", W, LONG, 35_000).await.place();
    one.acquire("b2", W, LONG, 40_000).await.place();
    one.acquire("b3", W, LONG, 30_000).await.place();
    two.acquire("c1", W, 4 * LONG, 4 * LONG).await.place();
    one.hand_over("aa").await;
    for id in ["b1", "b2", "b3"] {
        assert_nearly(one.lease(1, id).await.unwrap(), 35_000);
    }
    // One renewal for all that are still to hold.
    assert!(one.renew_run(&["b2", "b3"], LONG).await);
    assert_nearly(one.lease(1, "b1").await.unwrap(), 35_000);
    assert_nearly(one.lease(1, "b3").await.unwrap(), LONG);
    // It shortens no lease of another, and makes nobody a holder that is not.
    assert!(one.renew_run(&["b2", "b3", "zz"], 50_000).await);
    assert_nearly(one.lease(1, "b2").await.unwrap(), 50_000);
    assert_nearly(one.lease(1, "b3").await.unwrap(), LONG);
    assert_eq!(one.score(1, "zz").await, None);
    assert!(one.renew_run(&["b2"], LONG).await);
    server.set_clock(36_000);
    two.acquire("c1", W, 4 * LONG, 4 * LONG).await.place();
    assert_eq!(holders(&one).await, ["b2", "b3"]);
    server.set_clock(61_000);
    assert!(
        !one.renew_run(&["b2", "b3"], LONG).await,
        "it wakes no dead"
    );
    assert_eq!(holders(&one).await, ["c1"]);
    assert_eq!(
        one.retire(&["b1", "b2", "b3"]).await,
        (Found::Nothing, vec![])
    );
    assert_eq!(two.hand_over("c1").await, [""; 0]);
    one.assert_idle().await;
}

/// Their process knows that they have gone, and who holds next.
#[tokio::test]
async fn dead_ones_in_a_run_hold_nobody_up() {
    let (server, one, two) = scene().await;
    one.acquire("aa", W, 3 * LONG, LONG).await.token();
    one.acquire("b1", W, LONG, 2 * LONG).await.place();
    for n in 0..110 {
        let lease = if n < 100 { 1000 } else { 2 * LONG };
        one.acquire(&format!("d{n:x}"), W, LONG, lease)
            .await
            .place();
    }
    two.acquire("c1", W, LONG, 2 * LONG).await.place();
    server.set_clock(2000);
    // One call cleans a hundred away.
    assert_eq!(one.hand_over("aa").await, ["b1"]);
    let run = holders(&one).await;
    assert_eq!(run.len(), 11);
    let run: Vec<_> = run.iter().map(String::as_str).collect();
    assert_eq!(one.retire(&run).await.1, ["c1"]);
}

#[tokio::test]
async fn a_full_memory_does_not_stop_a_run() {
    let (_server, one, two) = scene().await;
    one.take("aa", W).await;
    for id in ["b1", "b2"] {
        one.wait(id, W).await;
    }
    two.wait("c1", W).await;
    let () = one.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(one.hand_over("aa").await, ["b1"]);
    assert!(one.renew_run(&["b1", "b2"], LONG).await);
    assert_eq!(
        one.retire(&["b1", "b2"]).await,
        (Found::Hold, vec!["c1".to_owned()])
    );
    let heard = two.ask_for(&[("c1", W)]).await.2;
    assert_eq!(heard.len(), 1);
}

/// More are dead in front than one look clears away, so that the second look lets in whoever is asked for, behind a head
/// that is not: with what that head has left, which is less than the answer promises.
#[tokio::test]
async fn whoever_is_let_in_behind_another_batch_has_what_it_is_promised() {
    let (_server, one, two) = scene().await;
    one.acquire("aa", W, 1500, 3000).await;
    let dead: Vec<String> = (0..250).map(|i| format!("d{i:03x}")).collect();
    let dead: Vec<_> = dead.iter().map(|id| (id.as_str(), W)).collect();
    two.try_ask(1000, &dead).await.unwrap();
    one.try_ask(3000, &[("f1", W)]).await.unwrap();
    // Time is the subject: they die, and the head has used up most of its lease.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let heard = one.try_ask(3000, &[("f2", W)]).await.unwrap().2;
    assert!(heard.is_empty() || one.lease(1, "f2").await > Some(2500));
}
