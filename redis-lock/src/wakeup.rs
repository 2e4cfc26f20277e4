//! How a waiter learns that it has been granted the lock before its next heartbeat.
//!
//! A wake-up is a hint and may be lost; the guarantee is the heartbeat (see `acquire.rs`). What comes in
//! here are the grants that a release in this process has made: Redis names those who are next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use once_cell::sync::Lazy;
use tokio::sync::Notify;

use crate::owner::Id;

/// Those who wait in this process, whatever their Locker: ids are unique.
static WAITERS: Lazy<Mutex<HashMap<Id, Arc<Notify>>>> = Lazy::new(Mutex::default);

/// Somebody who waits. Unknown again when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    id: Id,
    granted: Arc<Notify>,
}

impl Waiter {
    pub(crate) fn new(id: Id) -> Self {
        let granted = Arc::new(Notify::new());
        waiters().insert(id, Arc::clone(&granted));
        Waiter { id, granted }
    }

    /// Done when the waiter has been woken since the last time.
    pub(crate) async fn granted(&self) {
        self.granted.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        waiters().remove(&self.id);
    }
}

/// Wakes those of them that wait in this process.
pub(crate) fn wake(granted: &[Id]) {
    if granted.is_empty() {
        return;
    }
    let waiters = waiters();
    for id in granted {
        if let Some(waiter) = waiters.get(id) {
            waiter.notify_one();
        }
    }
}

fn waiters() -> MutexGuard<'static, HashMap<Id, Arc<Notify>>> {
    WAITERS.lock().unwrap_or_else(PoisonError::into_inner)
}
