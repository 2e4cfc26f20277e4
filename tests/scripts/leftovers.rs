//! Keys that are not as the scripts left them: somebody else's, or gone.

use redis_lock_tests::{Server, eventually};

use super::{Acquired, LONG, Lock, R, SOON, TRY, W, WAIT};

#[tokio::test]
async fn a_foreign_type_is_refused_and_left_alone() {
    let server = Server::start().await;
    for role in 0..5 {
        for make in [
            &["RPUSH", "1"][..],
            &["SADD", "1"],
            &["SET", "1"],
            &["HSET", "f", "1"],
            &["ZADD", "1", "m"],
        ] {
            // The types that are right at this name; a text at the gate is looked at.
            let right = match role {
                0 => "",
                4 => "HSET",
                _ => "ZADD",
            };
            if make[0] == right {
                continue;
            }
            let lock = Lock::on(&server).await;
            let mut command = redis::cmd(make[0]);
            command.arg(&lock.names[role]).arg(&make[1..]);
            let () = command.query_async(&mut lock.con.clone()).await.unwrap();
            let () = lock.ask(&["PEXPIRE", &lock.names[role], "90000"]).await;
            let before = lock.dump().await;
            let what = format!("{} at {}", make[0], lock.names[role]);
            for result in [
                lock.try_acquire("a1", R, LONG, WAIT).await.err(),
                lock.try_acquire("a1", R, LONG, TRY).await.err(),
                lock.try_release("a1").await.err(),
                lock.try_renew("a1", LONG).await.err(),
            ] {
                let error = result.unwrap_or_else(|| panic!("no error with {what}"));
                let text = error.to_string();
                assert!(
                    text.contains("WRONGTYPE") || text.contains("FOREIGN"),
                    "{text}, {what}"
                );
            }
            // A sole writer does not look at the book; but it must not wait for ever beside a broken one.
            if role == 0 {
                assert!(
                    lock.try_acquire("a1", W, LONG, TRY).await.is_err(),
                    "{what}"
                );
            } else {
                lock.take("a1", W).await;
                assert!(
                    lock.try_acquire("b1", W, LONG, WAIT).await.is_err(),
                    "{what}"
                );
                assert!(lock.renew("a1", LONG).await);
                lock.hand_over("a1").await;
                eventually(SOON, "the marker is gone", async || lock.ttl(0).await == -2).await;
            }
            assert_eq!(lock.dump().await, before, "{what}");
        }
    }
}

#[tokio::test]
async fn a_text_that_is_not_ours_is_refused_and_left_alone() {
    let server = Server::start().await;
    for text in [
        "",
        "b",
        "BB",
        "F",
        "F x",
        "W a1 7",
        "W a1 x 7",
        "W  7 7",
        "W xyz 7 7",
        "F 7 7",
        "{\"a\":1}",
    ] {
        let lock = Lock::on(&server).await;
        let () = lock.ask(&["SET", lock.gate(), text, "PX", "90000"]).await;
        for error in [
            lock.try_acquire("b1", R, LONG, WAIT).await.unwrap_err(),
            lock.try_acquire("b1", W, LONG, TRY).await.unwrap_err(),
            lock.try_release("b1").await.unwrap_err(),
            lock.try_renew("b1", LONG).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), Some("FOREIGN"), "{error}");
        }
        assert_eq!(lock.ask::<String>(&["GET", lock.gate()]).await, text);
        assert_eq!(lock.ask::<u64>(&["DBSIZE"]).await, 1);
        server.flush().await;
    }
}

/// A key of the book is evicted while readers hold and others wait. Who is told that it holds must exclude others.
#[tokio::test]
async fn a_lost_key_loses_no_truth_and_hangs_nobody() {
    for role in 0..5 {
        for holders in [R, W] {
            let server = Server::start().await;
            let lock = Lock::on(&server).await;
            lock.take("a1", holders).await;
            if holders == R {
                lock.take("a2", R).await;
            }
            lock.wait("b1", W).await;
            lock.wait("a3", R).await;
            lock.wait("b2", W).await;
            let _: u64 = lock.ask(&["DEL", &lock.names[role]]).await;
            // Everybody asks again and again, and leaves as soon as it is in.
            let mut waiting = vec![("b1", W), ("a3", R), ("b2", W), ("c1", W), ("c2", R)];
            let mut inside = vec![("a1", holders), ("a2", holders)];
            for round in 0..40 {
                let mut still_in = Vec::new();
                for (id, mode) in inside {
                    if lock.renew(id, LONG).await {
                        still_in.push((id, mode));
                    }
                }
                inside = still_in;
                if round > 2 && !inside.is_empty() {
                    lock.hand_over(inside.remove(0).0).await;
                }
                let mut still_waiting = Vec::new();
                for (id, mode) in waiting {
                    match lock.acquire(id, mode, LONG, WAIT).await {
                        Acquired::Held { .. } => {
                            // Whoever is still inside after this knows it, as each has been asked in this round or
                            // is told at its next renewal.
                            let mut beside = Vec::new();
                            for (other, other_mode) in inside {
                                if lock.renew(other, LONG).await {
                                    assert_eq!(
                                        (mode, other_mode),
                                        (R, R),
                                        "{id} beside {other}, key {role}"
                                    );
                                    beside.push((other, other_mode));
                                }
                            }
                            inside = beside;
                            inside.push((id, mode));
                        }
                        _ => still_waiting.push((id, mode)),
                    }
                }
                waiting = still_waiting;
                if waiting.is_empty() && inside.is_empty() {
                    break;
                }
            }
            assert!(waiting.is_empty(), "{waiting:?} wait for ever, key {role}");
            assert!(inside.is_empty(), "{inside:?} are in for ever, key {role}");
            if role == 0 {
                // What lay there without a gate may stay as long as its own TTL.
                for id in ["a1", "a2"] {
                    lock.release(id).await;
                }
            }
            lock.assert_idle().await;
        }
    }
}

#[tokio::test]
async fn a_book_without_gate_counts_for_nothing() {
    let server = Server::start().await;
    for newcomer in [W, R] {
        let lock = Lock::on(&server).await;
        lock.take("a1", R).await;
        lock.wait("b1", W).await;
        let _: u64 = lock.ask(&["DEL", lock.gate()]).await;
        // Nobody is told that it holds, and the waiter does not get what it is not next for.
        assert!(!lock.renew("a1", LONG).await);
        lock.take("c1", newcomer).await;
        assert!(!lock.renew("a1", LONG).await);
        assert_eq!(lock.release("a1").await.0, super::Found::Nothing);
        assert_eq!(lock.wait("b1", W).await, 0);
        assert_eq!(lock.hand_over("c1").await, ["b1"]);
        lock.hand_over("b1").await;
        lock.assert_idle().await;
    }
}

#[tokio::test]
async fn a_gate_that_was_made_to_stay_for_ever_does_not() {
    let server = Server::with_own_clock().await;
    for lease in [TRY, WAIT] {
        let lock = Lock::on(&server).await;
        server.set_clock(0);
        lock.take("a1", W).await;
        let () = lock.ask(&["PERSIST", lock.gate()]).await;
        // The holder keeps what it was promised, and no more.
        let reply = lock.acquire("b1", R, LONG, lease).await;
        assert!(!matches!(reply, Acquired::Held { .. }), "{reply:?}");
        server.set_clock(61_000);
        lock.acquire("b1", R, LONG, lease).await.token();
        lock.hand_over("b1").await;
        lock.assert_idle().await;
    }
}
