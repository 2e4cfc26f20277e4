//! Guards against starving and overtaking: the line is served strictly by arrival, with neighbouring readers let in
//! together. And against what waiting may cost: slow hand-overs, and commands without end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use redis_lock::{Error, Guard};
use redis_lock_tests::{Server, eventually};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{SOON, enqueue, locker, soon, waiters};

const CROWD: usize = 8;

/// What a release grants is in Redis when it returns, so the length of the line tells who was let in.
#[tokio::test]
async fn the_line_is_served_by_arrival_with_neighbouring_readers_together() {
    let server = Server::start().await;
    let (a, b) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = a.write("x").await.unwrap();
    let first = enqueue(&server, b.write("x")).await;
    let second = enqueue(&server, a.read("x")).await;
    let third = enqueue(&server, b.read("x")).await;
    let fourth = enqueue(&server, a.write("x")).await;
    let fifth = enqueue(&server, b.read("x")).await;

    holder.unlock().await.unwrap();
    assert_eq!(waiters(&server).await, 4);
    let first = entered(first).await;
    first.unlock().await.unwrap();
    assert_eq!(waiters(&server).await, 2, "two neighbouring readers");
    let (second, third) = (entered(second).await, entered(third).await);
    assert!(second.token() < third.token());
    second.unlock().await.unwrap();
    assert_eq!(waiters(&server).await, 2, "one reader is inside yet");
    let last_reader = third.token();
    third.unlock().await.unwrap();
    assert_eq!(waiters(&server).await, 1);
    let fourth = entered(fourth).await;
    assert!(fourth.token() > last_reader);
    fourth.unlock().await.unwrap();
    entered(fifth).await.unlock().await.unwrap();
}

#[tokio::test]
async fn a_queued_writer_stops_later_readers_and_nobody_jumps_the_queue() {
    let server = Server::start().await;
    let (a, b) = (locker(&server.url()).await, locker(&server.url()).await);
    let one_try = a.clone().wait(Duration::ZERO);
    let holder = a.read("x").await.unwrap();
    let writer = enqueue(&server, b.write("x")).await;
    assert!(a.try_read("x").await.unwrap().is_none());
    assert!(one_try.read("x").await.unwrap_err().is_contended());
    let reader = enqueue(&server, a.read("x")).await;
    assert!(b.try_read("x").await.unwrap().is_none());
    assert_eq!(waiters(&server).await, 2, "tries do not queue");

    holder.unlock().await.unwrap();
    assert!(a.try_read("x").await.unwrap().is_none(), "the writer is in");
    let writer = entered(writer).await;
    assert_eq!(waiters(&server).await, 1, "the reader is behind it");
    writer.unlock().await.unwrap();
    let reader = entered(reader).await;
    let joining = b.try_read("x").await.unwrap();
    assert!(joining.is_some(), "nobody waits: readers share again");
    reader.unlock().await.unwrap();
}

#[tokio::test]
async fn a_writer_gets_in_among_overlapping_readers() {
    let server = Server::start().await;
    let (crowd, alone) = (locker(&server.url()).await, locker(&server.url()).await);
    let entries = stream_ahead(alone.write("x"), move || crowd.read("x")).await;
    assert!(entries <= 2 * CROWD, "{entries} readers passed the writer");
}

#[tokio::test]
async fn a_reader_gets_in_among_a_stream_of_writers() {
    let server = Server::start().await;
    let (crowd, alone) = (locker(&server.url()).await, locker(&server.url()).await);
    let entries = stream_ahead(alone.read("x"), move || crowd.write("x")).await;
    assert!(entries <= 2 * CROWD, "{entries} writers passed the reader");
}

/// Keeps a lock busy with a crowd of tasks that take it again and again, lets one other stand in line, and returns
/// how many of the crowd came in before it.
async fn stream_ahead<A>(
    alone: impl Future<Output = Result<Guard, Error>>,
    take: impl Fn() -> A + Clone + Send + 'static,
) -> usize
where
    A: Future<Output = Result<Guard, Error>> + Send + 'static,
{
    let entries = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for index in 0..u32::try_from(CROWD).unwrap() {
        let (take, entries) = (take.clone(), Arc::clone(&entries));
        crowd.spawn(async move {
            // Not in step, so that readers overlap.
            sleep(Duration::from_millis(5) * index).await;
            loop {
                let guard = take().await.unwrap();
                entries.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(40)).await;
                guard.unlock().await.unwrap();
            }
        });
    }
    eventually(SOON, "the crowd goes round", async || {
        entries.load(SeqCst) > 2 * CROWD
    })
    .await;
    let before = entries.load(SeqCst);
    let guard = timeout(SOON, alone).await.expect("it gets in").unwrap();
    let passed = entries.load(SeqCst) - before;
    guard.unlock().await.unwrap();
    passed
}

