//! Whether the Lockers over a link have been shut down, and which locks could not be given back since.
//!
//! The link carries this for the layers above, since all Lockers over a link end together. The locks themselves are in the
//! engine's schedule.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use tokio::sync::watch;

use crate::values::key::Key;

#[derive(Debug, Default)]
pub(crate) struct Ending {
    has_begun: watch::Sender<bool>,
    /// Counts up whenever something has been given back, and whenever a hold ends while the Locker ends.
    news: watch::Sender<u64>,
    /// Locks whose release was given up while the Locker ended.
    failed: Mutex<Vec<Key>>,
}

impl Ending {
    /// From now on no lock is taken, and waiters are told.
    pub(crate) fn begin(&self) {
        self.has_begun.send_replace(true);
    }

    pub(crate) fn has_begun(&self) -> bool {
        *self.has_begun.borrow()
    }

    /// What `acquisition` returns; `None` as soon as the Locker ends.
    pub(crate) async fn unless_begun<F: Future>(&self, acquisition: F) -> Option<F::Output> {
        let mut begins = self.has_begun.subscribe();
        let mut begun = pin!(begins.wait_for(|has_begun| *has_begun));
        let mut acquisition = pin!(acquisition);
        poll_fn(|context| {
            if begun.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            acquisition.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// A release was given up.
    pub(crate) fn has_failed(&self, key: &Key) {
        if self.has_begun() {
            self.failed().push(key.clone());
        }
    }

    /// Changes whenever something has ended.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(crate) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    pub(crate) fn failed(&self) -> MutexGuard<'_, Vec<Key>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
