//! Who is compared: each takes and gives back locks through the same few calls, so that every benchmark is written once.
//!
//! All are used as their documentation shows, with their default settings; what a benchmark changes is in [`Settings`].

use std::{pin::Pin, sync::Arc, time::Duration};

use redis::{Client as Redis, aio::ConnectionManager};
use redis_lock::{Guard, Locker, Mode, Wait};
use redis_of_rds_lock::{Client as OldRedis, aio::ConnectionManager as OldManager};

use crate::{bare::Bare, baton::Baton};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// `Locker::connect`
    Ours,
    /// `Locker::new(ConnectionManager)`
    OursGiven,
    /// No library: the same two commands as ours.
    SameScripts,
    /// No library, and scripts that do nothing.
    Trivial,
    /// No lock: see [`Baton`].
    Baton,
    RdsLock,
    AsyncRedisLock,
    Rslock,
}

impl Contender {
    pub(crate) const FREE: [Contender; 7] = [
        Contender::Ours,
        Contender::OursGiven,
        Contender::SameScripts,
        Contender::Trivial,
        Contender::RdsLock,
        Contender::AsyncRedisLock,
        Contender::Rslock,
    ];

    pub(crate) const PEERS: [Contender; 3] = [
        Contender::RdsLock,
        Contender::AsyncRedisLock,
        Contender::Rslock,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Ours => "redis-lock",
            Contender::OursGiven => "redis-lock, connection given",
            Contender::SameScripts => "bare, same scripts",
            Contender::Trivial => "bare, trivial script",
            Contender::Baton => "bare PUBLISH",
            Contender::RdsLock => "rds_lock",
            Contender::AsyncRedisLock => "async-redis-lock",
            Contender::Rslock => "rslock",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::FREE.into_iter().chain([Contender::Baton]);
        all.find(|contender| contender.name() == name)
            .expect("one of the contenders")
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Contender::Ours | Contender::OursGiven)
    }

    /// Commands that it sends by themselves and that the scripts of none call.
    pub(crate) fn plain_commands(self) -> &'static [&'static str] {
        match self {
            Contender::Rslock => &["set"],
            _ => &[],
        }
    }

    /// Opens one connection.
    pub(crate) async fn connect(self, url: &str, settings: Settings) -> Client {
        match self {
            Contender::Ours => {
                let locker = Locker::connect(url).await.expect("the server answers");
                Client::Ours(settings.of_ours(locker))
            }
            Contender::OursGiven => Client::Ours(settings.of_ours(Locker::new(manager(url).await))),
            Contender::SameScripts => Client::Bare(Bare::same_scripts(manager(url).await).await),
            Contender::Trivial => Client::Bare(Bare::trivial(manager(url).await).await),
            Contender::Baton => Client::Baton(Baton::connect(url).await),
            Contender::RdsLock => {
                let client = OldRedis::open(url).expect("a URL of a server");
                let manager = OldManager::new(client).await.expect("the server answers");
                Client::RdsLock(manager, settings)
            }
            Contender::AsyncRedisLock => {
                let locker = async_redis_lock::Locker::from_redis_url(url).await;
                let options = settings.of_async_redis_lock();
                Client::AsyncRedisLock(locker.expect("the server answers"), Arc::new(options))
            }
            Contender::Rslock => {
                let client = Redis::open(url).expect("a URL of a server");
                let mut manager = rslock::LockManager::from_clients(vec![client]);
                if settings.retry == Retry::Shortest {
                    // Pauses are random, of whole milliseconds below this: 0 or 1.
                    manager.set_retry(u32::MAX, Duration::from_millis(2));
                }
                Client::Rslock(manager, settings.ttl.unwrap_or(TTL_FOR_RSLOCK))
            }
        }
    }
}

/// It has no default. That of ours.
const TTL_FOR_RSLOCK: Duration = Duration::from_secs(10);

/// How those that poll do it. Ours asks when it has reason to, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Retry {
    /// As they come: every 100 ms; rslock after 0 to 199 ms.
    #[default]
    Default,
    /// The shortest pause that can be told them and is one: 1 ms; rslock 0 or 1 ms.
    Shortest,
}

/// What a benchmark may change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) retry: Retry,
    /// How long to wait for a lock; if `None`, for ever. rslock always does.
    pub(crate) limit: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
}

impl Settings {
    fn of_ours(self, locker: Locker) -> Locker {
        let locker = locker.wait(self.limit.map_or(Wait::Forever, Wait::For));
        match self.ttl {
            Some(ttl) => locker.ttl(ttl),
            None => locker,
        }
    }

