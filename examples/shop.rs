//! A service as it is usually built: a request handler of axum, a scheduled job that only one instance runs, and a
//! transfer between two accounts with fencing tokens.
//!
//! It plays two instances of the service at once against the Redis that `REDIS_URL` names, and checks at the end what
//! they did: `REDIS_URL=redis://127.0.0.1:6379 cargo run --package redis-lock-examples --example shop`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use redis_lock::{Locker, redis_lock};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::ServiceExt;

/// An instance of the service. Its lock is all that keeps it apart from the others.
#[derive(Clone)]
struct Shop {
    locker: Locker,
    database: Arc<Database>,
}

impl Shop {
    /// Only one request at a time for each order, whichever instance it reaches.
    #[redis_lock(key = "order:<order>", wait = "5s", locker = self.locker)]
    async fn ship(&self, order: u64) -> Result<u64, ShopError> {
        let shipped = self.database.shipments(order);
        // Two at a time would both find that nothing has been shipped yet.
        sleep(Duration::from_millis(10)).await;
        if shipped > 0 {
            return Err(ShopError::AlreadyShipped);
        }
        Ok(self.database.ship(order))
    }

    /// Every instance starts this at the same time; those who find it running have nothing to do.
    #[redis_lock(key = "job:report", wait = "0s", on_contended = Ok(()), locker = self.locker)]
    async fn report(&self) -> Result<(), ShopError> {
        self.database.reports.fetch_add(1, SeqCst);
        sleep(Duration::from_millis(300)).await;
        Ok(())
    }

    /// Both accounts are locked, in an order that is the same for everybody, so that two transfers in opposite
    /// directions do not wait for each other. The tokens go with the writes: a holder that was paused until its locks
    /// were somebody else's cannot overwrite what that one wrote.
    #[redis_lock(key = ["account:<from>", "account:<to>"], wait = "5s", guard = locks, locker = self.locker)]
    async fn transfer(&self, from: u64, to: u64, amount: i64) -> Result<(), ShopError> {
        let token = |account: u64| {
            let lock = locks.get(&format!("account:{account}"));
            lock.map_or(0, redis_lock::Held::token)
        };
        let (left, right) = (self.database.balance(from), self.database.balance(to));
        // Somebody else who reads now would write what is wrong a moment later.
        sleep(Duration::from_millis(2)).await;
        self.database.write(from, left - amount, token(from))?;
        self.database.write(to, right + amount, token(to))
    }

    fn router(self) -> Router {
        Router::new()
            .route("/orders/{order}/ship", post(ship))
            .with_state(self)
    }
}

async fn ship(State(shop): State<Shop>, Path(order): Path<u64>) -> Result<String, ShopError> {
    let shipment = shop.ship(order).await?;
    Ok(format!("order {order} left as shipment {shipment}"))
}

/// What a request is answered with when it fails. The lock's errors are among them.
#[derive(Debug, thiserror::Error)]
enum ShopError {
    #[error("the order has been shipped already")]
    AlreadyShipped,
    #[error("a later holder of the lock has written this account")]
    Outdated,
    #[error(transparent)]
    Lock(#[from] redis_lock::Error),
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        let status = match &self {
            ShopError::AlreadyShipped => StatusCode::CONFLICT,
            ShopError::Outdated => StatusCode::INTERNAL_SERVER_ERROR,
            ShopError::Lock(error) if error.is_contended() => StatusCode::TOO_MANY_REQUESTS,
            ShopError::Lock(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, self.to_string()).into_response()
    }
}

/// Stands for one that has no transactions: each call is atomic, what is done between two of them is not.
#[derive(Default)]
struct Database {
    shipments: Mutex<HashMap<u64, u64>>,
    next_shipment: AtomicU64,
    reports: AtomicUsize,
    accounts: Mutex<HashMap<u64, Account>>,
}

#[derive(Clone, Copy, Default)]
struct Account {
    balance: i64,
    /// Of the last holder of the lock that wrote it.
    token: u64,
}

impl Database {
    fn shipments(&self, order: u64) -> u64 {
        let shipments = self.shipments.lock().expect("no panic");
        shipments.get(&order).copied().unwrap_or_default()
    }

