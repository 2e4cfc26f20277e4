//! Guards against turns that are taken out of order, at the same time, or never, where writers of one process hold one
//! after another without Redis: all of them were let in together, so only their process keeps them apart.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use redis_lock::{Guard, Locker};
use redis_lock_tests::{History, Server};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{
    SOON, all_in_line, calls, chance, enqueue, locker, nothing_is_left, poll_times, queued, soon,
};

/// More than one run can have.
const LINE: usize = 80;

#[tokio::test]
async fn turns_are_taken_by_arrival_and_cost_nearly_nothing() {
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = elsewhere.write("x").await.unwrap();
    let (history, turns) = (History::new(), Arc::new(Mutex::new(Vec::new())));
    let mut line = Vec::new();
    for number in 0..=LINE {
        // One of another process stands in the middle.
        let locker = if number == LINE / 2 {
            &elsewhere
        } else {
            &here
        };
        let (history, turns) = (history.clone(), Arc::clone(&turns));
        let acquisition = locker.write("x");
        let turn = async move {
            let guard = acquisition.await.unwrap();
            let stay = history.write("x", guard.token());
            turns.lock().unwrap().push((number, guard.token()));
            // Somebody else could run now.
            yield_now().await;
            drop(stay);
            guard.unlock().await.unwrap();
        };
        line.push(enqueue(&server, turn).await);
    }
    server.reset_stats().await;
    let start = Instant::now();
    holder.unlock().await.unwrap();
    for turn in line {
        timeout(SOON, turn).await.expect("its turn comes").unwrap();
    }
    let commands = calls(&server).await;
    // Three releases that hand over, and a heartbeat of each process that may fall in between.
    let bound = 10 + 4 * start.elapsed().as_secs();
    assert!(commands <= bound, "{commands} commands for {LINE} turns");
    let turns = turns.lock().unwrap().clone();
    let order: Vec<_> = turns.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..=LINE).collect::<Vec<_>>(), "by arrival");
    assert!(turns.is_sorted_by(|one, next| one.1 < next.1), "{turns:?}");
    history.check();
    nothing_is_left(&server).await;
}

/// Who comes while a run goes on stands behind those of other processes who came before.
#[tokio::test]
async fn a_run_lets_nobody_in_who_came_after_it() {
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = elsewhere.write("x").await.unwrap();
    let first = enqueue(&server, here.write("x")).await;
    let second = enqueue(&server, here.write("x")).await;
    holder.unlock().await.unwrap();
    let first = soon(first).await.unwrap();
    let third = enqueue(&server, elsewhere.write("x")).await;
    let fourth = enqueue(&server, here.write("x")).await;
    let mut last = first.token();
    first.unlock().await.unwrap();
    assert_eq!(queued(&server).await, 2);
    for next in [second, third, fourth] {
        let guard = soon(next).await.unwrap();
        assert!(guard.token() > last, "out of order");
        last = guard.token();
        guard.unlock().await.unwrap();
    }
    nothing_is_left(&server).await;
}

/// What one who has its turn does with it.
#[derive(Clone, Copy)]
enum End {
    Unlock,
    Drop,
    /// The release is begun, and then dropped.
    GiveUp(usize),
}

