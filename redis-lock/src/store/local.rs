//! The store of [`Locker::in_process`](crate::Locker::in_process): in memory, for the tasks of one process, without a server and
//! without a connection.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Instant, SystemTime},
};

use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::runtime::{Handle, Id};

use crate::{
    core::io::View,
    link::{
        Connection, Reply,
        front::{Front, MakeListener},
    },
    store::{Sent, memory::Memory, redis::names::Names},
    threads::runtime::{Engine, time_at},
    values::{
        key::Key,
        session::SessionId,
        time::{ServerTime, Time, micros},
    },
};

/// The store, shared by its Lockers.
pub(crate) struct Shared {
    /// What the store's clock shows when the engines' clocks show zero.
    origin: ServerTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    /// The error that all commands fail with, if any.
    failure: Option<RedisError>,
    fronts: HashMap<SessionId, Weak<Front>>,
    /// The runtimes that have used the store, each with an engine of its own if its clock was paused then.
    engines: HashMap<Id, Option<Engine>>,
}

impl Shared {
    /// Forgets the lock of this key in all namespaces, with its holders and waiters. Returns the names of the forgotten locks.
    pub(crate) fn forget(&self, key: &Key) -> Vec<Names> {
        let mut state = self.state();
        let words: Vec<_> = state
            .memory
            .states()
            .map(|(word, _)| word.clone())
            .collect();
        let mut forgotten = Vec::new();
        for word in words {
            let namespace = Names::namespace_of(&word);
            let names = Names::new(namespace, key);
            if **names.word() == *word {
                state.memory.forget(&word);
                forgotten.push(names);
            }
        }
        forgotten
    }

    /// From now on all commands fail with `failure`. `None`: no command fails.
    pub(crate) fn fail(&self, failure: Option<RedisError>) {
        self.state().failure = failure;
    }

    /// The fronts that are still in use.
    pub(crate) fn fronts(&self) -> Vec<Arc<Front>> {
        let state = self.state();
        state.fronts.values().filter_map(Weak::upgrade).collect()
    }

    fn execute(&self, at: Time, sent: &Sent) -> RedisResult<View> {
        let now = ServerTime(self.origin.0.saturating_add(at.0));
        let mut pushes = Vec::new();
        let view = {
            let State {
                memory,
                failure,
                fronts,
                ..
            } = &mut *self.state();
            if let Some(failure) = failure {
                return Err(failure.clone());
            }
            let mut publish = |session: SessionId, lock: &str, push| {
                let front = fronts.get(&session).and_then(Weak::upgrade);
                let heard = front.map(|front| pushes.push((front, lock.to_owned(), push)));
                u64::from(heard.is_some())
            };
            let Sent {
                names,
                session,
                pushes,
                command,
            } = sent;
            memory.execute(now, *session, *pushes, names.word(), command, &mut publish)
        };
        // After the state is unlocked: a session that gets a push may send a command at once.
        for (front, lock, push) in pushes {
            front.is_told(&lock, push);
        }
        Ok(view)
    }

    /// The engine of its own that the current runtime has, if its clock was paused when it first used the store.
    fn own_engine(self: &Arc<Self>) -> Option<(Id, Engine)> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let mut state = self.state();
        let is_new = !state.engines.contains_key(&id);
        let own = state
            .engines
            .entry(id)
            .or_insert_with(Engine::of_paused_runtime);
        let own = own.clone().map(|own| (id, own));
        drop(state);
        if is_new {
            let remembered = Remembered {
                shared: Arc::downgrade(self),
                runtime: id,
            };
            runtime.spawn(async move {
                let _remembered = remembered;
                pending::<()>().await;
            });
        }
        own
    }

    fn front(&self, engine: Option<Engine>, listener: MakeListener) -> Arc<Front> {
        let front = Arc::new(Front::in_process(engine, listener));
        let mut state = self.state();
        state.fronts.retain(|_, front| front.strong_count() > 0);
        state.fronts.insert(front.session(), Arc::downgrade(&front));
        front
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shared {
    #[expect(
        clippy::disallowed_methods,
        reason = "all clients of this store have the same wall clock"
    )]
    fn default() -> Self {
        // From the wall clock, so that tokens are greater than an earlier process's tokens, as with a server.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = time_at(Instant::now());
        Shared {
            origin: ServerTime(since.map_or(0, micros).saturating_sub(now.0)),
            state: Mutex::default(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Stands in place of a connection, for one Locker and all Lockers made from it.
pub(crate) struct Local {
    shared: Arc<Shared>,
    listener: MakeListener,
    front: Arc<Front>,
    /// The fronts of runtimes with a paused clock.
    of_paused: Mutex<HashMap<Id, Arc<Front>>>,
}

impl Local {
    pub(crate) fn new(shared: &Arc<Shared>, listener: MakeListener) -> Arc<Self> {
        Arc::new(Local {
            front: shared.front(None, listener),
            shared: Arc::clone(shared),
            listener,
            of_paused: Mutex::default(),
        })
    }

    pub(crate) fn execute(&self, sent: &Sent) -> RedisResult<View> {
        let now = self.here().engine()?.now();
        self.shared.execute(now, sent)
    }

    /// The front of the current runtime.
    fn here(&self) -> Arc<Front> {
        self.of_paused().unwrap_or_else(|| Arc::clone(&self.front))
    }

    /// The front of the current runtime, if that has an engine of its own.
    fn of_paused(&self) -> Option<Arc<Front>> {
        let (runtime, engine) = self.shared.own_engine()?;
        let mut fronts = self
            .of_paused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = fronts.get(&runtime) {
            return Some(Arc::clone(known));
        }
        // Those of runtimes that have ended.
        let engines: Vec<_> = self.shared.state().engines.keys().copied().collect();
        fronts.retain(|runtime, _| engines.contains(runtime));
        let front = self.shared.front(Some(engine), self.listener);
        fronts.insert(runtime, Arc::clone(&front));
        Some(front)
    }
}

impl Connection for Arc<Local> {
    fn server(&self) -> Option<Arc<str>> {
        None
    }

    fn send(&self, _: Cmd) -> Reply<Value> {
        Box::pin(async { Err(no_server()) })
    }

    fn send_all(&self, _: Pipeline) -> Reply<Vec<RedisResult<Value>>> {
        Box::pin(async { Err(no_server()) })
    }

    fn is_in(&self, _: &Handle) -> bool {
        true
    }

    fn front(&self) -> Arc<Front> {
        self.here()
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn above(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

/// Owned by a task of a runtime: the store forgets the runtime when the runtime ends.
struct Remembered {
    shared: Weak<Shared>,
    runtime: Id,
}

impl Drop for Remembered {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state().engines.remove(&self.runtime);
        }
    }
}

fn no_server() -> RedisError {
    (
        ErrorKind::InvalidClientConfig,
        "a lock in the process has no server",
    )
        .into()
}
