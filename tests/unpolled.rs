//! Guards against a waiter that is alive and that nobody polls any more (in a `select!` whose other branch goes on, or a
//! stream that is not read): it must not keep its place for ever, nor the lock once it has been let in.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use redis_lock::{Error, Guard, Locker};
use redis_lock_tests::Server;
use tokio::time::{Instant, timeout};

use crate::stage::{all_in_line, enqueue, locker, nothing_is_left, queued, soon, waiters};

/// It is asked for until a second after it was polled, and then keeps what it has for three.
const FORGOTTEN: Duration = Duration::from_millis(5500);

type Acquisition = Pin<Box<dyn Future<Output = Result<Guard, Error>> + Send>>;

/// One who stands in line, and is not polled after that.
async fn unpolled(server: &Server, locker: &Locker) -> Acquisition {
    let before = waiters(server).await;
    let mut acquisition: Acquisition = Box::pin(locker.write("x"));
    tokio::select! {
        guard = &mut acquisition => panic!("{guard:?} is ours already"),
        () = all_in_line(server, before + 1) => acquisition,
    }
}

/// Others are behind it, in one runtime with it, and not.
#[tokio::test]
async fn one_in_line_holds_up_others_for_a_few_seconds() {
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = elsewhere.write("x").await.unwrap();
    let mut forgotten = unpolled(&server, &here).await;
    let first = enqueue(&server, here.write("x")).await;
    let second = enqueue(&server, elsewhere.write("x")).await;
    holder.unlock().await.unwrap();
    soon(first).await.unwrap().unlock().await.unwrap();
    let second = soon(second).await.unwrap();
    // It is not gone: polled again, it gets in, once it is its turn.
    let polled = std::future::poll_fn(|context| Poll::Ready(forgotten.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    let last = second.token();
    let forgotten = tokio::spawn(forgotten);
    all_in_line(&server, 1).await;
    second.unlock().await.unwrap();
    let guard = soon(forgotten).await.unwrap();
    assert!(guard.token() > last);
    guard.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// It has its turn, at the head or in the middle of a run, and does not know.
#[tokio::test]
async fn one_in_a_run_holds_up_others_for_a_few_seconds() {
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = elsewhere.write("x").await.unwrap();
    let before = enqueue(&server, here.write("x")).await;
    let forgotten = unpolled(&server, &here).await;
    let behind = enqueue(&server, here.write("x")).await;
    let other = enqueue(&server, elsewhere.write("x")).await;
    holder.unlock().await.unwrap();
    let guard = soon(before).await.unwrap();
    assert_eq!(queued(&server).await, 1, "three were let in together");
    guard.unlock().await.unwrap();
    let start = Instant::now();
    // In which order is not the subject: the run is over, and those of it who wait stand in line again.
    let turns = [behind, other].map(|waiter| {
        tokio::spawn(async {
            let guard = waiter.await.unwrap().unwrap();
            guard.unlock().await.unwrap();
        })
    });
    for turn in turns {
        let left = FORGOTTEN.saturating_sub(start.elapsed());
        timeout(left, turn).await.expect("it gets in").unwrap();
    }
    drop(forgotten);
    nothing_is_left(&server).await;
}