    fn of_async_redis_lock(self) -> async_redis_lock::Options {
        let mut options = async_redis_lock::Options::new().timeout(self.limit);
        if self.retry == Retry::Shortest {
            options = options.retry(Duration::from_millis(1));
        }
        match self.ttl {
            Some(ttl) => options.ttl(ttl),
            None => options,
        }
    }

    fn of_rds_lock(
        self,
        connection: OldManager,
        mode: &rds_lock::Mode,
    ) -> rds_lock::Locker<OldManager> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a short time");
        let limit = self.limit.map_or(-1, |time| millis(time).cast_signed());
        let mut locker = rds_lock::Locker::new(connection).mode(mode).rty_to(limit);
        if self.retry == Retry::Shortest {
            locker = locker.rty_int(1);
        }
        match self.ttl {
            Some(ttl) => locker.to(millis(ttl)),
            None => locker,
        }
    }
}

/// A contender with its connection. Clones share it.
#[derive(Clone)]
pub(crate) enum Client {
    Ours(Locker),
    Bare(Bare),
    Baton(Baton),
    RdsLock(OldManager, Settings),
    AsyncRedisLock(async_redis_lock::Locker, Arc<async_redis_lock::Options>),
    Rslock(rslock::LockManager, Duration),
}

impl Client {
    /// `None`: the time to wait was over. Modes other than write are for ours and `rds_lock` only.
    pub(crate) async fn acquire(&self, key: &str, mode: Mode) -> Option<Held> {
        match self {
            Client::Ours(locker) => match locker.clone().mode(mode).lock(key).await {
                Ok(guard) => Some(Held::Ours(guard)),
                Err(error) if error.is_contended() => None,
                Err(error) => panic!("{error}"),
            },
            Client::Bare(bare) => {
                let token = bare.acquire(key).await;
                Some(Held::Bare(bare.clone(), key.to_owned(), token))
            }
            Client::Baton(baton) => {
                baton.acquire(key).await;
                Some(Held::Baton(baton.clone(), key.to_owned()))
            }
            Client::RdsLock(connection, settings) => {
                let mode = match mode {
                    Mode::Read => rds_lock::Mode::R,
                    Mode::Write => rds_lock::Mode::W,
                };
                let locker = settings.of_rds_lock(connection.clone(), &mode);
                let unlock = locker.lock(key.to_owned()).await.ok()?;
                Some(Held::RdsLock(Box::pin(async {
                    unlock.await.expect("the lock is held");
                })))
            }
            Client::AsyncRedisLock(locker, options) => {
                match locker.acquire_with_options(options, key).await {
                    Ok(lock) => Some(Held::AsyncRedisLock(lock)),
                    Err(async_redis_lock::Error::Timeout) => None,
                    Err(error) => panic!("{error}"),
                }
            }
            Client::Rslock(manager, ttl) => {
                let lock = manager.acquire_no_guard(key, *ttl).await;
                Some(Held::Rslock(lock.expect("it tries until it has it")))
            }
        }
    }
}

/// A lock that is held.
#[expect(
    clippy::large_enum_variant,
    reason = "none shall pay for a box that it does not need"
)]
pub(crate) enum Held {
    Ours(Guard),
    Bare(Bare, String, u64),
    Baton(Baton, String),
    /// Its type has no name, hence the box.
    RdsLock(Pin<Box<dyn Future<Output = ()> + Send>>),
    AsyncRedisLock(async_redis_lock::Lock),
    Rslock(rslock::Lock),
}

impl Held {
    /// 0 of those that have none.
    pub(crate) fn token(&self) -> u64 {
        match self {
            Held::Ours(guard) => guard.token(),
            _ => 0,
        }
    }

    pub(crate) async fn release(self) {
        match self {
            Held::Ours(guard) => guard.unlock().await.expect("the lock is held"),
            Held::Bare(bare, key, token) => bare.release(&key, token).await,
            Held::Baton(baton, key) => baton.release(&key).await,
            Held::RdsLock(unlock) => unlock.await,
            Held::AsyncRedisLock(lock) => lock.release().await.expect("the lock is held"),
            Held::Rslock(lock) => lock.lock_manager.unlock(&lock).await,
        }
    }
}

/// A connection as redis-rs makes it by itself.
pub(crate) async fn manager(url: &str) -> ConnectionManager {
    let client = Redis::open(url).expect("a URL of a server");
    let manager = ConnectionManager::new(client).await;
    manager.expect("the server answers")
}
