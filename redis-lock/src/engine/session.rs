//! A session: one channel of pushes, and the locks that its tasks hold or wait for.

use std::{
    any::Any,
    collections::{HashMap, hash_map},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use once_cell::sync::Lazy;
use redis::RedisResult;

use crate::{
    core::{io::Input, lock::Estimate},
    engine::{owner::Owner, shell::Entry},
    link::{
        Link,
        code::no_reply,
        front::{Front, Listener, Message},
    },
    store::redis::wire,
    values::{
        ticket::Ticket,
        time::{ServerTime, Time},
    },
};

/// The origin of all local times.
static ORIGIN: Lazy<Instant> = Lazy::new(Instant::now);

/// The local clock, as the core counts.
pub(crate) fn now() -> Time {
    time_of(Instant::now())
}

pub(crate) fn time_of(instant: Instant) -> Time {
    // Not zero: tickets begin at the time, and there is none before the first.
    Time(1) + instant.saturating_duration_since(*ORIGIN)
}

pub(crate) fn instant_of(time: Time) -> Instant {
    *ORIGIN + time.since(Time(1))
}

/// Asks what a server's clock shows, so that the first `acquire` need not.
pub(crate) async fn look_at_clock(link: &Link) -> RedisResult<()> {
    const LIMIT: Duration = Duration::from_secs(1);
    let sent = now();
    let reply = link.within(LIMIT, link.send(redis::cmd("TIME"))).await;
    let reply = reply.unwrap_or_else(|| Err(no_reply()))?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(reply)?;
    link.tells_time(Estimate {
        server: ServerTime(seconds * 1_000_000 + micros),
        sent,
        received: now(),
    });
    Ok(())
}

#[derive(Default)]
pub(crate) struct Session {
    locks: Mutex<Locks>,
}

#[derive(Default)]
struct Locks {
    /// By the first of the lock's names in the store.
    entries: HashMap<Arc<str>, Arc<Entry>>,
    /// Above every ticket of locks that are forgotten.
    next_ticket: u64,
}

impl Session {
    /// That of a front.
    pub(crate) fn of(front: &Front) -> &Session {
        let listener: &dyn Any = front.listener();
        let session = listener.downcast_ref();
        session.expect("all fronts are made with a session")
    }

    /// The lock that this owner wants, as this session knows it. `retired`: not that one.
    pub(crate) fn entry(
        &self,
        owner: &Owner,
        retired: Option<(&Arc<Entry>, Ticket)>,
    ) -> Arc<Entry> {
        let name = owner.names.word();
        let mut locks = self.locks();
        let mut first = locks.next_ticket.max(now().0);
        if let Some(known) = locks.entries.get(name) {
            match retired {
                Some((entry, next)) if Arc::ptr_eq(entry, known) => first = first.max(next.0),
                _ => return Arc::clone(known),
            }
        }
        let entry = Arc::new(Entry::new(owner, Ticket(first)));
        locks.entries.insert(Arc::clone(name), Arc::clone(&entry));
        entry
    }

    /// Nobody holds the lock or waits for it here any more.
    pub(crate) fn forget(&self, entry: &Arc<Entry>, next: Ticket) {
        let mut locks = self.locks();
        locks.next_ticket = locks.next_ticket.max(next.0);
        if let hash_map::Entry::Occupied(known) =
            locks.entries.entry(Arc::clone(entry.names.word()))
            && Arc::ptr_eq(known.get(), entry)
        {
            known.remove();
        }
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Session {
    fn hears(&self, message: Message<'_>) {
        match message {
            Message::Text(text) => {
                let Some((name, push)) = wire::push(text) else {
                    return; // anyone who may publish can send anything
                };
                // Where the lock is not known any more, nothing of it is wanted, and its release has been confirmed.
                let entry = self.locks().entries.get(name).cloned();
                if let Some(entry) = entry {
                    entry.tell(Input::Pushed(push));
                }
            }
            Message::Listening(listening) => {
                let entries: Vec<_> = self.locks().entries.values().cloned().collect();
                for entry in entries {
                    entry.tell(Input::Listening(listening));
                }
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