    fn ship(&self, order: u64) -> u64 {
        let mut shipments = self.shipments.lock().expect("no panic");
        *shipments.entry(order).or_default() += 1;
        self.next_shipment.fetch_add(1, SeqCst) + 1
    }

    fn balance(&self, account: u64) -> i64 {
        let accounts = self.accounts.lock().expect("no panic");
        accounts.get(&account).map_or(0, |account| account.balance)
    }

    fn write(&self, account: u64, balance: i64, token: u64) -> Result<(), ShopError> {
        let mut accounts = self.accounts.lock().expect("no panic");
        let account = accounts.entry(account).or_default();
        // An equal one is of the same hold, which may write more than once.
        if token < account.token {
            return Err(ShopError::Outdated);
        }
        *account = Account { balance, token };
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("REDIS_URL").context("REDIS_URL says which Redis to use")?;
    // So that two runs on one Redis do not meet.
    let namespace = format!("shop-example-{}", std::process::id());
    let database = Arc::<Database>::default();
    let mut instances = Vec::new();
    for _ in 0..2 {
        let locker = Locker::connect(&url).await?.namespace(&*namespace);
        let database = Arc::clone(&database);
        instances.push(Shop { locker, database });
    }

    requests(&instances).await?;
    jobs(&instances).await?;
    transfers(&instances).await?;
    println!("ok: each order left once, the report was made once, no money was lost");
    Ok(())
}

/// The same order is asked for again and again, of every instance.
async fn requests(instances: &[Shop]) -> anyhow::Result<()> {
    let mut answers = JoinSet::new();
    for order in 1..=3 {
        for instance in instances.iter().cycle().take(4) {
            let request = Request::post(format!("/orders/{order}/ship")).body(Body::empty())?;
            answers.spawn(instance.clone().router().oneshot(request));
        }
    }
    let mut answered = HashMap::new();
    for answer in answers.join_all().await {
        *answered.entry(answer?.status()).or_insert(0) += 1;
    }
    println!("orders: {answered:?}");
    ensure!(answered.get(&StatusCode::OK) == Some(&3));
    ensure!(answered.get(&StatusCode::CONFLICT) == Some(&9));
    let database = &instances[0].database;
    ensure!((1..=3).all(|order| database.shipments(order) == 1));
    Ok(())
}

/// All clocks strike at the same time.
async fn jobs(instances: &[Shop]) -> anyhow::Result<()> {
    let mut jobs = JoinSet::new();
    for instance in instances {
        let instance = instance.clone();
        jobs.spawn(async move { instance.report().await });
    }
    for job in jobs.join_all().await {
        job.context("who has nothing to do has not failed")?;
    }
    let reports = instances[0].database.reports.load(SeqCst);
    println!("reports: {reports} by {} instances", instances.len());
    ensure!(reports == 1);
    Ok(())
}

/// Money goes round, in both directions at once.
async fn transfers(instances: &[Shop]) -> anyhow::Result<()> {
    const ROUNDS: i64 = 10;

    let mut transfers = JoinSet::new();
    for (from, to, amount) in [(1, 2, 5), (2, 1, 3), (2, 3, 1), (3, 1, 1)] {
        for instance in instances {
            let instance = instance.clone();
            transfers.spawn(async move {
                for _ in 0..ROUNDS {
                    instance.transfer(from, to, amount).await?;
                }
                Ok::<_, ShopError>(())
            });
        }
    }
    for transfer in transfers.join_all().await {
        transfer?;
    }
    let balances = [1, 2, 3].map(|account| instances[0].database.balance(account));
    println!("accounts: {balances:?}");
    let turns = ROUNDS * i64::try_from(instances.len())?;
    ensure!(balances == [-turns, turns, 0]);
    Ok(())
}
