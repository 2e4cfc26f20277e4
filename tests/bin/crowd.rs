//! Many tasks of one process that take the same lock again and again, for a test that counts their turns, or kills them.
//!
//! `crowd <url> <key> <tasks> <ttl-ms> <hold-ms> <name>` prints, one to a line:
//!
//! - `ready` once it is connected; it begins when it then reads a line;
//! - `enter <task> <token>` and `leave <task> <token>` for each turn;
//! - `done` once its standard input was closed, each task has had its turn, and all is given back.
//!
//! Beside that it keeps a record in Redis, which has one order for all processes: `<key>:entries` is a list of
//! `<name> <task> <token>`, and `<key>:most` the most that ever were inside at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use redis::Script;
use redis::aio::MultiplexedConnection;
use redis_lock::Locker;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;

const ENTER: &str = "
local inside = redis.call('INCR', KEYS[1] .. ':inside')
local most = tonumber(redis.call('GET', KEYS[1] .. ':most') or 0)
if inside > most then redis.call('SET', KEYS[1] .. ':most', inside) end
redis.call('RPUSH', KEYS[1] .. ':entries', ARGV[1])";
const LEAVE: &str = "redis.call('DECR', KEYS[1] .. ':inside')";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [url, key, tasks, ttl, hold, name] = words[..] else {
        panic!("crowd <url> <key> <tasks> <ttl-ms> <hold-ms> <name>");
    };
    let locker = Locker::connect(url).await.expect("the server answers");
    let locker = locker.ttl(milliseconds(ttl)).wait(Duration::from_secs(60));
    let client = redis::Client::open(url).expect("the url is valid");
    let record = client
        .get_multiplexed_async_connection()
        .await
        .expect("the server answers");
    // `println!` flushes at the end of a line, also into a pipe.
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    lines.next_line().await.expect("a line is text");
    let over = Arc::new(AtomicBool::new(false));
    let mut crowd = JoinSet::new();
    for task in 0..tasks.parse().expect("a number of tasks") {
        let turns = Turns {
            locker: locker.clone(),
            key: key.to_owned(),
            hold: milliseconds(hold),
            who: format!("{name} {task}"),
            task,
            record: record.clone(),
            over: Arc::clone(&over),
        };
        crowd.spawn(turns.take());
    }
    while let Ok(Some(_)) = lines.next_line().await {}
    over.store(true, SeqCst);
    crowd.join_all().await;
    println!("done");
}

struct Turns {
    locker: Locker,
    key: String,
    hold: Duration,
    who: String,
    task: u32,
    record: MultiplexedConnection,
    over: Arc<AtomicBool>,
}

impl Turns {
    async fn take(mut self) {
        let (enter, leave) = (Script::new(ENTER), Script::new(LEAVE));
        while !self.over.load(SeqCst) {
            let guard = self.locker.write(&*self.key).await.expect("its turn comes");
            let token = guard.token();
            let mut entry = enter.key(&self.key);
            entry.arg(format!("{} {token}", self.who));
            let () = entry.invoke_async(&mut self.record).await.expect("noted");
            println!("enter {} {token}", self.task);
            tokio::time::sleep(self.hold).await;
            println!("leave {} {token}", self.task);
            let exit = leave.key(&self.key);
            let () = exit.invoke_async(&mut self.record).await.expect("noted");
            guard.unlock().await.expect("it was held all the time");
        }
    }
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().expect("milliseconds"))
}
