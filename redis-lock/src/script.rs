//! The scripts, typed. The only file that knows what a lock looks like in Redis.
//!
//! A script is called by its hash, computed once; a server that does not know it (restarted, failed over,
//! flushed) is sent the source with that very call. So a call is one round trip, but for the first.

use std::{sync::Arc, time::Duration};

use once_cell::sync::Lazy;
use redis::{Cmd, FromRedisValue, RedisResult, Value};

use crate::{
    connection::{Reply, is_unknown_script},
    key::Names,
    owner::{Id, Owner},
};

/// The answer to [`acquire`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Held {
        token: u64,
    },
    /// In line. `left`: when the leases of those who hold it now end, unless they are renewed.
    Queued {
        place: u32,
        left: Duration,
    },
    /// Not held, and nothing left behind.
    Busy,
}

/// What [`release`] found and gave up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Released {
    pub(crate) found: bool,
    /// The waiters, of any process, that now hold the lock.
    pub(crate) granted: Vec<Id>,
}

/// Takes the lock, or a place in its queue (`waiter_lease` > 0), or neither.
pub(crate) fn acquire(
    owner: &Arc<Owner>,
    ttl: Duration,
    waiter_lease: Duration,
) -> Reply<Acquired> {
    let args = vec![
        owner.mode.letter().to_owned(),
        millis(ttl),
        millis(waiter_lease),
        String::new(), // the wake channel: nobody listens yet
    ];
    call(&ACQUIRE, owner, args, |reply| {
        let (status, a, b): (i64, u64, Option<u64>) = match <Vec<i64>>::from_redis_value(reply)?[..]
        {
            [status, a] => (status, a.cast_unsigned(), None),
            [status, a, b] => (status, a.cast_unsigned(), Some(b.cast_unsigned())),
            _ => return Err(unexpected("acquire")),
        };
        match (status, b) {
            (1, None) => Ok(Acquired::Held { token: a }),
            (0, Some(left)) => Ok(Acquired::Queued {
                place: u32::try_from(a).unwrap_or(u32::MAX),
                left: Duration::from_millis(left),
            }),
            (-1, None) => Ok(Acquired::Busy),
            _ => Err(unexpected("acquire")),
        }
    })
}

/// Gives up the hold or the place in the queue, if there is one, and lets in who is next.
pub(crate) fn release(owner: &Arc<Owner>) -> Reply<Released> {
    call(&RELEASE, owner, Vec::new(), |reply| {
        let items = <Vec<String>>::from_redis_value(reply)?;
        let [status, ids @ ..] = &items[..] else {
            return Err(unexpected("release"));
        };
        Ok(Released {
            found: status != "0",
            granted: ids.iter().filter_map(|id| Id::parse(id)).collect(),
        })
    })
}

/// Sets the lease to `ttl` from now. False: it is gone.
pub(crate) fn renew(owner: &Arc<Owner>, ttl: Duration) -> Reply<bool> {
    call(&RENEW, owner, vec![millis(ttl)], |reply| {
        Ok(bool::from_redis_value(reply)?)
    })
}

struct Script {
    source: String,
    hash: String,
}

static ACQUIRE: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/acquire.lua")));
static RELEASE: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/release.lua")));
static RENEW: Lazy<Script> = Lazy::new(|| Script::new(include_str!("script/renew.lua")));

impl Script {
    fn new(source: &str) -> Self {
        let source = source.replace("--@book", include_str!("script/book.lua"));
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Script { source, hash }
    }
}

fn call<T: 'static>(
    script: &'static Script,
    owner: &Arc<Owner>,
    args: Vec<String>,
    read: fn(Value) -> RedisResult<T>,
) -> Reply<T> {
    let owner = Arc::clone(owner);
    Box::pin(async move {
        let by_hash = command("EVALSHA", &script.hash, &owner, &args);
        let reply = match owner.link.send(by_hash).await {
            Err(error) if is_unknown_script(&error) => {
                let by_source = command("EVAL", &script.source, &owner, &args);
                owner.link.send(by_source).await
            }
            reply => reply,
        };
        read(reply?)
    })
}

fn command(verb: &str, script: &str, owner: &Owner, args: &[String]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(Names::COUNT);
    for name in owner.names.each() {
        command.arg(name);
    }
    command.arg(owner.id.to_string()).arg(args);
    command
}

/// Rounded up: what is left of a lease must not become nothing before its time.
fn millis(duration: Duration) -> String {
    duration.as_nanos().div_ceil(1_000_000).to_string()
}

fn unexpected(script: &'static str) -> redis::RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "unexpected reply of a script",
        script.to_owned(),
    )
        .into()
}
