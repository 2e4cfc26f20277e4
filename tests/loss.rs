//! Loss: a holder whose lock is gone is told, in time and everywhere.
//!
//! Guards against loss that is noticed only when Redis answers, a body that goes on, and a loser that gives back what
//! is somebody else's by now. "Everywhere" is [`Victims`]: `lost()`, `is_lost()`, `valid_for()`, `lock_exec`, `unlock`.

use std::future::pending;
use std::process::Command;
use std::time::{Duration, Instant};

use redis_lock::{Error, Guard, Locker};
use redis_lock_tests::{Program, Proxy, Server, eventually, unique_key};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);
/// A third of it is when Redis is asked; the rest is time for a busy machine.
const LONG: Duration = Duration::from_secs(3);
/// Waited out.
const SHORT: Duration = Duration::from_millis(600);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_lock_that_is_deleted() {
    let server = Server::start().await;
    let victims = Victims::of(&connect(&server.url()).await.ttl(LONG)).await;
    delete_all(&server).await;
    victims.are_told_before_their_deadline().await;
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_flushed() {
    let server = Server::start().await;
    let victims = Victims::of(&connect(&server.url()).await.ttl(LONG)).await;
    server.flush().await;
    victims.are_told_before_their_deadline().await;
}

#[tokio::test]
async fn a_server_that_comes_back_empty() {
    let mut server = Server::start().await;
    let victims = Victims::of(&connect(&server.url()).await.ttl(LONG)).await;
    server.restart().await;
    victims.are_told_before_their_deadline().await;
}

/// What is good for is counted from before a renewal is sent, as it is with the acquisition.
#[tokio::test]
async fn a_renewal_whose_answer_is_late() {
    // Twice that, for a server that does not know the script yet, is less than an answer is waited for.
    const DELAY: Duration = Duration::from_millis(600);
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let guard = connect(&proxy.url())
        .await
        .ttl(LONG)
        .write(unique_key())
        .await
        .unwrap();
    proxy.delay_replies(DELAY);
    let mut before = guard.valid_for();
    eventually(SOON, "it is renewed", async || {
        let now = guard.valid_for();
        std::mem::replace(&mut before, now) < now
    })
    .await;
    assert!(
        before + DELAY < LONG,
        "{before:?} of {LONG:?}, though the answer took {DELAY:?}"
    );
    proxy.delay_replies(Duration::ZERO);
    guard.unlock().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_somebody_else_took() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = connect(&proxy.url()).await.ttl(LONG);
    let rival = connect(&server.url()).await.ttl(LONG);
    let (written, read) = (unique_key(), unique_key());
    let writer = locker.write(&written).await.unwrap();
    let reader = locker.read(&read).await.unwrap();
    let dropped = locker.read(&read).await.unwrap();
    delete_all(&server).await;
    let now_written = rival.write(&written).await.unwrap();
    let now_read = rival.read(&read).await.unwrap();
    for guard in [&writer, &reader, &dropped] {
        timeout(LONG, guard.lost()).await.expect("it is told");
        assert_lost(guard);
    }
    assert!(now_written.token() > writer.token() && now_read.token() > dropped.token());

    // What they give back is not what the rival has.
    assert!(writer.unlock().await.unwrap_err().is_lost());
    assert!(reader.unlock().await.unwrap_err().is_lost());
    drop(dropped);
    assert!(locker.flush().await);
    assert!(locker.try_read(&written).await.unwrap().is_none());
    assert!(locker.try_write(&read).await.unwrap().is_none());
    now_written.unlock().await.unwrap();
    now_read.unlock().await.unwrap();
}

#[tokio::test]
async fn a_link_that_hangs() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = connect(&proxy.url()).await.ttl(SHORT);
    let key = unique_key();
    let sent = Instant::now();
    let guard = locker.write(&key).await.unwrap();
    let victims = Victims::of(&locker).await;
    proxy.hang();
    let lost = tokio::spawn(guard.lost());
    let rival = connect(&server.url()).await.wait(SOON);
    let successor = rival.write(&key).await.unwrap();
    assert!(guard.is_lost(), "somebody else has it");
    timeout(SLACK, lost).await.expect("it is told").unwrap();
    assert!(sent.elapsed() < 2 * SHORT + SLACK);
    victims.are_told().await;

    // Late answers change nothing.
    proxy.pass().await;
    sleep(SHORT).await;
    assert_lost(&guard);
    assert!(guard.unlock().await.unwrap_err().is_lost());
    assert!(rival.try_write(&key).await.unwrap().is_none());
    successor.unlock().await.unwrap();
}

/// The deadline is counted from before the command was sent, not from when its answer came.
#[tokio::test]
async fn a_link_that_hangs_behind_a_late_answer() {
    const LATE: Duration = Duration::from_millis(250);
    const TTL: Duration = Duration::from_millis(1500);
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = connect(&proxy.url()).await.ttl(TTL);
    // So that the server knows the script.
    locker.write(unique_key()).await.unwrap().await.unwrap();
    proxy.delay_replies(LATE);
    let sent = Instant::now();
    let guard = locker.write(unique_key()).await.unwrap();
    proxy.hang();
    let deadline = Instant::now() + guard.valid_for();
    assert!(deadline < sent + TTL);
    timeout(SOON, guard.lost()).await.expect("it is told");
    assert!(Instant::now() < deadline + SLACK);
    assert_lost(&guard);
}

