//! Guards against a run that goes on when its lease does not: all of a run are holders in Redis on one lease, and those
//! who are to hold later must not rely on what was promised to those before them.

use std::future::Future;
use std::time::Duration;

use redis_lock::{Guard, Locker};
use redis_lock_tests::{History, Proxy, Server, eventually};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{LONG, SOON, enqueue, leases, locker, nothing_is_left, queued, soon};

const TTL: Duration = Duration::from_secs(1);
/// How long a claim lasts at the most: that of somebody who has been let in and has not been heard of since.
const CLAIM: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(20);

/// A run of so many, of which the first holds, behind a proxy; and those whom it consists of beside that one.
async fn run_behind(
    proxy: &Proxy,
    server: &Server,
    members: usize,
    ttl: Duration,
) -> (Locker, Guard, Vec<JoinHandle<Guard>>) {
    let here = locker(&proxy.url()).await.ttl(ttl);
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let mut line = Vec::new();
    for _ in 0..members {
        line.push(enqueue(server, taken(&here)).await);
    }
    holder.unlock().await.unwrap();
    let first = soon(line.remove(0)).await;
    assert_eq!(queued(server).await, 0, "all of them were let in together");
    (here, first, line)
}

fn taken(locker: &Locker) -> impl Future<Output = Guard> + Send + 'static + use<> {
    let acquisition = locker.write("x");
    async { acquisition.await.expect("it gets in") }
}

/// Each of them stays a moment, as long as it may, and then gives way; returns their tokens.
fn take_turns(
    history: &History,
    moment: Duration,
    line: Vec<JoinHandle<Guard>>,
) -> JoinHandle<Vec<u64>> {
    // All at once: in which order they get in is not said here.
    let turn = |waiter: JoinHandle<Guard>| {
        let history = history.clone();
        tokio::spawn(async move {
            let guard = soon(waiter).await;
            let (token, stay) = (guard.token(), history.write("x", guard.token()));
            let lost = timeout(moment, guard.lost()).await.is_ok();
            drop(stay);
            let unlocked = guard.unlock().await;
            assert!(lost || unlocked.is_ok(), "{unlocked:?}");
            token
        })
    };
    let turns: Vec<_> = line.into_iter().map(turn).collect();
    tokio::spawn(async {
        let mut tokens = Vec::new();
        for turn in turns {
            tokens.push(soon(turn).await);
        }
        tokens
    })
}

/// They were granted after `last`, in their order.
fn assert_rising(last: u64, tokens: &[u64]) {
    assert!(tokens.is_sorted() && tokens[0] > last, "{last}, {tokens:?}");
}

#[tokio::test]
async fn a_run_whose_lock_is_deleted_ends_with_its_holder() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (_here, first, line) = run_behind(&proxy, &server, 8, TTL).await;
    let history = History::new();
    let stay = history.write("x", first.token());
    server.flush().await;
    timeout(SOON, first.lost()).await.expect("it is told");
    drop(stay);
    // Those behind it are still to come, and so is somebody else.
    let rival = tokio::spawn(taken(&locker(&server.url()).await));
    let line = take_turns(&history, MOMENT, line);
    let rival = take_turns(&history, MOMENT, vec![rival]);
    assert_rising(first.token(), &soon(line).await);
    assert_rising(first.token(), &soon(rival).await);
    assert!(first.unlock().await.unwrap_err().is_lost());
    history.check();
    nothing_is_left(&server).await;
}

/// Nothing comes through for longer than the lease: it has ended for all of them, and for Redis.
#[tokio::test]
async fn a_run_whose_server_hangs_for_longer_than_its_lease_ends() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (_here, first, line) = run_behind(&proxy, &server, 8, TTL).await;
    let history = History::new();
    // So it is sure that the lease is that of the ttl.
    eventually(SOON, "it is renewed", async || {
        leases(&server, "x").await.first() <= Some(&TTL)
    })
    .await;
    let stay = history.write("x", first.token());
    // Those behind it may hold after it for as long as they have been promised a lease, and not for longer.
    let turns = take_turns(&history, TTL / 2, line);
    proxy.hang();
    timeout(SOON, first.lost()).await.expect("it is told");
    drop(stay);
    let rival = timeout(SOON, taken(&locker(&server.url()).await)).await;
    let rival = rival.expect("all leases have ended");
    assert!(rival.token() > first.token());
    let stay = history.write("x", rival.token());
    proxy.pass().await;
    // Answers that were held back come in now, late.
    sleep(Duration::from_millis(300)).await;
    drop(stay);
    rival.unlock().await.unwrap();
    assert_rising(first.token(), &soon(turns).await);
    history.check();
    drop(first);
    nothing_is_left(&server).await;
}