/// The holder and the waiter are in one process. Where the waiter runs time stands still, so no pause of its ends:
/// only the wake-up by the release can make it ask again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_within_the_process_needs_no_clock() {
    let server = Server::start().await;
    let (a, b) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = a.write("x").await.unwrap();
    server.reset_stats().await;
    let (stop_the_clock, clock_stopped) = mpsc::channel::<()>();
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let waiter = spawn_blocking(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let (end, ended) = mpsc::channel::<()>();
            // As long as this runs, the clock does not run ahead when there is nothing to do.
            spawn_blocking(move || ended.recv());
            let waiter = tokio::spawn(b.write("x"));
            while clock_stopped.try_recv().is_err() {
                tokio::time::advance(Duration::from_millis(10)).await;
                tokio::task::yield_now().await;
            }
            entered.send(waiter.await.unwrap()).await.unwrap();
            drop(end);
        });
    });
    // The second time it asks, it has read the first answer, and can be woken.
    eventually(SOON, "the waiter asks a second time", async || {
        server.command_calls().await.get("evalsha") >= Some(&2)
    })
    .await;
    stop_the_clock.send(()).unwrap();
    holder.unlock().await.unwrap();
    let guard = timeout(SOON, has_entered.recv()).await;
    let guard = guard.expect("the release wakes the waiter").unwrap();
    guard.unwrap().unlock().await.unwrap();
    waiter.await.unwrap();
}

/// A waiter lease is three seconds, and far behind in the line the pauses between asking could be longer.
#[tokio::test]
async fn a_place_in_line_is_kept_through_several_waiter_leases() {
    const LINE: usize = 40;
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let mut line = Vec::new();
    for _ in 0..LINE {
        line.push(enqueue(&server, locker.write("x")).await);
    }
    let end = Instant::now() + Duration::from_secs(7);
    while Instant::now() < end {
        assert_eq!(waiters(&server).await, LINE, "somebody left the line");
        sleep(Duration::from_millis(100)).await;
    }
    let mut last_token = holder.token();
    holder.unlock().await.unwrap();
    for waiter in line {
        let guard = entered(waiter).await;
        assert!(guard.token() > last_token, "overtaken");
        last_token = guard.token();
        guard.unlock().await.unwrap();
    }
}

#[tokio::test]
async fn waiting_costs_few_commands() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let mut line = Vec::new();
    for _ in 0..20 {
        line.push(enqueue(&server, locker.write("x")).await);
    }
    // Whoever has just come may ask more often.
    sleep(Duration::from_secs(2)).await;
    server.reset_stats().await;
    let start = Instant::now();
    sleep(Duration::from_secs(2)).await;
    let commands = calls(&server).await;
    let per_second = commands / start.elapsed().as_secs().max(1);
    assert!(per_second < 100, "{per_second} commands a second");
    drop((holder, line));
}

#[tokio::test]
async fn a_release_does_not_stir_up_the_whole_line() {
    const LINE: u64 = 100;
    let server = Server::start().await;
    let lockers = [locker(&server.url()).await, locker(&server.url()).await];
    let holder = lockers[0].write("x").await.unwrap();
    let mut line = JoinSet::new();
    for index in 0..LINE {
        let locker = lockers[usize::try_from(index % 2).unwrap()].clone();
        line.spawn(async move { locker.write("x").await.unwrap().unlock().await });
    }
    eventually(SOON, "all stand in line", async || {
        waiters(&server).await == 100
    })
    .await;
    server.reset_stats().await;
    holder.unlock().await.unwrap();
    while let Some(ended) = line.join_next().await {
        ended.unwrap().unwrap();
    }
    let per_release = calls(&server).await / LINE;
    assert!(per_release < 10, "{per_release} commands a release");
}

async fn entered(waiting: JoinHandle<Result<Guard, Error>>) -> Guard {
    soon(waiting).await.expect("it gets in")
}

async fn calls(server: &Server) -> u64 {
    let calls = server.command_calls().await;
    let of = |name| calls.get(name).copied().unwrap_or(0);
    of("evalsha") + of("eval")
}
