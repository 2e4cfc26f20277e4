//! Takes a lock and says so, for a test that then pauses or kills this process.
//!
//! `holder <url> <key> <r|w> <ttl-ms> [<wait-ms>]` prints, one to a line:
//!
//! - `waiting` right before it begins to acquire, if it was told how long to wait (else it tries once);
//! - `held <token>` once it holds the lock; or `failed: <error>`, and ends;
//! - `lost` as soon as it knows that the lock is gone, then `why: <reason>`, and ends;
//! - `released` after its standard input was closed and the lock given back.

use std::process::ExitCode;
use std::time::Duration;

use redis_lock::{Guard, Locker, Mode};
use tokio::io::{AsyncReadExt, stdin};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (url, key, mode, ttl, wait) = match words[..] {
        [url, key, mode, ttl] => (url, key, mode, ttl, None),
        [url, key, mode, ttl, wait] => (url, key, mode, ttl, Some(wait)),
        _ => panic!("holder <url> <key> <r|w> <ttl-ms> [<wait-ms>]"),
    };
    let locker = Locker::connect(url)
        .await
        .expect("the server answers")
        .mode(match mode {
            "r" => Mode::Read,
            "w" => Mode::Write,
            _ => panic!("the mode is r or w"),
        });
    let locker = locker
        .ttl(milliseconds(ttl))
        .wait(wait.map_or(Duration::ZERO, milliseconds));
    if wait.is_some() {
        // `println!` flushes at the end of a line, also into a pipe.
        println!("waiting");
    }
    match locker.lock(key).await {
        Ok(guard) => hold(guard).await,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn hold(guard: Guard) -> ExitCode {
    println!("held {}", guard.token());
    let mut nothing = Vec::new();
    let mut stdin = stdin();
    tokio::select! {
        () = guard.lost() => {
            println!("lost");
            println!("why: {}", guard.loss().expect("it has just been lost"));
        }
        _ = stdin.read_to_end(&mut nothing) => match guard.unlock().await {
            Ok(()) => println!("released"),
            Err(error) => println!("failed: {error}"),
        },
    }
    // Not by returning: the runtime would wait for the thread that still reads the standard input.
    std::process::exit(0)
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().expect("milliseconds"))
}