#[tokio::test]
async fn a_server_that_stands_still() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(SHORT);
    let victims = Victims::of(&locker).await;
    let key = victims.guard.key().clone();
    let start = Instant::now();
    server.pause().await;
    timeout(SHORT + SLACK, victims.guard.lost())
        .await
        .expect("it is told while the server stands still");
    // Its clock has gone on.
    sleep((SHORT + SHORT / 10).saturating_sub(start.elapsed())).await;
    server.resume();
    victims.are_told().await;
    let next = locker.wait(SOON).write(&key).await.unwrap();
    next.unlock().await.unwrap();
}

#[tokio::test]
async fn this_process_stands_still() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(SHORT);
    let guard = locker.write(unique_key()).await.unwrap();
    let body = locker.lock_exec(unique_key(), async {
        // The command that stops us is over when we go on.
        pause_this_process(SHORT + SHORT / 2);
        assert!(
            guard.is_lost(),
            "known at once, without a word from anybody"
        );
        assert_eq!(guard.valid_for(), Duration::ZERO);
        tokio::task::yield_now().await;
        panic!("the body goes on");
        #[expect(unreachable_code, reason = "it says what the body returns")]
        Ok::<(), Error>(())
    });
    assert!(body.await.unwrap_err().is_lost());
    assert!(guard.unlock().await.unwrap_err().is_lost());
}

#[tokio::test]
async fn another_process_stands_still() {
    let server = Server::start().await;
    let key = unique_key();
    let ttl = SHORT.as_millis().to_string();
    let arguments = [&server.url(), &key, "w", &ttl];
    let mut holder = Program::start(env!("CARGO_BIN_EXE_holder"), &arguments);
    assert!(holder.line().await.starts_with("held "));
    holder.pause().await;
    let rival = connect(&server.url()).await.wait(SOON);
    let guard = rival.write(&key).await.unwrap();
    holder.resume();
    assert_eq!(holder.line().await, "lost");
    assert!(holder.ended().await.success());
    assert!(!guard.is_lost());
    guard.unlock().await.unwrap();
}

#[tokio::test]
async fn a_lost_guard_may_be_dropped_without_any_server() {
    let mut server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(SHORT);
    let guard = locker.write(unique_key()).await.unwrap();
    let other = locker.read(unique_key()).await.unwrap();
    server.kill();
    timeout(SOON, guard.lost()).await.expect("it is told");
    timeout(SOON, other.lost()).await.expect("it is told");
    drop(guard);
    let result = timeout(SOON, other.unlock()).await;
    assert!(result.expect("it ends").unwrap_err().is_lost());
}

/// A writer that was taken by hand, a reader likewise, and a body under a third lock.
struct Victims {
    guard: Guard,
    reader: Guard,
    body: JoinHandle<Result<(), Error>>,
    /// Closed when the body is dropped.
    alive: oneshot::Receiver<()>,
}

impl Victims {
    async fn of(locker: &Locker) -> Self {
        let (begun, begins) = oneshot::channel();
        let (living, alive) = oneshot::channel();
        let body = locker.lock_exec(unique_key(), async move {
            let _living: oneshot::Sender<()> = living;
            let _ = begun.send(());
            pending().await
        });
        let body = tokio::spawn(body);
        begins.await.unwrap();
        Self {
            guard: locker.write(unique_key()).await.unwrap(),
            reader: locker.read(unique_key()).await.unwrap(),
            body,
            alive,
        }
    }

    /// Told by the next renewal, which is due after a third.
    async fn are_told_before_their_deadline(self) {
        let limit = self.guard.valid_for().min(self.reader.valid_for()) * 3 / 4;
        let both = async { tokio::join!(self.guard.lost(), self.reader.lost()) };
        timeout(limit, both).await.expect("told before the end");
        self.are_told().await;
    }

    async fn are_told(self) {
        for guard in [self.guard, self.reader] {
            timeout(SOON, guard.lost()).await.expect("it is told");
            assert_lost(&guard);
            let unlocked = timeout(SOON, guard.unlock()).await.expect("it ends");
            assert!(unlocked.unwrap_err().is_lost());
        }
        let ended = timeout(SOON, self.body).await.expect("the body is ended");
        assert!(ended.unwrap().unwrap_err().is_lost());
        assert!(self.alive.await.is_err(), "the body was dropped");
    }
}

fn assert_lost(guard: &Guard) {
    assert!(guard.is_lost());
    assert_eq!(guard.valid_for(), Duration::ZERO);
}

async fn connect(url: &str) -> Locker {
    Locker::connect(url).await.unwrap()
}

async fn delete_all(server: &Server) {
    let mut command = redis::cmd("DEL");
    command.arg(server.keys().await);
    let () = command
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
}

fn pause_this_process(duration: Duration) {
    let script = r#"kill -STOP "$PPID"; sleep "$1"; kill -CONT "$PPID""#;
    let seconds = duration.as_secs_f64().to_string();
    let status = Command::new("sh")
        .args(["-c", script, "sh", &seconds])
        .status();
    assert!(status.expect("`sh` starts").success());
}
