//! Guards against guards that are dropped where nobody thought of it: in a panic, outside of a runtime, after the
//! runtime has ended, while a thread ends. Dropping never panics, and the key becomes free without its lease ending.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use redis_lock::{Guard, Locker};
use redis_lock_tests::{Proxy, Server, eventually};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::stage::{LONG, SOON, calls, locker, nothing_is_left, poll_times};

#[tokio::test]
async fn in_a_panic() {
    let server = Server::start().await;
    let guard = locker(&server.url()).await.write("x").await.unwrap();
    let task = tokio::spawn(async move {
        let _guard = guard;
        panic!("the work has failed");
    });
    assert!(task.await.unwrap_err().is_panic());
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn outside_of_any_runtime() {
    let server = Server::start().await;
    let guard = locker(&server.url()).await.write("x").await.unwrap();
    thread::spawn(move || drop(guard)).join().unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn while_its_thread_ends() {
    thread_local! {
        static KEPT: RefCell<Option<Guard>> = const { RefCell::new(None) };
    }
    let server = Server::start().await;
    let guard = locker(&server.url()).await.write("x").await.unwrap();
    let thread = thread::spawn(move || KEPT.set(Some(guard)));
    thread.join().unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn after_its_runtime_has_ended() {
    let server = Server::start().await;
    let url = server.url();
    let guard = elsewhere(move |runtime| {
        runtime.block_on(async { locker(&url).await.write("x").await.unwrap() })
    });
    assert!(!server.keys().await.is_empty());
    elsewhere(move |_| drop(guard));
    nothing_is_left(&server).await;
}

/// The connection is the user's, and its driver ends with the runtime that it was made in. So the key may have to
/// wait for its ttl, but nothing panics.
#[tokio::test]
async fn after_the_runtime_of_its_connection_has_ended() {
    let server = Server::start().await;
    let url = server.url();
    let guard = elsewhere(move |runtime| {
        runtime.block_on(async {
            let client = redis::Client::open(url).unwrap();
            let manager = client.get_connection_manager().await.unwrap();
            let locker = Locker::new(manager).ttl(Duration::from_secs(1));
            locker.write("x").await.unwrap()
        })
    });
    elsewhere(move |_| drop(guard));
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn as_the_last_thing_in_a_runtime() {
    let server = Server::start().await;
    let url = server.url();
    elsewhere(move |runtime| {
        runtime.block_on(async { drop(locker(&url).await.write("x").await.unwrap()) });
    });
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn as_an_unlock_that_was_never_polled_or_not_to_its_end() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    for polls in 0..2 {
        let unlock = locker.write("x").await.unwrap().unlock();
        poll_times(polls, unlock).await;
        nothing_is_left(&server).await;
    }
    let unlock = locker.write("x").await.unwrap().into_future();
    thread::spawn(move || drop(unlock)).join().unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn with_its_task_when_a_runtime_is_shut_down() {
    let server = Server::start().await;
    let guard = locker(&server.url()).await.write("x").await.unwrap();
    elsewhere(move |runtime| {
        runtime.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        runtime.block_on(tokio::task::yield_now());
    });
    nothing_is_left(&server).await;
}

/// As with a lock in memory: whoever drops a guard and tries again finds the lock free.
#[tokio::test]
async fn before_anything_else_that_its_task_does() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    for _ in 0..500 {
        assert!(locker.try_write("x").await.unwrap().is_some());
        assert!(locker.try_read("x").await.unwrap().is_some());
    }
}

/// Its connection is in a runtime that has no more turn to send anything.
#[tokio::test]
async fn in_a_runtime_that_is_not_driven_any_more() {
    let server = Server::start().await;
    let url = server.url();
    let runtime = elsewhere(move |_| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { drop(locker(&url).await.write("x").await.unwrap()) });
        runtime
    });
    nothing_is_left(&server).await;
    elsewhere(move |_| drop(runtime));
}

/// Over a connection of the user's, which lives on. It has time limits of its own: timers of the runtime that has ended.
#[tokio::test]
async fn an_acquisition_that_is_under_way_when_its_runtime_ends() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let locker = Locker::new(client.get_connection_manager().await.unwrap());
    let locker = locker.ttl(LONG);
    // From here on the server knows the scripts.
    locker.write("x").await.unwrap().unlock().await.unwrap();
    let before = calls(&server).await;
    proxy.delay_next_request("EVAL", Duration::from_millis(200));
    elsewhere(move |runtime| {
        let acquired = runtime.block_on(poll_times(1, locker.write("x")));
        assert!(acquired.is_none(), "it was under way");
    });
    eventually(SOON, "it arrives, and what takes it back", async || {
        calls(&server).await >= before + 2
    })
    .await;
    nothing_is_left(&server).await;
}

/// As a panic hook of a user's may do that ends what is under way; the hook is called for a runtime without I/O, too.
#[tokio::test]
async fn in_a_panic_hook() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let kept = Mutex::new(Some(locker.write("x").await.unwrap()));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        drop(kept.lock().unwrap().take());
        hook(info);
    }));
    let done = tokio::task::spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { locker.write("y").await.unwrap().unlock().await.unwrap() });
    });
    timeout(SOON, done).await.expect("it ends").unwrap();
    nothing_is_left(&server).await;
}

