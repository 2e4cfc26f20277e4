//! A function under a lock that calls another one under the same lock: it runs inside of it, or fails at once, and
//! never waits for itself.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use redis_lock::{Error, Locker, Loss, Mode, redis_lock, with_locker};
use redis_lock_tests::{Server, unique_key};
use tokio::sync::Barrier;

async fn start() -> (Server, Locker) {
    let server = Server::start().await;
    let locker = Locker::connect(server.url()).await.expect("a locker");
    (server, locker)
}

#[redis_lock(key = "account:<id>", mode = "w", wait = "20s")]
async fn write(id: u64) -> Result<&'static str, Error> {
    Ok("written")
}

#[redis_lock(key = "account:<id>", mode = "r", wait = "20s")]
async fn read(id: u64) -> Result<&'static str, Error> {
    Ok("read")
}

#[redis_lock(key = "account:<id>", mode = "w")]
async fn write_both_ways(id: u64) -> Result<&'static str, Error> {
    assert_eq!(read(id).await?, "read");
    write(id).await
}

#[redis_lock(key = "account:<id>", mode = "r")]
async fn read_then_write(id: u64) -> Result<&'static str, Error> {
    assert_eq!(read(id).await?, "read");
    write(id).await
}

#[redis_lock(key = "account:<id>", mode = "w")]
async fn write_read_write(id: u64) -> Result<&'static str, Error> {
    read_then_write(id).await
}

#[tokio::test]
async fn inside_of_a_write_everything_runs_and_costs_nothing() {
    let (server, locker) = start().await;
    with_locker(locker.clone(), write(1))
        .await
        .expect("a first time");
    server.reset_stats().await;
    let written = with_locker(locker, write_both_ways(1)).await;
    assert_eq!(written.expect("no wait"), "written");
    // One lock was taken and given back, that of the outermost.
    assert_eq!(server.command_calls().await.get("evalsha"), Some(&2));
}

#[tokio::test]
async fn a_write_inside_of_a_read_fails_at_once_and_says_why() {
    let (_server, locker) = start().await;
    let begun = Instant::now();
    let error = with_locker(locker.clone(), read_then_write(1))
        .await
        .expect_err("no write");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it did not wait for itself"
    );
    assert!(
        matches!(&error, Error::WriteInsideRead { key } if key == "account:1"),
        "{error}"
    );
    assert!(
        error.to_string().contains("take the write lock outside"),
        "{error}"
    );
    // The read lies between the two writes.
    let error = with_locker(locker.clone(), write_read_write(1))
        .await
        .expect_err("no write");
    assert!(matches!(error, Error::WriteInsideRead { .. }), "{error}");
    // Nothing of that is left behind.
    let written = with_locker(locker, write(1)).await;
    assert_eq!(written.expect("the lock is free"), "written");
}

#[tokio::test]
async fn other_keys_are_other_locks() {
    #[redis_lock(key = "account:<id>", mode = "r")]
    async fn another(id: u64) -> Result<&'static str, Error> {
        write(id + 1).await
    }

    let (server, locker) = start().await;
    let written = with_locker(locker.clone(), another(1)).await;
    assert_eq!(written.expect("another lock"), "written");
    // A lock of the same name elsewhere is another lock, too.
    let elsewhere = locker.clone().namespace("elsewhere");
    server.reset_stats().await;
    locker
        .lock_exec("account:1", with_locker(elsewhere, write(1)))
        .await
        .expect("another lock");
    assert_eq!(server.command_calls().await.get("evalsha"), Some(&4));
}

