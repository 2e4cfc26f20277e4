//! A lock that is held: whose it is, its token, and its lease.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, futures::OwnedNotified};

use crate::{
    lease::{Lease, Terms},
    owner::Owner,
};

#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) owner: Arc<Owner>,
    pub(crate) token: u64,
    pub(crate) terms: Terms,
    watched: Mutex<Watched>,
    news: Arc<Notify>,
}

/// The part that changes.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) lease: Lease,
    /// Where the hold stands in the engine's schedule.
    pub(crate) planned: Option<Instant>,
}

impl Hold {
    /// A hold that was asked for at `sent`.
    pub(crate) fn new(owner: Arc<Owner>, token: u64, terms: Terms, sent: Instant) -> Self {
        Hold {
            owner,
            token,
            terms,
            watched: Mutex::new(Watched {
                lease: Lease::new(terms, sent),
                planned: None,
            }),
            news: Arc::default(),
        }
    }

    pub(crate) fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.watched().lease.is_lost(Instant::now())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.watched().lease.is_over()
    }

    pub(crate) fn valid_for(&self) -> Duration {
        self.watched().lease.valid_for(Instant::now())
    }

    /// Wakes everybody who waits for the loss. They look for themselves.
    pub(crate) fn tell_loss(&self) {
        self.news.notify_waiters();
    }

    /// Done when there may be something to look at; misses nothing that happens after this call.
    pub(crate) fn news(&self) -> OwnedNotified {
        Arc::clone(&self.news).notified_owned()
    }

    pub(crate) fn lost(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static + use<> {
        let hold = Arc::clone(self);
        async move {
            loop {
                let news = hold.news();
                if hold.is_lost() {
                    return;
                }
                news.await;
            }
        }
    }
}
