//! One of the processes: it takes orders, for reading or for writing, and says on its output when it holds which.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use redis_lock::{Locker, Mode, redis_lock};
use tokio::time::sleep;

/// A killed process blocks the others for this long at most.
pub(crate) const TTL: Duration = Duration::from_secs(1);
/// How many locks a steady worker takes.
pub(crate) const STEPS: u64 = 6;
const ORDERS: u64 = 3;
/// The order that the unlucky worker holds when it is killed.
const UNLUCKY_ORDER: u64 = 2;

/// What a worker is to do.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// Takes one order and keeps it.
    Stuck,
    /// Goes through the orders again and again, to read and to write.
    Steady(u64),
}

/// A line on a worker's output: somebody has come to hold an order, or is about to give it back.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub enters: bool,
    pub order: u64,
    pub writes: bool,
    /// The fencing token, where the lock is held by hand.
    pub token: Option<u64>,
    /// Microseconds since 1970: all workers run on one machine. (The locks do not use this clock.)
    pub at: u64,
    pub process: u32,
}

/// The worker's whole life.
#[tokio::main]
pub(crate) async fn run(namespace: &str, task: Task) -> anyhow::Result<()> {
    std::thread::spawn(end_with_parent);
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let locker = Locker::connect(&url).await?;
    let locker = locker
        .namespace(namespace)
        .ttl(TTL)
        .wait(Duration::from_secs(30));
    redis_lock::init(locker.clone())?;
    work(&locker, task).await
}

/// The parent holds the other end of our standard input.
fn end_with_parent() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(1);
}

async fn work(locker: &Locker, task: Task) -> anyhow::Result<()> {
    match task {
        Task::Stuck => handle(locker, UNLUCKY_ORDER, Mode::Write, Duration::MAX).await,
        Task::Steady(number) => {
            for step in 0..STEPS {
                // Two of them go the same way, to meet as readers; the third goes against them.
                let order = (number.min(1) + step) % ORDERS + 1;
                let effort = Duration::from_millis(150 + 50 * number);
                match step % 4 {
                    0 | 2 => handle(locker, order, Mode::Read, effort).await?,
                    1 => handle(locker, order, Mode::Write, effort).await?,
                    _ => ship(order, effort).await?,
                }
            }
            Ok(())
        }
    }
}

/// With a guard held by hand.
async fn handle(locker: &Locker, order: u64, mode: Mode, effort: Duration) -> anyhow::Result<()> {
    let guard = locker
        .clone()
        .mode(mode)
        .lock(format!("order:{order}"))
        .await?;
    say(true, order, mode, Some(guard.token()));
    sleep(effort).await;
    say(false, order, mode, Some(guard.token()));
    guard.unlock().await?;
    Ok(())
}

/// With the attribute: the whole function runs under the lock.
#[redis_lock(key = "order:<order>", mode = "w", wait = "30s")]
async fn ship(order: u64, effort: Duration) -> anyhow::Result<()> {
    say(true, order, Mode::Write, None);
    sleep(effort).await;
    say(false, order, Mode::Write, None);
    Ok(())
}

fn say(enters: bool, order: u64, mode: Mode, token: Option<u64>) {
    let process = std::process::id();
    println!(
        "{}",
        Event {
            enters,
            order,
            writes: mode == Mode::Write,
            token,
            at: now(),
            process
        }
    );
}

/// Microseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the time line is of several processes; no lock depends on it"
)]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck => write!(f, "stuck"),
            Self::Steady(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for Task {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Ok(if text == "stuck" {
            Self::Stuck
        } else {
            Self::Steady(text.parse()?)
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.enters { "holds" } else { "leaves" };
        let mode = if self.writes { 'w' } else { 'r' };
        let token = self.token.unwrap_or(0);
        write!(
            f,
            "{what} {} {mode} {token} {} {}",
            self.order, self.at, self.process
        )
    }
}

impl FromStr for Event {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, order, mode, token, at, process] = words[..] else {
            return Err(anyhow!("not an event: {line}"));
        };
        Ok(Self {
            enters: what == "holds",
            order: order.parse().context("order")?,
            writes: mode == "w",
            token: Some(token.parse().context("token")?).filter(|&token| token > 0),
            at: at.parse().context("time")?,
            process: process.parse().context("process")?,
        })
    }
}
