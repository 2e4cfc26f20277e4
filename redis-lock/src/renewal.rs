//! Keeping leases: all of the process, by one task of the engine's.
//!
//! 1. A lease is watched from before it can expire until before its release is sent, so no renewal
//!    outlives a release.
//! 2. The holder is told at the deadline, also while a renewal hangs: renewals are tasks beside the one
//!    that watches deadlines.
//! 3. Taking and giving back a lock seldom wakes the engine: it sleeps until the earliest event that it
//!    knew of, and leases that come and go before then pass it by.
//! 4. Renewals that fall due at about the same time go out together, a hundred to a batch; a batch waits for itself
//!    alone, and one of it that fails for itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use once_cell::sync::Lazy;
use redis::RedisResult;
use tokio::{sync::Notify, time::timeout_at};
use tracing::Level;

use crate::{
    ask::finish,
    code::{is_foreign, no_reply},
    connection::Link,
    engine::{Engine, engine},
    error::Loss,
    hold::{Hold, Watched},
    lease::Due,
    line::{After, WAITER_LEASE, lines},
    owner::Id,
    release::withdraw,
    report::report,
    run::Claim,
    script::{self, Renewal},
};

/// More would keep other commands waiting: a renewal takes Redis a few microseconds.
const BATCH: usize = 100;

static RENEWALS: Lazy<Renewals> = Lazy::new(Renewals::default);

#[derive(Debug, Default)]
struct Renewals {
    schedule: Mutex<Schedule>,
    sooner: Notify,
}

/// Which hold to look at when.
#[derive(Debug, Default)]
struct Schedule {
    holds: BTreeMap<(Instant, Id), Arc<Hold>>,
    /// When the engine wakes by itself.
    alarm: Option<Instant>,
    is_watched: bool,
}

/// A lease that is due, and what it is to be set to.
type Work = (Arc<Hold>, Duration);

/// Does what is due for a hold, and sees to it that it is looked at again in time. Called when a hold begins.
pub(crate) fn watch(hold: &Arc<Hold>) {
    if let Ok(engine) = engine() {
        send_out(engine, RENEWALS.look_at(engine, hold).into_iter().collect());
    }
}

/// Ends the watch: the holder gives the lock back. Returns why it had been lost before, if it had.
pub(crate) fn unwatch(hold: &Hold) -> Option<Loss> {
    let mut watched = hold.watched();
    RENEWALS.forget(&mut watched, hold);
    hold.owner.link.ending.hold_ends();
    watched.lease.give_back(Instant::now())
}

/// The holds over a link that are good. To be called in the engine, whose schedule holds each of them between two turns.
pub(crate) fn good_holds(link: &Arc<Link>) -> Vec<Arc<Hold>> {
    let schedule = RENEWALS.schedule();
    let of_link = schedule.holds.values();
    let of_link = of_link.filter(|hold| Arc::ptr_eq(&hold.owner.link, link));
    of_link.cloned().collect()
}

/// Ends a hold, and gives it back.
pub(crate) fn interrupt(engine: &'static Engine, hold: &Arc<Hold>) {
    let mut watched = hold.watched();
    let is_news = watched.lease.gone(Loss::ShutDown, Instant::now());
    RENEWALS.forget(&mut watched, hold);
    drop(watched);
    if is_news {
        tell_loss(engine, hold, true);
    }
    let until = Instant::now() + hold.terms.ttl;
    withdraw(engine, Arc::clone(&hold.owner), None, hold.doubt, until);
}

impl Renewals {
    /// What has to be done now, if anything; and plans when to look again.
    fn look_at(&'static self, engine: &'static Engine, hold: &Arc<Hold>) -> Option<Work> {
        let mut watched = hold.watched();
        self.forget(&mut watched, hold);
        let mut work = None;
        loop {
            match watched.lease.due(Instant::now()) {
                Due::At(at) => {
                    let at = together(at, watched.lease.deadline());
                    watched.planned = Some(at);
                    self.plan(engine, at, hold);
                    return work;
                }
                Due::Renewal(ttl) => work = Some((Arc::clone(hold), ttl)),
                Due::Loss => {
                    drop(watched);
                    tell_loss(engine, hold, false);
                    return work;
                }
                Due::Never => return work,
            }
        }
    }

    /// Should something in the engine panic, all other locks of the process go on.
    async fn run_always(&'static self, engine: &'static Engine) {
        loop {
            let _panicked = engine.spawn(self.run(engine)).await;
        }
    }

