//! An order service and its tests. The tests need no Redis, and no time passes while they wait:
//! `cargo test --package redis-lock-examples --example testing`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use anyhow::ensure;
use redis_lock::{InProcess, redis_lock, with_locker};
use tokio::time::sleep;

/// How long the bank takes.
const PAYMENT: Duration = Duration::from_secs(2);

/// One instance of the service. All instances have one database.
#[derive(Clone, Default)]
struct Orders {
    database: Arc<Database>,
}

impl Orders {
    /// Sells one piece, and says how many are left.
    #[redis_lock(key = "stock:<item>", wait = "5s")]
    async fn sell(&self, item: &str) -> Result<u64, OrderError> {
        let pieces = self.database.pieces.load(SeqCst);
        if pieces == 0 {
            return Err(OrderError::SoldOut(item.to_owned()));
        }
        // Two at a time would both have found the last piece.
        sleep(PAYMENT).await;
        self.database.pieces.store(pieces - 1, SeqCst);
        self.database.sold.fetch_add(1, SeqCst);
        Ok(pieces - 1)
    }

    /// Every instance calls this function once a minute, by its own clock; one instance makes the report.
    #[redis_lock(key = "job:report", wait = "0s", min_hold = "30s", on_contended = Ok(()))]
    async fn report(&self) -> Result<(), OrderError> {
        sleep(Duration::from_millis(100)).await; // the database adds up
        self.database.reports.fetch_add(1, SeqCst);
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("{0} is sold out")]
    SoldOut(String),
    #[error(transparent)]
    Lock(#[from] redis_lock::Error),
}

/// Stands for a database without transactions.
#[derive(Default)]
struct Database {
    pieces: AtomicU64,
    sold: AtomicU64,
    reports: AtomicU64,
}

impl Database {
    fn with_pieces(pieces: u64) -> Arc<Self> {
        Arc::new(Database {
            pieces: pieces.into(),
            ..Database::default()
        })
    }
}

/// Two instances of the service in one process. In production each instance has a Locker of `Locker::connect`.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let orders = Orders {
        database: Database::with_pieces(2),
    };
    let store = InProcess::new();
    let (left, right) = tokio::join!(
        with_locker(store.locker(), orders.sell("teapot")),
        with_locker(store.locker(), orders.sell("teapot")),
    );
    println!("left after the two sales: {} and {}", left?, right?);
    with_locker(store.locker(), orders.report()).await?;
    ensure!(orders.database.sold.load(SeqCst) == 2);
    ensure!(orders.database.reports.load(SeqCst) == 1);
    println!("ok: two pieces were sold one after the other, a report was made");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis_lock::Error;
    use tokio::task::JoinSet;
    use tokio::time::{Instant, interval};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shop_with_pieces(pieces: u64) -> Orders {
        Orders {
            database: Database::with_pieces(pieces),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_instances_at_once_sell_the_last_piece_once() {
        let store = InProcess::new();
        let orders = shop_with_pieces(1);
        // A Locker each: to the lock they are two instances.
        let (first, second) = tokio::join!(
            with_locker(store.locker(), orders.sell("teapot")),
            with_locker(store.locker(), orders.sell("teapot")),
        );
        assert_eq!(first.unwrap(), 0);
        assert!(matches!(second, Err(OrderError::SoldOut(_))));
        assert_eq!(orders.database.sold.load(SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_lost_during_the_payment_stops_the_sale() {
        let store = InProcess::new();
        let orders = shop_with_pieces(1);
        let started = Instant::now();
        let sale = with_locker(store.locker(), orders.sell("teapot"));
        let (sale, ()) = tokio::join!(sale, async {
            sleep(SECOND).await;
            store.lose("stock:teapot");
        });
        assert!(matches!(sale, Err(OrderError::Lock(Error::Lost { .. }))));
        assert_eq!(started.elapsed(), SECOND, "the sale is stopped at once");
        assert_eq!(orders.database.sold.load(SeqCst), 0);

        // The piece is still there for the next customer.
        let next = with_locker(store.locker(), orders.sell("teapot")).await;
        assert_eq!(next.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn during_an_outage_nothing_is_sold() {
        let store = InProcess::new();
        let (locker, orders) = (store.locker(), shop_with_pieces(1));
        store.fail(io::Error::from(io::ErrorKind::ConnectionRefused));
        let refused = with_locker(locker.clone(), orders.sell("teapot")).await;
        assert!(matches!(
            refused,
            Err(OrderError::Lock(Error::Redis { .. }))
        ));
        assert_eq!(orders.database.sold.load(SeqCst), 0);

        store.recover();
        assert_eq!(with_locker(locker, orders.sell("teapot")).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_runs_once_a_tick_although_the_clocks_of_two_instances_differ() {
        const TICKS: u64 = 60;

        let store = InProcess::new();
        let orders = Orders::default();
        let mut instances = JoinSet::new();
        for late in [Duration::ZERO, Duration::from_millis(300)] {
            let (locker, orders) = (store.locker(), orders.clone());
            instances.spawn(with_locker(locker, async move {
                sleep(late).await;
                let mut tick = interval(60 * SECOND);
                for _ in 0..TICKS {
                    tick.tick().await;
                    orders.report().await.unwrap();
                }
            }));
        }
        // The report of the first instance is over when the clock of the second instance strikes.
        instances.join_all().await;
        assert_eq!(orders.database.reports.load(SeqCst), TICKS);
    }
}
