//! The end of a Locker: whether it still takes locks, and what is still to be given back in the background.
//!
//! Each link has an `Ending`, shared by all Lockers over that link. Holds are not counted here: the schedule of renewals
//! has every hold that is good.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{engine::Engine, key::Key, text::Quoted};

/// What [`Locker::shutdown`](crate::Locker::shutdown) could not do in time.
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn f(locker: redis_lock::Locker) {
/// let shutdown = locker.shutdown(Duration::from_secs(10)).await;
/// if !shutdown.is_complete() {
///     eprintln!("{shutdown}"); // 1 lock ends with its ttl, since Redis has not confirmed its release: "order:42"
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// Holders that had not given their lock back when the grace period ended, and were told that the lock is lost.
    pub interrupted: usize,
    /// Locks whose release Redis has not confirmed. Such a lock ends with its ttl; while the process lives, the release is
    /// tried again in the background.
    pub left: Vec<Key>,
}

impl Shutdown {
    /// Whether Redis has confirmed that everything was given back.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 10;

        match self.left.len() {
            0 => f.write_str("everything was given back")?,
            1 => {
                f.write_str(
                    "1 lock ends with its ttl, since Redis has not confirmed its release:",
                )?;
            }
            count => write!(
                f,
                "{count} locks end with their ttl, since Redis has not confirmed their release:"
            )?,
        }
        for (index, key) in self.left.iter().take(NAMED).enumerate() {
            write!(f, "{} {}", if index > 0 { "," } else { "" }, Quoted(key))?;
        }
        if self.left.len() > NAMED {
            f.write_str(", …")?;
        }
        if self.interrupted > 0 {
            write!(f, "; {} holders were interrupted", self.interrupted)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ending {
    has_begun: watch::Sender<bool>,
    /// Counts up with each change of what is below, and whenever a hold ends while the Locker ends.
    news: watch::Sender<u64>,
    work: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    last: u64,
    under_way: HashMap<u64, Key>,
    /// Releases that were given up while the Locker ended.
    failed: Vec<Key>,
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

    /// A hold has ended.
    pub(crate) fn hold_ends(&self) {
        if self.has_begun() {
            self.tell();
        }
    }

    /// Something is given back in the background, until what is returned is dropped.
    pub(crate) fn giving_back(self: &Arc<Self>, key: &Key) -> GivingBack {
        let mut work = self.work();
        work.last += 1;
        let id = work.last;
        work.under_way.insert(id, key.clone());
        GivingBack {
            ending: Arc::clone(self),
            id,
        }
    }

    /// Waits until everything that is given back now has been, but not for longer than `limit`. Returns what is left.
    pub(crate) async fn flush(&self, engine: &Engine, limit: Duration) -> Vec<Key> {
        let newest = self.work().last;
        let is_left = |id: &u64| *id <= newest;
        self.until(engine, limit, || !self.work().under_way.keys().any(is_left))
            .await;
        let work = self.work();
        let left = work.under_way.iter().filter(|(id, _)| is_left(id));
        let mut left: Vec<_> = left.map(|(_, key)| key.clone()).collect();
        left.extend(work.failed.iter().cloned());
        left.sort_unstable();
        left.dedup();
        left
    }

    /// Waits until `is_done`, which may become true with each change, but not for longer than `limit`.
    async fn until(&self, engine: &Engine, limit: Duration, is_done: impl Fn() -> bool) {
        let end = Instant::now() + limit;
        let mut news = self.news();
        while !is_done() {
            let left = end.saturating_duration_since(Instant::now());
            if engine.timeout(left, news.changed()).await.is_none() {
                return;
            }
        }
    }

    /// Changes whenever something has ended.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A release in the background, as far as its Locker's end is concerned.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub(crate) struct GivingBack {
    ending: Arc<Ending>,
    id: u64,
}

impl GivingBack {
    /// It was given up.
    pub(crate) fn failed(&self) {
        if self.ending.has_begun() {
            let mut work = self.ending.work();
            let key = work.under_way.get(&self.id).cloned();
            work.failed.extend(key);
        }
    }
}

impl Drop for GivingBack {
    fn drop(&mut self) {
        self.ending.work().under_way.remove(&self.id);
        self.ending.tell();
    }
}