/// Of each run some leave while they follow, some at the very moment at which it is their turn, and some while they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_a_run_holds_up_nobody_in_it() {
    const RUNS: usize = 12;
    const MEMBERS: usize = 40;
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let (history, mut chance) = (History::new(), chance());
    for _ in 0..RUNS {
        let holder = elsewhere.write("x").await.unwrap();
        let mut stays = JoinSet::new();
        let (mut leaves, mut leave_by_chance) = (Vec::new(), Vec::new());
        let mut expected = 0;
        for _ in 0..MEMBERS {
            let acquisition = here.write("x");
            let how = [End::Unlock, End::Drop, End::GiveUp(0), End::GiveUp(1)];
            let how = how[chance.random_range(0..how.len())];
            let pause = Duration::from_micros(chance.random_range(0..600));
            match chance.random_range(0..10) {
                // Those behind it, up to the next who stays, leave right after it has given the lock back.
                0..5 => {
                    let next = Arc::new(Mutex::new(Vec::<AbortHandle>::new()));
                    leaves.push(Arc::clone(&next));
                    let history = history.clone();
                    expected += 1;
                    stays.spawn(async move {
                        let guard = acquisition.await.unwrap();
                        let stay = history.write("x", guard.token());
                        sleep(pause).await;
                        drop(stay);
                        leave(guard, how, &next).await;
                    });
                }
                5..7 => {
                    let task = tokio::spawn(acquisition).abort_handle();
                    if let Some(leaves) = leaves.last() {
                        leaves.lock().unwrap().push(task);
                    } else {
                        leave_by_chance.push((pause, task));
                    }
                }
                7 => {
                    let polls = chance.random_range(1..5);
                    tokio::spawn(poll_times(polls, acquisition));
                }
                8 => {
                    let patience = Duration::from_millis(chance.random_range(0..60));
                    tokio::spawn(timeout(patience, acquisition));
                }
                _ => leave_by_chance.push((pause, tokio::spawn(acquisition).abort_handle())),
            }
        }
        sleep(Duration::from_millis(chance.random_range(5..30))).await;
        holder.unlock().await.unwrap();
        for (pause, task) in leave_by_chance {
            sleep(pause).await;
            task.abort();
        }
        let mut stayed = 0;
        while let Some(ended) = timeout(SOON, stays.join_next()).await.expect("all get in") {
            ended.unwrap();
            stayed += 1;
        }
        assert_eq!(stayed, expected);
    }
    history.check();
    let start = Instant::now();
    nothing_is_left(&server).await;
    let took = start.elapsed();
    // Far below the leases, which end by themselves.
    assert!(took < Duration::from_secs(1), "took {took:?}");
}

async fn leave(guard: Guard, how: End, next: &Mutex<Vec<AbortHandle>>) {
    let abort = || {
        for task in next.lock().unwrap().drain(..) {
            task.abort();
        }
    };
    match how {
        End::Unlock => {
            let mut unlock = std::pin::pin!(guard.unlock());
            // With the first poll the next of the run has its turn, and is then told to leave.
            let first = std::future::poll_fn(|context| {
                std::task::Poll::Ready(unlock.as_mut().poll(context))
            });
            let polled = first.await;
            abort();
            if polled.is_pending() {
                unlock.await.unwrap();
            }
        }
        End::Drop => {
            drop(guard);
            abort();
        }
        End::GiveUp(polls) => {
            let _ = poll_times(polls, guard.unlock()).await;
            abort();
        }
    }
}

/// A run ends where a reader stands, and readers who are neighbours are inside together.
#[tokio::test]
async fn readers_within_a_line_of_writers_keep_their_places() {
    let server = Server::start().await;
    let here = locker(&server.url()).await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let history = History::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut line = JoinSet::new();
    for number in 0..30 {
        // Two writers, two readers, and so on.
        let reads = number % 4 > 1;
        let (history, order) = (history.clone(), Arc::clone(&order));
        line.spawn(turn(here.clone(), reads, number / 2, history, order));
        yield_now().await;
    }
    all_in_line(&server, 30).await;
    holder.unlock().await.unwrap();
    while let Some(ended) = timeout(SOON, line.join_next()).await.expect("in time") {
        ended.unwrap();
    }
    let order = order.lock().unwrap().clone();
    assert!(order.is_sorted(), "{order:?}");
    history.check();
    nothing_is_left(&server).await;
}

async fn turn(
    here: Locker,
    reads: bool,
    pair: usize,
    history: History,
    order: Arc<Mutex<Vec<usize>>>,
) {
    let guard = if reads {
        here.read("x").await
    } else {
        here.write("x").await
    };
    let guard = guard.unwrap();
    let stay = if reads {
        history.read("x", guard.token())
    } else {
        history.write("x", guard.token())
    };
    order.lock().unwrap().push(pair);
    sleep(Duration::from_millis(5)).await;
    drop(stay);
    guard.unlock().await.unwrap();
}
