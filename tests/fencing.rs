//! The documented fencing statement on a real table: every write of a hold counts, none of an earlier hold does.

use redis_lock::{Error, Held, Locker, redis_lock, with_locker};
use redis_lock_tests::Server;
use rusqlite::Connection;

use crate::stage::{LONG, locker, nothing_is_left};

/// The statement of the README and of `Guard::token`.
const UPDATE: &str = "UPDATE orders SET state = ?2, token = ?1 WHERE id = 42 AND token <= ?1";

struct Orders(Connection);

impl Orders {
    fn new() -> Self {
        let table = Connection::open_in_memory().unwrap();
        table
            .execute_batch(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT NOT NULL, token INTEGER NOT NULL DEFAULT 0);
                 INSERT INTO orders (id, state) VALUES (42, 'new');",
            )
            .unwrap();
        Orders(table)
    }

    /// Returns how many rows were written.
    fn write(&self, token: u64, state: &str) -> usize {
        let token = i64::try_from(token).expect("a token is below 2^53");
        self.0.execute(UPDATE, (token, state)).unwrap()
    }

    fn state(&self) -> String {
        let query = "SELECT state FROM orders WHERE id = 42";
        self.0.query_row(query, (), |row| row.get(0)).unwrap()
    }
}

#[tokio::test]
async fn all_writes_of_a_hold_count() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let orders = Orders::new();
    for round in ["first", "second"] {
        let guard = locker.write("order:42").await.unwrap();
        for step in ["packed", "labelled", "shipped"] {
            let state = format!("{round}: {step}");
            assert_eq!(orders.write(guard.token(), &state), 1, "{state}");
            assert_eq!(orders.state(), state);
        }
        guard.unlock().await.unwrap();
    }
}

#[redis_lock(key = "order:42", guard = lock)]
async fn ship(orders: &Orders) -> Result<[usize; 4], Error> {
    let packed = orders.write(lock.token(), "packed");
    let labelled = label(orders).await?;
    let of_a_task = of_a_task(&lock).await;
    let labelled_again = orders.write(of_a_task, "labelled again");
    let shipped = orders.write(lock.token(), "shipped");
    Ok([packed, labelled, labelled_again, shipped])
}

/// Under the same lock: it runs within the outer hold.
#[redis_lock(key = "order:42", guard = lock)]
async fn label(orders: &Orders) -> Result<usize, Error> {
    Ok(orders.write(lock.token(), "labelled"))
}

async fn of_a_task(lock: &Held) -> u64 {
    let lock = lock.clone();
    tokio::spawn(async move { lock.token() }).await.unwrap()
}

#[tokio::test]
async fn a_nested_function_writes_with_the_token_of_the_outer_hold() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let orders = Orders::new();
    let written = with_locker(locker, ship(&orders)).await.unwrap();
    assert_eq!(written, [1; 4]);
    assert_eq!(orders.state(), "shipped");
}

#[tokio::test]
async fn no_write_of_an_earlier_hold_counts() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let orders = Orders::new();
    let (paused, successor) = overlapping(&server, &locker).await;
    assert_eq!(orders.write(paused.token(), "by the first"), 1);
    assert_eq!(orders.write(successor.token(), "by the second"), 1);
    assert!(!paused.is_lost(), "the first does not know yet");
    assert_eq!(orders.write(paused.token(), "by the first, late"), 0);
    assert_eq!(orders.write(successor.token(), "by the second, again"), 1);
    assert_eq!(orders.state(), "by the second, again");
    successor.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// Two guards of one key: Redis has forgotten the first, and its holder has not been told yet.
async fn overlapping(server: &Server, locker: &Locker) -> (redis_lock::Guard, redis_lock::Guard) {
    let locker = locker.clone().ttl(LONG);
    let paused = locker.write("order:42").await.unwrap();
    server.flush().await;
    // Of another process: its own would be told at once.
    let other = crate::stage::locker(&server.url()).await;
    let successor = other.write("order:42").await.unwrap();
    (paused, successor)
}