/// Its lease is kept for all of them, longer than any claim or ttl, and nobody gets past it.
#[tokio::test]
async fn those_behind_a_holder_who_stays_wait() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (_here, first, line) = run_behind(&proxy, &server, 4, TTL).await;
    let rival = enqueue(&server, taken(&locker(&server.url()).await)).await;
    let end = Instant::now() + CLAIM + TTL;
    while Instant::now() < end {
        assert!(!first.is_lost());
        assert!(line.iter().all(|waiter| !waiter.is_finished()));
        assert!(!rival.is_finished());
        sleep(Duration::from_millis(50)).await;
    }
    let last = first.token();
    first.unlock().await.unwrap();
    let history = History::new();
    let (line, rival) = (
        take_turns(&history, MOMENT, line),
        take_turns(&history, MOMENT, vec![rival]),
    );
    let line = soon(line).await;
    assert_rising(last, &line);
    assert_rising(*line.last().unwrap(), &soon(rival).await);
    history.check();
    nothing_is_left(&server).await;
}

/// What it sets is the lease of those behind it as well, and they may have been promised a longer one.
#[tokio::test]
async fn a_renewal_that_is_under_way_when_the_lock_is_passed_on() {
    const SHORT: Duration = Duration::from_millis(300);
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let here = locker(&proxy.url()).await;
    // From here on the server knows the script that renews.
    let warm = here.clone().ttl(SHORT).write("warm").await.unwrap();
    sleep(2 * SHORT).await;
    warm.unlock().await.unwrap();
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let short = enqueue(&server, taken(&here.clone().ttl(SHORT))).await;
    let long = enqueue(&server, taken(&here)).await;
    let rival = enqueue(&server, taken(&locker(&server.url()).await)).await;
    holder.unlock().await.unwrap();
    let short = soon(short).await;
    proxy.delay_replies(2 * TTL);
    eventually(SOON, "a renewal has set the lease", async || {
        leases(&server, "x").await.first() <= Some(&SHORT)
    })
    .await;
    short.unlock().await.unwrap();
    let guard = soon(long).await;
    let rival = soon(rival);
    tokio::pin!(rival);
    tokio::select! {
        () = guard.lost() => {}
        rival = &mut rival => {
            let left = guard.valid_for();
            panic!("{rival:?} is inside with {guard:?}, which has {left:?} left");
        }
        () = sleep(2 * CLAIM) => {}
    }
    proxy.delay_replies(Duration::ZERO);
    drop(guard);
    rival.await.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// They have been let in anew, for a claim of a few seconds, while the run before them seems to have a minute.
#[tokio::test]
async fn who_is_let_in_after_a_deletion_does_not_rely_on_the_lease_before_it() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, first, line) = run_behind(&proxy, &server, 1, LONG).await;
    assert!(line.is_empty());
    eventually(SOON, "it is renewed", async || first.valid_for() > LONG / 2).await;
    let second = enqueue(&server, taken(&here)).await;
    let rival = enqueue(&server, taken(&locker(&server.url()).await)).await;
    server.flush().await;
    // Those who wait ask again within a second, and one of them is let in. Longer than that one's claim.
    sleep(CLAIM + Duration::from_millis(500)).await;
    drop(first);
    let (second, rival) = (soon(second), soon(rival));
    tokio::pin!(second, rival);
    let (mut inside, mut entered) = (Vec::<Guard>::new(), 0);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        tokio::select! {
            guard = &mut second, if entered & 1 == 0 => { entered |= 1; inside.push(guard); }
            guard = &mut rival, if entered & 2 == 0 => { entered |= 2; inside.push(guard); }
            () = sleep(Duration::from_millis(20)) => {}
        }
        inside.retain(|guard| !guard.is_lost());
        assert!(inside.len() < 2, "{inside:?} are inside together");
    }
    assert!(entered != 0, "somebody gets in");
    drop(inside);
    if entered & 1 == 0 {
        second.await.unlock().await.unwrap();
    }
    if entered & 2 == 0 {
        rival.await.unlock().await.unwrap();
    }
    nothing_is_left(&server).await;
}
