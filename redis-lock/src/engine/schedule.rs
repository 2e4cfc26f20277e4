//! When to look at which lock: the timers of all cores of one engine, in one task.
//!
//! 1. Taking and giving back a lock seldom wakes the engine. The engine sleeps until the earliest time that was planned when it
//!    fell asleep; a lock that comes and goes before that time costs no wake-up.
//! 2. Heartbeats and renewals that fall due at about the same time go out together, a hundred to a batch.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use once_cell::sync::Lazy;
use tokio::sync::Notify;

use crate::{
    engine::shell::{Entry, Outgoing, send_together},
    threads::runtime::Engine,
    values::time::Time,
};

/// The schedule of the process's engine.
pub(crate) static OF_PROCESS: Lazy<Arc<Schedule>> = Lazy::new(Arc::default);

#[derive(Default)]
pub(crate) struct Schedule {
    plan: Mutex<Plan>,
    sooner: Notify,
}

#[derive(Default)]
struct Plan {
    entries: BTreeMap<(Time, u64), Arc<Entry>>,
    /// When the engine wakes by itself.
    alarm: Option<Time>,
    is_watched: bool,
}

impl Schedule {
    /// Plans to look at the lock at `at` instead of `before`.
    pub(crate) fn plan(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        before: Option<Time>,
        at: Option<Time>,
    ) {
        if before == at {
            return;
        }
        let mut plan = self.planned();
        if let Some(before) = before {
            plan.entries.remove(&(before, entry.number));
        }
        let Some(at) = at else {
            return;
        };
        plan.entries.insert((at, entry.number), Arc::clone(entry));
        if !plan.is_watched {
            plan.is_watched = true;
            let engine = &entry.engine;
            engine.spawn(Arc::clone(self).run_always(engine.clone()));
        }
        if plan.alarm.is_none_or(|alarm| at < alarm) {
            plan.alarm = Some(at);
            drop(plan);
            self.sooner.notify_one();
        }
    }

    /// All locks that have something planned: all held locks are among them.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.planned().entries.values().cloned().collect()
    }

    /// Runs, and starts again after a panic, so that all other locks go on.
    async fn run_always(self: Arc<Self>, engine: Engine) {
        loop {
            let run = Arc::clone(&self).run(engine.clone());
            let _panicked = engine.spawn(run).await;
        }
    }

    async fn run(self: Arc<Self>, engine: Engine) {
        loop {
            let mut outgoing: Vec<Outgoing> = Vec::new();
            while let Some(entry) = self.take_due(engine.now()) {
                outgoing.extend(entry.looks());
            }
            send_together(outgoing);
            let mut sooner = pin!(self.sooner.notified());
            match self.set_alarm() {
                Some(alarm) => {
                    let mut alarm = pin!(engine.sleep_until(alarm));
                    // Look again when the time has come, or when a sooner time was planned.
                    poll_fn(|context| match sooner.as_mut().poll(context) {
                        Poll::Ready(()) => Poll::Ready(()),
                        Poll::Pending => alarm.as_mut().poll(context),
                    })
                    .await;
                }
                None => sooner.await,
            }
        }
    }

    fn take_due(&self, now: Time) -> Option<Arc<Entry>> {
        let mut plan = self.planned();
        let first = plan.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn set_alarm(&self) -> Option<Time> {
        let mut plan = self.planned();
        plan.alarm = plan.entries.first_key_value().map(|((at, _), _)| *at);
        plan.alarm
    }

    fn planned(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time a little later than `at`, by at most an eighth of the time that is left until `end`. Renewals that are due at about the
/// same time so meet in one batch, and renewals of locks that were taken in the same instant spread over several batches.
pub(crate) fn together(at: Time, end: Time) -> Time {
    // Powers of two, so that leases of about the same length meet.
    let left = end.since(at).as_millis();
    let Some(grain) = u64::try_from(left / 64).ok().and_then(u64::checked_ilog2) else {
        return at;
    };
    let grain = 1 << grain;
    let since = at.since(Time(0));
    let grains = u64::try_from(since.as_millis()).unwrap_or_default() / grain;
    let grains = grains + 1 + rand::random_range(0..6);
    Time(0) + Duration::from_millis(grains * grain)
}
