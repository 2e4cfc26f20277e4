//! Guards against lines that nobody asks for, and against what goes wrong between a question of one's own and a push:
//! runtimes that stand still, end, or cannot connect; answers that come late; more dead in front than one call clears away.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, Client};
use redis_lock::{Locker, Wait, Wakeups};
use redis_lock_tests::{Proxy, Server, eventually};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};

use crate::stage::{LONG, SOON, all_in_line, enqueue, locker, nothing_is_left, soon, waiters};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A connection of the user's is shared by all runtimes, and so are the lines of those who wait over it.
async fn given(url: &str) -> Locker {
    let client = Client::open(url).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    Locker::new(connection).ttl(LONG).wait(Wait::Forever)
}

/// Whoever found that it was time to ask may never be polled again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_ends_at_once_holds_up_nobody_in_its_line() {
    let server = Server::start().await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let shared = given(&server.url()).await;
    let waiter = enqueue(&server, shared.write("x")).await;
    for _ in 0..20 {
        let mut brief = Box::pin(shared.write("x"));
        let polled_once = move || {
            runtime().block_on(poll_fn(|context| {
                let _ = brief.as_mut().poll(context);
                Poll::Ready(())
            }));
        };
        thread::spawn(polled_once).join().unwrap();
    }
    holder.unlock().await.unwrap();
    soon(waiter).await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_runtime_that_cannot_connect_can_lock() {
    let server = Server::start().await;
    let url = server.url();
    let (says, is_in_line) = oneshot::channel();
    let lock = move || {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let locker = locker(&url).await;
            let guard = locker.write("x").await.unwrap();
            let waiter = tokio::spawn(locker.write("x"));
            is_in_line.await.unwrap();
            guard.unlock().await.unwrap();
            soon(waiter).await.unwrap().unlock().await.unwrap();
        });
    };
    let done = tokio::task::spawn_blocking(lock);
    all_in_line(&server, 1).await;
    says.send(()).unwrap();
    timeout(SOON, done).await.expect("it ends").unwrap();
    nothing_is_left(&server).await;
}

/// Its time is up, its own question has had no answer, and a push has made it its turn: then it has the lock, and does
/// not give it back while it asks for it once more.
#[tokio::test]
async fn a_turn_that_comes_before_the_answer_is_taken() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let rival = locker(&server.url()).await;
    let wakeups = Wakeups::new();
    let client = Client::open(format!("{}/?protocol=resp3", server.url())).unwrap();
    let config = AsyncConnectionConfig::new().set_push_sender(wakeups.clone());
    let mut pushes = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    pushes.subscribe(wakeups.channel()).await.unwrap();
    let client = Client::open(proxy.url()).unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let commands = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    let locker = Locker::with_wakeups(commands, &wakeups).ttl(LONG);
    // The scripts are known.
    locker.write("x").await.unwrap().unlock().await.unwrap();

    let holder = rival.write("x").await.unwrap();
    proxy.delay_replies(Duration::from_secs(3));
    let waiter = locker.wait(Duration::from_millis(300)).write("x");
    let waiter = enqueue(&server, waiter).await;
    holder.unlock().await.unwrap();
    let guard = soon(waiter).await.expect("it has been let in");
    // Longer than what might be under way to take it back.
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        let second = rival.try_write("x").await.unwrap();
        assert!(second.is_none() || guard.is_lost(), "two writers");
        sleep(Duration::from_millis(20)).await;
    }
    drop(guard);
    nothing_is_left(&server).await;
}

/// One call clears a hundred of them away or two; whoever finds the lock free behind the others asks again at once.
#[tokio::test]
async fn thousands_of_dead_waiters_are_dead_together() {
    const DEAD: usize = 1200;
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let given = given(&server.url()).await.command_timeout(SOON);
    let mut dead: Vec<_> = (0..DEAD).map(|_| Box::pin(given.write("x"))).collect();
    // Polled until they are in line, and then no more; all at a time, and not for each one that is woken.
    eventually(LONG, "all stand in line", async || {
        poll_fn(|context| {
            for waiter in &mut dead {
                let _ = pin!(unconstrained(waiter.as_mut())).poll(context);
            }
            Poll::Ready(())
        })
        .await;
        waiters(&server).await == DEAD
    })
    .await;
    let waiter = enqueue(&server, locker.write("x")).await;
    holder.unlock().await.unwrap();
    // Less than a second for each hundred.
    soon(waiter).await.unwrap().unlock().await.unwrap();
}
