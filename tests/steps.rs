//! Guards against the return of each way in which an earlier design of the lock broke. The simulator plays the same steps by
//! the same letters; here they are seen on real servers. Each comment says what went wrong.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use redis_lock::{Error, Guard, Locker, Mode};
use redis_lock_tests::{Program, Proxy, Server, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{
    SOON, all_in_line, ask, calls, enqueue, lease_left, locker, nothing_is_left, queued, soon,
    waiters,
};

/// What one whose turn it is may cost others that nobody polls: a second, and what a busy machine adds.
const A_SECOND: Duration = Duration::from_millis(2500);

/// Who had a turn with which token, in the order of the turns.
type Turns = Arc<Mutex<Vec<(usize, u64)>>>;

/// The turn of one who gives the lock back at once.
fn turn(
    locker: &Locker,
    number: usize,
    turns: &Turns,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let (acquisition, turns) = (locker.write("x"), Arc::clone(turns));
    async move {
        let guard = acquisition.await.unwrap();
        turns.lock().unwrap().push((number, guard.token()));
        guard.unlock().await.unwrap();
    }
}

/// All so far had their turns by arrival.
#[track_caller]
fn assert_by_arrival(turns: &Turns, count: usize) {
    let turns = turns.lock().unwrap().clone();
    let order: Vec<_> = turns.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..count).collect::<Vec<_>>(), "by arrival");
    assert!(turns.is_sorted_by(|one, next| one.1 < next.1), "{turns:?}");
}

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

/// A. A heartbeat of the waiter is under way, on the slower one of two connections, while the waiter is granted the lock by
/// push and gives it back. It brought the grant back to life: nobody held the lock, for up to the whole ttl.
#[tokio::test]
async fn a_heartbeat_that_is_overtaken_by_the_grant_and_the_release_leaves_the_lock_free() {
    tokio::join!(is_overtaken(Mode::Write), is_overtaken(Mode::Read));
}

async fn is_overtaken(mode: Mode) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let rival = locker(&server.url()).await;
    let waiting = locker(&proxy.url()).await.mode(mode);
    loop {
        let holder = rival.write("x").await.unwrap();
        let waiter = enqueue(&server, waiting.lock("x")).await;
        server.reset_stats().await;
        // The next command is the heartbeat: it is the engine's, and the waiter's own go over another connection.
        proxy.delay_next_request("EVAL", Duration::from_millis(500));
        eventually(SOON, "it is under way", async || proxy.traps_left() == 0).await;
        holder.unlock().await.unwrap();
        soon(waiter).await.unwrap().unlock().await.unwrap();
        let is_overtaken = calls(&server).await == 2;
        eventually(SOON, "it is executed", async || calls(&server).await > 2).await;
        let guard = rival.try_write("x").await.unwrap();
        guard.expect("nobody holds it").unlock().await.unwrap();
        nothing_is_left(&server).await;
        // Else the machine stood still for so long that the heartbeat came before.
        if is_overtaken {
            break;
        }
    }
}

/// B. The time of the first of a run is up, by `max_hold` or without `auto_extend`, after its lease has been renewed. Those
/// behind it in its process went to the end of the queue, past somebody of another process.
#[tokio::test]
async fn a_holder_whose_time_is_up_costs_nobody_a_place() {
    // Longer than the three seconds that those who join a grant bring with them: only renewals keep it for them.
    const HOLD: Duration = Duration::from_millis(4200);
    const TTL: Duration = Duration::from_secs(2);
    tokio::join!(
        time_is_up(|locker| locker.ttl(TTL).max_hold(HOLD)),
        time_is_up(|locker| locker.ttl(HOLD).auto_extend(false)),
    );
}

