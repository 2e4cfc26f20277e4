//! The engine: one thread and one task per process that keeps every lease of the process.
//!
//! 1. It has a runtime of its own: a runtime of the user's that ends, is blocked or is not there (in a
//!    `Drop`) takes nothing away from it.
//! 2. A lease is watched from before it can expire until before its release is sent, so no renewal
//!    outlives a release.
//! 3. The holder is told at the deadline, also while a renewal hangs: renewals are tasks beside the one
//!    that watches deadlines.
//! 4. Taking and giving back a lock seldom wakes the engine: it sleeps until the earliest event that it
//!    knew of, and leaves that come and go before then pass it by.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use once_cell::sync::OnceCell;
use tokio::{
    runtime::{Builder, Handle},
    sync::Notify,
    task::JoinHandle,
    time::timeout_at,
};

use crate::{
    connection::{is_foreign, no_reply},
    error::Error,
    hold::{Hold, Watched},
    lease::Due,
    owner::Id,
    script,
};

static ENGINE: OnceCell<Engine> = OnceCell::new();

/// The engine of this process, started when it is first asked for.
pub(crate) fn engine() -> Result<&'static Engine, Error> {
    ENGINE.get_or_try_init(|| Engine::start().map_err(Error::Engine))
}

#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Handle,
    schedule: Mutex<Schedule>,
    sooner: Notify,
}

/// Which hold to look at when.
#[derive(Debug, Default)]
struct Schedule {
    holds: BTreeMap<(Instant, Id), Arc<Hold>>,
    /// When the engine wakes by itself.
    alarm: Option<Instant>,
}

impl Engine {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("redis-lock".to_owned())
            .spawn(move || runtime.block_on(ENGINE.wait().run_always()))?;
        Ok(Engine {
            runtime: handle,
            schedule: Mutex::default(),
            sooner: Notify::new(),
        })
    }

    /// Runs a task that must not depend on the caller. Works anywhere, also outside of a runtime.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(task)
    }

    /// Does what is due for a hold, and sees to it that it is looked at again in time. Called when a hold
    /// begins, when its time has come, and when a renewal has been answered.
    pub(crate) fn watch(&'static self, hold: &Arc<Hold>) {
        let mut watched = hold.watched();
        self.forget(&mut watched, hold);
        loop {
            match watched.lease.due(Instant::now()) {
                Due::At(at) => {
                    watched.planned = Some(at);
                    return self.plan(at, hold);
                }
                Due::Renewal(ttl) => {
                    self.spawn(renew(self, Arc::clone(hold), ttl));
                }
                Due::Loss => {
                    drop(watched);
                    return tell_loss(hold, "its lease has ended");
                }
                Due::Never => return,
            }
        }
    }

    /// Ends the watch: the holder gives the lock back. True: it was still good.
    pub(crate) fn unwatch(&self, hold: &Hold) -> bool {
        let mut watched = hold.watched();
        self.forget(&mut watched, hold);
        watched.lease.give_back(Instant::now())
    }

    /// Code of others runs in here (whoever listens to `tracing`, and wakers). Should it panic, all other locks of the
    /// process go on.
    async fn run_always(&'static self) {
        loop {
            let _panicked = self.spawn(self.run()).await;
        }
    }

    async fn run(&'static self) {
        loop {
            while let Some(hold) = self.take_due(Instant::now()) {
                self.watch(&hold);
            }
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

    fn plan(&self, at: Instant, hold: &Arc<Hold>) {
        let mut schedule = self.schedule();
        schedule.holds.insert((at, hold.owner.id), Arc::clone(hold));
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

async fn renew(engine: &'static Engine, hold: Arc<Hold>, ttl: Duration) {
    let owner = &hold.owner;
    let Ok(_turn) = owner.link.renewals.acquire().await else {
        return; // it is never closed
    };
    if hold.is_over() {
        return;
    }
    let sent = Instant::now();
    let reply = script::renew(owner, ttl);
    let reply = owner.link.within(hold.terms.patience(), reply).await;
    let now = Instant::now();
    let reply = reply.unwrap_or_else(|| Err(no_reply()));
    let lost = match &reply {
        Ok(true) => {
            hold.watched().lease.renewed(sent, ttl, now);
            None
        }
        Ok(false) => Some("Redis no longer knows of it"),
        Err(error) if is_foreign(error) => Some("somebody else's value has replaced it"),
        Err(_) => {
            hold.watched().lease.failed(now);
            None
        }
    };
    if let Some(why) = lost
        && hold.watched().lease.gone()
    {
        tell_loss(&hold, why);
    }
    engine.watch(&hold);
    if let Err(error) = reply {
        tracing::debug!(key = %owner.key, token = hold.token, %error, "renewal failed");
    }
}

/// First the holder, then whoever reads logs.
fn tell_loss(hold: &Hold, why: &str) {
    hold.tell_loss();
    let owner = &hold.owner;
    tracing::warn!(key = %owner.key, mode = %owner.mode, token = hold.token, "lock lost: {why}");
}