/// Over a connection of the user's, which lives on, and whose timers end with the runtime: nobody must read of a panic.
#[tokio::test]
async fn with_its_task_and_the_timers_of_its_runtime() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start().await;
    let locker = Locker::new(server.manager().await).ttl(LONG);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Others of this process may panic as well, under `cargo test`.
        let is_ours = info.to_string().contains("shutdown");
        PANICS.fetch_add(usize::from(is_ours), SeqCst);
        hook(info);
    }));
    for _ in 0..20 {
        let guard = locker.write("x").await.unwrap();
        elsewhere(move |runtime| {
            runtime.spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
            runtime.block_on(tokio::task::yield_now());
        });
        nothing_is_left(&server).await;
    }
    assert_eq!(PANICS.load(SeqCst), 0);
}

/// As the tests of a user do that share one Locker: each has a runtime of its own.
#[tokio::test]
async fn a_locker_serves_one_runtime_after_another() {
    let server = Server::start().await;
    let url = server.url();
    let locker = elsewhere(move |runtime| runtime.block_on(locker(&url)));
    let mut connection = connections(&server).await;
    eventually(SOON, "only the Locker's connection is left", async || {
        connection = connections(&server).await;
        connection.len() == 1
    })
    .await;
    for _ in 0..3 {
        let locker = locker.clone();
        elsewhere(move |runtime| {
            runtime.block_on(async {
                let guard = locker.write("x").await.unwrap();
                assert!(locker.try_read("x").await.unwrap().is_none());
                guard.unlock().await.unwrap();
                drop(locker.read("x").await.unwrap());
            });
        });
    }
    nothing_is_left(&server).await;
    let now = connections(&server).await;
    assert!(
        now.is_superset(&connection),
        "it did not end with a runtime"
    );
}

#[tokio::test]
async fn a_lock_is_renewed_though_its_runtime_has_ended() {
    const TTL: Duration = Duration::from_millis(500);
    let server = Server::start().await;
    let url = server.url();
    let guard = elsewhere(move |runtime| {
        runtime.block_on(async { locker(&url).await.ttl(TTL).write("x").await.unwrap() })
    });
    tokio::time::sleep(3 * TTL).await;
    assert!(!guard.is_lost());
    let rival = locker(&server.url()).await;
    assert!(rival.try_write("x").await.unwrap().is_none());
    guard.unlock().await.unwrap();
    assert!(rival.try_write("x").await.unwrap().is_some());
}

/// The ids of all connections to the server, but for the one that asks.
async fn connections(server: &Server) -> BTreeSet<String> {
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    let others = list
        .lines()
        .filter(|line| !line.contains("cmd=client|list"));
    let ids = others.filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}

/// Runs something on a new thread with a runtime of its own, which has ended when this returns.
fn elsewhere<T: Send + 'static>(work: impl FnOnce(&Runtime) -> T + Send + 'static) -> T {
    let thread = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        work(&runtime)
    });
    thread.join().expect("it does not panic")
}
