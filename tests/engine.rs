//! The engine runs code of others: whoever reads logs. Should that panic, all locks of the process but one go on.

use std::{fmt, thread, time::Duration};

use redis_lock::{Error, Locker};
use redis_lock_tests::{Server, unique_key};
use tokio::time::timeout;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

const SOON: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_millis(600);

#[tokio::test]
async fn a_reader_of_logs_that_panics_stops_nobody() {
    let server = Server::start().await;
    let locker = Locker::connect(server.url()).await.unwrap().ttl(TTL);
    let key = unique_key();
    // Another test of this process may have been first, under `cargo test`.
    let _ = tracing::subscriber::set_global_default(Panics(key.clone()));

    let renewed = locker.write(unique_key()).await.unwrap();
    let ends = locker.clone().auto_extend(false);
    let victim = ends.write(&key).await.unwrap();
    timeout(SOON, victim.lost())
        .await
        .expect("told, before it is logged");

    let next = ends.write(unique_key()).await.unwrap();
    timeout(SOON, next.lost()).await.expect("others are told");
    assert!(!renewed.is_lost(), "others are renewed");
    renewed.unlock().await.unwrap();
    drop(locker.write(&key).await.unwrap());
    let patient = locker.wait(SOON);
    patient
        .write(&key)
        .await
        .expect("others are released")
        .await
        .unwrap();
    Locker::connect(server.url())
        .await
        .expect("new connections");
}

/// Panics on the engine's thread when it reads of that key.
struct Panics(String);

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        thread::current().name() == Some("redis-lock")
    }

    fn event(&self, event: &Event<'_>) {
        struct Finds<'a>(&'a str, bool);

        impl Visit for Finds<'_> {
            fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
                self.1 |= format!("{value:?}").contains(self.0);
            }
        }

        let mut finds = Finds(&self.0, false);
        event.record(&mut finds);
        assert!(!finds.1, "as planned: {}", Error::NotInitialized);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