/// Counts who is inside, and how many at most were at the same time.
#[derive(Default)]
struct Visitors {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Visitors {
    async fn visit(&self) -> Result<(), Error> {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(inside, SeqCst);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.inside.fetch_sub(1, SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn siblings_in_one_task_exclude_each_other_as_their_modes_say() {
    let (_server, locker) = start().await;
    let key = &unique_key();
    let most_of = async |mode: Mode| {
        let visitors = Visitors::default();
        let inner = || locker.clone().mode(mode).lock_exec(key, visitors.visit());
        locker
            .lock_exec(key, async {
                let (a, b, c) = tokio::join!(inner(), inner(), inner());
                a.and(b).and(c)
            })
            .await
            .expect("within the outer hold");
        visitors.most.load(SeqCst)
    };
    assert_eq!(most_of(Mode::Write).await, 1);
    assert_eq!(most_of(Mode::Read).await, 3);
}

#[tokio::test]
async fn a_sibling_waits_no_longer_than_it_says() {
    let (_server, locker) = start().await;
    let key = &unique_key();
    let patient = locker.clone();
    let hasty = locker.clone().wait(Duration::ZERO);
    let outcome: Result<(), Error> = locker
        .lock_exec(key, async {
            let meet = Barrier::new(2);
            let stays = patient.lock_exec(key, async {
                meet.wait().await;
                meet.wait().await;
                Ok::<_, Error>(())
            });
            let tries = async {
                meet.wait().await;
                let begun = Instant::now();
                let outcome = hasty.lock_exec(key, async { Ok::<_, Error>(()) }).await;
                assert!(begun.elapsed() < Duration::from_secs(10));
                meet.wait().await;
                outcome
            };
            let (stayed, tried) = tokio::join!(stays, tries);
            stayed?;
            assert!(tried.expect_err("a sibling is inside").is_contended());
            Ok(())
        })
        .await;
    outcome.expect("the lock");
}

#[tokio::test]
async fn spawned_tasks_inherit_nothing() {
    let (_server, locker) = start().await;
    let key = unique_key();
    let outcome: Result<(), Error> = locker
        .clone()
        .lock_exec(&key, async {
            let other = locker.clone().wait(Duration::ZERO);
            let key = key.clone();
            let spawned =
                tokio::spawn(
                    async move { other.lock_exec(key, async { Ok::<_, Error>(()) }).await },
                );
            assert!(
                spawned
                    .await
                    .expect("no panic")
                    .expect_err("locked")
                    .is_contended()
            );
            Ok(())
        })
        .await;
    outcome.expect("the lock");
}

/// What is on the stack of holds belongs to who is being polled, not to the thread.
#[tokio::test]
async fn futures_beside_the_body_inherit_nothing() {
    let (_server, locker) = start().await;
    let key = &unique_key();
    let meet = &Barrier::new(2);
    let inside = locker.lock_exec(key, async {
        meet.wait().await;
        meet.wait().await;
        Ok::<_, Error>(())
    });
    let hasty = locker.clone().wait(Duration::ZERO);
    let beside = async {
        meet.wait().await;
        let outcome = hasty.lock_exec(key, async { Ok::<_, Error>(()) }).await;
        meet.wait().await;
        outcome
    };
    let (inside, beside) = tokio::join!(inside, beside);
    inside.expect("the lock");
    assert!(beside.expect_err("it is held").is_contended());
}

#[tokio::test]
async fn a_panic_inside_leaves_the_stack_as_it_was() {
    let (server, locker) = start().await;
    let key = unique_key();
    let panics = {
        let (locker, key) = (locker.clone(), key.clone());
        tokio::spawn(async move {
            let panics = async { panic!("as planned") };
            locker.lock_exec::<_, (), Error>(key, panics).await
        })
    };
    assert!(panics.await.expect_err("it panics").is_panic());
    // The same thread; were the hold still on its stack, this would run inside of it, though somebody else has the lock.
    let elsewhere = Locker::connect(server.url()).await.expect("a locker");
    let guard = elsewhere
        .wait(Duration::from_secs(20))
        .lock(&key)
        .await
        .expect("it is given back");
    let hasty = locker.wait(Duration::ZERO);
    let outcome = hasty.lock_exec(&key, async { Ok::<_, Error>(()) }).await;
    assert!(outcome.expect_err("it is held").is_contended());
    guard.unlock().await.expect("still held");
}

#[tokio::test]
async fn an_inner_body_stops_when_the_outer_lock_is_lost() {
    struct Tells(Arc<AtomicUsize>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    let (server, locker) = start().await;
    let locker = locker.ttl(Duration::from_millis(300));
    let key = &unique_key();
    let dropped = Arc::new(AtomicUsize::new(0));
    let outcome: Result<(), Error> = locker
        .lock_exec(key, async {
            let tells = Tells(Arc::clone(&dropped));
            locker
                .lock_exec(key, async {
                    let _tells = tells;
                    server.flush().await;
                    std::future::pending::<Result<(), Error>>().await
                })
                .await
        })
        .await;
    assert!(outcome.expect_err("it is gone").is_lost());
    assert_eq!(dropped.load(SeqCst), 1);
}

#[tokio::test]
async fn several_locks_are_taken_in_one_order_and_folded() {
    let (server, locker) = start().await;
    let guards = locker.lock_all(["b", "a", "b"]).await.expect("both");
    let keys: Vec<_> = guards.iter().map(|guard| guard.key().to_string()).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(guards.get("a").is_some() && guards.get("c").is_none());
    let hasty = locker.clone().wait(Duration::ZERO);
    assert!(
        hasty
            .lock_all(["c", "b"])
            .await
            .expect_err("b is held")
            .is_contended()
    );
    guards.unlock().await.expect("still held");
    hasty
        .lock_all(["c", "b"])
        .await
        .expect("all are free")
        .await
        .expect("held");
    assert!(matches!(
        locker.lock_all(Vec::<String>::new()).await,
        Err(Error::InvalidKey { .. })
    ));
    redis_lock_tests::eventually(Duration::from_secs(5), "no key is left", async || {
        server.keys().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn several_guards_are_found_where_their_keys_stand() {
    let (_server, locker) = start().await;
    let guards = locker.lock_all(["b", "c", "a", "b"]).await.expect("all");
    let keys = [0, 1, 2, 3].map(|position| guards[position].key().to_string());
    assert_eq!(keys, ["b", "c", "a", "b"]);
    assert_eq!(guards[0].token(), guards[3].token());
    assert_eq!(guards.iter().count(), 3);
}

#[tokio::test]
async fn of_several_locks_each_has_the_mode_that_was_asked_for() {
    let (_server, locker) = start().await;
    let hasty = locker.clone().wait(Duration::ZERO);
    let guards = locker
        .lock_all([
            ("b", Mode::R),
            ("c", Mode::W),
            ("a", Mode::R),
            ("a", Mode::W),
            ("b", Mode::R),
        ])
        .await
        .expect("all");
    // One that is asked for in both modes is held in the stronger.
    for (key, mode) in [("a", Mode::Write), ("b", Mode::Read), ("c", Mode::Write)] {
        assert_eq!(guards.get(key).expect("one of them").mode(), mode, "{key}");
        let is_shared = hasty.try_read(key).await.expect("an answer").is_some();
        assert_eq!(is_shared, mode == Mode::Read, "{key}");
    }
    guards.unlock().await.expect("held");

    let reader = locker.clone().mode(Mode::Read);
    let guards = reader.lock_all(["a", "b"]).await.expect("both");
    assert!(guards.iter().all(|guard| guard.mode() == Mode::Read));
}

/// Each lock on its own: one may run within the outer hold, where the other may not.
#[tokio::test]
async fn of_several_locks_each_nests_in_its_own_mode() {
    let (_server, locker) = start().await;
    let locker = locker.wait(Duration::ZERO);
    let read = async |outer: &[(&'static str, Mode)], inner: &[(&'static str, Mode)]| {
        let inner = inner.to_vec();
        locker
            .scope_all(outer.to_vec(), async |_| {
                locker.scope_all(inner, async |_| ()).await
            })
            .await
            .expect("the outer ones")
    };
    let outer = [("a", Mode::R), ("b", Mode::W)];
    read(&outer, &[("b", Mode::W), ("a", Mode::R), ("c", Mode::W)])
        .await
        .expect("as outside");
    let refused = read(&outer, &[("a", Mode::W), ("b", Mode::W)]).await;
    assert!(matches!(refused, Err(Error::WriteInsideRead { key }) if *key == *"a"));
}

#[tokio::test]
async fn two_that_want_the_same_locks_the_other_way_round_do_not_block_each_other() {
    let (_server, locker) = start().await;
    let locker = locker.wait(Duration::from_secs(60));
    let keys = [unique_key(), unique_key()];
    let turns = async |keys: [&String; 2]| {
        for _ in 0..50 {
            locker.lock_all(keys).await?.await?;
        }
        Ok::<_, Error>(())
    };
    let (one, other) = tokio::join!(turns([&keys[0], &keys[1]]), turns([&keys[1], &keys[0]]));
    one.and(other).expect("no deadlock");
}

/// Whatever the key was made of.
#[tokio::test]
async fn a_call_can_be_spawned() {
    let (_server, locker) = start().await;
    let key = unique_key();
    let spawned = tokio::spawn(locker.lock_exec(&key, async { Ok::<_, Error>(7) }));
    assert_eq!(spawned.await.expect("no panic").expect("the lock"), 7);
}

/// A body that was begun within the outer hold, and is carried out of it, has no lock any more.
#[tokio::test]
async fn what_is_carried_out_of_the_outer_body_is_stopped() {
    let (_server, locker) = start().await;
    let key = unique_key();
    let went_on = Arc::new(AtomicUsize::new(0));
    let carried = locker
        .lock_exec(&key, async {
            let begun = Arc::new(Barrier::new(2));
            let inner = {
                let (begun, went_on) = (Arc::clone(&begun), Arc::clone(&went_on));
                locker.lock_exec(&key, async move {
                    begun.wait().await;
                    tokio::task::yield_now().await;
                    went_on.fetch_add(1, SeqCst);
                    Ok::<_, Error>(())
                })
            };
            let mut inner = Box::pin(inner);
            // To its first await, and no further.
            let begins = std::future::poll_fn(|context| {
                assert!(inner.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            });
            begins.await;
            begun.wait().await;
            Ok::<_, Error>(tokio::spawn(inner))
        })
        .await
        .expect("the lock");
    let outcome = carried.await.expect("no panic");
    let error = outcome.expect_err("it has no lock");
    let why = Loss::LeftScope;
    assert!(
        matches!(error, Error::Lost { why: told, .. } if told == why),
        "{error}"
    );
    assert_eq!(went_on.load(SeqCst), 0);
}

/// The same for one that still waits for its sibling.
#[tokio::test]
async fn what_waits_within_the_outer_body_does_not_begin_outside() {
    let (_server, locker) = start().await;
    let locker = locker.wait(Duration::from_secs(20));
    let key = unique_key();
    let begun = Arc::new(AtomicUsize::new(0));
    let waiting = locker
        .lock_exec(&key, async {
            let sibling = std::future::pending::<Result<(), Error>>();
            let mut sibling = Box::pin(locker.lock_exec(&key, sibling));
            let begun = Arc::clone(&begun);
            let mut waiting = Box::pin(locker.lock_exec(&key, async move {
                begun.fetch_add(1, SeqCst);
                Ok::<_, Error>(())
            }));
            let both = std::future::poll_fn(|context| {
                assert!(sibling.as_mut().poll(context).is_pending());
                assert!(waiting.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            });
            both.await;
            Ok::<_, Error>(waiting)
        })
        .await
        .expect("the lock");
    assert!(waiting.await.expect_err("it has no lock").is_lost());
    assert_eq!(begun.load(SeqCst), 0);
}

/// A `LocalSet` polls its tasks in the midst of another one.
#[tokio::test]
async fn local_tasks_inherit_nothing() {
    let (_server, locker) = start().await;
    let key = unique_key();
    let local = tokio::task::LocalSet::new();
    let other = local.spawn_local({
        let (locker, key) = (locker.clone().wait(Duration::ZERO), key.clone());
        async move { locker.lock_exec(key, async { Ok::<_, Error>(()) }).await }
    });
    let outcome: Result<_, Error> = locker
        .lock_exec(&key, async { Ok(local.run_until(other).await) })
        .await;
    let other = outcome.expect("the lock").expect("no panic");
    assert!(other.expect_err("it is held").is_contended());
}
