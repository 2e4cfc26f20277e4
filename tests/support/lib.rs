//! What the tests stand on: real servers, a link that can fail, and a record of who held what.
//!
//! | to … | take |
//! | --- | --- |
//! | have a Redis of one's own, to pause, kill and restart | [`Server`] |
//! | have a Redis cluster | [`Cluster`] |
//! | break the link between a client and its server | [`Proxy`] |
//! | run another process, to pause or kill it | [`Program`] |
//! | check that nobody overlapped who must not, and that tokens rise | [`History`] |
//! | wait for something to become true | [`eventually`] |
//!
//! Nothing that is started here survives the test, also not one that is killed: see [`guarded`].

pub mod cluster;
pub mod guarded;
pub mod history;
pub mod program;
pub mod proxy;
mod request;
pub mod server;

pub use cluster::Cluster;
pub use guarded::Guarded;
pub use history::History;
pub use program::Program;
pub use proxy::Proxy;
pub use server::Server;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A key that no other test uses.
#[must_use]
pub fn unique_key() -> String {
    format!("key-{:016x}", RandomState::new().hash_one(()))
}

/// Waits until `condition` is true, looking every few milliseconds.
///
/// # Panics
///
/// If it is still false after `limit`; `what` then says what was waited for.
pub async fn eventually(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