    async fn run(&'static self, engine: &'static Engine) {
        loop {
            let mut work: Vec<Work> = Vec::new();
            while let Some(hold) = self.take_due(Instant::now()) {
                work.extend(self.look_at(engine, &hold));
                if work.len() == BATCH {
                    send_out(engine, std::mem::take(&mut work));
                }
            }
            send_out(engine, work);
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

    fn plan(&'static self, engine: &'static Engine, at: Instant, hold: &Arc<Hold>) {
        let mut schedule = self.schedule();
        schedule.holds.insert((at, hold.owner.id), Arc::clone(hold));
        if !schedule.is_watched {
            schedule.is_watched = true;
            engine.spawn(self.run_always(engine));
        }
        if schedule.alarm.is_none_or(|alarm| at < alarm) {
            schedule.alarm = Some(at);
            self.sooner.notify_one();
        }
    }

    fn forget(&self, watched: &mut Watched, hold: &Hold) {
        if let Some(at) = watched.planned.take() {
            self.schedule().holds.remove(&(at, hold.owner.id));
        }
    }

    fn take_due(&self, now: Instant) -> Option<Arc<Hold>> {
        let mut schedule = self.schedule();
        let first = schedule.holds.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn set_alarm(&self) -> Option<Instant> {
        let mut schedule = self.schedule();
        schedule.alarm = schedule.holds.first_key_value().map(|((at, _), _)| *at);
        schedule.alarm
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A little later, so that what falls due at about the same time is done at the same time; and not all that were taken at
/// once in the same instant. By an eighth of what is left until the deadline at the most.
fn together(at: Instant, deadline: Instant) -> Instant {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    // Powers of two, so that leases of about the same length meet.
    let left = deadline.saturating_duration_since(at).as_millis();
    let Some(grain) = u64::try_from(left / 64).ok().and_then(u64::checked_ilog2) else {
        return at;
    };
    let grain = 1 << grain;
    let since = at.saturating_duration_since(*START);
    let grains = u64::try_from(since.as_millis()).unwrap_or_default() / grain;
    let grains = grains + 1 + rand::random_range(0..6);
    *START + Duration::from_millis(grains * grain)
}

/// Each connection's for itself, and those apart that have less patience.
fn send_out(engine: &'static Engine, work: Vec<Work>) {
    let mut batches: Vec<(Arc<Link>, Duration, Vec<Work>)> = Vec::new();
    for work in work {
        let (link, patience) = (&work.0.owner.link, work.0.terms.patience());
        let same = |batch: &&mut (Arc<Link>, Duration, Vec<Work>)| {
            Arc::ptr_eq(&batch.0, link) && batch.1 == patience
        };
        match batches.iter_mut().find(same) {
            Some((_, _, batch)) => batch.push(work),
            None => batches.push((Arc::clone(link), patience, vec![work])),
        }
    }
    for (link, patience, batch) in batches {
        engine.spawn(renew(engine, link, patience, batch));
    }
}

async fn renew(engine: &'static Engine, link: Arc<Link>, patience: Duration, mut work: Vec<Work>) {
    work.retain(|(hold, _)| !hold.is_over());
    if work.is_empty() {
        return;
    }
    // Before it is seen who is behind: whoever comes later is not renewed.
    let sent = Instant::now();
    let renewals: Vec<_> = work
        .iter()
        .map(|(hold, ttl)| Renewal {
            owner: Arc::clone(&hold.owner),
            ttl: *ttl,
            behind: hold
                .in_run
                .then(|| (for_those_behind(*ttl), lines().behind(&hold.owner))),
        })
        .collect();
    let reply = script::renew(engine, &link, renewals);
    let reply = link.within(patience, reply).await;
    let replies = match reply.unwrap_or_else(|| Err(no_reply())) {
        Ok(replies) => replies,
        Err(error) => work.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut again = Vec::new();
    let mut failed = Vec::new();
    for ((hold, ttl), reply) in work.into_iter().zip(replies) {
        renewed(engine, &hold, ttl, sent, &reply);
        again.extend(RENEWALS.look_at(engine, &hold));
        failed.extend(reply.err().map(|error| (hold, error)));
    }
    send_out(engine, again);
    for (hold, error) in failed {
        hold.owner.trouble(
            error,
            "renewal failed; trying again until the lease has ended",
        );
    }
}

/// When the holder's time is up (`max_hold`), they must be there yet: as long as one that waits.
fn for_those_behind(ttl: Duration) -> Duration {
    ttl + WAITER_LEASE
}

fn renewed(
    engine: &'static Engine,
    hold: &Arc<Hold>,
    ttl: Duration,
    sent: Instant,
    reply: &RedisResult<bool>,
) {
    let lost = match reply {
        Ok(true) => {
            if hold.in_run {
                let behind = Claim::new(sent, for_those_behind(ttl));
                lines().renewed(&hold.owner, Claim::new(sent, ttl), behind);
            }
            let mut watched = hold.watched();
            watched.lease.renewed(sent, ttl, Instant::now());
            None
        }
        Ok(false) => Some(Loss::Forgotten),
        Err(error) if is_foreign(error) => Some(Loss::Replaced),
        Err(_) => {
            let mut watched = hold.watched();
            watched.lease.failed(Instant::now());
            None
        }
    };
    if let Some(why) = lost
        && hold.watched().lease.gone(why, Instant::now())
    {
        tell_loss(engine, hold, true);
    }
}

/// First the holder, and those who were to hold after it; then the log. In a task of its own, since wakers are code of
/// others. `gone`: Redis does not know of it any more, nor of those behind it.
fn tell_loss(engine: &'static Engine, hold: &Arc<Hold>, gone: bool) {
    let hold = Arc::clone(hold);
    engine.spawn(async move {
        hold.tell_loss();
        let owner = &hold.owner;
        if hold.in_run {
            let mut after = After::default();
            lines().lost(owner, gone, &mut after);
            finish(after);
        }
        if let Some(why) = hold.loss() {
            let (key, mode, token) = (owner.key.clone(), owner.mode, hold.token);
            report(Level::WARN, move || {
                tracing::warn!(%key, %mode, token, "lock lost: {why}");
            });
        }
    });
}
