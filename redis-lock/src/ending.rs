//! The end of a Locker: whether it still takes locks, and what is still to be given back in the background.
//!
//! Each link has an `Ending`, shared by all Lockers over that link. The locks themselves are in the engine's schedule.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    connection::Link,
    core::io::Input,
    engine::{Engine, schedule, shell::Entry},
    key::Key,
    text::Quoted,
    values::loss::Loss,
};

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

    fn failed(&self) -> MutexGuard<'_, Vec<Key>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until everything that is to be given back now over a link has been, but not for longer than `limit`. Returns what
/// is left.
pub(crate) async fn flush(engine: &'static Engine, link: &Arc<Link>, limit: Duration) -> Vec<Key> {
    let end = Instant::now() + limit;
    let mut news = link.ending.news();
    let entries = of_link(engine, link).await;
    let mut owing: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| Some((entry.mark()?, entry)))
        .collect();
    loop {
        news.mark_unchanged();
        owing.retain(|(mark, entry)| entry.owes(*mark));
        let left = end.saturating_duration_since(Instant::now());
        if owing.is_empty() || left.is_zero() {
            break;
        }
        engine.timeout(left, news.changed()).await;
    }
    let mut left: Vec<_> = owing.iter().map(|(_, entry)| entry.key.clone()).collect();
    left.extend(link.ending.failed().iter().cloned());
    left.sort_unstable();
    left.dedup();
    left
}

/// Gives the holders over a link `grace` to give back, and takes from the others what they hold. Returns how many those were.
pub(crate) async fn let_go(engine: &'static Engine, link: &Arc<Link>, grace: Duration) -> usize {
    let end = Instant::now() + grace;
    let mut news = link.ending.news();
    loop {
        news.mark_unchanged();
        let entries = of_link(engine, link).await;
        let holds: Vec<_> = entries.iter().flat_map(|entry| entry.holds()).collect();
        let left = end.saturating_duration_since(Instant::now());
        if holds.is_empty() {
            return 0;
        }
        if left.is_zero() {
            for hold in &holds {
                if let Some((entry, waiter)) = hold.place() {
                    let (waiter, why) = (*waiter, Loss::ShutDown);
                    entry.tell(Input::Interrupted { waiter, why });
                }
            }
            return holds.len();
        }
        drop(holds);
        // Each hold that ends says so; a lease that ends by itself is seen at the end.
        engine.timeout(left, news.changed()).await;
    }
}

/// The locks over a link that something is to be done for. Asked for in the engine, whose schedule has each of them between
/// two turns.
async fn of_link(engine: &'static Engine, link: &Arc<Link>) -> Vec<Arc<Entry>> {
    let of = Arc::clone(link);
    let entries = engine.spawn(async move {
        let mut entries = schedule::all();
        entries.retain(|entry| Arc::ptr_eq(&entry.link, &of));
        entries
    });
    entries.await.unwrap_or_default()
}