async fn time_is_up(brief: impl Fn(Locker) -> Locker) {
    const LINE: usize = 10;
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let first = brief(here.clone()).write("x").await.unwrap();
    let (turns, mut line) = (Turns::default(), Vec::new());
    for number in 0..=LINE {
        let locker = if number < LINE { &here } else { &elsewhere };
        line.push(enqueue(&server, turn(locker, number, &turns)).await);
    }
    assert_eq!(queued(&server).await, 1, "the others are of one run");
    assert!(!first.is_lost() && turns.lock().unwrap().is_empty());
    for turn in line {
        soon(turn).await;
    }
    assert!(first.is_lost());
    assert_by_arrival(&turns, LINE + 1);
    drop(first);
    nothing_is_left(&server).await;
}

/// E. Nobody polls the first of a run. Those behind it lost their places to another process.
#[tokio::test]
async fn the_first_of_a_run_that_is_not_polled_costs_others_a_second_and_no_place() {
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = elsewhere.write("x").await.unwrap();
    let mut forgotten = unpolled(&server, &here).await;
    let (turns, mut line) = (Turns::default(), Vec::new());
    for number in 0..3 {
        line.push(enqueue(&server, turn(&here, number, &turns)).await);
    }
    let last = enqueue(&server, elsewhere.write("x")).await;
    let start = Instant::now();
    holder.unlock().await.unwrap();
    assert_eq!(queued(&server).await, 1, "the others are of one run");
    let last = soon(last).await.unwrap();
    let took = start.elapsed();
    assert!(took < A_SECOND, "{took:?}");
    assert_by_arrival(&turns, 3);
    // It is not gone: polled again, it gets in, once it is its turn.
    let polled = poll_fn(|context| Poll::Ready(forgotten.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    let (before, forgotten) = (last.token(), tokio::spawn(forgotten));
    all_in_line(&server, 1).await;
    last.unlock().await.unwrap();
    let guard = soon(forgotten).await.unwrap();
    assert!(guard.token() > before);
    guard.unlock().await.unwrap();
    for turn in line {
        soon(turn).await;
    }
    nothing_is_left(&server).await;
}

/// L. Nobody polls one of a run when its turn comes, behind others of the run. Its process had the lock for the whole ttl
/// and three seconds.
#[tokio::test]
async fn one_within_a_run_that_is_not_polled_costs_others_a_second_and_no_place() {
    let server = Server::start().await;
    let (here, elsewhere) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = elsewhere.write("x").await.unwrap();
    let before = enqueue(&server, here.write("x")).await;
    let forgotten = unpolled(&server, &here).await;
    let (turns, mut line) = (Turns::default(), Vec::new());
    for number in 0..3 {
        let locker = if number < 2 { &here } else { &elsewhere };
        line.push(enqueue(&server, turn(locker, number, &turns)).await);
    }
    holder.unlock().await.unwrap();
    let guard = soon(before).await.unwrap();
    assert_eq!(queued(&server).await, 1, "the others are of one run");
    let start = Instant::now();
    guard.unlock().await.unwrap();
    for turn in line {
        soon(turn).await;
    }
    let took = start.elapsed();
    assert!(took < A_SECOND, "{took:?}");
    assert_by_arrival(&turns, 3);
    drop(forgotten);
    nothing_is_left(&server).await;
}

/// F. A process holds with a long ttl, goes on with a short one, and is killed. The lock stayed for the long ttl.
#[tokio::test]
async fn a_killed_process_blocks_for_the_ttl_of_who_held_and_not_of_who_had_held() {
    tokio::join!(is_killed("w"), is_killed("r"));
}

async fn is_killed(mode: &str) {
    let server = Server::start().await;
    let arguments = [&*server.url(), "x", mode, "20000", "1500", "500"];
    let mut pair = Program::start(env!("CARGO_BIN_EXE_pair"), &arguments);
    assert_eq!(pair.line().await, "first held");
    if mode == "r" {
        assert_eq!(pair.line().await, "second held");
    } else {
        all_in_line(&server, 1).await;
    }
    let waiter = enqueue(&server, locker(&server.url()).await.write("x")).await;
    let left = if mode == "r" { 1 } else { 2 };
    for _ in 0..left {
        pair.line().await;
    }
    // So much is known before it is killed: the lease is cut as soon as it is too long, by a command.
    eventually(SOON, "the lease is cut", async || {
        lease_left(&server, "x").await < Duration::from_secs(4)
    })
    .await;
    pair.kill().await;
    let killed = Instant::now();
    let guard = soon(waiter).await.unwrap();
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    guard.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// G. Many readers wait behind a writer, in one process or each in its own. The hundred-and-first came in with a heartbeat,
/// half a second after the hundredth.
#[tokio::test]
async fn all_readers_behind_a_writer_come_in_at_once() {
    let server = Server::start().await;
    for (processes, readers) in [(1, 250), (100, 100)] {
        let (holder, line) = readers_in_line(&server, processes, readers).await;
        holder.unlock().await.unwrap();
        // By the release alone: no other command is needed.
        assert_eq!(queued(&server).await, 0, "so many wait on");
        all_come_in(&server, line).await;
    }
}

/// G. The same for more ranges of tickets than one command serves: whoever is told that there was more to do goes on at once.
#[tokio::test]
async fn all_readers_behind_a_writer_come_in_at_once_if_one_command_cannot_serve_them() {
    let server = Server::start().await;
    let (holder, line) = readers_in_line(&server, 250, 250).await;
    holder.unlock().await.unwrap();
    // The next heartbeat is due in a second, less what has passed since the last one came.
    eventually(Duration::from_millis(400), "none is left", async || {
        queued(&server).await == 0
    })
    .await;
    all_come_in(&server, line).await;
}

/// A writer, and readers of so many processes who wait behind it.
async fn readers_in_line(
    server: &Server,
    processes: usize,
    readers: usize,
) -> (Guard, JoinSet<Guard>) {
    let mut lockers = Vec::new();
    for _ in 0..processes {
        lockers.push(locker(&server.url()).await);
    }
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let mut line = JoinSet::new();
    for locker in lockers.iter().cycle().take(readers) {
        let reader = locker.read("x");
        line.spawn(async { reader.await.unwrap() });
    }
    all_in_line(server, readers).await;
    (holder, line)
}

async fn all_come_in(server: &Server, mut line: JoinSet<Guard>) {
    let mut inside = Vec::new();
    while let Some(guard) = timeout(SOON, line.join_next()).await.expect("in time") {
        inside.push(guard.unwrap());
    }
    assert!(inside.iter().all(|guard| !guard.is_lost()));
    drop(inside);
    nothing_is_left(server).await;
}

/// H. Many wait, and nobody polls one of them. Each tick of the engine asked for them.
#[tokio::test]
async fn one_question_a_second_is_for_all_who_wait_for_a_lock_though_one_is_not_polled() {
    const POLLED: usize = 100;
    let server = Server::start().await;
    let waiting = locker(&server.url()).await;
    let holder = locker(&server.url()).await.write("x").await.unwrap();
    let forgotten = unpolled(&server, &waiting).await;
    let mut line = JoinSet::new();
    for _ in 0..POLLED {
        line.spawn(waiting.write("x"));
    }
    all_in_line(&server, POLLED + 1).await;
    server.reset_stats().await;
    let start = Instant::now();
    // Questions per time are the subject, and that none comes is no event.
    sleep(Duration::from_secs(3)).await;
    let commands = calls(&server).await;
    let bound = 2 * start.elapsed().as_secs();
    assert!(commands <= bound, "{commands} commands, not {bound}");
    assert!(commands > 0, "their places must be kept");
    drop((holder, line, forgotten));
    nothing_is_left(&server).await;
}

/// K. Acquisitions time out while the server stands still. When it went on, it had got ten releases of each of them.
#[tokio::test]
async fn acquisitions_that_time_out_on_a_server_that_stands_still_are_settled_together() {
    tokio::join!(
        // One for all.
        time_out(|_| "x".to_owned(), 20),
        // One for each, and a second one where the first is not answered at once.
        time_out(|number| format!("x{number}"), 3 * ACQUISITIONS),
    );
}

const ACQUISITIONS: u64 = 100;

async fn time_out(key: impl Fn(u64) -> String, most: u64) {
    let server = Server::start().await;
    let waiting = locker(&server.url()).await;
    let waiting = waiting.wait(Duration::from_millis(500));
    server.reset_stats().await;
    server.pause().await;
    let mut tasks = JoinSet::new();
    for number in 0..ACQUISITIONS {
        tasks.spawn(waiting.write(key(number)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap().expect_err("nobody answers");
    }
    server.resume();
    eventually(SOON, "all of it is settled", async || waiting.flush().await).await;
    // A release looks at the word; an `acquire` does not, if it comes too late or finds the lock free.
    let releases = server.command_calls().await.remove("get").unwrap_or(0);
    assert!(releases > 0, "they have to be taken back");
    assert!(releases <= most, "{releases} releases, not {most}");
    nothing_is_left(&server).await;
}

/// C. Somebody publishes on the channel of a session what is no push, or cannot be true. The task that takes in pushes died
/// of a token that is too large, and the session was deaf for good.
#[tokio::test]
async fn what_is_no_push_ends_no_pushes() {
    let server = Server::start().await;
    let (other, waiting) = (locker(&server.url()).await, locker(&server.url()).await);
    let holder = other.write("x").await.unwrap();
    let waiter = enqueue(&server, waiting.write("x")).await;
    let connections = listeners(&server).await;
    assert_eq!(connections.len(), 2);
    let channels: Vec<String> = ask(&server, &["PUBSUB", "CHANNELS", "redis-lock:*"]).await;
    let (session, range) = ranges(&server).await.remove(0);
    for channel in &channels {
        for message in garbage(&session, &range) {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(channel).arg(message);
            let heard: u64 = publish
                .query_async(&mut server.connection().await)
                .await
                .unwrap();
            assert_eq!(heard, 1);
        }
    }
    // It hears a message of its own, so it has heard all before.
    assert!(other.check().await.unwrap().wake_ups);
    assert!(waiting.check().await.unwrap().wake_ups);
    assert!(!waiter.is_finished() && !holder.is_lost());
    let (mut holder, mut waiter, mut attempts) = (holder, waiter, 0);
    loop {
        server.reset_stats().await;
        holder.unlock().await.unwrap();
        let guard = soon(waiter).await.unwrap();
        let is_pushed = calls(&server).await == 1;
        guard.unlock().await.unwrap();
        if is_pushed {
            break;
        }
        // A heartbeat was due at that moment, and may have told of the grant. It is not so each time.
        attempts += 1;
        assert!(attempts < 5, "it hears of no grant by push");
        holder = other.write("x").await.unwrap();
        waiter = enqueue(&server, waiting.write("x")).await;
    }
    assert_eq!(listeners(&server).await, connections, "connected anew");
    nothing_is_left(&server).await;
}

/// Messages like those on a session's channel, `<word> <range>@<token>~<epoch>` and `<word> sooner`, and unlike them.
fn garbage(session: &str, range: &str) -> Vec<Vec<u8>> {
    const WORD: &str = "lock:#g:{x}";
    const LARGEST: u64 = u64::MAX;
    let ticket = range[1..].split('-').next().expect("a range");
    let mut messages = vec![
        Vec::new(),
        b" ".to_vec(),
        b"\xff\xfe \xff".to_vec(),
        vec![b' '; 100_000],
        // As it was.
        format!("{session} {LARGEST}").into_bytes(),
        format!("{session} {LARGEST} {session}").into_bytes(),
        format!("{WORD} {LARGEST}").into_bytes(),
        b"lock:#g:{nobody} sooner".to_vec(),
    ];
    let texts = [
        String::new(),
        "sooner".to_owned(),
        "later".to_owned(),
        "@~".to_owned(),
        "w@~".to_owned(),
        "w-@1~0".to_owned(),
        "\u{fc}1-1@1~0".to_owned(),
        format!("{range}@"),
        format!("{range}@1"),
        format!("{range}@~0"),
        format!("{range}@x~0"),
        format!("{range}@-1~0"),
        format!("{range}@{LARGEST}~0"),
        format!("{range}@{LARGEST}0~0"),
        format!("{range}@{}~0", 1_u64 << 53),
        format!("{range}@{}~{LARGEST}", (1_u64 << 53) - 1),
        format!("w{ticket}-0@1~0"),
        format!("w0-{LARGEST}@1~0"),
        format!("w0-{LARGEST}@{}~0", (1_u64 << 53) - 1),
        format!("w{ticket}-{LARGEST}@{LARGEST}~0"),
        format!("w{LARGEST}-{LARGEST}@1~0"),
        format!("w{ticket}-{LARGEST}0@1~0"),
        format!("r0-{LARGEST}@{}~0", (1_u64 << 53) - 1),
    ];
    messages.extend(texts.map(|text| format!("{WORD} {text}").into_bytes()));
    messages
}

/// The connections over which pushes come in.
async fn listeners(server: &Server) -> Vec<String> {
    let clients: String = ask(server, &["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    let ids = clients.lines().filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}

/// D. Somebody who may read the keys and publish sends a grant that the server has not made: the tickets are those that
/// wait. Two held the lock, for 0.8 s.
#[tokio::test]
async fn a_made_up_grant_with_a_token_that_cannot_be_lets_nobody_in() {
    let server = Server::start().await;
    let other = locker(&server.url()).await;
    let holder = other.write("x").await.unwrap();
    let mut line = Vec::new();
    for mode in [Mode::Write, Mode::Read] {
        let waiting = locker(&server.url()).await.mode(mode);
        let waiter = enqueue(&server, waiting.lock("x")).await;
        line.push((waiting, waiter));
    }
    let (seconds, _): (u64, u64) = ask(&server, &["TIME"]).await;
    let waits = ranges(&server).await;
    assert_eq!(waits.len(), 2);
    for token in [
        0,
        1,
        holder.token(),
        // Behind the holder's, and the server's clock has shown more since.
        holder.token() + 1,
        // In an hour.
        (seconds + 3600) * 1_000_000,
        (1 << 53) - 1,
    ] {
        for (session, range) in &waits {
            let channel = format!("redis-lock:{session}");
            let message = format!("lock:#g:{{x}} {range}@{token}~0");
            let heard: u64 = ask(&server, &["PUBLISH", &channel, &message]).await;
            assert_eq!(heard, 1);
        }
        for (waiting, waiter) in &mut line {
            // It hears a message of its own, so it has heard the one before.
            assert!(waiting.check().await.unwrap().wake_ups);
            let waited = timeout(Duration::from_millis(20), waiter).await;
            assert!(waited.is_err(), "two hold it: {waited:?}, token {token}");
        }
    }
    let mut last = holder.token();
    holder.unlock().await.unwrap();
    for (_, waiter) in line {
        let guard = soon(waiter).await.unwrap();
        assert!(guard.token() > last);
        last = guard.token();
        guard.unlock().await.unwrap();
    }
    nothing_is_left(&server).await;
}

/// Everything that the waiters of the lock `x` wait with, as anybody sees it who may read the keys: their sessions, and in
/// each the ranges of tickets, such as `w5-9`.
async fn ranges(server: &Server) -> Vec<(String, String)> {
    let queue: Vec<String> = ask(server, &["ZRANGE", "lock:#q:{x}", "0", "-1"]).await;
    let mut ranges = Vec::new();
    for place in queue {
        let (session, _) = place.split_once(' ').expect("a session and a ticket");
        let record: String = ask(server, &["HGET", "lock:#r:{x}", session]).await;
        let waits = record
            .split(' ')
            .skip(1)
            .filter(|range| !range.contains('@'));
        ranges.extend(waits.map(|range| (session.to_owned(), range.to_owned())));
    }
    ranges
}
