//! A session: one channel of pushes, and the locks that its tasks hold or wait for.

use std::{
    any::Any,
    collections::{HashMap, hash_map},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::RedisResult;

use crate::{
    core::{io::Input, lock::Estimate},
    engine::{
        owner::Owner,
        schedule::{self, Schedule},
        shell::Entry,
    },
    link::{
        Link,
        code::no_reply,
        front::{Front, Listener, Message},
    },
    store::redis::wire,
    threads::runtime::Engine,
    values::{ticket::Ticket, time::ServerTime},
};

/// Reads the server's clock, so that the first `acquire` has a not-after.
pub(crate) async fn look_at_clock(engine: &Engine, link: &Link) -> RedisResult<()> {
    const LIMIT: Duration = Duration::from_secs(1);
    let sent = engine.now();
    let reply = link.within(LIMIT, link.send(redis::cmd("TIME"))).await;
    let reply = reply.unwrap_or_else(|| Err(no_reply()))?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(reply)?;
    link.tells_time(Estimate {
        server: ServerTime(seconds * 1_000_000 + micros),
        sent,
    });
    Ok(())
}

#[derive(Default)]
pub(crate) struct Session {
    locks: Mutex<Locks>,
    /// The schedule, if the session has an engine of its own.
    own: Arc<Schedule>,
}

#[derive(Default)]
struct Locks {
    /// By the lock's first name in the store.
    entries: HashMap<Arc<str>, Arc<Entry>>,
    /// Above every ticket of the locks that were forgotten.
    next_ticket: u64,
}

impl Session {
    /// The session of a front.
    pub(crate) fn of(front: &Front) -> &Session {
        let listener: &dyn Any = front.listener();
        let session = listener.downcast_ref();
        session.expect("all fronts are made with a session")
    }

    /// The timers of this session's locks.
    pub(crate) fn schedule(&self, engine: &Engine) -> &Arc<Schedule> {
        if engine.is_paused() {
            &self.own
        } else {
            &schedule::OF_PROCESS
        }
    }

    /// This session's entry for the owner's lock. `retired`: an entry that must not be used again.
    pub(crate) fn entry(
        &self,
        engine: &Engine,
        owner: &Owner,
        retired: Option<(&Arc<Entry>, Ticket)>,
    ) -> Arc<Entry> {
        let name = owner.names.word();
        let mut locks = self.locks();
        let mut first = locks.next_ticket.max(engine.now().0);
        if let Some(known) = locks.entries.get(name) {
            match retired {
                Some((entry, next)) if Arc::ptr_eq(entry, known) => first = first.max(next.0),
                _ => return Arc::clone(known),
            }
        }
        let entry = Arc::new(Entry::new(engine, owner, Ticket(first)));
        locks.entries.insert(Arc::clone(name), Arc::clone(&entry));
        entry
    }

    /// The lock is idle in this session: forgets its entry.
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

    /// The entry for the lock of this name, if the lock is not idle in this session.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Entry>> {
        self.locks().entries.get(name).cloned()
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Session {
    fn hears(&self, message: Message<'_>) {
        // A push for a lock without an entry is old: the release of the lock has been confirmed.
        let pushed = |name, push| {
            if let Some(entry) = self.known(name) {
                entry.tell(Input::Pushed(push));
            }
        };
        match message {
            Message::Text(text) => {
                // Every client that may publish can send any text.
                if let Some((name, push)) = wire::push(text) {
                    pushed(name, push);
                }
            }
            Message::Push(name, push) => pushed(name, push),
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
