//! Guards against what many who wait may cost, and against places in line that are lost since there are many: one
//! question is for all who wait for a lock in one runtime, and only a hundred go into one.

use std::time::Duration;

use redis_lock_tests::Server;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::stage::{all_in_line, calls, enqueue, locker, nothing_is_left, soon, waiters};

/// They stand in line one by one in turn, so that each grant is for the other process: there are no runs.
#[tokio::test]
async fn a_release_costs_few_commands_however_long_the_line() {
    const LINE: u64 = 200;
    let server = Server::start().await;
    let lockers = [locker(&server.url()).await, locker(&server.url()).await];
    let holder = lockers[0].write("x").await.unwrap();
    let mut line = Vec::new();
    for index in 0..LINE {
        let acquisition = lockers[usize::try_from(index % 2).unwrap()].write("x");
        let turn = async { acquisition.await.unwrap().unlock().await };
        line.push(enqueue(&server, turn).await);
    }
    server.reset_stats().await;
    holder.unlock().await.unwrap();
    for turn in line {
        soon(turn).await.unwrap();
    }
    let commands = calls(&server).await;
    // One to release; the rest for heartbeats that fall in between.
    assert!(
        commands <= 2 * LINE,
        "{commands} commands for {LINE} releases"
    );
    nothing_is_left(&server).await;
}

/// More than one question can be for: those behind the first hundred are asked for as well, in time.
#[tokio::test]
async fn more_than_one_question_can_be_for_keep_their_places() {
    const LINE: usize = 230;
    let server = Server::start().await;
    let waiting = locker(&server.url()).await;
    let rival = locker(&server.url()).await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let mut line = JoinSet::new();
    for _ in 0..LINE {
        line.spawn(waiting.write("x"));
    }
    all_in_line(&server, LINE).await;
    server.reset_stats().await;
    // Longer than a place is kept that is not asked for: that is three seconds. Whoever tries clears such places away.
    let (end, mut tries) = (Instant::now() + Duration::from_secs(5), 0);
    while Instant::now() < end {
        assert!(rival.try_write("x").await.unwrap().is_none());
        tries += 1;
        assert_eq!(waiters(&server).await, LINE, "some have left the line");
        sleep(Duration::from_millis(50)).await;
    }
    // Three questions a second, and the one that was under way at either end.
    let commands = calls(&server).await - tries;
    assert!(commands <= 30, "{commands} commands in five seconds");
    drop((holder, line));
    nothing_is_left(&server).await;
}
