//! A web service whose tenants have locks of their own: a middleware of axum sets the Locker for each request, and what a
//! handler spawns takes it along.
//!
//! It answers two tenants at once, by the Redis that `REDIS_URL` names, and checks that neither waited for the other:
//! `REDIS_URL=redis://127.0.0.1:6379 cargo run --package redis-lock-examples --example tenants`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use redis_lock::{Error, Locker, redis_lock};
use tokio::sync::Barrier;
use tokio::time::timeout;
use tower::ServiceExt;

/// What runs in here, the handler and all that it awaits, locks for the tenant that the request names.
async fn with_tenant(State(locker): State<Locker>, request: Request, next: Next) -> Response {
    let tenant = request.headers().get("x-tenant");
    let Some(tenant) = tenant.and_then(|tenant| tenant.to_str().ok()) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    // From a header, so not whatever a client writes: a namespace has at most 128 bytes, without `{`, `}` and `#`.
    let locker = locker.namespace(format!("tenants-example:{tenant}"));
    redis_lock::with_locker(locker, next.run(request)).await
}

async fn handler(Path(order): Path<u64>, State(all): State<Arc<Barrier>>) -> StatusCode {
    // A task of its own: by `tokio::spawn` it would look for the Locker of `init`.
    let billed = redis_lock::spawn(bill(order, Arc::clone(&all)));
    let shipped = ship(order, all).await;
    match (shipped, billed.await) {
        (Ok(()), Ok(Ok(()))) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[redis_lock(key = "order:<order>")]
async fn ship(order: u64, all: Arc<Barrier>) -> Result<(), Error> {
    all.wait().await;
    Ok(())
}

#[redis_lock(key = "bill:<order>")]
async fn bill(order: u64, all: Arc<Barrier>) -> Result<(), Error> {
    all.wait().await;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("REDIS_URL").context("REDIS_URL names the server")?;
    let locker = Locker::connect(&url).await?;
    // Two tenants, each of which ships and bills order 7. All four are under their locks at the same time.
    let all = Arc::new(Barrier::new(4));
    let service = Router::new()
        .route("/orders/{order}/ship", post(handler))
        .with_state(all)
        .layer(from_fn_with_state(locker, with_tenant));
    let request = |tenant| {
        let request = Request::post("/orders/7/ship").header("x-tenant", tenant);
        request
            .body(Body::empty())
            .map(|request| service.clone().oneshot(request))
    };
    let (red, blue) = (request("red")?, request("blue")?);
    let both = async { tokio::join!(red, blue) };
    let (red, blue) = timeout(Duration::from_secs(10), both)
        .await
        .context("one tenant waits for the other")?;
    ensure!(red?.status() == StatusCode::OK && blue?.status() == StatusCode::OK);
    println!(
        "ok: both tenants had order 7 to themselves, in the request and in the task that it spawned"
    );
    Ok(())
}
