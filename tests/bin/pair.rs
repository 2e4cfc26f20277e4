//! Two tasks of one process that take the same lock, one behind the other, each with a ttl of its own: for a test that then
//! kills this process.
//!
//! `pair <url> <key> <r|w> <first-ttl-ms> <first-hold-ms> <second-ttl-ms>` prints, one to a line:
//!
//! - `first held` once the first task holds the lock; the second one asks for the lock then;
//! - `second held` once the second task holds the lock, which it does for ever;
//! - `first released` once the first task has given the lock back, after its time.

use std::future::pending;
use std::time::Duration;

use redis_lock::{Locker, Mode};
use tokio::time::sleep;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [url, key, mode, first_ttl, first_hold, second_ttl] = words[..] else {
        panic!("pair <url> <key> <r|w> <first-ttl-ms> <first-hold-ms> <second-ttl-ms>");
    };
    let locker = Locker::connect(url)
        .await
        .expect("the server answers")
        .wait(Duration::from_secs(60))
        .mode(match mode {
            "r" => Mode::Read,
            "w" => Mode::Write,
            _ => panic!("the mode is r or w"),
        });
    let second = locker.clone().ttl(milliseconds(second_ttl)).lock(key);
    let first = locker.ttl(milliseconds(first_ttl)).lock(key);
    let first = first.await.expect("its turn comes");
    // `println!` flushes at the end of a line, also into a pipe.
    println!("first held");
    tokio::spawn(async {
        let _guard = second.await.expect("its turn comes");
        println!("second held");
        pending::<()>().await;
    });
    sleep(milliseconds(first_hold)).await;
    first.unlock().await.expect("it was held all the time");
    println!("first released");
    pending::<()>().await;
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().expect("milliseconds"))
}
