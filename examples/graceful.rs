//! A web service that ends well: after SIGTERM it takes no new requests and leaves no lock behind.
//!
//! `REDIS_URL=redis://127.0.0.1:6379 cargo run --example graceful` plays it through: it starts itself as the service, sends
//! requests of which 50 hold a lock and 50 wait for one, sends SIGTERM, and looks into Redis. `graceful serve` is the
//! service alone.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, serve};
use redis_lock::{Error, Locker, redis_lock};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long those who hold a lock may go on. Shorter than Kubernetes' `terminationGracePeriodSeconds`.
const GRACE: Duration = Duration::from_millis(500);
const ORDERS: u64 = 50;

/// Work that takes longer than anybody wants to wait for the service to end.
#[redis_lock(key = "order:<id>", wait = "1m")]
async fn ship(id: u64) -> Result<(), Error> {
    let _ = id;
    sleep(Duration::from_secs(60)).await;
    Ok(())
}

async fn handler(Path(id): Path<u64>) -> (StatusCode, String) {
    match ship(id).await {
        Ok(()) => (StatusCode::OK, String::new()),
        // Another instance will take the request, or this one when it is back.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn service(url: &str, namespace: &str) -> anyhow::Result<()> {
    let locker = Locker::connect(url).await?.namespace(namespace);
    redis_lock::init(locker)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = Router::new().route("/orders/{id}/ship", post(handler));
    let serving = serve(listener, router).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let ending = async {
        terminate.recv().await;
        // No new connections. Those that wait for a lock are answered at once, those that hold one have their time.
        let _ = stop.send(());
        redis_lock::shutdown(GRACE).await
    };
    let (served, shutdown) = tokio::join!(async { serving.await }, ending);
    served?;
    println!("{shutdown}");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("REDIS_URL").context("REDIS_URL says which Redis to use")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, namespace] = &arguments[..] {
        ensure!(verb == "serve", "graceful, or graceful serve NAMESPACE");
        return service(&url, namespace).await;
    }
    for round in 1..=3 {
        // So that two runs on one Redis do not meet.
        let namespace = format!("graceful-example-{}-{round}", std::process::id());
        play(&url, &namespace).await?;
    }
    println!("ok: three times of three, SIGTERM left none of {ORDERS} locks behind");
    Ok(())
}

async fn play(url: &str, namespace: &str) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let mut service = Command::new(program)
        .args(["serve", namespace])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(service.stdout.take().context("its output")?).lines();
    let port: u16 = lines.next_line().await?.context("a port")?.parse()?;

    let mut requests = JoinSet::new();
    for id in (0..ORDERS).chain(0..ORDERS) {
        requests.spawn(request(port, id));
    }
    let mut redis = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let names = format!("{namespace}:*");
    // A lock's word names the tickets that have it, as in `w1-2`: one task holds the lock, another one is next.
    let is_waited_for = |word: &String| {
        let tickets = word.split(['w', '@']).nth(1).unwrap_or_default();
        let ends = tickets.split_once('-');
        ends.is_some_and(|(from, to)| from != to)
    };
    let mut words = async || -> anyhow::Result<Vec<String>> {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(&names)
            .query_async(&mut redis)
            .await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let words = redis::cmd("MGET").arg(keys).query_async(&mut redis).await;
        let words: Vec<Option<String>> = words?;
        Ok(words.into_iter().flatten().collect())
    };
    while words()
        .await?
        .iter()
        .filter(|word| is_waited_for(word))
        .count()
        < ORDERS.try_into()?
    {
        sleep(Duration::from_millis(20)).await;
    }

    let pid = service.id().context("it runs")?.to_string();
    let started = Instant::now();
    ensure!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await?
            .success()
    );
    let status = service.wait().await?;
    let took = started.elapsed();
    ensure!(status.success(), "{status}");
    let said = lines.next_line().await?.unwrap_or_default();
    // A word that says `free` keeps the next token above the last one, for a few milliseconds.
    let words = words().await?;
    let left = words.iter().filter(|word| !word.starts_with("free "));
    let left = left.count();
    println!("ended after {took:?}: {said}; {left} locks are left in Redis");
    ensure!(left == 0);
    ensure!(took < GRACE + Duration::from_secs(10));
    let answers = requests.join_all().await;
    let unavailable = answers
        .iter()
        .filter(|answer| answer.contains("503"))
        .count();
    ensure!(
        unavailable == answers.len(),
        "{unavailable} of {} were answered",
        answers.len()
    );
    Ok(())
}

/// The first line of the answer.
async fn request(port: u16, id: u64) -> String {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let head = format!(
            "POST /orders/{id}/ship HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = vec![0; 64];
        let length = stream.read(&mut answer).await?;
        answer.truncate(length);
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask.await.unwrap_or_else(|error| error.to_string())
}
