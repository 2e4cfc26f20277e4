//! When to look at which lock: the timers of all cores, in one task of the engine's.
//!
//! 1. Taking and giving back a lock seldom wakes the engine: it sleeps until the earliest event that it knew of, and locks
//!    that come and go before then pass it by.
//! 2. Heartbeats and renewals that fall due at about the same time go out together, a hundred to a batch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use once_cell::sync::Lazy;
use tokio::{sync::Notify, time::timeout_at};

use crate::{
    engine::shell::{Entry, Outgoing, send_together},
    threads::runtime::Engine,
};

static SCHEDULE: Lazy<Schedule> = Lazy::new(Schedule::default);

#[derive(Default)]
struct Schedule {
    plan: Mutex<Plan>,
    sooner: Notify,
}

#[derive(Default)]
struct Plan {
    entries: BTreeMap<(Instant, u64), Arc<Entry>>,
    /// When the engine wakes by itself.
    alarm: Option<Instant>,
    is_watched: bool,
}

/// Looks at the lock at that time instead of the time planned before.
pub(crate) fn plan(
    engine: &'static Engine,
    entry: &Arc<Entry>,
    before: Option<Instant>,
    at: Option<Instant>,
) {
    if before == at {
        return;
    }
    let mut plan = SCHEDULE.plan();
    if let Some(before) = before {
        plan.entries.remove(&(before, entry.number));
    }
    let Some(at) = at else {
        return;
    };
    plan.entries.insert((at, entry.number), Arc::clone(entry));
    if !plan.is_watched {
        plan.is_watched = true;
        engine.spawn(SCHEDULE.run_always(engine));
    }
    if plan.alarm.is_none_or(|alarm| at < alarm) {
        plan.alarm = Some(at);
        drop(plan);
        SCHEDULE.sooner.notify_one();
    }
}

/// All locks that have something to wait for: those that are held are among them.
pub(crate) fn all() -> Vec<Arc<Entry>> {
    SCHEDULE.plan().entries.values().cloned().collect()
}

impl Schedule {
    /// Should something in the engine panic, all other locks of the process go on.
    async fn run_always(&'static self, engine: &'static Engine) {
        loop {
            let _panicked = engine.spawn(self.run(engine)).await;
        }
    }

    async fn run(&'static self, engine: &'static Engine) {
        loop {
            let mut outgoing: Vec<Outgoing> = Vec::new();
            while let Some(entry) = self.take_due(Instant::now()) {
                outgoing.extend(entry.looks(engine));
            }
            send_together(engine, outgoing);
            let sooner = self.sooner.notified();
            match self.set_alarm() {
                Some(alarm) => {
                    // Either the time has come or there is something sooner: look again.
                    let _ = timeout_at(alarm.into(), sooner).await;
                }
                None => sooner.await,
            }
        }
    }

    fn take_due(&self, now: Instant) -> Option<Arc<Entry>> {
        let mut plan = self.plan();
        let first = plan.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn set_alarm(&self) -> Option<Instant> {
        let mut plan = self.plan();
        plan.alarm = plan.entries.first_key_value().map(|((at, _), _)| *at);
        plan.alarm
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A little later, so that what falls due at about the same time is done at the same time; and not all that were taken at
/// once in the same instant. By an eighth of what is left until `end` at the most.
pub(crate) fn together(at: Instant, end: Instant) -> Instant {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    // Powers of two, so that leases of about the same length meet.
    let left = end.saturating_duration_since(at).as_millis();
    let Some(grain) = u64::try_from(left / 64).ok().and_then(u64::checked_ilog2) else {
        return at;
    };
    let grain = 1 << grain;
    let since = at.saturating_duration_since(*START);
    let grains = u64::try_from(since.as_millis()).unwrap_or_default() / grain;
    let grains = grains + 1 + rand::random_range(0..6);
    *START + Duration::from_millis(grains * grain)
}
