//! Guards against a `scope` whose closure runs without its lock, does not know it, or keeps it; and against one that
//! takes fewer closures than `FnOnce` does, or gives a future that cannot be spawned.

use std::cell::Cell;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use redis_lock::{Error, Held, Loss, Mode};
use redis_lock_tests::Server;
use tokio::time::timeout;

use crate::stage::{SOON, enqueue, locker, nothing_is_left, soon};

#[tokio::test]
async fn the_closure_knows_its_lock_and_returns_anything() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    // Borrowed and changed by the closure, which need not be 'static.
    let mut log = String::new();
    let rival = &locker;
    let before = locker.write("x").await.unwrap();
    let token = before.token();
    before.unlock().await.unwrap();
    let returned = locker
        .scope("x", async |lock| {
            assert!(rival.try_read("x").await.unwrap().is_none());
            log.push_str(lock.key());
            (lock.token(), lock.mode())
        })
        .await
        .unwrap();
    assert!(returned.0 > token);
    assert_eq!((returned.1, log.as_str()), (Mode::Write, "x"));
    let next = locker.try_write("x").await.unwrap();
    assert!(next.is_some(), "it was given back before the call returned");
}

#[tokio::test]
async fn what_the_closure_returns_is_not_mixed_with_errors_of_the_lock() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let failed = locker.scope("x", async |_| Err::<(), _>("sold out")).await;
    assert_eq!(failed.unwrap(), Err("sold out"));
    assert_eq!(
        locker.scope("x", async |_| Ok::<_, ()>(7)).await.unwrap(),
        Ok(7)
    );
}

/// All kinds of closures, and a function; the types of all are `Send`, and so is the call.
#[tokio::test]
async fn a_call_with_any_closure_can_be_spawned() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    // What the key is made of, or borrows, is none of the future's.
    let name = String::from("name");
    let moved = name.clone();
    let calls = [
        tokio::spawn(locker.scope("x", async move |_| moved.len())),
        tokio::spawn(locker.scope(&name, |_| async move { 4 })),
        tokio::spawn(locker.scope(name.clone(), async |_| 4)),
        tokio::spawn(locker.scope(name.as_str(), function)),
        tokio::spawn(locker.scope_all(["x", &name], async move |_| 4)),
        tokio::spawn(locker.scope_all(vec!["x"], |_| std::future::ready(4))),
    ];
    for call in calls {
        assert_eq!(soon(call).await.unwrap(), 4);
    }
}

async fn function(lock: Held) -> usize {
    lock.key().len()
}

#[tokio::test]
async fn without_a_lock_the_closure_is_not_called() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let called = Cell::new(false);
    let closure = async |_| called.set(true);
    let impatient = locker.clone().wait(Duration::ZERO);
    let error = impatient.scope("x", closure).await.unwrap_err();
    assert!(error.is_contended() && !called.get());

    // Nor before its turn.
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let call = locker.scope("x", async move |_| begins.store(true, SeqCst));
    let call = enqueue(&server, call).await;
    assert!(!began.load(SeqCst));
    holder.unlock().await.unwrap();
    soon(call).await.unwrap();
    assert!(began.load(SeqCst));
}

#[tokio::test]
async fn a_closure_whose_lock_is_gone_is_stopped() {
    struct Tell<'a>(&'a Cell<bool>);

    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    let server = Server::start().await;
    let locker = locker(&server.url()).await.ttl(Duration::from_millis(600));
    let dropped = Cell::new(false);
    let stopped = locker.scope("x", async |lock| {
        let _tell = Tell(&dropped);
        server.flush().await;
        lock.lost().await;
        pending::<()>().await;
    });
    let error = timeout(SOON, stopped).await.expect("the loss is noticed");
    let error = error.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Lost {
                why: Loss::Forgotten,
                ..
            }
        ),
        "{error}"
    );
    assert!(dropped.get());
}

/// In the part of it that makes the future, and in the future.
#[tokio::test]
async fn a_closure_that_panics_gives_its_lock_back() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let make = |_| -> std::future::Ready<()> { panic!("the work has failed") };
    let call = tokio::spawn(locker.scope("x", make));
    assert!(call.await.unwrap_err().is_panic());
    nothing_is_left(&server).await;
    let call = tokio::spawn(locker.scope("x", async |_| panic!("the work has failed")));
    assert!(call.await.unwrap_err().is_panic());
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn scopes_nest_as_other_calls_do() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await.wait(Duration::ZERO);
    let tokens = locker
        .scope("x", async |outer| {
            let inner = locker.scope("x", async |inner| inner.token()).await?;
            let exec = locker.lock_exec("x", async { Ok::<_, Error>(outer.token()) });
            Ok::<_, Error>([outer.token(), inner, exec.await?])
        })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tokens, [tokens[0]; 3]);

    let reader = locker.clone().mode(Mode::Read);
    let inner = reader.scope("x", async |_| locker.scope("x", async |_| ()).await);
    let refused = inner.await.unwrap();
    assert!(
        matches!(refused, Err(Error::WriteInsideRead { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn several_locks_are_found_where_their_keys_stand() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let rival = &locker;
    let found = locker
        .scope_all(
            [("b", Mode::R), ("a", Mode::W), ("b", Mode::R)],
            async |locks| {
                assert!(rival.try_read("b").await.unwrap().is_some());
                assert!(rival.try_read("a").await.unwrap().is_none());
                let keys = [0, 1, 2].map(|position| locks[position].key().to_string());
                let taken: Vec<_> = locks.iter().map(|lock| lock.key().to_string()).collect();
                (keys, taken, locks[0].token() == locks[2].token())
            },
        )
        .await
        .unwrap();
    assert_eq!(found.0, ["b", "a", "b"]);
    assert_eq!(found.1, ["a", "b"]);
    assert!(found.2);
    nothing_is_left(&server).await;
}

/// The closure and what it makes are not kept beside each other, and not for each layer that they are handed through.
#[tokio::test]
async fn the_future_is_not_much_larger_than_its_closure() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let large = [7_u8; 4096];
    let call = locker.scope("x", async move |_| {
        tokio::task::yield_now().await;
        large.len()
    });
    let size = size_of_val(&call);
    assert!(size <= 4096 + 1024, "{size}");
    assert_eq!(call.await.unwrap(), 4096);
}
